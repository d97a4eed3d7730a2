//! A stand-in for a model that reads word by word: what it answers follows from the last user message
//! and the schema alone, so that two runs over the same documents are the same.
//!
//! The crash test of the binary serves the same answers over HTTP.

use serde_json::{Value, json};

/// What a request is for, told by the form of the answer that it wants.
pub(crate) fn purpose(schema: &Value) -> &'static str {
    let has = |property: &str| {
        let has = |schema: &Value| schema.pointer(&format!("/properties/{property}")).is_some();
        has(schema) || schema.pointer("/anyOf/1").is_some_and(has)
    };
    match () {
        () if has("quotes") => "explain",
        () if has("verdict") => "criticise",
        () if has("questions") => "split",
        () if has("kind") => "plan",
        () if has("text") => "guess",
        () if has("terms") => "terms",
        () if has("queries") => "rephrase",
        () if schema.pointer("/properties/answer/const").is_some() => "verify",
        () if has("answer") && has("stated") => "judge",
        () if schema.pointer("/properties/answer/enum").is_some() => "affirm",
        () if has("answer") => "note",
        () if has("sentences") => "write",
        () => panic!("a schema that no agent is known to use: {schema}"),
    }
}

/// The answer of a reader who takes every question literally.
pub(crate) fn answer(user: &str, schema: &Value) -> Value {
    let question = question(user);
    match purpose(schema) {
        "plan" if names(&question).len() > 1 => json!({"kind": "several"}),
        "plan" => json!({"kind": "single"}),
        "split" => {
            let ask = |name: &String| format!("Which port does the {name} server listen on?");
            let questions: Vec<String> = names(&question).iter().map(ask).collect();
            json!({"kind": "several", "questions": questions})
        }
        "terms" => json!({"terms": ["setting", "network port", "address", "listen"]}),
        "guess" => json!({"text": format!("The manual says: {question}")}),
        "rephrase" => json!({"queries": ["network port of the server", "address and port"]}),
        "explain" => {
            let said = best_sentence(&question, user).unwrap_or_else(|| first_sentence(user));
            json!({"stated": stated(&question, user), "quotes": [said]})
        }
        "note" => match best_sentence(&question, user) {
            Some(quote) if schema.pointer("/anyOf/1/properties/quote").is_some() => {
                json!({"answer": quote, "quote": quote})
            }
            Some(answer) => json!({"answer": answer}),
            None => json!({"answer": "not stated"}),
        },
        "judge" | "verify" => {
            json!({"answer": word_of(user, schema), "stated": stated(&question, user)})
        }
        "affirm" => json!({"answer": stated(&question, user)}),
        "write" => {
            let sentences: Vec<Value> = numbered(user)
                .map(|(number, note)| json!({"text": said(note), "notes": [number]}))
                .collect();
            json!({"sentences": sentences})
        }
        "criticise" => json!({"verdict": "accept"}),
        other => panic!("no answer for {other}"),
    }
}

/// A word of the passage, for the nearest to an answer: a number, where it has one.
fn word_of(user: &str, schema: &Value) -> Value {
    for given in ["const", "enum/0", "x-quote-from/0/0"] {
        if let Some(given) = schema.pointer(&format!("/properties/answer/{given}")) {
            return given.clone();
        }
    }
    // A provider is not told which words it may take.
    let passage = user.split("\n\nQuestion: ").next().unwrap_or_default();
    let text = passage.split_once(":\n").map_or(passage, |(_, text)| text);
    let mut words = text.split_whitespace();
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let number = words.clone().find(is_number);
    json!(number.or(words.next()).unwrap_or_default())
}

fn stated(question: &str, user: &str) -> &'static str {
    let passage = user.split("\n\nQuestion: ").next().unwrap_or_default();
    if settles(question, passage) {
        "yes"
    } else {
        "no"
    }
}

/// The question that a message asks, after what it shows or before it.
pub(crate) fn question(user: &str) -> String {
    let line = user
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("Question: "));
    line.unwrap_or_default().to_owned()
}

/// The names of a question: its words with a capital, but for the first.
fn names(question: &str) -> Vec<String> {
    words(question)
        .skip(1)
        .filter(|word| word.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The words of a question that an answer must have.
fn keys(question: &str) -> Vec<String> {
    words(question)
        .skip(1)
        .filter(|word| word.len() >= 4 && !["does", "server"].contains(word))
        .map(str::to_lowercase)
        .collect()
}

fn settles(question: &str, quote: &str) -> bool {
    let quote = quote.to_lowercase();
    keys(question).iter().all(|key| quote.contains(key))
}

/// The sentences of the shown passages.
fn sentences(user: &str) -> impl Iterator<Item = &str> {
    user.lines()
        .filter(|line| !line.starts_with(['#', '[']) && !line.starts_with("Question: "))
        .flat_map(|line| line.split_inclusive(". "))
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
}

fn first_sentence(user: &str) -> String {
    sentences(user).next().unwrap_or_default().to_owned()
}

/// The sentence of the shown passages that has the most words of the question.
fn best_sentence(question: &str, user: &str) -> Option<String> {
    let score = |sentence: &str| {
        let sentence = sentence.to_lowercase();
        let keys = keys(question);
        keys.iter().filter(|key| sentence.contains(*key)).count()
    };
    // `max_by_key` takes the last of equals; the first is what a reader would take.
    let sentences: Vec<&str> = sentences(user).collect();
    let best = sentences.iter().rev().max_by_key(|text| score(text))?;
    (score(best) > 0).then(|| (*best).to_owned())
}

/// The lines `[1] ...` of a list.
fn numbered(user: &str) -> impl Iterator<Item = (usize, &str)> {
    user.lines().filter_map(|line| {
        let (number, rest) = line.strip_prefix('[')?.split_once("] ")?;
        Some((number.parse().ok().filter(|number| *number > 0)?, rest))
    })
}

/// What a note `(title) answer: "quote"` says.
fn said(note: &str) -> &str {
    let answer = note.split_once(") ").map_or(note, |(_, answer)| answer);
    answer.split_once(": \"").map_or(answer, |(said, _)| said)
}
