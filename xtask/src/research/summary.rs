//! The results as text: a line for each question, and totals beside the goals.

use super::questions::{Kind, Wording};
use super::score::{Answer, Outcome};

/// What the columns of a line mean.
pub(super) const HEAD: &str =
    "result  facts  verified  file  seconds   prompt   cached  output  question";

/// How many of the first hits may be looked at for the right file.
const TOP: usize = 5;

/// The result of one question.
pub(super) fn line(outcome: &Outcome) -> String {
    let file = match (outcome.kind, outcome.file_rank) {
        ("unanswerable", _) => "".to_owned(),
        (_, Some(rank)) => format!("#{rank}"),
        (_, None) => "none".to_owned(),
    };
    let Some(answer) = &outcome.answer else {
        let error = outcome
            .error
            .as_deref()
            .map(|error| format!("  ERROR {error}"))
            .unwrap_or_default();
        let seconds = outcome.search_seconds;
        return format!(
            "{:<23}  {file:<4}  {seconds:>7.1}  {:<23}  {}{error}",
            "", "", outcome.id
        );
    };
    let mut line = format!(
        "{:<6}  {:<5}  {:<8}  {file:<4}  {:>7.1}  {:>7}  {:>7}  {:>6}  {}",
        if answer.right { "right" } else { "WRONG" },
        format!("{}/{}", answer.facts_found, outcome.facts),
        format!("{}/{}", answer.really_verbatim, answer.shown_verified),
        answer.seconds,
        answer.usage.prompt_tokens,
        answer.usage.cached_tokens,
        answer.usage.output_tokens,
        outcome.id,
    );
    if !answer.right {
        let said = if answer.answered {
            answer.text.as_str()
        } else {
            "(not answered)"
        };
        line.push_str(&format!(
            "\n        {}",
            said.split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    for quote in &answer.not_verbatim {
        line.push_str(&format!("\n        NOT VERBATIM {quote}"));
    }
    line
}

/// All results together.
pub(super) fn totals(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n");
    let all: Vec<&Outcome> = outcomes.iter().collect();
    text.push_str(&right(&all, "fact", "single facts right", "80 %"));
    text.push_str(&each_wording(outcomes, |part, title| {
        right(part, "fact", title, "-")
    }));
    for (kind, title, goal) in [
        ("comparison", "comparisons right", "-"),
        ("explanation", "explanations, half or more", "-"),
        ("unanswerable", "unanswerable recognised", "80 %"),
    ] {
        text.push_str(&right(&all, kind, title, goal));
    }
    let answers: Vec<&Answer> = outcomes
        .iter()
        .filter_map(|outcome| outcome.answer.as_ref())
        .collect();
    if !answers.is_empty() {
        let facts = outcomes.iter().map(|outcome| outcome.facts).sum();
        let sum = |of: fn(&Answer) -> usize| answers.iter().map(|answer| of(answer)).sum::<usize>();
        let (verbatim, shown) = (sum(|a| a.really_verbatim), sum(|a| a.shown_verified));
        let found = sum(|a| a.facts_found);
        text.push_str(&facts_of_explanations(&all));
        text.push_str(&share("facts found", found, facts, "-"));
        text.push_str(&share(
            "  stated by a quote",
            sum(|a| a.facts_quoted),
            found,
            "-",
        ));
        text.push_str(&share("verified quotes verbatim", verbatim, shown, "100 %"));
        text.push_str(&share(
            "citations shown as verified",
            shown,
            sum(|a| a.citations),
            "-",
        ));
    }
    text.push_str(&in_top(&all, "right file in the top 5", "90 %"));
    text.push_str(&each_wording(outcomes, |part, title| {
        in_top(part, title, "-")
    }));
    text.push_str(&times(outcomes, &answers));
    let errors = outcomes
        .iter()
        .filter(|outcome| outcome.error.is_some())
        .count();
    if errors > 0 {
        text.push_str(&format!("{errors} questions ended in an error\n"));
    }
    text
}

/// How many questions of a kind were answered rightly; nothing if none was put to a model. An error
/// counts as wrong: nothing is dropped from the denominator.
fn right(outcomes: &[&Outcome], kind: &str, title: &str, goal: &str) -> String {
    let all: Vec<&&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.kind == kind)
        .collect();
    if all
        .iter()
        .all(|outcome| outcome.answer.is_none() && outcome.error.is_none())
    {
        return String::new();
    }
    let is_right = |outcome: &&Outcome| outcome.answer.as_ref().is_some_and(|answer| answer.right);
    let count = all.iter().filter(|outcome| is_right(outcome)).count();
    share(title, count, all.len(), goal)
}

/// How many of the facts of explanations were found; nothing if none was asked for.
fn facts_of_explanations(outcomes: &[&Outcome]) -> String {
    let name = Kind::Explanation.name();
    let of_kind = outcomes.iter().filter(|outcome| outcome.kind == name);
    let (mut found, mut facts) = (0, 0);
    for (outcome, answer) in of_kind.filter_map(|one| Some((one, one.answer.as_ref()?))) {
        found += answer.facts_found;
        facts += outcome.facts;
    }
    match facts {
        0 => String::new(),
        _ => share("facts of explanations found", found, facts, "-"),
    }
}

/// For how many questions the right file is among the first hits; the unanswerable have none.
fn in_top(outcomes: &[&Outcome], title: &str, goal: &str) -> String {
    let searched = outcomes
        .iter()
        .filter(|outcome| outcome.kind != "unanswerable");
    let found = searched
        .clone()
        .filter(|outcome| outcome.file_rank.is_some_and(|rank| rank <= TOP));
    share(title, found.count(), searched.count(), goal)
}

/// The total above for the questions of each wording by themselves; nothing if there is only one.
fn each_wording(outcomes: &[Outcome], total: impl Fn(&[&Outcome], &str) -> String) -> String {
    let mut text = String::new();
    for wording in Wording::ALL {
        let part: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.wording == wording.name())
            .collect();
        if !part.is_empty() && part.len() < outcomes.len() {
            text.push_str(&total(&part, &format!("  {}", wording.name())));
        }
    }
    text
}

fn share(title: &str, part: usize, whole: usize, goal: &str) -> String {
    let percent = if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    };
    format!("{title:<28} {part:>4} of {whole:<4} {percent:>5.1} %   goal {goal}\n")
}

fn times(outcomes: &[Outcome], answers: &[&Answer]) -> String {
    let mut text = String::new();
    let search = outcomes
        .iter()
        .filter(|outcome| outcome.kind != "unanswerable")
        .map(|o| o.search_seconds);
    text.push_str(&spread("seconds a search", search.collect()));
    if answers.is_empty() {
        return text;
    }
    for kind in Kind::ALL.map(Kind::name) {
        let of_kind = outcomes.iter().filter(|outcome| outcome.kind == kind);
        let seconds: Vec<f64> = of_kind
            .filter_map(|outcome| Some(outcome.answer.as_ref()?.seconds))
            .collect();
        if !seconds.is_empty() {
            text.push_str(&spread(&format!("seconds, {kind}"), seconds));
        }
    }
    let mean = |of: fn(&Answer) -> u64| {
        answers.iter().map(|answer| of(answer)).sum::<u64>() as f64 / answers.len() as f64
    };
    text.push_str(&format!(
        "a question takes {:.1} model calls, {:.0} prompt tokens ({:.0} from cache), {:.0} output tokens\n",
        mean(|a| a.usage.model_calls),
        mean(|a| a.usage.prompt_tokens),
        mean(|a| a.usage.cached_tokens),
        mean(|a| a.usage.output_tokens),
    ));
    text
}

fn spread(title: &str, mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values
            .get(((values.len() as f64 - 1.0) * share).round() as usize)
            .copied()
            .unwrap_or(0.0)
    };
    format!(
        "{title:<28} median {:.1}, p90 {:.1}, longest {:.1}\n",
        at(0.5),
        at(0.9),
        at(1.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(wording: Wording, file_rank: Option<usize>) -> Outcome {
        Outcome {
            id: "id".to_owned(),
            kind: "fact",
            split: "dev",
            wording: wording.name(),
            facts: 1,
            file_rank,
            search_seconds: 1.0,
            answer: None,
            error: None,
        }
    }

    #[test]
    fn each_wording_has_its_own_total_when_several_are_asked() {
        let everyday = outcome(Wording::Everyday, None);
        let terms = outcome(Wording::Terms, Some(2));
        let lines = |outcomes: &[Outcome]| {
            let text = totals(outcomes);
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            text.lines().map(words).collect::<Vec<_>>()
        };
        let both = lines(&[everyday, terms.clone()]);
        for line in [
            "right file in the top 5 1 of 2 50.0 % goal 90 %",
            "everyday 0 of 1 0.0 % goal -",
            "terms 1 of 1 100.0 % goal -",
        ] {
            assert!(both.iter().any(|found| found == line), "{line}: {both:?}");
        }
        let one = lines(&[terms]);
        assert!(!one.iter().any(|line| line.starts_with("terms")), "{one:?}");
    }
}
