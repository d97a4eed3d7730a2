//! From notes to claims: the writer, the critic that sends the draft back, and the check of every
//! sentence against the quotes that it names.

use journal::Run;
use serde::Deserialize;
use serde_json::json;

use super::branch::Found;
use super::note::{Note, unsupported_words};
use super::options::Settings;
use super::plan::Plan;
use super::reading::agree;
use super::{Input, Progress, Tools};
use crate::{Result, call};

/// Notes that the writer is shown of each sub-question.
const NOTES_OF_A_QUESTION: usize = 2;

/// The part of the belief in the best answer that another must have to be given beside it.
const AS_MUCH: f32 = 0.9;

/// A sentence of the report with the notes it rests on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    pub text: String,
    pub notes: Vec<Note>,
    /// The words that no quote has; empty when the sentence is supported.
    pub strange: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Draft {
    sentences: Vec<Sentence>,
}

#[derive(Clone, Debug, Deserialize)]
struct Sentence {
    text: String,
    notes: Vec<usize>,
}

#[derive(Deserialize)]
struct Verdict {
    verdict: String,
    #[serde(default)]
    remark: String,
}

/// Writes the claims of the report from the notes of all branches.
pub(super) async fn write(
    run: &Run,
    tools: &Tools,
    input: &Input,
    settings: &Settings,
    plan: &Plan,
    found: &[Found],
) -> Result<Vec<Written>> {
    if plan.is_short() {
        // One question: there is nothing to put together.
        return Ok(found
            .iter()
            .flat_map(|found| most_believed(&found.notes))
            .map(|note| check(&note.answer, vec![note.clone()], &input.question))
            .collect());
    }
    let notes: Vec<Note> = found
        .iter()
        .flat_map(|found| found.notes.iter().take(NOTES_OF_A_QUESTION).cloned())
        .collect();
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let draft = revise(run, tools, input, settings, &notes).await?;
    Ok(draft
        .sentences
        .into_iter()
        .map(|sentence| repaired(sentence, &notes, &input.question))
        .collect())
}

/// The best of `notes`, and the next if it says something else and is believed as much: which of the two
/// is right, whoever asks can tell from the quotes better than the model can.
fn most_believed(notes: &[Note]) -> impl Iterator<Item = &Note> {
    let alike = move |other: &&Note| {
        let best = notes.first();
        best.is_some_and(|best| {
            !agree(best, other) && other.confidence >= AS_MUCH * best.confidence
        })
    };
    notes
        .first()
        .into_iter()
        .chain(notes.iter().skip(1).find(alike))
}

/// Drafts until the critic accepts or the revisions are used up.
async fn revise(
    run: &Run,
    tools: &Tools,
    input: &Input,
    settings: &Settings,
    notes: &[Note],
) -> Result<Draft> {
    let mut conversation = vec![task(&input.question, notes)];
    let mut number = 1;
    loop {
        (tools.progress)(Progress::Writing(number));
        let (draft, text) = draft(run, tools, &conversation, notes.len()).await?;
        if number > settings.revisions {
            return Ok(draft);
        }
        (tools.progress)(Progress::Criticising(number));
        let Some(remark) = criticise(run, tools, &input.question, notes, &draft).await? else {
            return Ok(draft);
        };
        conversation.push(text);
        conversation.push(format!("Write it again. {remark}"));
        number += 1;
    }
}

async fn draft(
    run: &Run,
    tools: &Tools,
    conversation: &[String],
    notes: usize,
) -> Result<(Draft, String)> {
    let numbers: Vec<usize> = (1..=notes).collect();
    let schema = json!({
        "type": "object",
        "properties": {"sentences": {
            "type": "array", "minItems": 1, "maxItems": 8,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "minLength": 10, "maxLength": 300},
                    "notes": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"enum": numbers}},
                },
                "required": ["text", "notes"], "additionalProperties": false,
            },
        }},
        "required": ["sentences"], "additionalProperties": false,
    });
    let definition = tools.agents.load("research/write")?;
    let request = call::request(&definition, conversation, schema);
    let response = call::ask(run, "write", &*tools.model, &request, "draft").await?;
    match response.json::<Draft>() {
        Ok(draft) => Ok((draft, response.text)),
        // A draft that was cut off at its length limit: the notes stand on their own.
        Err(_) => Ok((
            Draft {
                sentences: Vec::new(),
            },
            response.text,
        )),
    }
}

/// What the critic wants changed; `None` when the draft may stand.
async fn criticise(
    run: &Run,
    tools: &Tools,
    question: &str,
    notes: &[Note],
    draft: &Draft,
) -> Result<Option<String>> {
    let unused: Vec<String> = (1..=notes.len())
        .filter(|number| {
            draft
                .sentences
                .iter()
                .all(|sentence| !sentence.notes.contains(number))
        })
        .map(|number| number.to_string())
        .collect();
    let schema = json!({"anyOf": [
        {"type": "object", "properties": {"verdict": {"enum": ["accept"]}},
            "required": ["verdict"], "additionalProperties": false},
        {"type": "object", "properties": {"verdict": {"enum": ["revise"]},
            "remark": {"type": "string", "minLength": 10, "maxLength": 160}},
            "required": ["verdict", "remark"], "additionalProperties": false},
    ]});
    let text: Vec<&str> = draft
        .sentences
        .iter()
        .map(|sentence| sentence.text.as_str())
        .collect();
    let shown = format!("{}\n\nDraft:\n{}", task(question, notes), text.join(" "));
    let definition = tools.agents.load("research/critic")?;
    let request = call::request(&definition, &[shown], schema);
    let verdict: Verdict =
        call::ask_json(run, "criticise", &*tools.model, &request, "the critic").await?;
    if verdict.verdict == "accept" {
        return Ok(None);
    }
    let unused = match unused.as_slice() {
        [] => String::new(),
        numbers => format!(" Notes not used so far: {}.", numbers.join(", ")),
    };
    Ok(Some(format!("{}{unused}", verdict.remark)))
}

fn task(question: &str, notes: &[Note]) -> String {
    let listed = notes.iter().enumerate().map(|(index, note)| {
        let place = &note.passage.title;
        format!(
            "[{}] ({place}) {}: \"{}\"",
            index + 1,
            note.answer,
            note.quote
        )
    });
    format!(
        "Question: {question}\n\nNotes:\n{}",
        listed.collect::<Vec<_>>().join("\n")
    )
}

/// The sentence if its notes support it; else, with one note, what the note itself answers.
fn repaired(sentence: Sentence, notes: &[Note], question: &str) -> Written {
    let mut numbers = sentence.notes;
    numbers.sort_unstable();
    numbers.dedup();
    let named: Vec<Note> = numbers
        .iter()
        .filter_map(|n| notes.get(n.checked_sub(1)?))
        .cloned()
        .collect();
    let written = check(&sentence.text, named.clone(), question);
    match (written.strange.is_empty(), named.as_slice()) {
        (false, [note]) => check(&note.answer, named.clone(), question),
        _ => written,
    }
}

/// Holds a sentence against the quotes of its notes.
fn check(text: &str, notes: Vec<Note>, question: &str) -> Written {
    let quotes: Vec<&str> = notes.iter().map(|note| note.quote.as_str()).collect();
    let questions: Vec<&str> = notes.iter().map(|note| note.question.as_str()).collect();
    let asked = format!("{question} {}", questions.join(" "));
    let strange = match notes.first() {
        None => vec!["it names no note".to_owned()],
        Some(note) => unsupported_words(text, &quotes.join(" "), &asked, &note.passage),
    };
    Written {
        text: text.trim().to_owned(),
        notes,
        strange,
    }
}

#[cfg(test)]
mod tests {
    use knowledge::Passage;

    use super::super::testing::passage;
    use super::*;

    fn note(answer: &str, confidence: f32) -> Note {
        Note {
            question: "How long is a session kept?".to_owned(),
            quote: answer.to_owned(),
            answer: answer.to_owned(),
            passage: Passage {
                id: "0".to_owned(),
                file: "a.md".to_owned(),
                title: "Sessions".to_owned(),
                ..passage(answer)
            },
            grounded: true,
            readings: 1,
            borne_out: false,
            confidence,
        }
    }

    #[test]
    fn another_answer_is_given_only_if_it_is_believed_as_much() {
        let given = |notes: &[Note]| {
            let answers = most_believed(notes).map(|note| note.answer.clone());
            answers.collect::<Vec<_>>()
        };
        let [half, same] = [
            note("For 30 minutes.", 0.8),
            note("30 minutes without a request.", 0.8),
        ];
        let (hour, day) = (note("For 1 hour.", 0.75), note("For 1 day.", 0.5));
        assert!(given(&[]).is_empty());
        assert_eq!(given(&[half.clone(), day.clone()]), ["For 30 minutes."]);
        assert_eq!(
            given(&[half, same, hour, day]),
            ["For 30 minutes.", "For 1 hour."]
        );
    }
}
