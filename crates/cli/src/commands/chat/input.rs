//! What the person types: with line editing and history in a terminal, line by line without one.

use std::io::{BufRead as _, IsTerminal as _};

use agent::Kind;
use anyhow::Result;
use journal::{Journal, Page};
use rustyline::completion::Completer;
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use crate::commands::agents;

/// Conversations whose lines can be called back with the arrow keys.
const REMEMBERED: usize = 5;
/// Runs that are looked at for them.
const LOOKED_AT: usize = 30;

/// What came of asking for a line.
pub enum Line {
    /// This was typed.
    Text(String),
    /// What was being typed was thrown away with Ctrl-C.
    Cleared,
    /// There is no more.
    End,
}

/// Where lines come from.
pub enum Prompt {
    Terminal(Option<Box<Editor<Commands, MemHistory>>>),
    Plain,
}

impl Prompt {
    /// A prompt that remembers what was said in the last conversations. They are in the journal; there is
    /// no other history.
    pub async fn new(journal: &Journal) -> Prompt {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if !is_terminal {
            return Prompt::Plain;
        }
        let editor = Editor::with_history(Config::builder().build(), MemHistory::new());
        let Ok(mut editor) = editor else {
            return Prompt::Plain;
        };
        editor.set_helper(Some(Commands));
        editor.set_auto_add_history(true);
        // Without them one can talk as well.
        for line in remembered(journal).await.unwrap_or_default() {
            let _ = editor.add_history_entry(line);
        }
        Prompt::Terminal(Some(Box::new(editor)))
    }

    /// The next line. One that ends with a backslash goes on in the next.
    pub async fn next(&mut self) -> Result<Line> {
        let Prompt::Terminal(slot) = self else {
            return Ok(tokio::task::spawn_blocking(plain_line).await??);
        };
        let Some(mut editor) = slot.take() else {
            return Ok(Line::End);
        };
        let (editor, read) = tokio::task::spawn_blocking(move || {
            let read = editor.readline("> ");
            (editor, read)
        })
        .await?;
        *slot = Some(editor);
        match read {
            Ok(text) => Ok(Line::Text(text.replace("\\\n", "\n"))),
            Err(ReadlineError::Interrupted) => Ok(Line::Cleared),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error.into()),
        }
    }
}

fn plain_line() -> std::io::Result<Line> {
    let mut whole = String::new();
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(if whole.is_empty() {
                Line::End
            } else {
                Line::Text(whole)
            });
        }
        let line = line.trim_end_matches(['\n', '\r']);
        match line.strip_suffix('\\') {
            Some(begun) => {
                whole.push_str(begun);
                whole.push('\n');
            }
            None => {
                whole.push_str(line);
                return Ok(Line::Text(whole));
            }
        }
    }
}

/// What was said in the last conversations, the latest last.
async fn remembered(journal: &Journal) -> journal::Result<Vec<String>> {
    let page = Page {
        limit: LOOKED_AT,
        ..Page::default()
    };
    let runs = journal.runs(page).await?;
    let chats = runs
        .iter()
        .filter(|run| agents::input_of(run).is_some_and(|input| input.kind == Kind::Chat));
    let mut lines = Vec::new();
    for run in chats.take(REMEMBERED).collect::<Vec<_>>().into_iter().rev() {
        for step in journal.steps(&run.id).await? {
            let said = step.output.as_ref().and_then(|said| said["text"].as_str());
            if let Some(said) = said.filter(|_| step.path.ends_with("/user[0]")) {
                lines.push(said.to_owned());
            }
        }
    }
    Ok(lines)
}

/// Completes commands, and knows which lines go on.
pub struct Commands;

const COMMANDS: &[&str] = &["/attach ", "/end", "/exit", "/help", "/model "];

impl Helper for Commands {}
impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}

impl Completer for Commands {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or_default();
        if let Some(path) = typed.strip_prefix("/attach ") {
            let begin = typed.len() - path.len();
            return Ok((begin, files(path)));
        }
        let fit = COMMANDS.iter().filter(|command| command.starts_with(typed));
        let fit = fit.filter(|_| typed.starts_with('/'));
        Ok((0, fit.map(|command| (*command).to_owned()).collect()))
    }
}

/// Files whose path begins like this.
fn files(typed: &str) -> Vec<String> {
    let (folder, begin) = typed
        .rsplit_once('/')
        .map_or(("", typed), |(folder, begin)| (folder, begin));
    let shown = |name: &str| match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    let looked_in = if folder.is_empty() { "." } else { folder };
    let Ok(entries) = std::fs::read_dir(looked_in) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut fit: Vec<String> = names
        .filter(|name| name.starts_with(begin))
        .map(|name| shown(&name))
        .collect();
    fit.sort();
    fit
}

impl Validator for Commands {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        match context.input().ends_with('\\') {
            true => Ok(ValidationResult::Incomplete),
            false => Ok(ValidationResult::Valid(None)),
        }
    }
}
