//! Agents as tools of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use journal::testing::{Scenario, crash_everywhere};
use plumb_agent::act::End;
use plumb_agent::plan::Plans;
use plumb_agent::reflect::Person;
use plumb_agent::team::Member;
use plumb_agent::{Agent, Error, Way};
use serde_json::{Value, json};
use tool::{Effect, Function, SetupError};

use crate::support::{agent, answered, asked, calls, engine, new, says, silent, told};

/// Looks things up with a tool, and does not know what mustard is.
fn reader() -> Agent {
    let lookup = Function::new("lookup", "Looks up.", |what: Value, _| async move {
        match what["what"].as_str() {
            Some("mustard") => Err("there is no mustard".into()),
            Some(what) => Ok(format!("{what} is here")),
            None => Err("what?".into()),
        }
    });
    let schema =
        json!({"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]});
    let lookup = lookup.parameters(schema).effect(Effect::Read);
    let reads = agent(|request| match told(request).last() {
        None => calls(&[("lookup", json!({"what": asked(request)}))]),
        Some(found) => says(&format!("read: {found}")),
    });
    reads.tool(Arc::new(lookup)).unwrap()
}

/// Writes, and lets a person judge what it has written.
fn writer() -> Agent {
    let mut writer = agent(|request| says(&format!("wrote: {}", asked(request))));
    writer.way = Way::Reflect(Arc::new(Person), 1);
    writer
}

/// Has things read, two at once, and then written.
fn editor() -> Agent {
    let editor = agent(|request| match told(request).as_slice() {
        [] => calls(&[
            ("reader", json!({"task": "bread"})),
            ("reader", json!({"task": "mustard"})),
        ]),
        [one, other] => calls(&[("writer", json!({"task": format!("{one}; {other}")}))]),
        all => says(all.last().unwrap()),
    });
    let editor = editor
        .member(Member::new("reader", "Reads.", reader()))
        .unwrap();
    editor
        .member(Member::new("writer", "Writes.", writer()))
        .unwrap()
}

/// The editor is a member itself.
fn publisher() -> Agent {
    let publisher = agent(|request| match told(request).pop() {
        None => calls(&[("editor", json!({"task": asked(request)}))]),
        Some(book) => says(&format!("published: {book}")),
    });
    publisher
        .member(Member::new("editor", "Edits.", editor()))
        .unwrap()
}

fn accepts(_: &str) -> Value {
    json!({"remarks": "", "score": 9, "accepted": true})
}

#[tokio::test]
async fn a_members_work_is_in_a_scope_of_the_callers_run() {
    let over = answered(editor, "Sandwiches", accepts).await;
    let acted = over.acted();
    assert_eq!(
        acted.text,
        "wrote: read: bread is here; read: there is no mustard"
    );
    assert_eq!(
        (acted.end, acted.rounds, acted.calls),
        (End::Answered, 3, 3)
    );
    let mut steps = over.steps;
    steps.sort();
    assert_eq!(
        steps,
        [
            "model[0]",
            "model[1]",
            "model[2]",
            "reader[0]/lookup[0]",
            "reader[0]/model[0]",
            "reader[0]/model[1]",
            "reader[1]/lookup[0]",
            "reader[1]/model[0]",
            "reader[1]/model[1]",
            "writer[2]/critic[0]/person[0]",
            "writer[2]/draft[0]/model[0]",
        ]
    );
}

#[tokio::test]
async fn members_have_members() {
    let over = answered(publisher, "Sandwiches", accepts).await;
    let text = over.acted().text;
    assert_eq!(
        text,
        "published: wrote: read: bread is here; read: there is no mustard"
    );
    let question = "editor[0]/writer[2]/critic[0]/person[0]";
    assert!(
        over.steps.iter().any(|step| step == question),
        "{:?}",
        over.steps
    );
}

/// What the caller hears of a member.
async fn heard(member: fn() -> Agent) -> String {
    let make = move || {
        let caller = agent(|request| match told(request).pop() {
            None => calls(&[("other", json!({"task": "it"}))]),
            Some(heard) => says(&heard),
        });
        caller
            .member(Member::new("other", "Does it.", member()))
            .unwrap()
    };
    let over = crate::support::run(
        move |run| Box::pin(crate::support::work(run, make())),
        "it",
        silent,
    );
    over.await.acted().text
}

#[tokio::test]
async fn what_a_member_cannot_do_is_an_answer() {
    assert_eq!(heard(|| agent(|_| says(" "))).await, "it gave no answer");
    let fails = || {
        let mut planner = agent(|_| says("no plan at all"));
        planner.way = Way::Plan(Plans::default());
        planner
    };
    let text = heard(fails).await;
    assert!(text.starts_with("expected ident"), "{text}");
    let formed = || agent(|_| says(r#"{"chairs": 4}"#));
    assert_eq!(heard(formed).await, r#"{"chairs":4}"#);
}

#[tokio::test]
async fn a_member_that_goes_round_ends_and_so_does_its_caller() {
    fn round() -> Agent {
        let member = reader();
        let round = agent(|_| calls(&[("reader", json!({"task": "bread"}))]));
        round
            .member(Member::new("reader", "Reads.", member))
            .unwrap()
    }
    let over = answered(round, "it", silent).await;
    assert_eq!((over.acted().end, over.acted().calls), (End::Loop, 2));
}

#[tokio::test]
async fn what_a_person_answered_belongs_to_the_question_that_is_asked_once_more() {
    fn asks() -> Agent {
        let asks = agent(|request| match told(request).is_empty() {
            true => calls(&[
                ("ask", json!({"task": "Of what?"})),
                ("lookup", json!({"what": "cups"})),
            ]),
            false => says(&asked(request)),
        });
        let mut person = agent(|_| says("never asked"));
        person.way = Way::Person;
        let lookup = reader().acting.tools;
        let mut asks = asks.member(Member::new("ask", "Asks.", person)).unwrap();
        asks.acting.tools = lookup;
        asks.acting.limits.rounds = 1;
        asks
    }
    let over = answered(asks, "500 cups", |_| json!("They are of porcelain.")).await;
    assert_eq!(
        over.acted().text,
        "Answer now, in words: 500 cups\nThey are of porcelain."
    );
}

#[tokio::test]
async fn a_person_is_asked_the_same_once_in_one_answer() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn asks() -> Agent {
        let question = ("ask", json!({"task": "Of what?"}));
        let other = ("ask", json!({"task": "For whom?"}));
        let asks = agent(move |request| match told(request).is_empty() {
            true => calls(&[question.clone(), other.clone(), question.clone()]),
            false => says(&format!("{:?} {}", told(request), asked(request))),
        });
        let mut person = agent(|_| says("never asked"));
        person.way = Way::Person;
        let mut asks = asks.member(Member::new("ask", "Asks.", person)).unwrap();
        asks.acting.limits.rounds = 1;
        asks
    }
    let answer = |question: &str| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        json!(format!("To \"{}\": yes.", question.trim()))
    };
    let over = answered(asks, "500 cups", answer).await;
    assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    let text = over.acted().text;
    assert_eq!(
        text.matches("Of what").count(),
        3,
        "told twice, once in short: {text}"
    );
}

#[test]
fn names_are_names_and_each_there_once() {
    let named = |name: &str| editor().member(Member::new(name, "?", reader())).err();
    for (name, wrong) in [
        (
            "re ader",
            SetupError::Name {
                name: "re ader".to_owned(),
            },
        ),
        (
            "reader",
            SetupError::Twice {
                name: "reader".to_owned(),
            },
        ),
    ] {
        assert!(
            matches!(named(name), Some(Error::Setup(error)) if error == wrong),
            "{name}"
        );
    }
}

#[test]
fn every_crash_is_survived() {
    let test = "members::every_crash_is_survived";
    let scenario = Scenario::new(test, new("Sandwiches"), |journal| {
        engine(journal, publisher)
    });
    let scenario = scenario.answering(|question| Some(accepts(&question.text)));
    let crashes = crash_everywhere(&scenario).unwrap();
    assert!(crashes.kills >= 50, "{crashes:?}");
}
