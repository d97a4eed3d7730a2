//! `plumb runs diff`.

use anyhow::Result;
use journal::{Difference, Journal, StepRecord};
use serde_json::Value;

use crate::view;

/// Characters of an input or output that are shown.
const EXCERPT: usize = 100;

/// Prints the steps in which two runs differ, the first one first.
pub async fn diff(journal: &Journal, a: &str, b: &str, json: bool) -> Result<()> {
    let (a, b) = (journal.run(a).await?.id, journal.run(b).await?.id);
    let differences = journal.diff(a.as_str(), b.as_str()).await?;
    if json {
        return view::print_json(&differences);
    }
    let Some(first) = differences.first() else {
        return view::print("the runs do not differ in any step\n");
    };
    let count = match differences.len() {
        1 => "1 step differs".to_owned(),
        count => format!("{count} steps differ"),
    };
    let mut text = format!("{count}, first {}\n- {a}\n+ {b}\n", first.path);
    differences
        .iter()
        .for_each(|difference| text.push_str(&shown(difference)));
    view::print(&text)
}

fn shown(difference: &Difference) -> String {
    let path = &difference.path;
    let (a, b) = match (&difference.a, &difference.b) {
        (Some(a), Some(b)) => (a, b),
        (Some(_), None) => return format!("\n{path}: only in the first\n"),
        (None, _) => return format!("\n{path}: only in the second\n"),
    };
    let mut text = format!("\n{path}: another {}\n", difference.fields.join(", "));
    for field in &difference.fields {
        let (a, b) = excerpts(&value(a, field), &value(b, field));
        text.push_str(&format!("  {field}\n  - {a}\n  + {b}\n"));
    }
    text
}

fn value(step: &StepRecord, field: &str) -> String {
    let json = |value: &Value| value.to_string();
    match field {
        "input" => json(&step.input),
        "output" => match (&step.output, &step.error) {
            (Some(output), _) => json(output),
            (None, Some(error)) => format!("error: {error}"),
            (None, None) => "nothing".to_owned(),
        },
        "status" => format!("{:?}", step.status).to_lowercase(),
        _ => format!("{:?}", step.effect).to_lowercase(),
    }
}

/// Both texts around the place where they begin to differ.
fn excerpts(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(EXCERPT / 4);
    let excerpt = |text: &str| {
        let middle: String = text.chars().skip(from).take(EXCERPT).collect();
        let before = if from > 0 { "…" } else { "" };
        let after = if text.chars().count() > from + EXCERPT {
            "…"
        } else {
            ""
        };
        format!("{before}{middle}{after}")
    };
    (excerpt(a), excerpt(b))
}
