//! What can be said against an answer without a model.
//!
//! Small models answer beside the question: about the documents' subject instead of the thing that was
//! asked for, or with words where a number was wanted. Both show in the words alone.

use std::collections::BTreeSet;

use knowledge::Passage;

use super::note::Note;
use super::quantities::Quantity;

/// What is left of the belief in an answer from a passage that does not mention a name of the question,
/// where mostly another document that goes by that name mentions it, or none: it is about something else.
const ABOUT_SOMETHING_ELSE: f32 = 0.15;
/// What is left of it when others of what was found mention the name: a system or a tool that the question
/// speaks of by the way.
const BY_THE_WAY: f32 = 0.5;
/// What is left of it when the name is in capitals throughout: such are often known by other words (NFS,
/// network file system).
const ABBREVIATED: f32 = 0.3;
/// What is left of it when the question asks for a quantity and the answer has none, or one of another measure.
const WITHOUT_QUANTITY: f32 = 0.2;
/// What is left of it when the answer only says the question again.
const SAID_AGAIN: f32 = 0.2;
/// Letters by which a name is recognised, so that `Postgres` is found in `PostgreSQL`; of one that shows by
/// its letters inside, like `CONTACTADDRESS1`, three quarters: with fewer it would be any contact.
const LETTERS: usize = 5;

/// How plausible the answer of `note` is, 0..1, given all passages that were `found` for the question, the
/// first `read` of which were read; `uncommon` are the words of the question that are no common English.
pub(super) fn plausibility(
    question: &str,
    uncommon: &[String],
    note: &Note,
    (found, read): (&[Passage], usize),
) -> f32 {
    let mut plausibility: f32 = 1.0;
    let read: Vec<&Passage> = found.iter().take(read).collect();
    for name in names(question, uncommon) {
        if names_another(&name, &note.passage, &read) {
            let left = match name.abbreviated {
                _ if is_by_the_way(&name, &note.passage, found) => BY_THE_WAY,
                true => ABBREVIATED,
                false => ABOUT_SOMETHING_ELSE,
            };
            plausibility = plausibility.min(left);
        }
    }
    if Quantity::asked(question).is_some_and(|asked| !asked.is_in(&note.answer)) {
        plausibility *= WITHOUT_QUANTITY;
    }
    if !can_be_affirmed(question) && adds_nothing(question, &note.answer) {
        plausibility *= SAID_AGAIN;
    }
    plausibility
}

/// A name in a question.
struct Name {
    /// Its beginning, in lower case.
    beginning: String,
    /// Whether it is in capitals throughout.
    abbreviated: bool,
}

impl Name {
    fn of(word: &str) -> Name {
        let letters = match word.chars().skip(1).any(is_telling) {
            true => LETTERS.max(word.chars().count() * 3 / 4),
            false => LETTERS,
        };
        Name {
            beginning: word.to_lowercase().chars().take(letters).collect(),
            abbreviated: word.chars().all(char::is_uppercase),
        }
    }
}

/// Whether a character shows, inside a word, that it is a name.
fn is_telling(c: char) -> bool {
    c.is_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Whether the passage does not mention `name`, unless most of what was `read` does: then it is what the
/// documents are about and goes without saying.
fn names_another(name: &Name, passage: &Passage, read: &[&Passage]) -> bool {
    let mentioning = read.iter().filter(|other| mentions(other, name)).count();
    !mentions(passage, name) && mentioning * 2 < read.len()
}

/// Whether most passages that were found to mention `name` are of no other document than that of `passage` that
/// goes by it.
fn is_by_the_way(name: &Name, passage: &Passage, found: &[Passage]) -> bool {
    let goes_by_it = |other: &Passage| {
        other.file != passage.file && (has(&other.title, name) || has(&other.file, name))
    };
    let mentioning: Vec<&Passage> = found.iter().filter(|other| mentions(other, name)).collect();
    let own = mentioning.iter().filter(|other| goes_by_it(other)).count();
    own * 2 < mentioning.len()
}

/// The names in a question: its `uncommon` words, options (`--record`), words with a capital that do not begin a
/// sentence, and words with a capital, digit or underscore inside.
fn names(question: &str, uncommon: &[String]) -> Vec<Name> {
    let mut names: Vec<Name> = uncommon.iter().map(|word| Name::of(word)).collect();
    let options = tokens(question).filter_map(|word| option(&word));
    names.extend(options.map(|beginning| Name {
        beginning,
        abbreviated: false,
    }));
    for sentence in question.split_inclusive(['.', '?', '!', ':']) {
        let words = sentence.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let words = words.filter(|word| !word.is_empty()).enumerate();
        for (index, word) in words.filter(|(_, word)| word.len() > 2) {
            let inner = word.chars().skip(1).any(is_telling);
            let is_number = word.chars().all(|c| c.is_ascii_digit());
            if !is_number && (inner || (index > 0 && word.starts_with(char::is_uppercase))) {
                names.push(Name::of(word));
            }
        }
    }
    names
}

/// The option of a program that a word is, without its value: `--record` of `--record=FILE`.
fn option(word: &str) -> Option<String> {
    let word = word.trim_matches('`').split('=').next()?;
    let name = word.trim_start_matches('-');
    let is_one =
        (1..=2).contains(&(word.len() - name.len())) && name.starts_with(char::is_alphabetic);
    is_one.then(|| word.to_owned())
}

fn mentions(passage: &Passage, name: &Name) -> bool {
    let headings = passage.headings.iter();
    let mut places = headings.chain([&passage.text, &passage.title, &passage.file]);
    places.any(|text| has(text, name))
}

fn has(text: &str, name: &Name) -> bool {
    let text = text.to_lowercase();
    let mut also = also(&name.beginning).iter();
    text.contains(&name.beginning) || also.any(|word| text.contains(word))
}

/// What documents call a system that goes by this name: what they say of it, they say of all of its kind.
fn also(name: &str) -> &'static [&'static str] {
    match name {
        "linux" => &["unix"],
        "macos" => &["os x", "mac os"],
        _ => &[],
    }
}

/// Whether an English question can be answered with yes or no. One that offers a choice ("Is it kept or
/// dropped?") wants one of the things that it names.
pub(super) fn can_be_affirmed(question: &str) -> bool {
    const FIRST: &[&str] = &[
        "is", "are", "was", "were", "do", "does", "did", "has", "have", "can", "could", "may",
        "might", "must", "will", "would", "shall", "should",
    ];
    let mut words = tokens(question);
    let first = words.next();
    first.is_some_and(|first| FIRST.contains(&first.as_str())) && words.all(|word| word != "or")
}

/// Whether an English answer has no word of meaning that its question does not have.
fn adds_nothing(question: &str, answer: &str) -> bool {
    const EMPTY: &[&str] = &[
        "a", "an", "the", "this", "that", "these", "those", "it", "its", "they", "them", "their",
        "there", "you", "your", "i", "my", "we", "our", "is", "are", "was", "be", "been", "do",
        "does", "has", "have", "can", "will", "to", "of", "in", "on", "at", "as", "by", "for",
        "from", "with", "and", "or", "so", "if", "when", "which", "what", "who", "how",
    ];
    // Of names like `OCTAVE_PATH` many begin alike: each adds something, unless it was asked with.
    let stem = |word: String| match word.chars().all(char::is_alphabetic) {
        true => word.chars().take(LETTERS).collect::<String>(),
        false => word,
    };
    let asked: BTreeSet<String> = tokens(question).map(stem).collect();
    tokens(answer)
        .filter(|word| !EMPTY.contains(&word.as_str()))
        .all(|word| asked.contains(&stem(word)))
}

/// The words of a text in lower case, without the punctuation around them.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace()
        .map(|word| word.trim_matches(|c: char| ".,;:!?()[]\"'".contains(c)))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The sentences of a question that end with a question mark, or all where none does.
pub(super) fn asked(question: &str) -> String {
    let sentences = question.split_inclusive(". ").map(str::trim);
    let asking: Vec<&str> = sentences
        .filter(|sentence| sentence.contains('?'))
        .collect();
    match asking.is_empty() {
        true => question.to_owned(),
        false => asking.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn passage(title: &str, text: &str) -> Passage {
        Passage {
            id: text.to_owned(),
            file: "a.md".to_owned(),
            title: title.to_owned(),
            ..testing::passage(text)
        }
    }

    fn of(question: &str, answer: &str, read: &[Passage]) -> f32 {
        with_uncommon(question, &[], answer, read)
    }

    fn with_uncommon(question: &str, uncommon: &[&str], answer: &str, read: &[Passage]) -> f32 {
        let [passage, ..] = read else { return 0.0 };
        let note = Note {
            question: question.to_owned(),
            quote: passage.text.clone(),
            answer: answer.to_owned(),
            passage: passage.clone(),
            grounded: true,
            readings: 1,
            borne_out: false,
            confidence: 0.0,
        };
        let uncommon: Vec<String> = uncommon.iter().map(|word| (*word).to_owned()).collect();
        plausibility(question, &uncommon, &note, (read, read.len()))
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
    fn a_program_in_lower_case_is_a_name_too() {
        let read = [
            passage("Borg: Packs", "A pack has 500 MB."),
            passage("Borg: Pools", "A pool has 8 places."),
        ];
        let of = |uncommon: &[&str]| {
            let question = "How big are the packs that restic writes?";
            with_uncommon(question, uncommon, "500 MB", &read)
        };
        assert_eq!(of(&[]), 1.0);
        assert_eq!(of(&["restic"]), ABOUT_SOMETHING_ELSE);
        // What the passage mentions is no other thing.
        assert_eq!(of(&["packs"]), 1.0);
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
    fn a_name_does_not_begin_a_sentence_and_an_abbreviation_counts_less() {
        let read = [
            passage(
                "Pools",
                "A pool on a network file system ends after an hour.",
            ),
            passage("Sessions", "A session ends after an hour."),
            passage("Doors", "A door stays open."),
        ];
        let of = |question| of(question, "An hour.", &read);
        assert_eq!(of("I made a pool. After what time does it end?"), 1.0);
        assert_eq!(of("When does a pool on NFS end?"), ABBREVIATED);
        assert_eq!(of("When does a Birch pool end?"), ABOUT_SOMETHING_ELSE);
        assert_eq!(of("When does a BirchFS pool end?"), ABOUT_SOMETHING_ELSE);
    }

    #[test]
    fn a_name_that_others_mention_is_one_by_the_way() {
        let mut read = vec![
            passage("Pools", "The size of the pool is 8."),
            passage("Doors", "On Linux a door stays open."),
            passage("Sessions", "A session ends after an hour."),
        ];
        let question = "How large is the pool on Linux?";
        assert_eq!(of(question, "It is 8.", &read), BY_THE_WAY);
        let mut on_unix = read.clone();
        on_unix[0] = passage("Pools", "On Unix-like systems the pool has 8.");
        assert_eq!(of(question, "It is 8.", &on_unix), 1.0);
        let mut other = passage("Linux pools", "They are larger.");
        other.file = "b.md".to_owned();
        read.push(other);
        read.push(passage("Rooms", "A room has a door."));
        assert_eq!(of(question, "It is 8.", &read), ABOUT_SOMETHING_ELSE);
        // That a guide has it in its title does not make it the guide's own.
        read.push(passage("Gates", "On Linux a gate stays shut."));
        read.extend(["Lamps", "Tables"].map(|title| passage(title, "They are old.")));
        assert_eq!(of(question, "It is 8.", &read), BY_THE_WAY);
    }

    #[test]
    fn an_option_and_most_of_a_long_name_must_be_mentioned() {
        let read = [
            passage("Pools", "A pool has a contact and keeps records for a day."),
            passage(
                "Doors",
                "A door of CONTACTADDRESS is kept with --record=FILE.",
            ),
            passage("Sessions", "A session ends after an hour."),
        ];
        let of = |question, read: &[Passage]| of(question, "A day.", read);
        for (question, left) in [
            ("How long does it keep records of the contact?", 1.0),
            ("How long are they kept with --record?", BY_THE_WAY),
            ("How long is CONTACTADDRESS1 kept?", BY_THE_WAY),
        ] {
            assert_eq!(of(question, &read), left, "{question}");
        }
        // The passage that mentions it, first.
        let question = "How long are they kept with `--record=x`?";
        let [other, mentioning, third] = read;
        assert_eq!(of(question, &[mentioning, other, third]), 1.0);
    }

    #[test]
    fn the_question_said_again_is_no_answer() {
        let read = [passage("Pools", "The pool shows grey suggestions.")];
        let of = |question, answer| of(question, answer, &read);
        let question = "How do I get the grey suggestions that the pool shows?";
        let again = "The pool shows you the grey suggestions.";
        assert_eq!(of(question, again), SAID_AGAIN);
        for answer in [
            "With -g.",
            "By pool --suggest.",
            "Ask the pool for suggestions.",
        ] {
            assert_eq!(of(question, answer), 1.0, "{answer}");
        }
        let question = "Which variable holds the path of the pool (pool-ups)?";
        assert_eq!(of(question, "POOL_PATH"), 1.0);
        assert_eq!(of(question, "pool-path."), 1.0);
        assert_eq!(of(question, "pool-ups"), SAID_AGAIN);
        let question = "Can the pool show grey suggestions?";
        assert_eq!(of(question, "The pool can show grey suggestions."), 1.0);
    }

    #[test]
    fn a_question_that_offers_a_choice_is_not_for_yes_or_no() {
        assert!(can_be_affirmed("Does it keep the files?"));
        assert!(!can_be_affirmed("Does it keep or drop the files?"));
        assert!(!can_be_affirmed("Which files does it keep?"));
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
        for answer in [
            "Once a month, by its keeper.",
            "Every day.",
            "It takes an hour.",
            "It is cleaned once.",
            "Only once per unique place.",
            "On every start of the server.",
            "Each time that a place is left.",
        ] {
            assert_eq!(of("How often is it cleaned?", answer), 1.0, "{answer}");
        }
        for answer in ["See section 3.2.1.", "Once it is full."] {
            assert_eq!(
                of("How often is it cleaned?", answer),
                WITHOUT_QUANTITY,
                "{answer}"
            );
        }
        for question in [
            "Which option says how many places it has?",
            "How do I set the maximum?",
            "What sets the maximum?",
            "It has how many places I want. Which option is it?",
        ] {
            assert_eq!(of(question, "It is pool_size."), 1.0, "{question}");
        }
        for question in [
            "I made it myself. How many places has it?",
            "What is the maximum of places?",
            "After how many days is it full?",
            "Which port has it?",
        ] {
            let plausible = of(question, "It is pool_size.");
            assert_eq!(plausible, WITHOUT_QUANTITY, "{question}");
        }
        let question = "How many places has it?";
        assert_eq!(of(question, "See pool3_size()."), WITHOUT_QUANTITY);
        assert_eq!(of(question, "Every place has it."), WITHOUT_QUANTITY);
        assert_eq!(of("How do I make it larger?", "Set pool_size."), 1.0);
    }
}
