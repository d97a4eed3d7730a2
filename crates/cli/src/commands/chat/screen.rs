//! What the person sees: an answer as it arrives, then laid out block by block; plain text or JSON where
//! there is no terminal.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent::act::{Acted, Progress};
use agent::chat::{Event, Said};
use console::{Term, measure_text_width};
use model::Delta;
use serde_json::{Value, json};

use super::markdown::{Look, render, tame};
use crate::commands::agents::{line, remark};
use crate::view;

/// Turns that are shown again when a conversation is taken up.
const SHOWN_AGAIN: usize = 3;

/// What the person sees.
pub struct Screen(Mutex<State>);

struct State {
    json: bool,
    /// The terminal, where standard output is one.
    terminal: Option<Term>,
    /// Turns that have been shown.
    shown: usize,
    /// Whether the first question has been reached: what was before was said in another process.
    live: bool,
    /// Turns of another process, to be shown once it is known which are the last.
    before: Vec<(String, String)>,
    said: String,
    /// The model that a turn has switched to last.
    model: Option<String>,
    calls: Vec<Value>,
    /// The part of the answer that is not laid out yet, as it stands on the screen.
    block: String,
    /// Whether any piece of this turn's answer has been shown.
    streamed: bool,
    /// Whether a turn could not be answered.
    failed: bool,
}

impl Screen {
    pub fn new(json: bool) -> Screen {
        let is_terminal = std::io::stdout().is_terminal() && !json;
        Screen(Mutex::new(State {
            json,
            terminal: is_terminal.then(Term::stdout),
            shown: 0,
            live: false,
            before: Vec::new(),
            said: String::new(),
            model: None,
            calls: Vec::new(),
            block: String::new(),
            streamed: false,
            failed: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model that a turn has switched to last.
    pub fn model(&self) -> Option<String> {
        self.lock().model.clone()
    }

    /// Whether a turn could not be answered.
    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// The person is asked: from now on everything is new.
    pub fn ready(&self, id: &str, model: &str) {
        let mut state = self.lock();
        if state.live {
            return;
        }
        state.live = true;
        let before = std::mem::take(&mut state.before);
        if state.terminal.is_some() {
            view::say(&format!(
                "{model} (conversation {id}); /help lists what can be typed"
            ));
            for (said, answer) in before.iter().rev().take(SHOWN_AGAIN).rev() {
                state.write(&format!("> {}\n", tame(said)));
                state.lay_out(answer);
            }
        }
    }

    /// Shows what goes on in a turn; one that has been shown is told again when the run goes on.
    pub fn show(&self, turn: usize, event: Event) {
        let mut state = self.lock();
        if turn < state.shown {
            return;
        }
        match event {
            Event::Said(said) => state.begin(said),
            Event::Progress(progress) => state.progress(progress),
            Event::Answered(acted) => {
                state.shown = turn + 1;
                state.end(turn, &acted);
            }
            Event::Failed(error) => {
                state.shown = turn + 1;
                state.failed(turn, &error);
            }
        }
    }
}

impl State {
    fn begin(&mut self, said: Said) {
        self.said = said.text;
        self.model = said.model.or(self.model.take());
        self.calls.clear();
        self.block.clear();
        self.streamed = false;
    }

    fn progress(&mut self, progress: Progress) {
        match &progress {
            Progress::Piece(Delta::Text { text }) => self.piece(text),
            Progress::Piece(_) | Progress::Answered { .. } => {}
            Progress::Calling { .. } | Progress::Working { .. } => {
                self.finish_block();
                self.tell(&progress);
            }
            Progress::Called { tool, answer } => {
                self.calls.push(
                    json!({"tool": tool, "answer": answer.text(), "error": answer.is_error()}),
                );
                self.tell(&progress);
            }
        }
    }

    /// A line about tools, where somebody sees it now.
    fn tell(&self, progress: &Progress) {
        if let Some(line) = line(progress).filter(|_| self.terminal.is_some()) {
            view::say(&line);
        }
    }

    /// Shows a piece of the answer as it is, and lays out the blocks that it completes.
    fn piece(&mut self, text: &str) {
        self.streamed = true;
        if self.json {
            return;
        }
        let text = tame(text);
        if self.terminal.is_none() {
            self.write(&text);
            return;
        }
        for part in text.split_inclusive('\n') {
            self.write(part);
            self.block.push_str(part);
            if part.ends_with('\n') && is_complete(&self.block) {
                self.finish_block();
            }
        }
    }

    /// Puts the block as it is laid out in the place where it stands as it was written.
    fn finish_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        let Some(terminal) = &self.terminal else {
            return;
        };
        if block.trim().is_empty() {
            return;
        }
        let (height, width) = terminal.size();
        let (height, width) = (usize::from(height), usize::from(width).max(1));
        let rows: usize = block
            .lines()
            .map(|line| measure_text_width(line).div_ceil(width).max(1))
            .sum();
        if !block.ends_with('\n') {
            self.write("\n");
        }
        // What has scrolled away cannot be replaced.
        if rows + 1 >= height {
            return;
        }
        let up = terminal.clear_last_lines(rows);
        if up.is_ok() {
            self.lay_out(&block);
        }
    }

    fn lay_out(&self, markdown: &str) {
        self.write(&render(markdown, Look::of_terminal()));
    }

    fn end(&mut self, turn: usize, acted: &Acted) {
        if !self.live && !self.streamed {
            // The journal answered: it was said in another process.
            let said = std::mem::take(&mut self.said);
            self.before.push((said, acted.text.clone()));
            return;
        }
        self.deliver(turn, acted);
    }

    fn deliver(&mut self, turn: usize, acted: &Acted) {
        if self.json {
            let value = super::turn_json(turn, &self.said, &json!(acted), &self.calls);
            self.write(&format!("{value}\n"));
            return;
        }
        match (&self.terminal, self.streamed) {
            (Some(_), true) => self.finish_block(),
            (Some(_), false) => self.lay_out(&acted.text),
            (None, true) => self.write("\n"),
            (None, false) => self.write(&format!("{}\n", tame(&acted.text))),
        }
        if let Some(remark) = remark(acted.end) {
            view::say(&format!("note: {remark}"));
        }
    }

    fn failed(&mut self, turn: usize, error: &str) {
        if !self.live {
            return;
        }
        self.failed = true;
        self.finish_block();
        if self.terminal.is_none() && self.streamed && !self.json {
            self.write("\n");
        }
        if self.json {
            self.write(&format!(
                "{}\n",
                json!({"turn": turn, "user": self.said, "error": error})
            ));
        }
        view::say(&format!("error: {}", tame(error)));
        view::say("what you said is forgotten; say it again, or switch with /model");
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone shows itself at the next line that is read.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Whether a block has come to its end: an empty line, outside of a code fence; or the end of the fence.
fn is_complete(block: &str) -> bool {
    let fences = block
        .lines()
        .filter(|line| line.trim_start().starts_with("```"))
        .count();
    match fences {
        0 => block.ends_with("\n\n"),
        fences => fences % 2 == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_at_empty_lines_and_with_their_fence() {
        for (block, complete) in [
            ("One.\n", false),
            ("One.\n\n", true),
            ("```\na\n\nb\n", false),
            ("```\na\n\nb\n```\n", true),
            ("Text\n```rust\na\n```\n", true),
        ] {
            assert_eq!(is_complete(block), complete, "{block:?}");
        }
    }
}
