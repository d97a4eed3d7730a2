//! A conversation, as models are shown it and as the journal keeps it.

use guard::{Heard, Label, Labels};
use journal::{List, Run};
use model::{Message, Model, Part, Role, ToolResult};

use super::Called;
use crate::{Result, call};

/// A conversation of a run. The journal keeps it as a list, so that a step costs what is new in it.
pub struct Conversation {
    messages: Vec<Message>,
    list: List,
    heard: Heard,
    /// How many messages have been counted, and their tokens.
    counted: (usize, u64),
}

impl Conversation {
    /// Nothing has been said yet.
    pub fn new(run: &Run) -> Conversation {
        Conversation::knowing(run, Heard::default())
    }

    /// Nothing has been said yet; but who takes part in it has heard this elsewhere, as the worker on a part of a
    /// task has.
    pub fn knowing(run: &Run, heard: Heard) -> Conversation {
        Conversation {
            messages: Vec::new(),
            list: run.list(),
            heard,
            counted: (0, 0),
        }
    }

    /// Adds a message of whom its role says: of the agent's author, of the user, or of the model, which says
    /// nothing that counts as said. What tools answered is added by [`Conversation::results`]; here it counts
    /// as untrusted.
    ///
    /// # Errors
    /// [`crate::Error::Journal`] when it cannot be written as JSON.
    pub fn push(&mut self, message: Message) -> Result<()> {
        let label = match message.role {
            Role::System => Label::System,
            Role::User => Label::User,
            Role::Assistant => return self.made(message),
            Role::Tool => Label::Tool,
        };
        self.push_from(message, &label.into())
    }

    /// Adds a message that comes from others than its role says.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn push_from(&mut self, message: Message, labels: &Labels) -> Result<()> {
        for part in message.parts() {
            match part {
                Part::Text { text } => self.heard.text(&text, labels),
                Part::ToolResult(result) => self.heard.text(&result.content, labels),
                Part::Media(_) => self.heard.pattern(Label::Document),
                Part::Reasoning(_) | Part::ToolCall(_) => {}
            }
        }
        self.made(message)
    }

    /// Adds a message that nobody has said: the model made it from what it has heard, or it shows how to
    /// answer. What it names is not grounded by it.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn made(&mut self, message: Message) -> Result<()> {
        self.list.push(&message)?;
        self.messages.push(message);
        Ok(())
    }

    /// Adds what tools answered, each from where its answer comes.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn results(&mut self, results: Vec<ToolResult>, called: &[Called]) -> Result<()> {
        called
            .iter()
            .for_each(|called| called.tell(&mut self.heard));
        self.made(Message::results(results))
    }

    /// What has been heard in it and done.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The same, for what is done beside it on its behalf, as by a script.
    pub fn heard_mut(&mut self) -> &mut Heard {
        &mut self.heard
    }

    /// What has been said.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The same for the journal.
    pub(super) fn list(&self) -> &List {
        &self.list
    }

    /// The tokens of all messages, at most. What has been counted once is not counted again.
    pub(super) fn tokens(&mut self, model: &dyn Model) -> u64 {
        let (from, tokens) = self.counted;
        let new = self.messages.iter().skip(from);
        let new: u64 = new.map(|message| call::tokens_of(model, message)).sum();
        self.counted = (self.messages.len(), tokens + new);
        tokens + new
    }

    /// Takes back what was said after the first `length` messages. What was heard and done stays: it may be
    /// in the world by now.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn cut(&mut self, run: &Run, length: usize) -> Result<()> {
        if length < self.messages.len() {
            self.messages.truncate(length);
            self.list = run.list();
            self.counted = (0, 0);
            for message in &self.messages {
                self.list.push(message)?;
            }
        }
        Ok(())
    }
}
