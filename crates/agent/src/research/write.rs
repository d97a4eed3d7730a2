//! From notes to claims: the writer, the critic that sends the draft back, and the check of every
//! sentence against the quotes that it names.

use std::collections::BTreeSet;

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

/// Quotes of an explanation that it is shown.
const QUOTES_OF_A_QUESTION: usize = 3;

/// Words from which on an answer says by itself what it is about.
const WORDS_OF_SENTENCE: usize = 4;

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
    let mut answering = found.iter().filter(|found| !found.notes.is_empty());
    let (first, second) = (answering.next(), answering.next());
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    if second.is_none() {
        // There is nothing to put together, and a small model would say of one thing what holds for another.
        let text = |note: &Note| match plan.is_short() {
            true => note.answer.clone(),
            false => said(note),
        };
        let claim = |note: &Note| check(&text(note), vec![note.clone()], &input.question);
        return Ok(match first.explains {
            true => first.notes.iter().map(claim).collect(),
            false => most_believed(&first.notes).map(claim).collect(),
        });
    }
    let notes: Vec<Note> = found
        .iter()
        .flat_map(|found| {
            let most = match found.explains {
                true => QUOTES_OF_A_QUESTION,
                false => NOTES_OF_A_QUESTION,
            };
            found.notes.iter().take(most).cloned()
        })
        .collect();
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

/// Drafts until the critic accepts or the revisions are used up. A small model's critic is sometimes wrong: a draft
/// takes the place of the one before it only if its notes support as much of it.
async fn revise(
    run: &Run,
    tools: &Tools,
    input: &Input,
    settings: &Settings,
    notes: &[Note],
) -> Result<Draft> {
    let question = &input.question;
    let mut conversation = vec![task(question, notes)];
    let mut best: Option<Draft> = None;
    let mut number = 1;
    loop {
        (tools.progress)(Progress::Writing(number));
        let (draft, text) = draft(run, tools, &conversation, notes.len()).await?;
        let holds = |draft: &Draft| answered(draft, notes, question);
        let draft = match best {
            Some(best) if holds(&best) > holds(&draft) => best,
            _ => draft,
        };
        if number > settings.revisions {
            return Ok(draft);
        }
        (tools.progress)(Progress::Criticising(number));
        let Some(remark) = criticise(run, tools, question, notes, &draft).await? else {
            return Ok(draft);
        };
        conversation.push(text);
        conversation.push(format!("Write it again. {remark}"));
        best = Some(draft);
        number += 1;
    }
}

/// How many of the questions of the notes a draft answers with what its notes support.
fn answered(draft: &Draft, notes: &[Note], question: &str) -> usize {
    let sentences = draft.sentences.iter();
    let supported = sentences
        .map(|sentence| supported(sentence, notes, question))
        .filter(|written| written.strange.is_empty());
    let questions: BTreeSet<String> = supported
        .flat_map(|written| written.notes)
        .map(|note| note.question)
        .collect();
    questions.len()
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
    let written = supported(&sentence, notes, question);
    match (written.strange.is_empty(), written.notes.as_slice()) {
        (false, [note]) => check(&said(note), written.notes.clone(), question),
        _ => written,
    }
}

/// The sentence with the notes that it names and, where these do not support it and another one beside them does, that
/// one: a small model writes from two notes and names one.
fn supported(sentence: &Sentence, notes: &[Note], question: &str) -> Written {
    let mut numbers = sentence.notes.clone();
    numbers.sort_unstable();
    numbers.dedup();
    let with = |numbers: &[usize]| {
        let named = numbers.iter().filter_map(|n| notes.get(n.checked_sub(1)?));
        check(&sentence.text, named.cloned().collect(), question)
    };
    let written = with(&numbers);
    if written.strange.is_empty() {
        return written;
    }
    let others = (1..=notes.len()).filter(|number| !numbers.contains(number));
    let mut with_another = others.map(|number| with(&[numbers.as_slice(), &[number]].concat()));
    let supported = with_another.find(|written| written.strange.is_empty());
    supported.unwrap_or(written)
}

/// What a note answers; a few words with the question that they answer.
fn said(note: &Note) -> String {
    match note.answer.split_whitespace().count() < WORDS_OF_SENTENCE {
        true => format!("{} {}", note.question, note.answer),
        false => note.answer.clone(),
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

    fn about(product: &str, answer: &str, quote: &str) -> Note {
        Note {
            question: format!("How many columns may a table have in {product}?"),
            quote: quote.to_owned(),
            ..note(answer, 0.8)
        }
    }

    fn sentence(text: &str, notes: &[usize]) -> Sentence {
        Sentence {
            text: text.to_owned(),
            notes: notes.to_vec(),
        }
    }

    #[test]
    fn a_sentence_from_two_notes_that_names_one_is_given_the_other() {
        let notes = [
            about("Alder", "1600", "columns per table 1600"),
            about("Birch", "2000", "The default setting is 2000."),
        ];
        let both = "Alder has 1600 columns, Birch 2000.";
        let repaired = |text, named: &[usize]| {
            let written = repaired(sentence(text, named), &notes, "How many columns?");
            assert!(written.strange.is_empty(), "{written:?}");
            (written.text, written.notes.len())
        };
        assert_eq!(repaired(both, &[2]), (both.to_owned(), 2));
        assert_eq!(
            repaired("Birch has 3000 columns.", &[2]),
            (
                "How many columns may a table have in Birch? 2000".to_owned(),
                1
            )
        );
        let draft = |named: &[usize], text| Draft {
            sentences: vec![sentence(text, named)],
        };
        let answered = |draft: &Draft| answered(draft, &notes, "How many columns?");
        assert_eq!(answered(&draft(&[1, 2], both)), 2);
        assert_eq!(answered(&draft(&[1], both)), 2);
        assert_eq!(answered(&draft(&[1, 2], "Alder has 1601 columns.")), 0);
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
