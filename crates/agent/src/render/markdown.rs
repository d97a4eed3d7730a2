//! Markdown.

use crate::research::{Claim, Report};

use super::{path, place};

/// The whole report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("# {}\n\n{}\n", escape(&report.question), report.answer);
    if report.plan.len() > 1 {
        out.push_str("\n## Plan\n\n");
        for question in &report.plan {
            let open = if report.open.contains(question) {
                " (not answered by the documents)"
            } else {
                ""
            };
            out.push_str(&format!("- {}{open}\n", escape(question)));
        }
    }
    if !report.citations.is_empty() {
        out.push_str("\n## Sources\n\n");
    }
    for citation in &report.citations {
        let mark = if citation.verified {
            "verified"
        } else {
            "NOT FOUND in the passage"
        };
        let title = escape(&path(&citation.title, &citation.headings));
        let file = place(&citation.file, citation.page);
        out.push_str(&format!(
            "{}. **{title}** ({}; {mark})\n\n",
            citation.number,
            escape(&file)
        ));
        out.push_str(&format!("   > {}\n\n", escape(&one_line(&citation.quote))));
    }
    if !report.nearest.is_empty() {
        out.push_str("\n## Nearest passages\n\n");
    }
    for nearest in &report.nearest {
        let title = escape(&path(&nearest.title, &nearest.headings));
        out.push_str(&format!(
            "- **{title}** ({})\n\n",
            escape(&place(&nearest.file, nearest.page))
        ));
        out.push_str(&format!("  > {}\n\n", escape(&one_line(&nearest.text))));
    }
    out.push_str(&format!("\n---\n{}\n", summary(report)));
    out
}

/// The answer alone, with its citation numbers.
pub fn answer(report: &Report) -> String {
    if !report.answered {
        return "The documents do not answer this question.".to_owned();
    }
    let mut out: Vec<String> = report.claims.iter().map(sentence).collect();
    for question in &report.open {
        out.push(format!("The documents do not answer: {}", escape(question)));
    }
    out.join("\n\n")
}

fn sentence(claim: &Claim) -> String {
    let numbers: String = claim
        .citations
        .iter()
        .map(|number| format!("[{number}]"))
        .collect();
    let mark = if claim.supported {
        ""
    } else {
        " [unsupported]"
    };
    format!("{} {numbers}{mark}", escape(&claim.text))
}

/// What was checked and what it took, in one line.
pub(super) fn summary(report: &Report) -> String {
    let verified = report
        .citations
        .iter()
        .filter(|citation| citation.verified)
        .count();
    let claims = match report.claims.len() {
        1 => "1 claim".to_owned(),
        count => format!("{count} claims"),
    };
    format!(
        "{claims}, {} unsupported; {verified} of {} citations verified; {:.0} s, {} model calls, \
         {} prompt tokens ({} from cache), {} output tokens; run {}",
        report.unsupported,
        report.citations.len(),
        report.seconds,
        report.usage.model_calls,
        report.usage.prompt_tokens,
        report.usage.cached_tokens,
        report.usage.output_tokens,
        report.run,
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Makes text stand for itself: what Markdown would read as markup or as HTML is escaped.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '!'
        ) {
            out.push('\\');
        }
        match character {
            '&' => out.push_str("&amp;"),
            other => out.push(other),
        }
    }
    out
}
