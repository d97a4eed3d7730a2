//! What can be said against an answer without a model.
//!
//! Small models answer beside the question: about the documents' subject instead of the thing that was
//! asked for, or with words where a number was wanted. Both show in the words alone.

use knowledge::Passage;

use super::note::Note;

/// What is left of the belief in an answer from a passage that does not mention a name of the question.
const ABOUT_SOMETHING_ELSE: f32 = 0.3;
/// What is left of it when the question asks for a quantity and the answer has none.
const WITHOUT_QUANTITY: f32 = 0.2;
/// Letters by which a name is recognised, so that `Postgres` is found in `PostgreSQL`.
const LETTERS: usize = 5;

/// How plausible the answer of `note` is, 0..1, given all passages that were `read` for the question.
pub(super) fn plausibility(question: &str, note: &Note, read: &[Passage]) -> f32 {
    let mut plausibility = 1.0;
    if names_another(question, &note.passage, read) {
        plausibility *= ABOUT_SOMETHING_ELSE;
    }
    if wants_quantity(question) && !has_quantity(&note.answer) {
        plausibility *= WITHOUT_QUANTITY;
    }
    plausibility
}

/// Whether the question has a name that the passage does not mention, unless most of what was read
/// does: then it is what the documents are about and goes without saying.
fn names_another(question: &str, passage: &Passage, read: &[Passage]) -> bool {
    names(question).iter().any(|name| {
        let mentioning = read.iter().filter(|other| mentions(other, name)).count();
        !mentions(passage, name) && mentioning * 2 < read.len()
    })
}

/// The beginnings of the names in a question: words with a capital that do not begin it, or with a
/// capital, digit or underscore inside.
fn names(question: &str) -> Vec<String> {
    question
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.len() > 2)
        .enumerate()
        .filter(|(index, word)| {
            let telling = |c: char| c.is_uppercase() || c.is_ascii_digit() || c == '_';
            let inner = word.chars().skip(1).any(telling);
            let is_number = word.chars().all(|c| c.is_ascii_digit());
            !is_number && (inner || (*index > 0 && word.starts_with(char::is_uppercase)))
        })
        .map(|(_, word)| word.to_lowercase().chars().take(LETTERS).collect())
        .collect()
}

fn mentions(passage: &Passage, name: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(name);
    has(&passage.text)
        || has(&passage.title)
        || has(&passage.file)
        || passage.headings.iter().any(|heading| has(heading))
}

/// Whether an English question asks how much, how many, how long, ... or for a port or a size.
pub(super) fn wants_quantity(question: &str) -> bool {
    const AFTER_HOW: &[&str] = &[
        "many", "much", "long", "large", "big", "often", "wide", "old", "high", "fast", "deep",
        "small", "short",
    ];
    const AFTER_WHICH: &[&str] = &["port", "size", "percentage"];
    const AFTER_THE: &[&str] = &[
        "most", "maximum", "minimum", "largest", "smallest", "longest",
    ];
    let words: Vec<String> = question
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    words.windows(2).any(|pair| match pair {
        [how, what] if how == "how" => AFTER_HOW.contains(&what.as_str()),
        [which, what] if which == "which" || which == "what" => {
            AFTER_WHICH.contains(&what.as_str())
        }
        [the, what] if the == "the" => AFTER_THE.contains(&what.as_str()),
        _ => false,
    })
}

/// Whether an English text says a number, a frequency, or that there is no limit.
fn has_quantity(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "zero",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "twenty",
        "thirty",
        "hundred",
        "thousand",
        "million",
        "billion",
        "twice",
        "half",
        "double",
        "never",
        "always",
        "forever",
        "unlimited",
        "infinite",
        "infinitely",
        "indefinitely",
        "immediately",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "yearly",
    ];
    // "One" and "every" are quantities before a unit only.
    const UNITS: &[&str] = &[
        "second", "minute", "hour", "day", "week", "month", "year", "byte", "kilobyte", "megabyte",
        "gigabyte", "terabyte", "percent",
    ];
    let text = text.to_lowercase();
    // The digit in a name such as `sqlite3_limit` is none.
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .collect();
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    words
        .iter()
        .any(|word| is_number(word) || WORDS.contains(word))
        || words
            .windows(2)
            .any(|pair| matches!(pair, ["one" | "every", unit] if UNITS.contains(unit)))
        || text.contains("no limit")
        || text.contains("not limited")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(title: &str, text: &str) -> Passage {
        Passage {
            id: text.to_owned(),
            file: "a.md".to_owned(),
            title: title.to_owned(),
            headings: Vec::new(),
            text: text.to_owned(),
            range: 0..text.len(),
            places: Vec::new(),
            ordinal: 0,
        }
    }

    fn of(question: &str, answer: &str, read: &[Passage]) -> f32 {
        let [passage, ..] = read else { return 0.0 };
        let note = Note {
            question: question.to_owned(),
            quote: passage.text.clone(),
            answer: answer.to_owned(),
            passage: passage.clone(),
            grounded: true,
            readings: 1,
            confidence: 0.0,
        };
        plausibility(question, &note, read)
    }

    #[test]
    fn a_passage_about_something_else_counts_little() {
        let read = [
            passage("PostgreSQL: Pools", "The size of the pool is 8."),
            passage("PostgreSQL: Sessions", "A session ends after an hour."),
        ];
        let question = "What is the size of the pool of Postgres?";
        assert_eq!(of(question, "It is 8.", &read), 1.0);
        let question = "What is the size of the pool of PgBouncer?";
        assert_eq!(of(question, "It is 8.", &read), ABOUT_SOMETHING_ELSE);
    }

    #[test]
    fn what_most_documents_are_about_goes_without_saying() {
        let read = [
            passage("Pools", "The size of the pool is 8."),
            passage("Sessions", "A session of Alder ends after an hour."),
        ];
        assert_eq!(of("How large is Alder's pool?", "It is 8.", &read), 1.0);
    }

    #[test]
    fn a_quantity_is_answered_with_one() {
        let read = [passage("Pools", "The pool has many places.")];
        let of = |question, answer| of(question, answer, &read);
        assert_eq!(
            of("How many places has it?", "It has pool_size places."),
            WITHOUT_QUANTITY
        );
        for answer in ["It has 8.", "It has eight.", "There is no limit."] {
            assert_eq!(of("How many places has it?", answer), 1.0, "{answer}");
        }
        let question = "How many places has it?";
        assert_eq!(of(question, "See pool3_size()."), WITHOUT_QUANTITY);
        assert_eq!(of("How do I make it larger?", "Set pool_size."), 1.0);
    }
}
