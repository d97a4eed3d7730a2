//! The plan as data: one question, or several that do not overlap.

use journal::Run;
use serde::Deserialize;
use serde_json::json;

use super::explaining::asks_for_explanation;
use super::options::Settings;
use super::plausibility::asked;
use super::{Depth, Input, Tools};
use crate::{Result, call};

/// The sub-questions of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What each branch works on; the user's own question when there is but one.
    pub questions: Vec<String>,
}

impl Plan {
    /// Whether the question takes the short way.
    pub(super) fn is_short(&self) -> bool {
        self.questions.len() == 1
    }
}

#[derive(Deserialize)]
struct Planned {
    kind: String,
    #[serde(default)]
    questions: Vec<String>,
}

/// Decides between the short way and a plan.
pub(super) async fn plan(
    run: &Run,
    tools: &Tools,
    input: &Input,
    settings: &Settings,
) -> Result<Plan> {
    let short = Plan {
        questions: vec![input.question.clone()],
    };
    if settings.questions == 1 {
        return Ok(short);
    }
    let definition = tools.agents.load("research/plan")?;
    let kind = json!({"type": "object", "properties": {"kind": {"enum": ["single", "several"]}},
        "required": ["kind"], "additionalProperties": false});
    let asked = vec![format!("Question: {}", input.question)];
    let question = &input.question;
    let is_certain = joins_names(question) || asks_twice(question) || asks_in_parallel(question);
    if input.depth == Depth::Normal && !is_certain {
        if !may_be_several(&input.question) {
            return Ok(short);
        }
        let request = call::request(&definition, &asked, kind);
        let planned: Planned = call::ask_json(
            run,
            "plan",
            &*tools.model,
            &request,
            "one question or several?",
        )
        .await?;
        if planned.kind == "single" {
            return Ok(short);
        }
    }
    let several = json!({
        "type": "object",
        "properties": {
            "kind": {"enum": ["several"]},
            "questions": {
                "type": "array", "minItems": 2, "maxItems": settings.questions,
                "items": {"type": "string", "minLength": 10, "maxLength": 160},
            },
        },
        "required": ["kind", "questions"], "additionalProperties": false,
    });
    let request = call::request(&definition, &asked, several);
    let planned: Planned =
        call::ask_json(run, "plan", &*tools.model, &request, "sub-questions").await?;
    let questions = distinct(planned.questions, settings.questions);
    // One that is the whole question again leaves nothing to the others.
    let is_whole = |question: &String| overlap(question, &input.question) >= 1.0;
    if questions.len() < 2
        || questions.iter().any(is_whole)
        || !questions.iter().all(|question| stands_alone(question))
    {
        Ok(short)
    } else {
        Ok(Plan { questions })
    }
}

/// Whether an English question has a word that joins or compares things. Without one it asks for one
/// thing, whatever a small model makes of it. What is said before a question ("It is stopped, and the file is
/// rotated. What becomes of ...?") asks for nothing.
fn may_be_several(question: &str) -> bool {
    let asked = asked(question);
    let question = asked.as_str();
    const JOINING: &[&str] = &[
        "and",
        "or",
        "both",
        "each",
        "between",
        "versus",
        "vs",
        "than",
        "respectively",
    ];
    const COMPARING: &[&str] = &["compar", "differ", "advantage", "contrast", "overview"];
    // "Photos with different focus" are not compared with anything; "how is it different from" is.
    let lower = question.to_lowercase().replace("different from", "differ");
    let mut words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| *word != "different");
    let compares = |word: &str| COMPARING.iter().any(|stem| word.starts_with(stem));
    // How something is done has room for an "and": "... brings me here and not there".
    let joins = match asks_for_explanation(question) {
        true => words.any(compares),
        false => words.any(|word| JOINING.contains(&word) || compares(word)),
    };
    // "List all ..." does, an access-list and a listener do not.
    let lists =
        lower.starts_with("list ") || lower.contains(" list all ") || lower.contains(" list of ");
    joins || lists || question.contains(['&', ';', '/']) || question.matches('?').count() > 1
}

/// Whether an English question asks one thing of two names ("Postgres and SQLite"): that is several
/// questions, which a small model overlooks.
fn joins_names(question: &str) -> bool {
    let words = question.split_whitespace();
    let words: Vec<&str> = words
        .map(|word| word.trim_matches([',', '?', '.']))
        .collect();
    let is_name = |word: &str| word.starts_with(char::is_uppercase);
    // The capital of the first word says nothing.
    words
        .iter()
        .skip(1)
        .zip(words.iter().skip(2))
        .zip(words.iter().skip(3))
        .any(|((one, joint), other)| {
            ["and", "or"].contains(joint) && is_name(one) && is_name(other)
        })
}

/// Whether an English question has a second one behind a joint ("..., and how many in SQLite?"): small models
/// overlook that, too.
fn asks_twice(question: &str) -> bool {
    const ASKING: &[&str] = &["how", "what", "which", "when", "where", "who", "why"];
    let lower = question.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut pairs = words.iter().zip(words.iter().skip(1));
    pairs.any(|(joint, word)| ["and", "or"].contains(joint) && ASKING.contains(word))
}

/// Whether an English question asks for things of two names behind the same preposition ("a field in Postgres, and a
/// string in SQLite").
fn asks_in_parallel<'a>(question: &'a str) -> bool {
    const BEFORE_NAMES: &[&str] = &["in", "under", "for", "with", "of", "by", "on"];
    const ARTICLES: &[&str] = &["a", "an", "the"];
    let words: Vec<&'a str> = question
        .split_whitespace()
        .map(|word| word.trim_matches([',', '?', '.', ':', ';']))
        .collect();
    // The prepositions before names, each with the name.
    let named = |words: &[&'a str]| -> Vec<(&'a str, &'a str)> {
        let behind = |(at, word): (usize, &&'a str)| {
            let mut after = words.get(at + 1..)?.iter();
            let name = after.find(|word| !ARTICLES.contains(word))?;
            let is_one = BEFORE_NAMES.contains(word) && name.starts_with(char::is_uppercase);
            is_one.then_some((*word, *name))
        };
        words.iter().enumerate().filter_map(behind).collect()
    };
    words.iter().enumerate().any(|(joint, word)| {
        let (before, after) = words.split_at(joint);
        let after = named(after);
        let has_like = |(preposition, name): (&str, &str)| {
            let like = |(other, another): &(&str, &str)| *other == preposition && *another != name;
            after.iter().any(like)
        };
        *word == "and" && named(before).into_iter().any(has_like)
    })
}

/// Whether an English question can be worked on without the one it was split from: "What do I do about
/// it?" cannot, because nothing in it says what "it" is.
fn stands_alone(question: &str) -> bool {
    const STANDING_FOR: &[&str] = &[
        "it", "its", "they", "them", "their", "this", "these", "those",
    ];
    const EMPTY: &[&str] = &[
        "what", "when", "where", "which", "does", "have", "will", "about", "should", "could",
        "would", "must", "with", "from", "need", "there",
    ];
    let lower = question.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let pronoun = words.iter().position(|word| STANDING_FOR.contains(word));
    let said = |word: &&str| word.len() >= 4 && !EMPTY.contains(word);
    pronoun.is_none_or(|pronoun| words.iter().take(pronoun).any(said))
}

/// Drops sub-questions that say the same words as an earlier one.
fn distinct(questions: Vec<String>, most: usize) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for question in questions {
        let question = question.trim().to_owned();
        if !question.is_empty() && kept.iter().all(|other| overlap(other, &question) < 0.85) {
            kept.push(question);
        }
    }
    kept.truncate(most);
    kept
}

/// The share of the words of the shorter question that the longer one has too, 0..1.
fn overlap(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> std::collections::BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let shorter = a.len().min(b.len()).max(1);
    let longer = a.len().max(b.len()).max(1);
    let common = a.intersection(&b).count();
    // Questions over several things differ in one word only: equal length with one word changed is
    // another question, so what counts is the share of the longer one.
    if common == shorter && common == longer {
        1.0
    } else {
        common as f64 / longer as f64 * 0.85
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_joins_nothing_is_one() {
        for several in [
            "Postgres and SQLite. Compare them.",
            "How do nginx and Apache differ?",
            "Which is faster than DRD?",
            "Compare the backup tools.",
            "List all backup tools.",
            "Which port does it use? Can it be changed?",
            "I use nginx. Which port and which user does it take?",
        ] {
            assert!(may_be_several(several), "{several}");
        }
        for one in [
            "What happens to inserts while I build an index?",
            "How does a run survive a crash?",
            "In which steps are the entries of an access-list numbered?",
            "The server is stopped, and its log is moved away. Where does it write then?",
            "Which port does the listener take?",
            "How do I put pictures with different focus together?",
            "Why does it bring me to the link and not to the folder?",
        ] {
            assert!(!may_be_several(one), "{one}");
        }
    }

    #[test]
    fn one_thing_of_two_names_is_several_questions() {
        assert!(joins_names("Which port do Postgres and SQLite use?"));
        assert!(joins_names(
            "What is the size of a page in Postgres or SQLite?"
        ));
        assert!(!joins_names("Are Postgres servers fast and safe?"));
        assert!(!joins_names(
            "Which port does Postgres use, and can I change it?"
        ));
        assert!(!joins_names("When and where?"));
    }

    #[test]
    fn names_behind_the_same_preposition_are_several_questions() {
        for several in [
            "How big can one value be: a field in Postgres, and a string or blob in SQLite as shipped?",
            "Which port for the Alder server and which user for Birch?",
        ] {
            assert!(asks_in_parallel(several), "{several}");
        }
        for one in [
            "Which keys are read in Alder and kept in the cache?",
            "Which keys are read in Alder and kept for Birch?",
            "Which keys are stored in Alder and read in Alder?",
        ] {
            assert!(!asks_in_parallel(one), "{one}");
        }
    }

    #[test]
    fn a_second_question_behind_a_joint_is_seen() {
        for twice in [
            "How large may a row be in Postgres and how large in SQLite?",
            "When is it written, and where?",
        ] {
            assert!(asks_twice(twice), "{twice}");
        }
        for once in [
            "How are dates and times written?",
            "What is kept and for how long?",
        ] {
            assert!(!asks_twice(once), "{once}");
        }
    }

    #[test]
    fn a_question_that_rests_on_another_is_not_worked_on_alone() {
        assert!(!stands_alone("What do I have to do about it?"));
        assert!(!stands_alone("How should they be set?"));
        assert!(stands_alone(
            "How long is a session kept, and can it be changed?"
        ));
        assert!(stands_alone("What is a session?"));
    }

    #[test]
    fn the_same_question_twice_is_asked_once() {
        let same = |s: &str| s.to_owned();
        let questions = vec![
            same("What is the default port of PostgreSQL?"),
            same("what is the default port of postgresql"),
            same("What is the default port of Redis?"),
        ];
        assert_eq!(distinct(questions, 4).len(), 2);
    }
}
