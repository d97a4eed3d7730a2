//! Questions that ask how something works or is done.

use model::Request;
use plumb_agent::research::Depth;
use serde_json::{Value, json};

use super::{World, honest, purpose, purposes, scripted, telling_after, user};

const CONSOLE: (&str, &str) = (
    "console.md",
    "# Console\n\nThe console is behind the door. To open the door, press the red key. Then wait until lamp 3 is lit. \
     The door closes by itself.\n",
);
const GARDEN: (&str, &str) = (
    "garden.md",
    "# Garden\n\nTomatoes want six hours of sun on each day of the summer.\n",
);
const QUESTION: &str = "How do I get to the console?";
/// What is picked, with the sentences around it.
const ANSWER: &str = "The console is behind the door. To open the door, press the red key. Then wait until lamp 3 is \
                      lit. The door closes by itself. [1]";

/// Picks the sentences about the door twice, and does not find that tomatoes explain anything.
fn picks(request: &Request) -> Value {
    let door = "To open the door, press the red key. Then wait until lamp 3 is lit.";
    match purpose(request) {
        "explain" if user(request).contains("red key") => {
            json!({"stated": "yes", "quotes": [door, door]})
        }
        "explain" => {
            json!({"stated": "no", "quotes": ["Tomatoes want six hours of sun on each day of the summer."]})
        }
        _ => honest(request),
    }
}

#[tokio::test]
async fn an_explanation_is_the_sentences_of_the_passage_that_explains() {
    let world = World::new(&[CONSOLE, GARDEN]);
    let (model, asked) = telling_after("red key", picks);
    let report = world.research(QUESTION, Depth::Normal, model).await;
    assert_eq!(report.answer, ANSWER);
    assert_eq!((report.unsupported, report.citations.len()), (0, 1));
    assert!(report.citations[0].verified);
    let purposes = purposes(&asked);
    assert_eq!(purposes.get("explain"), Some(&2));
    for unneeded in ["plan", "judge", "note", "verify", "write", "rephrase"] {
        assert_eq!(purposes.get(unneeded), None, "{unneeded}");
    }
}

#[tokio::test]
async fn where_no_passage_leads_to_the_question_it_is_not_explained() {
    let world = World::new(&[CONSOLE, GARDEN]);
    let (model, asked) = telling_after("nowhere", |request| match purpose(request) {
        "explain" => json!({"stated": "no", "quotes": picks(request)["quotes"]}),
        _ => honest(request),
    });
    let report = world.research(QUESTION, Depth::Quick, model).await;
    assert!(!report.answered && !report.nearest.is_empty());
    assert_eq!(purposes(&asked).get("rephrase"), Some(&1));
}

#[tokio::test]
async fn a_provider_explains_from_what_the_search_puts_first() {
    let world = World::new(&[CONSOLE, GARDEN]);
    let (model, _) = scripted(|request| Ok(picks(request)));
    let report = world.research(QUESTION, Depth::Quick, model).await;
    assert_eq!(report.answer, ANSWER);
}
