//! Questions that are answered with yes or no.

use model::Request;
use plumb_agent::research::Depth;
use serde_json::json;

use super::{
    FILES, World, honest, in_form, purpose, purposes, scripted, stated, telling_after, user,
};

#[tokio::test]
async fn a_question_for_yes_or_no_is_answered_with_the_sentence_that_leads_to_it() {
    let world = World::new(FILES);
    // About the other passages it would say yes; of two sentences that lead to the question, one says what the passage
    // does.
    let (model, asked) =
        telling_after("Alder server", |request: &Request| match purpose(request) {
            "affirm" if user(request).contains("plain HTTP") => json!({"answer": "no"}),
            "affirm" => json!({"answer": "yes"}),
            "judge" if user(request).contains("port 4711") => {
                json!({"answer": "no", "stated": "no"})
            }
            "judge" => json!({"answer": "yes", "stated": "yes"}),
            _ => honest(request),
        });
    let question = "Does the Alder server speak SMTP?";
    let report = world.research(question, Depth::Quick, model).await;
    insta::assert_snapshot!(report.answer, @"No. It speaks plain HTTP and nothing else at all. [1]");
    assert_eq!(
        report.citations[0].quote,
        "It speaks plain HTTP and nothing else at all."
    );
    assert!(report.citations[0].verified && report.unsupported == 0);
    assert_eq!(purposes(&asked).get("note"), None);
}

#[tokio::test]
async fn where_no_sentence_leads_to_it_yes_and_no_are_not_answered() {
    let world = World::new(FILES);
    let (model, asked) = telling_after("nowhere", |request: &Request| match purpose(request) {
        "judge" => json!({"answer": "yes", "stated": "yes"}),
        _ => honest(request),
    });
    let question = "Does the Alder server speak SMTP?";
    let report = world.research(question, Depth::Quick, model).await;
    assert!(!report.answered && !report.nearest.is_empty());
    assert_eq!(purposes(&asked).get("rephrase"), Some(&1));
}

#[tokio::test]
async fn a_provider_reads_a_question_for_yes_or_no_like_any_other() {
    let world = World::new(FILES);
    let (model, _) = scripted(|request| {
        let answer = json!({"answer": "No, it speaks plain HTTP only.",
            "quote": "It speaks plain HTTP and nothing else at all."});
        Ok(match purpose(request) {
            "judge" => json!({"answer": "no", "stated": "yes"}),
            "note" => in_form(answer, request),
            "verify" => stated(request),
            _ => honest(request),
        })
    });
    let question = "Does the Alder server speak SMTP?";
    let report = world.research(question, Depth::Quick, model).await;
    insta::assert_snapshot!(report.answer, @"No, it speaks plain HTTP only. [1]");
    assert_eq!(
        report.citations[0].quote,
        "It speaks plain HTTP and nothing else at all."
    );
}
