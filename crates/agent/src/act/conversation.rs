//! A conversation, as models are shown it and as the journal keeps it.

use journal::{List, Run};
use model::{Message, Model, Role};

use crate::{Result, call};

/// A conversation of a run. The journal keeps it as a list, so that a step costs what is new in it.
pub struct Conversation {
    messages: Vec<Message>,
    list: List,
    /// How many messages have been counted, and their tokens.
    counted: (usize, u64),
}

impl Conversation {
    /// Nothing has been said yet.
    pub fn new(run: &Run) -> Conversation {
        Conversation {
            messages: Vec::new(),
            list: run.list(),
            counted: (0, 0),
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`crate::Error::Journal`] when it cannot be written as JSON.
    pub fn push(&mut self, message: Message) -> Result<()> {
        self.list.push(&message)?;
        self.messages.push(message);
        Ok(())
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

    /// Takes back what was said after the first `length` messages.
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

    /// The instructions it begins with.
    pub fn instructions(&self) -> Option<String> {
        let first = self.messages.first();
        let first = first.filter(|first| first.role == Role::System);
        first.map(|first| first.text().into_owned())
    }

    /// The same, which goes its own way from here.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn copy(&self, run: &Run) -> Result<Conversation> {
        let mut copy = Conversation::new(run);
        for message in &self.messages {
            copy.push(message.clone())?;
        }
        Ok(copy)
    }

    /// The same with other instructions, made of its own, which may be none.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn with_instructions(
        &self,
        run: &Run,
        instructions: impl FnOnce(&str) -> String,
    ) -> Result<Conversation> {
        let own = self.instructions();
        let mut other = Conversation::new(run);
        let instructions = instructions(own.as_deref().unwrap_or_default());
        if !instructions.is_empty() {
            other.push(Message::system(instructions))?;
        }
        for message in self.messages.iter().skip(usize::from(own.is_some())) {
            other.push(message.clone())?;
        }
        Ok(other)
    }
}
