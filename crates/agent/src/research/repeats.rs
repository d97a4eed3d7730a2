//! Passages that say again what another one says: manuals repeat their options on several pages, folders hold
//! several versions of a page.

use std::collections::BTreeSet;

use knowledge::{Candidate, Passage};

use super::quoting::words;

/// The share of the words of two passages that both have, from which on one repeats the other. Of 90 development
/// facts it costs none the passage that answers; with .85 it costs one.
const ALIKE: f32 = 0.9;

/// Leaves out each passage that repeats an earlier one: it has the same numbers and nearly the same words, and no
/// word of the question that the earlier one lacks, headings included.
pub(super) fn without_repeats(question: &str, mut found: Vec<Candidate>) -> Vec<Candidate> {
    let asked = words(question);
    let mut kept: Vec<Said> = Vec::new();
    let mut first = |candidate: &Candidate| {
        let said = Said::of(&candidate.passage, &asked);
        let is_first = !kept.iter().any(|kept| said.repeats(kept));
        if is_first {
            kept.push(said);
        }
        is_first
    };
    found.retain(|candidate| first(candidate));
    found
}

/// What a passage says.
struct Said {
    words: BTreeSet<String>,
    numbers: BTreeSet<String>,
    /// The words of the question that it or its headings have.
    asked: BTreeSet<String>,
}

impl Said {
    fn of(passage: &Passage, asked: &BTreeSet<String>) -> Said {
        let all = format!(
            "{} {} {}",
            passage.title,
            passage.headings.join(" "),
            passage.text
        );
        let numbers = passage.text.split(|c: char| !c.is_ascii_digit());
        Said {
            words: words(&passage.text),
            numbers: numbers.map(str::to_owned).collect(),
            asked: words(&all).intersection(asked).cloned().collect(),
        }
    }

    fn repeats(&self, other: &Said) -> bool {
        let both = self.words.intersection(&other.words).count();
        let either = self.words.len() + other.words.len() - both;
        both as f32 >= ALIKE * either as f32
            && self.numbers == other.numbers
            && self.asked.is_subset(&other.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    fn left(question: &str, passages: &[(&str, &str)]) -> Vec<usize> {
        let found = passages.iter().enumerate().map(|(index, (title, text))| {
            let passage = Passage {
                id: index.to_string(),
                title: (*title).to_owned(),
                ..passage(text)
            };
            Candidate {
                passage,
                nearest: 0..0,
            }
        });
        let left = without_repeats(question, found.collect());
        let ids = left
            .iter()
            .map(|candidate| candidate.passage.id.parse().ok());
        ids.collect::<Option<_>>().unwrap_or_default()
    }

    #[test]
    fn the_first_of_those_that_say_the_same_is_left() {
        let text = "The job waits until all nodes that were allocated are ready, unless that was switched off by the administrator.";
        let reworded = text.replace("The job", "A job");
        let pages = [
            ("salloc", text),
            ("sbatch", &*reworded),
            ("srun", "It runs."),
        ];
        assert_eq!(left("When does a job begin?", &pages), [0, 2]);
        // What the question names is looked for on its own page.
        assert_eq!(
            left("When does a job begin with sbatch?", &pages),
            [0, 1, 2]
        );
    }

    #[test]
    fn another_number_is_another_thing() {
        let text = "The job waits for 30 seconds until all nodes that were allocated are ready, unless that was switched off.";
        let other = text.replace("30", "60");
        let pages = [("1.0", text), ("2.0", &*other), ("3.0", text)];
        assert_eq!(left("How long does a job wait?", &pages), [0, 1]);
    }
}
