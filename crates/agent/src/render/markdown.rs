//! Markdown.

use crate::research::{Claim, Report};

use super::{path, place};

/// Between lines of one paragraph.
const LINE_BREAK: &str = "  \n";

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
    let lines: Vec<String> = claim.text.lines().map(escape).collect();
    format!("{} {numbers}{mark}", lines.join(LINE_BREAK))
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

/// Makes text stand for itself: what Markdown would read as markup or as HTML is escaped, and no more, so
/// that a name like `log_selector` can be searched for and copied.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let mut before = None;
    let mut rest = text.chars().peekable();
    let mut left = text.len();
    while let Some(character) = rest.next() {
        let is_inside_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_markup = match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '~' => true,
            '_' => !(is_inside_word(before) && is_inside_word(rest.peek().copied())),
            // These are markup at the start of a line alone: quotes, headings, lists, rules.
            '>' => before.is_none(),
            '#' | '-' | '+' => {
                let next = rest.peek();
                before.is_none() && next.is_none_or(|next| *next == ' ' || *next == character)
            }
            '.' | ')' => left == number.len() && before.is_some(),
            _ => false,
        };
        if is_markup {
            out.push('\\');
        }
        match character {
            '&' => out.push_str("&amp;"),
            other => out.push(other),
        }
        left -= character.len_utf8();
        before = Some(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;

    #[test]
    fn names_stay_as_they_are() {
        let names = "log_selector = +smtp_confirmation | Default: 0 (see foo.conf!)";
        assert_eq!(escape(names), names);
        assert_eq!(escape("_a_ *b* <i> `c`"), "\\_a\\_ \\*b\\* \\<i> \\`c\\`");
        assert_eq!(escape("1. one - two"), "1\\. one - two");
    }

    proptest! {
        #[test]
        fn text_is_one_paragraph_that_says_the_same(text in "[-+*_#>=.()\\[\\]<~`|!&;:/a-c1-3 \\\\]{0,40}|\\PC{0,40}") {
            let text = one_line(&text);
            let mut said = String::new();
            let github = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
            for event in Parser::new_ext(&escape(&text), github) {
                match event {
                    Event::Text(part) => said.push_str(&part),
                    Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
                    other => prop_assert!(false, "{other:?} in {text:?}"),
                }
            }
            prop_assert_eq!(said, text);
        }
    }
}
