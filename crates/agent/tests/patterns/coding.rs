//! Programs: their calls are steps, their mistakes go back to the model, and a question in the middle parks.

use std::sync::Arc;

use journal::testing::{Scenario, crash_everywhere};
use journal::{Fork, Journal};
use model::{Output, Request, Response};
use plumb_agent::act::End;
use plumb_agent::code::{Interpreter, Limits};
use plumb_agent::reflect::Person;
use plumb_agent::team::Member;
use plumb_agent::{Agent, Way};
use serde_json::{Value, json};
use tool::{Effect, Function, Tool};

use crate::support::{self, agent, answered, engine, instructions, new, says, silent};

/// What was said last, without the functions beside it.
fn asked(request: &Request) -> String {
    let said = support::asked(request);
    let end = said.find("\n\nYour functions: ");
    end.map_or(said.clone(), |end| said[..end].to_owned())
}

fn program(lines: &[&str]) -> Response {
    says(&json!({"next": "program", "program": lines.join("\n")}).to_string())
}

fn answer(text: &str) -> Response {
    says(&json!({"next": "answer", "answer": text}).to_string())
}

fn tools() -> [Arc<dyn Tool>; 2] {
    let lookup = Function::new(
        "orders.lookup",
        "Looks an order up.",
        |order: Value, _| async move {
            match order["order"].as_str() {
                Some("A-17") => Ok(json!({"order": "A-17", "chairs": 4, "paid": 80})),
                Some("A-18") => Ok(json!({"order": "A-18", "chairs": 2, "paid": 30})),
                other => {
                    Err(format!("there is no order {}", other.unwrap_or("without a number")).into())
                }
            }
        },
    );
    let schema = json!({
        "type": "object",
        "properties": {
            "order": {"type": "string", "description": "The order's number, such as A-17."},
            "items": {"type": ["integer", "null"]},
        },
        "required": ["order"],
        "additionalProperties": false,
    });
    let lookup = lookup.parameters(schema).effect(Effect::Read);
    let notify = Function::new(
        "notify",
        "Sends a message.",
        |message: Value, _| async move {
            Ok(format!(
                "sent: {}",
                message["text"].as_str().unwrap_or_default()
            ))
        },
    );
    let schema =
        json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let notify = notify.parameters(schema).effect(Effect::Idempotent);
    [Arc::new(lookup), Arc::new(notify)]
}

fn coder(script: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Agent {
    let coder = agent(move |request| {
        assert!(request.tools.is_empty() && matches!(request.output, Output::Json(_)));
        script(request)
    });
    let mut coder = tools()
        .into_iter()
        .fold(coder, |coder, tool| coder.tool(tool).unwrap());
    coder.way = Way::Code(Interpreter::Here, Limits::default());
    coder
}

/// Adds up what was paid, with a mistake in the first program, and tells the customer.
pub(crate) fn adds_up() -> Agent {
    coder(|request| {
        let said = asked(request);
        if said.starts_with("What was paid") {
            return program(&[
                "total = 0",
                "for order in ['A-17', 'A-18']:",
                "    total += orders_lookup(order)['payed']",
            ]);
        }
        if said.contains("failed in line 3, `total += orders_lookup(order)['payed']`: KeyError") {
            return program(&[
                "total = sum(orders_lookup(order)['paid'] for order in ['A-17', 'A-18'])",
                "print(notify(text=f'{total} francs'))",
                "total",
            ]);
        }
        answer(said.lines().nth(3).unwrap_or(&said))
    })
}

#[tokio::test]
async fn a_program_is_mended_and_its_calls_are_steps() {
    let over = answered(adds_up, "What was paid?", silent).await;
    let acted = over.acted();
    assert_eq!((acted.text.as_str(), acted.end), ("110", End::Answered));
    assert_eq!((acted.rounds, acted.calls), (2, 4));
    assert_eq!(
        over.steps,
        [
            "model[0]",
            "program[0]/orders.lookup[0]",
            "program[0]/end[0]",
            "model[1]",
            "program[1]/orders.lookup[0]",
            "program[1]/orders.lookup[1]",
            "program[1]/notify[0]",
            "program[1]/end[0]",
            "model[2]",
        ]
    );
}

#[tokio::test]
async fn a_model_reads_what_its_programs_may_call_and_what_they_came_to() {
    fn says_all() -> Agent {
        coder(|request| match asked(request).as_str() {
            "it" => program(&[
                "print(orders_lookup(order='A-17', items=None))",
                "try:",
                "    orders_lookup('B-1')",
                "except RuntimeError as error:",
                "    print(error)",
                "try:",
                "    orders_lookup(17)",
                "except RuntimeError as error:",
                "    print(error)",
                "try:",
                "    orders_lookup('A-17', None, 3)",
                "except RuntimeError as error:",
                "    print(error)",
            ]),
            said => answer(&format!("{}\n---\n{said}", instructions(request))),
        })
    }
    let over = answered(says_all, "it", silent).await;
    insta::assert_snapshot!(over.acted().text, @r#"
    You answer by programs in Python, written line by line. Write a program that finds out or does what is asked, and prints what you need to know; you are told what it printed, and then answer in words. The program has Python's builtins and the modules math, json, re and datetime: no files, no network, no clock, no chance. It takes 10 s at most. These functions are there; call them as they are, without import or await, and do not define them. What one gives may be a dict, of which you take a part: f(x)['key']:

    def orders_lookup(order: str, items: int | None = None):
        """Looks an order up.

        order: The order's number, such as A-17."""

    def notify(text: str):
        """Sends a message."""
    ---
    The program printed:
    {'order': 'A-17', 'chairs': 4, 'paid': 80}
    there is no order B-1
    Not done: the arguments of orders_lookup do not fit: /order: 17 is not of type "string".
    orders_lookup takes 2 arguments and got 3

    Answer, or write another program for what is missing.
    "#);
}

/// Pays back what was paid for two orders: first what it has worked out, then what it has made up.
fn pays_back() -> Agent {
    let amount = json!({"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]});
    let refund = Function::new("refund", "Pays back.", |what: Value, _| async move {
        Ok(format!("paid back {}", what["amount"]))
    });
    let mut coder = coder(|request| match asked(request) {
        said if said.starts_with("Pay back") => program(&[
            "total = sum(orders_lookup(order)['paid'] for order in ['A-17', 'A-18'])",
            "print(refund(amount=round(total / 2)))",
        ]),
        said if said.contains("paid back 55") => program(&["print(refund(amount=500))"]),
        said => answer(said.lines().next().unwrap_or_default()),
    })
    .tool(Arc::new(
        refund.parameters(amount).effect(Effect::Idempotent),
    ))
    .unwrap();
    coder.acting.guard.grounded = true;
    coder
}

#[tokio::test]
async fn what_a_program_works_out_from_what_was_said_is_grounded() {
    let said = "Pay back half of what was paid for A-17 and A-18.";
    let acted = answered(pays_back, said, silent).await.acted();
    let refused = "neither the user nor a tool has said `500` (amount)";
    assert!(acted.text.contains(refused), "{acted:?}");
}

/// Asks somebody who asks a person, in the middle of a program, between two calls that write.
pub(crate) fn asks() -> Agent {
    let coder = coder(|request| match asked(request).as_str() {
        "it" => program(&[
            "first = notify(text='one')",
            "said = approval('May two be sent?')",
            "print(first, said, notify(text='two'))",
        ]),
        said => answer(said.lines().nth(1).unwrap_or(said)),
    });
    let mut asked = agent(|request| says(&asked(request)));
    asked.way = Way::Reflect(Arc::new(Person), 1);
    coder
        .member(Member::new("approval", "Asks a person.", asked))
        .unwrap()
}

fn accepts(_: &str) -> Value {
    json!({"remarks": "", "score": 9, "accepted": true})
}

#[tokio::test]
async fn a_question_in_the_middle_of_a_program_parks_and_goes_on() {
    let over = answered(asks, "it", accepts).await;
    assert_eq!(over.acted().text, "sent: one May two be sent? sent: two");
    let times = over
        .steps
        .iter()
        .filter(|step| step.contains("notify"))
        .count();
    assert_eq!(times, 2, "{:?}", over.steps);
}

#[tokio::test]
async fn programs_end_by_their_limits() {
    fn with(limits: Limits, lines: &'static [&'static str]) -> impl Fn() -> Agent {
        move || {
            let mut agent = coder(|request| match &request.output {
                Output::Json(schema) if schema["properties"]["answer"].is_object() => {
                    answer("what I know")
                }
                _ => program(lines),
            });
            agent.way = Way::Code(Interpreter::Here, limits);
            agent
        }
    }
    let usual = Limits::default();
    let few = Limits {
        calls: 3,
        programs: 3,
        ..usual
    };
    let quick = Limits {
        time: std::time::Duration::from_millis(20),
        failures: 0,
        ..usual
    };
    let cases: [(Limits, &'static [&'static str], End, u32); 4] = [
        (usual, &["print(1)"], End::Loop, 2),
        (usual, &["1 / 0"], End::Loop, 2),
        (
            few,
            &["while True:", "    notify(text='again')"],
            End::Loop,
            2,
        ),
        (quick, &["while True:", "    pass"], End::WrongCalls, 1),
    ];
    for (limits, lines, end, rounds) in cases {
        let make = with(limits, lines);
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new("it")).await.unwrap();
        let acted = make().run(&run, "it").await.unwrap();
        assert_eq!((acted.end, acted.rounds), (end, rounds), "{lines:?}");
        assert_eq!(acted.text, "what I know");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_written_again_shorter() {
    fn cut() -> Agent {
        coder(|request| match asked(request).as_str() {
            "it" => Response {
                stop: model::Stop::Length,
                ..says(r#"{"next": "program", "program": "print("#)
            },
            "That was cut off: it was too long. Write less." => program(&["print('short')"]),
            _ => answer("good"),
        })
    }
    let over = answered(cut, "it", silent).await;
    assert_eq!(
        (over.acted().text.as_str(), over.acted().rounds),
        ("good", 2)
    );
}

#[tokio::test]
async fn a_fork_with_another_answer_runs_the_program_anew() {
    let over = answered(adds_up, "What was paid?", silent).await;
    let step = "program[1]/orders.lookup[0]";
    let mut fork = Fork {
        at: Some(step.to_owned()),
        reuse: true,
        ..Fork::default()
    };
    let other = json!({"order": "A-17", "chairs": 4, "paid": 1});
    fork.answers.insert(step.to_owned(), other);
    let run = over.journal.fork(&over.id, fork).await.unwrap();
    let outcome = run
        .execute(|run| crate::support::work(run, adds_up()))
        .await;
    let journal::Outcome::Finished(output) = outcome.unwrap() else {
        panic!("the fork did not finish")
    };
    assert_eq!(output["text"], "31");
}

#[test]
fn every_crash_is_survived() {
    let test = "coding::every_crash_is_survived";
    let scenario = Scenario::new(test, new("What was paid?"), |journal| {
        engine(journal, adds_up)
    });
    assert!(crash_everywhere(&scenario).unwrap().kills >= 36);
}

#[test]
fn every_crash_is_survived_with_a_question_in_the_middle() {
    let test = "coding::every_crash_is_survived_with_a_question_in_the_middle";
    let scenario = Scenario::new(test, new("it"), |journal| engine(journal, asks));
    let scenario = scenario.answering(|question| Some(accepts(&question.text)));
    assert!(crash_everywhere(&scenario).unwrap().kills >= 28);
}
