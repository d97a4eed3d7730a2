//! Labels of trust: from whom a text comes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// From whom a text comes, and so whether what it says may be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// The agent's author: its instructions and examples.
    System,
    /// The person whom the agent works for.
    User,
    /// A tool that computes its answer from its arguments, or from a clock.
    Computed,
    /// A document that the user counts as their own.
    Document,
    /// A page of the web.
    Web,
    /// A tool of which nobody knows who wrote what it answers: a server, a database, a mailbox.
    Tool,
    /// Another agent that may have read anything.
    Agent,
}

impl Label {
    /// The word for it: in policies, in the journal, and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Label::System => "system",
            Label::User => "user",
            Label::Computed => "computed",
            Label::Document => "document",
            Label::Web => "web",
            Label::Tool => "tool",
            Label::Agent => "agent",
        }
    }

    /// The label of a word.
    pub fn named(word: &str) -> Option<Label> {
        let all = [
            Label::System,
            Label::User,
            Label::Computed,
            Label::Document,
            Label::Web,
            Label::Tool,
            Label::Agent,
        ];
        all.into_iter().find(|label| label.as_str() == word)
    }

    /// Whether somebody else may have written it. Untrusted text is data: it must not cause anything.
    pub fn is_untrusted(self) -> bool {
        match self {
            Label::System | Label::User | Label::Computed | Label::Document => false,
            Label::Web | Label::Tool | Label::Agent => true,
        }
    }
}

/// From whom several texts come. What a model makes of them comes from all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeSet<Label>);

impl Labels {
    /// Whether any of them is untrusted.
    pub fn is_untrusted(&self) -> bool {
        self.0.iter().any(|label| label.is_untrusted())
    }

    /// Adds one.
    pub fn add(&mut self, label: Label) {
        self.0.insert(label);
    }

    /// Adds those of another text.
    pub fn join(&mut self, other: &Labels) {
        self.0.extend(&other.0);
    }

    /// Each of them, the most trusted first.
    pub fn iter(&self) -> impl Iterator<Item = Label> + '_ {
        self.0.iter().copied()
    }

    /// Their words with commas between them, for people.
    pub fn words(&self) -> String {
        let words: Vec<&str> = self.iter().map(Label::as_str).collect();
        words.join(", ")
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Labels {
        Labels(labels.into_iter().collect())
    }
}

impl From<Label> for Labels {
    fn from(label: Label) -> Labels {
        Labels(BTreeSet::from([label]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_untrusted_text_makes_all_of_it_untrusted() {
        let mut labels = Labels::from_iter([Label::System, Label::User, Label::Document]);
        assert!(!labels.is_untrusted());
        labels.join(&Label::Web.into());
        assert!(labels.is_untrusted());
        assert_eq!(labels.words(), "system, user, document, web");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in [
            "system", "user", "computed", "document", "web", "tool", "agent",
        ] {
            assert_eq!(Label::named(word).map(Label::as_str), Some(word));
            let read: Result<Label, _> = serde_json::from_value(word.into());
            assert_eq!(read.ok(), Label::named(word));
        }
        assert_eq!(Label::named("god"), None);
    }
}
