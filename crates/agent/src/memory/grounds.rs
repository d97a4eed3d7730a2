//! Who said something: found out by comparing words, without a model, because a model says what it likes.

use std::collections::HashSet;

use knowledge::memory::Said;

/// Words that say nothing about where something comes from.
const LITTLE: &[&str] = &[
    "a", "an", "the", "of", "to", "in", "on", "at", "for", "and", "or", "is", "are", "was", "be",
    "by", "with", "i", "my", "me", "you", "your", "user", "his", "her", "their", "it", "its", "as",
    "that",
];

/// What was said by whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds {
    user: HashSet<String>,
    tool: HashSet<String>,
}

impl Grounds {
    /// From texts of the user and of tools.
    pub(super) fn new<'a>(
        user: impl IntoIterator<Item = &'a str>,
        tool: impl IntoIterator<Item = &'a str>,
    ) -> Grounds {
        Grounds {
            user: user.into_iter().flat_map(words).collect(),
            tool: tool.into_iter().flat_map(words).collect(),
        }
    }

    /// Who said this: the user, if all its words are theirs; else a tool, if all are its; else the model did.
    pub(super) fn who(&self, text: &str) -> Said {
        let words: Vec<String> = words(text)
            .filter(|word| !LITTLE.contains(&word.as_str()))
            .collect();
        let all_in = |said: &HashSet<String>| words.iter().all(|word| said.contains(word));
        match () {
            () if words.is_empty() => Said::Agent,
            () if all_in(&self.user) => Said::User,
            () if all_in(&self.tool) => Said::Tool,
            () => Said::Agent,
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_said_it_is_found_in_the_words() {
        let grounds = Grounds::new(
            ["I moved to Basel, and my favourite tea is green tea."],
            ["Account 4711 belongs to Bo."],
        );
        for (text, who) in [
            ("Basel", Said::User),
            ("green tea", Said::User),
            ("the user moved to Basel", Said::User),
            ("4711", Said::Tool),
            ("Basel 4711", Said::Agent),
            ("Bern", Said::Agent),
            ("the", Said::Agent),
        ] {
            assert_eq!(grounds.who(text), who, "{text}");
        }
    }
}
