//! Questions of runs, asked at the terminal where somebody is there: while a run works, and when it waits.

use std::collections::HashSet;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use agent::act::guarding::Approval;
use anyhow::{Context as _, Result};
use journal::{Journal, OpenQuestion, Outcome, Run};
use serde_json::{Map, Value};

use super::research::cancel_on_interrupt;
use crate::view;

/// Whether somebody is there.
pub fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Whether a question asks for the next turn of a conversation.
pub fn is_turn(question: &OpenQuestion) -> bool {
    let path = &question.path;
    path.starts_with("turn[") && path.ends_with(&format!("/{}[0]", agent::chat::STEP))
}

/// Works on a run until it has ended, or waits for something that nobody here says. `work` begins the work again
/// each time somebody has answered. Ctrl-C parks the run.
pub async fn work_on<F, Fut>(journal: &Journal, run: Run, work: F) -> Result<Outcome>
where
    F: Fn(Run) -> Fut,
    Fut: Future<Output = journal::Result<Outcome>>,
{
    let id = run.id().to_string();
    let desk = Desk::new(journal, &id);
    let mut run = run;
    loop {
        // A call under way may ask as well: then the run does not wait, and its question is open.
        let asking = tokio::spawn(desk.clone().ask_whatever_comes());
        let interrupted = tokio::spawn(cancel_on_interrupt(run.clone()));
        let outcome = work(run).await;
        // Both have gone before somebody else may take the run up.
        for task in [asking, interrupted] {
            task.abort();
            drop(task.await);
        }
        let outcome = outcome?;
        if !matches!(outcome, Outcome::Parked(_)) || !is_somebody_there() {
            return Ok(outcome);
        }
        if desk.ask_all().await? == 0 {
            return Ok(outcome);
        }
        run = journal.resume(&id).await?;
    }
}

/// Asks what comes up in a run while `working` goes on, where somebody is there.
pub async fn watched<T>(
    journal: &Journal,
    run: &str,
    working: impl Future<Output = Result<T>>,
) -> Result<T> {
    let asking = tokio::spawn(Desk::new(journal, run).ask_whatever_comes());
    let worked = working.await;
    asking.abort();
    drop(asking.await);
    worked
}

/// Asks what a run that waits wants to know, but for approvals; whether anything has been answered.
pub async fn ask_open(journal: &Journal, run: &str) -> Result<bool> {
    Ok(is_somebody_there() && Desk::new(journal, run).ask_all().await? > 0)
}

/// Where the questions of a run are asked, each once.
#[derive(Clone)]
struct Desk {
    journal: Journal,
    run: String,
    asked: Arc<Mutex<HashSet<String>>>,
}

impl Desk {
    fn new(journal: &Journal, run: &str) -> Desk {
        Desk {
            journal: journal.clone(),
            run: run.to_owned(),
            asked: Arc::default(),
        }
    }

    /// Asks whatever is open, and says how many have been answered.
    async fn ask_all(&self) -> Result<usize> {
        let mut answered = 0;
        for question in self.journal.questions(Some(&self.run)).await? {
            // Approvals have a form of their own, and so have the turns of a conversation.
            if Approval::call_of(&question.schema).is_some() || is_turn(&question) {
                continue;
            }
            let is_new = {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.insert(question.path.clone())
            };
            if is_new && let Some(answer) = put(question.clone()).await? {
                self.journal
                    .answer(question.run.as_str(), &question.path, answer, &person())
                    .await?;
                answered += 1;
            }
        }
        Ok(answered)
    }

    async fn ask_whatever_comes(self) {
        if !is_somebody_there() {
            return;
        }
        let mut events = self.journal.watch();
        loop {
            if let Err(error) = self.ask_all().await {
                view::say(&format!("error: {error:#}"));
            }
            // What is missed is seen when the next event comes.
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
        }
    }
}

/// Who answers here.
fn person() -> String {
    std::env::var("USER").unwrap_or_else(|_| "the terminal".to_owned())
}

/// Asks at the terminal. In a thread of its own: a program that ends does not wait for what is typed.
async fn put(question: OpenQuestion) -> Result<Option<Value>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits any more when the run has ended.
        let _ = tell.send(typed(&question.text, &question.schema));
    });
    told.await.context("the terminal has gone")?
}

/// What somebody types as the answer; `None` where they leave it open.
fn typed(text: &str, schema: &Value) -> Result<Option<Value>> {
    view::say(&format!("? {text}"));
    let form = schema["anyOf"][0]
        .as_object()
        .map_or(schema, |_| &schema["anyOf"][0]);
    let words: Vec<&str> = schema["anyOf"][1]["enum"]
        .as_array()
        .map(|words| words.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if !words.is_empty() {
        view::say(&format!("  (or: {})", words.join(", ")));
    }
    let fields = form["properties"]
        .as_object()
        .filter(|fields| !fields.is_empty());
    let Some(fields) = fields.filter(|_| form["type"] == "object") else {
        return Ok(loop {
            let Some(line) = line(&format!("  {}> ", kind(form)))? else {
                break None;
            };
            match read(&line, form) {
                _ if words.contains(&line.as_str()) => break Some(line.into()),
                Some(value) => break Some(value),
                None => view::say("  that is not what is wanted; an empty line leaves it open"),
            }
        });
    };
    let mut object = Map::new();
    for (name, field) in fields {
        let about = field["description"].as_str().or(field["title"].as_str());
        let about = about.map_or_else(String::new, |about| format!(" ({about})"));
        let prompt = format!("  {name}{about}, {}> ", kind(field));
        while let Some(line) = line(&prompt)? {
            if words.contains(&line.as_str()) {
                return Ok(Some(line.into()));
            }
            if let Some(value) = read(&line, field) {
                object.insert(name.clone(), value);
                break;
            }
            view::say("  that is not what is wanted; an empty line leaves it out");
        }
    }
    Ok((!object.is_empty()).then_some(Value::Object(object)))
}

/// What can be typed, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices
            .iter()
            .map(|choice| {
                choice
                    .as_str()
                    .map_or_else(|| choice.to_string(), str::to_owned)
            })
            .collect();
        return choices.join(" | ");
    }
    match schema["type"].as_str() {
        Some("boolean") => "yes | no".to_owned(),
        Some("string") => "text".to_owned(),
        Some(kind @ ("number" | "integer")) => kind.to_owned(),
        _ => match schema.get("const") {
            Some(only) => only
                .as_str()
                .map_or_else(|| only.to_string(), str::to_owned),
            None => "JSON".to_owned(),
        },
    }
}

/// A line as a value of a schema; `None` where it is none.
fn read(line: &str, schema: &Value) -> Option<Value> {
    let fits = |value: &Value| {
        let choices = schema["enum"].as_array();
        let only = schema.get("const");
        choices.is_none_or(|choices| choices.contains(value))
            && only.is_none_or(|only| only == value)
    };
    let value = match schema["type"].as_str() {
        Some("boolean") => match line {
            "yes" | "y" | "true" => Some(true.into()),
            "no" | "n" | "false" => Some(false.into()),
            _ => None,
        },
        Some("string") => Some(line.into()),
        Some("integer") => line.parse::<i64>().ok().map(Value::from),
        Some("number") => line.parse::<f64>().ok().map(Value::from),
        _ => Some(serde_json::from_str(line).unwrap_or_else(|_| line.into())),
    };
    value.filter(fits)
}

/// Asks a question whose answer is yes or no.
pub fn yes(question: &str) -> Result<bool> {
    let answer = line(&format!("{question} [y/N] "))?;
    Ok(answer.is_some_and(|answer| matches!(answer.to_lowercase().as_str(), "y" | "yes")))
}

/// A line that somebody types; `None` where it is empty.
fn line(prompt: &str) -> Result<Option<String>> {
    let mut error = std::io::stderr().lock();
    error.write_all(prompt.as_bytes())?;
    error.flush()?;
    drop(error);
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_read_as_what_is_wanted() {
        let boolean = json!({"type": "boolean"});
        assert_eq!(read("yes", &boolean), Some(json!(true)));
        assert_eq!(read("perhaps", &boolean), None);
        assert_eq!(read("7", &json!({"type": "string"})), Some(json!("7")));
        assert_eq!(read("7", &json!({"type": "integer"})), Some(json!(7)));
        assert_eq!(read("seven", &json!({"type": "integer"})), None);
        let choice = json!({"type": "string", "enum": ["red", "blue"]});
        assert_eq!(read("red", &choice), Some(json!("red")));
        assert_eq!(read("green", &choice), None);
        assert_eq!(read("done", &json!({"const": "done"})), Some(json!("done")));
        assert_eq!(kind(&choice), "red | blue");
    }
}
