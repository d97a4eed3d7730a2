//! A conversation, as models are shown it and as the journal keeps it.

use journal::{List, Run};
use model::Message;

use crate::Result;

/// A conversation of a run. The journal keeps it as a list, so that a step costs what is new in it.
pub struct Conversation {
    messages: Vec<Message>,
    list: List,
}

impl Conversation {
    /// Nothing has been said yet.
    pub fn new(run: &Run) -> Conversation {
        Conversation {
            messages: Vec::new(),
            list: run.list(),
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

    /// Takes back what was said after the first `length` messages.
    ///
    /// # Errors
    /// As [`Conversation::push`].
    pub fn cut(&mut self, run: &Run, length: usize) -> Result<()> {
        if length < self.messages.len() {
            self.messages.truncate(length);
            self.list = run.list();
            for message in &self.messages {
                self.list.push(message)?;
            }
        }
        Ok(())
    }
}
