//! `plumb runs audit`: who allowed what, what left the machine, what it cost.

use agent::audit::{Audit, Entry, audit};
use anyhow::Result;
use journal::Journal;

use crate::view;

/// The most characters of arguments in a line.
const ARGUMENTS: usize = 200;

/// Shows the audit of a run.
pub async fn show(journal: &Journal, id: &str, json: bool) -> Result<()> {
    let run = journal.run(id).await?;
    let audit = audit(&journal.steps(&run.id).await?);
    if json {
        return view::print_json(&audit);
    }
    view::print(&format!("{}  {}\n{}", run.id, run.agent, text(&audit)))
}

fn text(audit: &Audit) -> String {
    let mut text: String = audit.calls.iter().map(entry).collect();
    if audit.calls.is_empty() {
        text.push_str("no tool was called\n");
    }
    for model in &audit.models {
        let out = match model.sent_out {
            true => "; what it read left the machine",
            false => "",
        };
        text.push_str(&format!(
            "model {}: {} calls, {} tokens read, {} written, {}{out}\n",
            model.model,
            model.calls,
            model.prompt_tokens,
            model.output_tokens,
            dollars(model.cost_micros)
        ));
    }
    let out = audit.calls.iter().filter(|call| call.sent_out).count();
    let people = audit.calls.iter().filter(|call| call.person.is_some());
    text.push_str(&format!(
        "{} calls, {out} sent data out, {} asked of people\n",
        audit.calls.len(),
        people.count()
    ));
    text
}

/// A call, and below it who allowed it.
fn entry(call: &Entry) -> String {
    let arguments: String = call.arguments.to_string();
    let mut shown: String = arguments.chars().take(ARGUMENTS).collect();
    if shown.len() < arguments.len() {
        shown.push('…');
    }
    let mut text = format!("{}  {}  {shown}\n", call.path, call.state.as_str());
    let rules = call.rules.join(", ");
    text.push_str(&match (&call.person, call.granted) {
        (Some(said), _) => format!(
            "   asked by {rules}; {} said \"{}\" at {}\n",
            said.by,
            said.answer,
            view::moment(said.at_ms)
        ),
        (None, true) => {
            format!("   asked by {rules}; a person had allowed the tool from then on\n")
        }
        (None, false) if rules.is_empty() => "   the rule is not recorded\n".to_owned(),
        (None, false) => format!("   by {rules}\n"),
    });
    if call.sent_out {
        text.push_str("   its arguments left the machine\n");
    }
    if call.cost_micros > 0 {
        text.push_str(&format!("   cost {}\n", dollars(call.cost_micros)));
    }
    text
}

fn dollars(micros: u64) -> String {
    format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
