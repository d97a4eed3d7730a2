//! What an agent has heard in a conversation, and what it has done: what its policies and checks go by.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::grounds::{Grounds, Invented};
use crate::promises::Deed;
use crate::{Label, Labels};

/// What an agent has heard in a conversation, and what it has done. It follows from the conversation alone, so a
/// resume and a replay come to the same.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    labels: Labels,
    grounds: Grounds,
    deeds: BTreeSet<Deed>,
    granted: BTreeSet<String>,
    doubted: BTreeSet<String>,
    /// Whether numbers are being worked out from what was said.
    works_out: bool,
}

impl Heard {
    /// Text that came to the agent: what it says may be named in calls from now on.
    pub fn text(&mut self, text: &str, labels: &Labels) {
        self.labels.join(labels);
        self.grounds.add(text);
    }

    /// Text that shows how to answer, such as an example: nobody has said what it says.
    pub fn pattern(&mut self, label: Label) {
        self.labels.add(label);
    }

    /// A call that was carried out, and whether it went well; `writes` is whether it changed the world.
    pub fn called(&mut self, deed: Deed) {
        self.deeds.insert(deed);
    }

    /// A person allowed this tool from now on.
    pub fn grant(&mut self, tool: &str) {
        self.granted.insert(tool.to_owned());
    }

    /// Whether a person has allowed this tool from now on.
    pub fn is_granted(&self, tool: &str) -> bool {
        self.granted.contains(tool)
    }

    /// A call was sent back because nobody had said what it names. The second time a person is asked.
    pub fn doubt(&mut self, tool: &str, arguments: &Value) {
        self.doubted.insert(format!("{tool} {arguments}"));
    }

    /// Whether this call was sent back before.
    pub fn is_doubted(&self, tool: &str, arguments: &Value) -> bool {
        self.doubted.contains(&format!("{tool} {arguments}"))
    }

    /// From whom the texts come that it has read.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The same for the calls of a program: the numbers that it comes to are said, where those are that it names.
    pub fn in_program(&self, program: &str) -> Heard {
        Heard {
            works_out: self.grounds.has_numbers_of(program),
            ..self.clone()
        }
    }

    /// A program has come to something. Its numbers are said, where those are that it names; other words are not.
    pub fn worked_out(&mut self, program: &str, came_to: &str) {
        if self.grounds.has_numbers_of(program) {
            self.grounds.add_numbers(came_to);
        }
    }

    /// What of a call's arguments nobody said.
    pub fn invented(&self, arguments: &Value, schema: &Value) -> Vec<Invented> {
        let mut invented = self.grounds.invented(arguments, schema);
        invented.retain(|one| !(self.works_out && one.is_number()));
        invented
    }

    /// What was said.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// What it has done.
    pub fn deeds(&self) -> impl Iterator<Item = &Deed> {
        self.deeds.iter()
    }

    /// Adds what was heard and done elsewhere, as by those who worked on the parts of a task. What a person
    /// allowed there from now on was allowed there.
    pub fn join(&mut self, other: &Heard) {
        self.labels.join(&other.labels);
        self.grounds.join(&other.grounds);
        self.deeds.extend(other.deeds.iter().cloned());
    }
}
