//! The pattern `act`: its flows exactly with a scripted model, its crashes at every event, a replay and a fork.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use journal::testing::{Scenario, crash_everywhere};
use journal::{Effect, Engine, Journal, NewRun, Outcome, Run, WorkflowError};
use model::{
    Message, Model, Output, Part, Request, Response, Scripted, Stop, ToolCall, ToolChoice,
};
use plumb_agent::Error;
use plumb_agent::act::{Acted, Acting, Conversation, End, Guarding, Progress, act};
use serde_json::{Value, json};
use tool::{Context, Function, Result, Tool, Toolbox, tool};

/// Looks an order up.
#[tool(name = "orders.lookup", effect = "read")]
async fn lookup(
    /// The order's number, such as A-17.
    order: String,
) -> Result<Value> {
    match order.as_str() {
        "A-17" => Ok(json!({"order": "A-17", "chairs": 4, "paid": 80})),
        _ => Err(format!("there is no order {order}").into()),
    }
}

/// Sends a message to the customer.
#[tool(effect = "idempotent")]
async fn notify(text: String, context: &Context) -> String {
    assert_eq!(context.key().len(), 64);
    format!("sent: {text}")
}

/// Pays money back.
#[tool]
async fn refund(
    order: String,
    /// In francs.
    #[schemars(range(min = 1, max = 100))]
    amount: u32,
) -> String {
    format!("{amount} francs for {order}")
}

fn toolbox(tools: Vec<Arc<dyn Tool>>) -> Toolbox {
    let mut toolbox = Toolbox::new();
    tools
        .into_iter()
        .for_each(|tool| toolbox.add(tool).unwrap());
    toolbox
}

fn orders() -> Toolbox {
    toolbox(vec![lookup::tool(), notify::tool(), refund::tool()])
}

fn says(text: &str) -> Response {
    Response {
        text: text.to_owned(),
        ..Response::default()
    }
}

fn calls(calls: &[(&str, Value)]) -> Response {
    let calls = calls
        .iter()
        .enumerate()
        .map(|(index, (name, arguments))| ToolCall {
            id: format!("call_{index}"),
            name: (*name).to_owned(),
            arguments: arguments.clone(),
            signature: None,
        });
    Response {
        tool_calls: calls.collect(),
        stop: Stop::ToolCalls,
        ..Response::default()
    }
}

/// What tools have answered so far, newest last.
fn told(request: &Request) -> Vec<String> {
    let parts = request.messages.iter().flat_map(Message::parts);
    let results = parts.filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.content),
        _ => None,
    });
    results.collect()
}

/// A model that gives these answers, each to so many answers of tools, and says what it knows when it
/// may call no more.
fn scripted(script: impl Fn(usize, &Request) -> Response + Send + Sync + 'static) -> Acting {
    let model = Scripted::with_calls("scripted:caller", move |request| {
        let told = told(request);
        match request.tool_choice {
            ToolChoice::None => Ok(says(&format!("I know: {}", told.join("; ")))),
            _ => Ok(script(told.len(), request)),
        }
    });
    Acting {
        tools: orders(),
        // The loop is what is tested here; `guard.rs` has the policies.
        guard: Guarding::open(),
        ..Acting::new(Arc::new(model))
    }
}

/// The customer is served: looked up, then paid back and told, then answered.
fn service() -> Acting {
    scripted(|told, request| match told {
        0 => calls(&[
            ("orders_lookup", json!({"order": "A-17"})),
            ("orders_lookup", json!({"order": "B-1"})),
        ]),
        2 => calls(&[
            ("refund", json!({"order": "A-17", "amount": 80})),
            ("notify", json!({"text": "80 francs are on their way"})),
        ]),
        _ => says(&format!("Done: {}", self::told(request)[2..].join(", "))),
    })
}

async fn workflow(run: Run, with: Acting) -> std::result::Result<Value, WorkflowError> {
    let mut conversation = Conversation::new(&run);
    let begun = [
        Message::system("You serve customers."),
        Message::user("The chairs of A-17 are broken."),
    ];
    for message in begun {
        conversation.push(message).map_err(told_to_the_journal)?;
    }
    let acted = act(&run, &with, &mut conversation).await;
    Ok(json!(acted.map_err(told_to_the_journal)?))
}

/// The journal decides by its own errors what becomes of the run.
fn told_to_the_journal(error: Error) -> WorkflowError {
    match error {
        Error::Journal(error) => error.into(),
        other => other.to_string().into(),
    }
}

/// Lets it act in a journal of its own; gives what came of it and the addresses of the steps.
async fn acted(with: Acting) -> (Acted, Vec<String>) {
    let journal = Journal::in_memory().unwrap();
    let run = journal
        .start(NewRun::new("service", json!({})))
        .await
        .unwrap();
    let again = Acting {
        stop: tokio_util::sync::CancellationToken::new(),
        watch: Arc::new(|_| ()),
        ..with.clone()
    };
    let outcome = run.execute(|run| workflow(run, with)).await.unwrap();
    let Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}");
    };
    // Whatever happened, also an answer that was stopped: the journal alone gives the same.
    let id = run.id().as_str();
    let replayed = journal.replay(id, |run| workflow(run, again)).await;
    assert!(replayed.unwrap().complete);
    let steps = journal.steps(run.id()).await.unwrap();
    let steps = steps.iter().map(|step| {
        let output = step.output.clone().unwrap_or_default();
        let output = match output.get("stop") {
            Some(_) => step.attributes["title"].as_str().unwrap().to_owned(),
            None => output.to_string(),
        };
        format!("{} {:?}: {output}", step.path, step.effect)
    });
    (serde_json::from_value(output).unwrap(), steps.collect())
}

#[tokio::test]
async fn tools_are_called_until_the_model_answers() {
    let (acted, steps) = acted(service()).await;
    insta::assert_snapshot!(steps.join("\n"), @r#"
    model[0] Read: calls orders_lookup, orders_lookup
    orders.lookup[0] Read: {"order":"A-17","chairs":4,"paid":80}
    orders.lookup[1] Read: {"error":"there is no order B-1"}
    model[1] Read: calls refund, notify
    refund[0] Irreversible: "80 francs for A-17"
    notify[0] Idempotent: "sent: 80 francs are on their way"
    model[2] Read: answers
    "#);
    insta::assert_snapshot!(json!(acted), @r#"{"text":"Done: 80 francs for A-17, sent: 80 francs are on their way","end":"answered","rounds":3,"calls":4}"#);
}

#[tokio::test]
async fn addresses_do_not_depend_on_who_answers_first() {
    let second_is_done = Arc::new(tokio::sync::Notify::new());
    let (waits, tells) = (Arc::clone(&second_is_done), second_is_done);
    let first = Function::new("slow", "Waits for the other.", move |_: Value, _| {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            Ok("slow")
        }
    });
    let second = Function::new("quick", "Does not wait.", move |_: Value, _| {
        tells.notify_one();
        async { Ok("quick") }
    });
    let schema = json!({"type": "object"});
    let mut with = scripted(|told, _| match told {
        0 => calls(&[
            ("slow", json!({})),
            ("quick", json!({})),
            ("slow", json!({"n": 2})),
        ]),
        _ => says("ready"),
    });
    let both = [
        first.parameters(schema.clone()).effect(Effect::Read),
        second.parameters(schema).effect(Effect::Read),
    ];
    with.tools = toolbox(
        both.into_iter()
            .map(|tool| Arc::new(tool) as Arc<dyn Tool>)
            .collect(),
    );
    with.limits.calls = 2;
    let (acted, steps) = acted(with).await;
    assert_eq!((acted.end, acted.calls), (End::Answered, 2));
    insta::assert_snapshot!(steps.join("\n"), @r#"
    model[0] Read: calls slow, quick, slow
    slow[0] Read: "slow"
    quick[0] Read: "quick"
    model[1] Read: answers
    "#);
}

#[tokio::test]
async fn a_wrong_call_goes_back_with_the_reason_and_the_others_are_done() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let with = scripted(move |told, request| {
        *log.lock().unwrap() = self::told(request);
        match told {
            0 => calls(&[
                ("refund", json!({"order": "A-17", "amount": 500})),
                ("orders_lookup", json!({"order": "A-17"})),
                ("pay", json!({})),
            ]),
            3 => calls(&[("refund", json!({"order": "A-17", "amount": 80}))]),
            _ => says("ready"),
        }
    });
    let (acted, _) = acted(with).await;
    assert_eq!(
        (acted.end, acted.rounds, acted.calls),
        (End::Answered, 3, 2)
    );
    insta::assert_snapshot!(seen.lock().unwrap().join("\n"), @r#"
    Not done: the arguments of refund do not fit: /amount: 500 is greater than the maximum of 100.
    {"order":"A-17","chairs":4,"paid":80}
    Not done: there is no tool pay; the tools are orders_lookup, notify, refund.
    80 francs for A-17
    "#);
}

#[tokio::test]
async fn who_calls_wrongly_too_often_has_to_answer() {
    let mut with = scripted(|_, _| calls(&[("refund", json!("all of it"))]));
    with.limits.wrong_calls = 1;
    let (acted, steps) = acted(with).await;
    assert_eq!(
        (acted.end, acted.rounds, acted.calls),
        (End::WrongCalls, 3, 0)
    );
    assert!(
        acted
            .text
            .starts_with("I know: Not done: the arguments of refund"),
        "{acted:?}"
    );
    assert_eq!(steps.len(), 3);
}

#[tokio::test]
async fn who_goes_round_has_to_answer() {
    let with = scripted(|_, _| calls(&[("orders_lookup", json!({"order": "A-17"}))]));
    let (acted, steps) = acted(with).await;
    assert_eq!((acted.end, acted.rounds, acted.calls), (End::Loop, 3, 2));
    assert_eq!(steps.len(), 5);
}

#[tokio::test]
async fn who_does_not_come_to_an_end_has_to_answer() {
    let mut with =
        scripted(|told, _| calls(&[("orders_lookup", json!({"order": told.to_string()}))]));
    with.limits.rounds = 5;
    let (acted, _) = acted(with).await;
    assert_eq!((acted.end, acted.rounds, acted.calls), (End::Rounds, 6, 5));
    assert!(
        acted.text.starts_with("I know: there is no order 0"),
        "{acted:?}"
    );
}

#[tokio::test]
async fn the_same_call_twice_in_one_answer_is_made_once_where_it_only_reads() {
    let read = ("orders_lookup", json!({"order": "A-17"}));
    let write = ("notify", json!({"text": "hello"}));
    let all = [read.clone(), write.clone(), read, write];
    let with = scripted(move |told, request| match told {
        0 => calls(&all),
        _ => says(&self::told(request).join(" ")),
    });
    let (acted, steps) = acted(with).await;
    assert_eq!((acted.calls, steps.len()), (3, 5), "{steps:?}");
    let order = r#"{"order":"A-17","chairs":4,"paid":80}"#;
    assert_eq!(
        acted.text,
        format!("{order} sent: hello {order} sent: hello")
    );
}

#[tokio::test]
async fn who_has_to_call_first_does() {
    let mut with = scripted(|told, request| match (told, &request.tool_choice) {
        (0, ToolChoice::Required) => calls(&[("orders_lookup", json!({"order": "A-17"}))]),
        (1, ToolChoice::Auto) => says("ready"),
        other => panic!("{other:?}"),
    });
    with.calls_first = true;
    let (acted, _) = acted(with).await;
    assert_eq!((acted.text.as_str(), acted.calls), ("ready", 1));
}

#[tokio::test]
async fn who_says_nothing_is_asked_once_more_without_tools() {
    let with = scripted(|told, _| match told {
        0 => calls(&[("orders_lookup", json!({"order": "B-1"}))]),
        _ => says(" "),
    });
    let (acted, _) = acted(with).await;
    assert_eq!(
        (acted.end, acted.rounds, acted.calls),
        (End::Answered, 3, 1)
    );
    assert_eq!(acted.text, "I know: there is no order B-1");
}

#[tokio::test]
async fn the_last_answer_has_the_form_that_was_asked_for() {
    let model = Scripted::with_calls("scripted:former", |request| {
        Ok(match (&request.output, told(request).len()) {
            (Output::Json(_), _) => {
                assert!(request.tools.is_empty() || request.tool_choice == ToolChoice::None);
                says(r#"{"chairs": 4}"#)
            }
            (Output::Text, 0) => calls(&[("orders_lookup", json!({"order": "A-17"}))]),
            (Output::Text | Output::Given(_), _) => says("Four chairs."),
        })
    });
    let form = json!({"type": "object", "properties": {"chairs": {"type": "integer"}}});
    let mut with = Acting {
        tools: orders(),
        output: Output::Json(form),
        ..Acting::new(Arc::new(model))
    };
    let (formed, steps) = acted(with.clone()).await;
    assert_eq!(formed.json::<Value>().unwrap(), json!({"chairs": 4}));
    assert_eq!(steps.len(), 4);
    // Without tools the form is asked for at once.
    with.tools = Toolbox::new();
    let (formed, steps) = acted(with).await;
    assert_eq!((formed.text.as_str(), steps.len()), (r#"{"chairs": 4}"#, 1));
}

/// A model that begins an answer and never ends it.
struct Endless;

impl Model for Endless {
    fn name(&self) -> &str {
        "scripted:endless"
    }

    fn context_tokens(&self) -> Option<u32> {
        None
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn generate<'a>(
        &'a self,
        _request: &'a Request,
        sink: Option<model::DeltaSink>,
    ) -> futures::future::BoxFuture<'a, model::Result<Response>> {
        Box::pin(async move {
            let text = "The chairs are".to_owned();
            sink.unwrap().send(model::Delta::Text { text }).unwrap();
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn what_had_come_of_a_stopped_answer_stands() {
    let mut with = Acting::new(Arc::new(Endless));
    let stop = with.stop.clone();
    with.watch = Arc::new(move |progress| {
        if let Progress::Piece(_) = progress {
            stop.cancel();
        }
    });
    let (acted, steps) = acted(with).await;
    assert_eq!(
        (acted.text.as_str(), acted.end),
        ("The chairs are", End::Stopped)
    );
    insta::assert_snapshot!(steps.join("\n"), @"model[0] Read: stopped");
}

#[tokio::test]
async fn a_tool_that_reads_is_stopped_and_one_that_writes_is_not() {
    for (effect, expected) in [
        (Effect::Read, "stopped by the user"),
        (Effect::Idempotent, "written"),
    ] {
        let mut with = scripted(|told, _| match told {
            0 => calls(&[("work", json!({}))]),
            _ => panic!("nothing is asked after a stop"),
        });
        let stop = with.stop.clone();
        let work = Function::new("work", "Works.", move |_: Value, _| {
            stop.cancel();
            async move {
                if effect == Effect::Read {
                    std::future::pending::<()>().await;
                }
                Ok("written")
            }
        });
        let work = work.parameters(json!({"type": "object"})).effect(effect);
        with.tools = toolbox(vec![Arc::new(work)]);
        let (acted, steps) = acted(with).await;
        assert_eq!(acted.end, End::Stopped);
        assert!(steps[1].contains(expected), "{steps:?}");
    }
}

/// What a resume, a replay and a fork have to do again.
fn counted(asked: &Arc<AtomicU32>) -> Acting {
    let mut with = service();
    let (inner, asked) = (Arc::clone(&with.model), Arc::clone(asked));
    let model = Scripted::with_calls("scripted:caller", move |request| {
        asked.fetch_add(1, Ordering::SeqCst);
        futures::executor::block_on(inner.generate(request, None))
    });
    with.model = Arc::new(model);
    with
}

#[tokio::test]
async fn a_replay_asks_nobody_and_a_fork_only_what_comes_after() {
    let journal = Journal::in_memory().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let run = journal
        .start(NewRun::new("service", json!({})))
        .await
        .unwrap();
    let with = counted(&asked);
    let outcome = run
        .execute(|run| workflow(run, with.clone()))
        .await
        .unwrap();
    assert_eq!(asked.swap(0, Ordering::SeqCst), 3);
    let replay = journal
        .replay(run.id().as_str(), |run| workflow(run, with.clone()))
        .await
        .unwrap();
    assert!(replay.complete && replay.steps == 7, "{replay:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let changes = journal::Fork {
        at: Some("model[2]".to_owned()),
        ..journal::Fork::default()
    };
    let fork = journal.fork(run.id().as_str(), changes).await.unwrap();
    assert_eq!(
        fork.execute(|run| workflow(run, with)).await.unwrap(),
        outcome
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_conversation_costs_the_journal_what_is_new_in_it() {
    let bytes = async |rounds: u32| {
        let journal = Journal::in_memory().unwrap();
        let run = journal
            .start(NewRun::new("service", json!({})))
            .await
            .unwrap();
        let mut with = scripted(|told, _| {
            calls(&[("orders_lookup", json!({"order": format!("{told:0>400}")}))])
        });
        with.limits.rounds = rounds;
        run.execute(|run| workflow(run, with)).await.unwrap();
        let mut export = Vec::new();
        journal
            .export(run.id().as_str(), &mut export)
            .await
            .unwrap();
        export.len()
    };
    let (short, long) = (bytes(20).await, bytes(80).await);
    assert!(
        long < short * 6,
        "{short} bytes for 20 rounds, {long} for 80"
    );
}

fn crashing(test: &str, with: fn() -> Acting) -> Scenario {
    Scenario::new(test, NewRun::new("service", json!({})), move |journal| {
        Engine::new(journal).register("service", move |run| workflow(run, with()))
    })
}

#[test]
fn every_crash_is_survived() {
    let crashes = crash_everywhere(&crashing("every_crash_is_survived", service)).unwrap();
    assert!(crashes.kills >= 28, "{crashes:?}");
    assert!(
        crashes.settled > 0,
        "a refund that was cut off is in doubt: {crashes:?}"
    );
}

#[tokio::test]
async fn nobody_is_asked_where_a_tool_finds_out_by_itself() {
    let journal = Journal::in_memory().unwrap();
    let run = journal
        .start(NewRun::new("service", json!({})))
        .await
        .unwrap();
    let tried = Arc::new(AtomicU32::new(0));
    let log = Arc::clone(&tried);
    let refund = Function::new("refund", "Pays money back.", move |_: Value, _| {
        log.fetch_add(1, Ordering::SeqCst);
        async { Err::<(), _>(tool::Error::Unavailable("the line is cut".to_owned())) }
    })
    .parameters(refund::tool().spec().parameters.clone())
    .reconcile(|arguments, context| async move {
        assert_eq!(context.key().len(), 64);
        Ok(tool::Reconciled::Done(json!(format!(
            "paid {}",
            arguments["amount"]
        ))))
    });
    let mut with = service();
    with.tools = toolbox(vec![lookup::tool(), notify::tool(), Arc::new(refund)]);
    let parked = run
        .execute(|run| workflow(run, with.clone()))
        .await
        .unwrap();
    assert!(
        matches!(&parked, Outcome::Parked(why) if why.contains("the line is cut")),
        "{parked:?}"
    );
    let id = run.id().to_string();
    drop(run);
    let run = journal.resume(&id).await.unwrap();
    let outcome = run.execute(|run| workflow(run, with)).await.unwrap();
    let Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        output["text"],
        "Done: paid 80, sent: 80 francs are on their way"
    );
    assert_eq!(tried.load(Ordering::SeqCst), 1);
}
