//! Teams: a sequence, a mixture, the best of several, a supervisor, a hand-off.

use std::sync::Arc;

use journal::Journal;
use journal::testing::{Scenario, crash_everywhere};
use model::{Output, Request, Response};
use plumb_agent::act::End;
use plumb_agent::reflect::{ModelCritic, SchemaCritic};
use plumb_agent::team::{Member, Way};
use plumb_agent::{Agent, Way as How};
use serde_json::json;

use crate::support::{
    Over, agent, answered, asked, calls, engine, instructions, model, new, says, silent,
};

fn member(name: &str, script: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Member {
    Member::new(name, &format!("Is a {name}."), agent(script))
}

fn team(way: Way, agent: Agent, members: Vec<Member>) -> Agent {
    let mut team = members
        .into_iter()
        .fold(agent, |team, member| team.member(member).unwrap());
    team.way = How::Team(way);
    team
}

pub(crate) fn sequence() -> Agent {
    let members = vec![
        member("writer", |request| {
            says(&format!("a text on {}", asked(request)))
        }),
        member("editor", |request| {
            let said = asked(request);
            says(&format!("better: {}", said.lines().last().unwrap()))
        }),
    ];
    team(Way::Sequence, agent(|_| says("never asked")), members)
}

pub(crate) fn mixture() -> Agent {
    let aggregator = agent(|request| {
        let said = asked(request);
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("I ")).collect();
        says(&lines.join(", "))
    });
    let members = vec![
        member("one", |request| says(&format!("I like {}", asked(request)))),
        member("other", |_| says("I do not")),
        // Has nothing to propose.
        member("third", |_| says("")),
    ];
    team(Way::Mixture, aggregator, members)
}

/// The second draft is the best: the model counts how hot it is by what it is asked, so each draft says its own name.
pub(crate) fn best_of() -> Agent {
    let writes = agent(|request| {
        assert!(request.temperature > 0.0);
        says("a draft")
    });
    let critic = ModelCritic {
        acting: plumb_agent::act::Acting::new(model(|request| {
            assert!(matches!(request.output, Output::Json(_)));
            says(r#"{"remarks": "", "score": 7, "accepted": false}"#)
        })),
        criteria: "short".to_owned(),
    };
    team(Way::BestOf(3, Arc::new(critic)), writes, Vec::new())
}

pub(crate) fn supervisor() -> Agent {
    let decides = agent(|request| {
        let last = asked(request);
        let next = match last.as_str() {
            "reader says:\n3 pages" => json!({"next": "ask", "who": "writer", "task": "3 pages"}),
            "writer says:\nwrote 3 pages" => json!({"next": "answer", "answer": "done"}),
            _ => json!({"next": "ask", "who": "reader", "task": last}),
        };
        says(&next.to_string())
    });
    let members = vec![
        member("reader", |_| says("3 pages")),
        member("writer", |request| {
            says(&format!("wrote {}", asked(request)))
        }),
    ];
    team(Way::Supervisor(8), decides, members)
}

pub(crate) fn hand_off() -> Agent {
    let speaks = |name: &'static str| {
        let mut agent = agent(move |request| {
            assert_eq!(instructions(request), name);
            match (name, asked(request).as_str()) {
                ("reception", "An invoice.") => calls(&[("hand_off_to_billing", json!({}))]),
                ("billing", "Open hours?") => calls(&[("hand_off_to_reception", json!({}))]),
                _ => says(&format!(
                    "{name} on {}, {} said",
                    asked(request),
                    request.messages.len()
                )),
            }
        });
        agent.instructions = name.to_owned();
        Member::new(name, &format!("Is {name}."), agent)
    };
    let members = vec![speaks("reception"), speaks("billing")];
    team(Way::HandOff(3), agent(|_| says("never asked")), members)
}

async fn over(make: fn() -> Agent, input: &str) -> Over {
    answered(make, input, silent).await
}

#[tokio::test]
async fn one_after_the_other_works_on_what_the_one_before_has_made() {
    let over = over(sequence, "ships").await;
    let acted = over.acted();
    assert_eq!(acted.text, "better: a text on ships");
    assert_eq!((acted.rounds, acted.end), (2, End::Answered));
    assert_eq!(over.steps, ["writer[0]/model[0]", "editor[1]/model[0]"]);
}

#[tokio::test]
async fn an_aggregator_makes_one_answer_of_what_is_proposed() {
    let over = over(mixture, "ships").await;
    assert_eq!(over.acted().text, "I like ships, I do not");
    let steps = [
        "one[0]/model[0]",
        "other[1]/model[0]",
        "third[2]/model[0]",
        "model[0]",
    ];
    assert_eq!(over.steps, steps);
}

#[tokio::test]
async fn the_best_draft_is_taken() {
    let over = over(best_of, "ships").await;
    assert_eq!(over.acted().text, "a draft");
    assert_eq!(over.steps.len(), 6, "{:?}", over.steps);
    // With a schema that is fulfilled by one of two drafts, that one wins.
    let run = over.journal.start(new("ships")).await.unwrap();
    let mut conversation = plumb_agent::act::Conversation::new(&run);
    conversation.push(model::Message::user("ships")).unwrap();
    let drafts = std::sync::atomic::AtomicU32::new(0);
    let with = plumb_agent::team::BestOf {
        writer: plumb_agent::act::Acting::new(model(move |_| {
            let number = drafts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            says(["no ship", r#"{"ship": 1}"#, "{}"][number as usize])
        })),
        drafts: 3,
        critic: Arc::new(SchemaCritic {
            schema: json!({"type": "object", "required": ["ship"]}),
        }),
    };
    let best = plumb_agent::team::best_of(&run, &with, &mut conversation, "ships")
        .await
        .unwrap();
    assert_eq!(best.acted.text, r#"{"ship": 1}"#);
    // Which of the drafts is written first is left to the threads.
    let mut scores = best.scores.clone();
    scores.sort_by(|a, b| b.partial_cmp(a).unwrap());
    assert_eq!(scores, [Some(10.0), Some(0.0), Some(0.0)]);
    assert_eq!(conversation.messages().len(), 2);
}

#[tokio::test]
async fn a_supervisor_says_who_is_next_until_it_answers() {
    let done = over(supervisor, "a book").await;
    let acted = done.acted();
    assert_eq!(
        (acted.text.as_str(), acted.calls, acted.end),
        ("done", 2, End::Answered)
    );
    assert_eq!(
        done.steps,
        [
            "model[0]",
            "reader[0]/model[0]",
            "model[1]",
            "writer[1]/model[0]",
            "model[2]"
        ]
    );
    fn goes_round() -> Agent {
        let decides = agent(|request| match request.output {
            Output::Json(ref schema) if schema["properties"]["answer"].is_object() => {
                says(r#"{"next": "answer", "answer": "what I know"}"#)
            }
            _ => says(r#"{"next": "ask", "who": "reader", "task": "it"}"#),
        });
        team(
            Way::Supervisor(8),
            decides,
            vec![member("reader", |_| says("the same"))],
        )
    }
    let round = over(goes_round, "a book").await.acted();
    assert_eq!(
        (round.text.as_str(), round.calls, round.end),
        ("what I know", 2, End::Loop)
    );
}

#[tokio::test]
async fn a_supervisor_that_goes_from_one_to_the_other_and_back_ends() {
    fn goes_round() -> Agent {
        let decides = agent(|request| match &request.output {
            Output::Json(schema) if schema["properties"]["answer"].is_object() => {
                says(r#"{"next": "answer", "answer": "what I know"}"#)
            }
            _ if asked(request).starts_with("reader says") => {
                says(r#"{"next": "ask", "who": "writer", "task": "it"}"#)
            }
            _ => says(r#"{"next": "ask", "who": "reader", "task": "it"}"#),
        });
        let members = vec![
            member("reader", |_| says("nothing")),
            member("writer", |_| says("a text")),
        ];
        team(Way::Supervisor(20), decides, members)
    }
    // The reader is asked for the third time and says the same for the third time.
    let round = over(goes_round, "a book").await.acted();
    assert_eq!((round.calls, round.end), (5, End::Loop));
}

/// A server that knows no schemas may ask on when it is to answer: that ends as an error, not never.
#[tokio::test]
async fn a_supervisor_that_asks_when_it_is_to_answer_fails() {
    fn goes_on() -> Agent {
        let decides = agent(|_| says(r#"{"next": "ask", "who": "reader", "task": "it"}"#));
        let members = vec![member("reader", |_| says("the same"))];
        team(Way::Supervisor(8), decides, members)
    }
    let journal = Journal::in_memory().unwrap();
    let id = journal.submit(new("a book")).await.unwrap().to_string();
    engine(journal.clone(), goes_on)
        .run_until_idle()
        .await
        .unwrap();
    let record = journal.run(&id).await.unwrap();
    let error = record.reason.unwrap_or_default();
    assert!(error.contains("asked reader once more"), "{error}");
}

#[tokio::test]
async fn a_conversation_goes_to_who_is_right_for_it() {
    let over = over(hand_off, "An invoice.").await;
    let acted = over.acted();
    // The system message, what the user said, the call and its result.
    assert_eq!(acted.text, "billing on An invoice., 4 said");
    assert_eq!(over.steps, ["reception[0]/model[0]", "billing[1]/model[0]"]);
    assert_eq!((acted.rounds, acted.calls), (2, 0));
}

#[tokio::test]
async fn who_has_taken_over_goes_on_and_nobody_hands_over_for_ever() {
    let journal = journal::Journal::in_memory().unwrap();
    let run = journal.start(new("")).await.unwrap();
    let How::Team(Way::HandOff(_)) = hand_off().way else {
        panic!("no hand-off")
    };
    let with = plumb_agent::team::HandOff {
        members: hand_off().acting.team,
        most: 1,
    };
    let mut conversation = plumb_agent::act::Conversation::new(&run);
    conversation
        .push(model::Message::user("An invoice."))
        .unwrap();
    let first = plumb_agent::team::hand_off(&run, &with, &mut conversation)
        .await
        .unwrap();
    assert_eq!((first.by.as_str(), first.times), ("billing", 1));
    conversation.push(model::Message::user("Thanks.")).unwrap();
    let second = run.scope("second", 0);
    let second = plumb_agent::team::hand_off(&second, &with, &mut conversation)
        .await
        .unwrap();
    assert_eq!((second.by.as_str(), second.times), ("billing", 0));
    let named = |acted: &plumb_agent::act::Acted| acted.text.split(' ').next().map(str::to_owned);
    assert_eq!(named(&second.acted).as_deref(), Some("billing"));
}

fn survives(test: &str, make: fn() -> Agent, least: u64) {
    let test = format!("teams::{test}");
    let scenario = Scenario::new(&test, new("ships"), move |journal| engine(journal, make));
    let crashes = crash_everywhere(&scenario).unwrap();
    assert!(crashes.kills >= least, "{crashes:?}");
}

#[test]
fn a_sequence_survives_every_crash() {
    survives("a_sequence_survives_every_crash", sequence, 10);
}

#[test]
fn a_mixture_survives_every_crash() {
    survives("a_mixture_survives_every_crash", mixture, 18);
}

#[test]
fn the_best_of_several_survives_every_crash() {
    survives("the_best_of_several_survives_every_crash", best_of, 24);
}

#[test]
fn a_supervisor_survives_every_crash() {
    survives("a_supervisor_survives_every_crash", supervisor, 20);
}

#[test]
fn a_hand_off_survives_every_crash() {
    fn invoice() -> Agent {
        hand_off()
    }
    let test = "teams::a_hand_off_survives_every_crash";
    let scenario = Scenario::new(test, new("An invoice."), |journal| engine(journal, invoice));
    assert!(crash_everywhere(&scenario).unwrap().kills >= 10);
}
