//! Workflows of all kinds, killed at every event.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use journal::testing::{Crashes, Scenario, crash_everywhere, crash_repeatedly};
use journal::{
    Cost, Effect, Engine, Error, Journal, NewChild, NewRun, Question, Run, StepError, StepOptions,
    WorkflowError,
};
use serde_json::{Value, json};

type Worked = Result<Value, WorkflowError>;

fn sample(name: &str) -> NewRun {
    NewRun::new(name, json!({"question": "why?"}))
}

async fn say(run: &Run, name: &str, effect: Effect) -> journal::Result<String> {
    let answer = format!("answer of {name}");
    run.step(name, effect, &name, |_| async { Ok(answer) })
        .await
}

/// One after the other, with every effect, a failure, clock, chance and a version.
async fn sequence(run: Run) -> Worked {
    let mut messages = vec![json!({"role": "user", "text": run.input()})];
    let chance = run.random().await?;
    let began_ms = run.now_ms().await?;
    for effect in [Effect::Pure, Effect::Read, Effect::Idempotent] {
        // With chance in its input, a random number that is not journaled would be a divergence.
        let input = (&messages, chance, began_ms);
        let text = format!("{effect:?} {}", "word ".repeat(80));
        let said = run
            .step("say", effect, &input, |_| async { Ok(text) })
            .await?;
        messages.push(Value::String(said));
    }
    let failed = run
        .step::<_, Value, _, _>("look up", Effect::Read, &(), |_| async {
            Err(StepError::Failed("nothing there".to_string()))
        })
        .await;
    let Err(Error::StepFailed { message, .. }) = failed else {
        return Err("a failure is a result".into());
    };
    let version = run.version("polite", 2).await?;
    let mailed = say(&run, "mail", Effect::Irreversible).await?;
    let again = say(&run, "mail", Effect::Irreversible).await?;
    Ok(json!([messages, message, version, mailed, again]))
}

/// Branches in branches.
async fn nested(run: Run) -> Worked {
    let branches = (0..3).map(|outer| {
        let run = run.scope("outer", outer);
        async move {
            let inner = (0..2).map(|inner| {
                let run = run.scope("inner", inner);
                async move { say(&run, "read", Effect::Read).await }
            });
            let read = try_join_all(inner).await?;
            let noted = say(&run, "note", Effect::Idempotent).await?;
            Ok::<Value, Error>(json!([read, noted]))
        }
    });
    Ok(json!(try_join_all(branches).await?))
}

async fn parallel(run: Run) -> Worked {
    let branches = (0..50).map(|branch| {
        let run = run.scope("branch", branch);
        let effect = [Effect::Read, Effect::Idempotent, Effect::Irreversible][branch % 3];
        async move { say(&run, "work", effect).await }
    });
    Ok(json!(try_join_all(branches).await?))
}

async fn children(run: Run) -> Worked {
    let mut handles = Vec::new();
    for number in 0..3 {
        let new = NewChild::new("grower", json!(number));
        handles.push(run.spawn("grow", &new).await?);
    }
    let failing = run
        .spawn("fail", &NewChild::new("failer", json!("no luck")))
        .await?;
    say(&run, "meanwhile", Effect::Read).await?;
    let grown = try_join_all(handles.into_iter().map(journal::Child::wait)).await?;
    Ok(json!([grown, failing.wait().await?]))
}

/// A child that has a child.
async fn grower(run: Run) -> Worked {
    let number = run.input().as_u64().unwrap_or_default();
    say(&run, "grow", Effect::Idempotent).await?;
    if number == 2 {
        let child = run
            .spawn("grow", &NewChild::new("grower", json!(0)))
            .await?;
        return Ok(json!(["with a child", child.wait().await?]));
    }
    Ok(json!(number * 10))
}

async fn failer(run: Run) -> Worked {
    say(&run, "try", Effect::Read).await?;
    Err(run.input().as_str().unwrap_or_default().into())
}

/// Several questions open at once, one that expires with a default, one that expires without.
async fn questions(run: Run) -> Worked {
    let expiring = Question::new("How many?", json!({"type": "integer"})).or_after(20, json!(7));
    let mut lost = Question::yes_or_no("Nobody answers this?");
    lost.expires_after_ms = Some(20);
    let approve = Question::yes_or_no("May Ada travel?");
    let name = Question::new("Who pays?", json!({"type": "string", "minLength": 2}));
    let (approved, payer, many, nobody) = tokio::join!(
        run.ask::<bool>("approve", &approve),
        run.ask::<String>("pay", &name),
        run.ask::<u64>("many", &expiring),
        run.ask::<bool>("nobody", &lost),
    );
    let nobody = nobody.err().map(|error| error.to_string());
    let booked = say(&run, "book", Effect::Irreversible).await?;
    Ok(json!([approved?, payer?, many?, nobody, booked]))
}

async fn timers(run: Run) -> Worked {
    let past_ms = run.now_ms().await? - 60_000;
    run.sleep_until(past_ms).await?;
    let naps = (0..3).map(|number| {
        let run = run.scope("nap", number);
        async move {
            run.sleep(Duration::from_millis(15 * (number as u64 + 1)))
                .await?;
            say(&run, "wake", Effect::Read).await
        }
    });
    Ok(json!(try_join_all(naps).await?))
}

async fn think(run: &Run, name: &str, tokens: u64) -> journal::Result<u64> {
    let cost = |tokens| Cost {
        tokens,
        money_micros: tokens * 3,
    };
    let options = StepOptions::reserve(cost(tokens));
    run.step_with(name, Effect::Read, &tokens, options, |context| async move {
        context.spent(cost(tokens / 2));
        Ok(tokens / 2)
    })
    .await
}

/// Steps of the run and of a child that together exceed the budget, which is then raised.
async fn budgets(run: Run) -> Worked {
    let mut used = 0;
    for _ in 0..3 {
        used += think(&run, "think", 400).await?;
    }
    let child = run
        .spawn("more", &NewChild::new("thinker", json!(600)))
        .await?;
    let more = child.wait().await?;
    let branches = (0..4).map(|branch| {
        let run = run.scope("branch", branch);
        async move { think(&run, "think", 500).await }
    });
    used += try_join_all(branches).await?.iter().sum::<u64>();
    Ok(json!([used, more]))
}

async fn thinker(run: Run) -> Worked {
    let tokens = run.input().as_u64().unwrap_or_default();
    Ok(json!(think(&run, "think", tokens).await?))
}

/// Children that wait for ever, one cancelled by hand, one by the end of its parent.
async fn cancellation(run: Run) -> Worked {
    let waiter = NewChild::new("waiter", Value::Null);
    let first = run.spawn("wait", &waiter).await?;
    let _second = run.spawn("wait", &waiter).await?;
    say(&run, "look", Effect::Read).await?;
    first.cancel().await?;
    Ok(json!(first.wait().await?))
}

async fn waiter(run: Run) -> Worked {
    let question = Question::yes_or_no("Shall I go on for ever?");
    Ok(json!(run.ask::<bool>("ever", &question).await?))
}

fn engine(journal: Journal) -> Engine {
    Engine::new(journal)
        .register("sequence", sequence)
        .register("nested", nested)
        .register("parallel", parallel)
        .register("children", children)
        .register("grower", grower)
        .register("failer", failer)
        .register("questions", questions)
        .register("timers", timers)
        .register("budgets", budgets)
        .register("thinker", thinker)
        .register("cancellation", cancellation)
        .register("waiter", waiter)
}

fn scenario(name: &str) -> Scenario {
    let mut new = sample(name);
    if name == "budgets" {
        new.budget.tokens = Some(1_000);
        new.budget.steps = Some(100);
    }
    Scenario::new(&format!("crash::{name}_survive"), new, engine).answering(|question| {
        match question.path.as_str() {
            "approve[0]" => Some(json!(true)),
            "pay[0]" => Some(json!("Grace")),
            path if path.starts_with("budget/") => Some(json!(3_000)),
            _ => None,
        }
    })
}

fn survive(name: &str) -> Crashes {
    crash_everywhere(&scenario(name)).unwrap()
}

#[test]
fn sequence_survive() {
    let crashes = survive("sequence");
    // Before and after: a start, a resume, nine steps with a beginning and an end each, the end.
    assert_eq!(crashes.kills, 2 * (2 + 2 * 9 + 1));
    assert!(crashes.settled >= 2, "{crashes:?}");
}

#[test]
fn nested_survive() {
    let crashes = survive("nested");
    assert_eq!(crashes.kills, 2 * (2 + 2 * 9 + 1));
}

#[test]
fn parallel_survive() {
    let crashes = survive("parallel");
    assert_eq!(crashes.kills, 2 * (2 + 2 * 50 + 1));
    assert!(crashes.settled > 10, "{crashes:?}");
}

#[test]
fn children_survive() {
    assert!(survive("children").kills > 60);
}

#[test]
fn questions_survive() {
    assert!(survive("questions").kills > 20);
}

#[test]
fn timers_survive() {
    assert!(survive("timers").kills > 20);
}

#[test]
fn budgets_survive() {
    assert!(survive("budgets").kills > 40);
}

#[test]
fn cancellation_survive() {
    assert!(survive("cancellation").kills > 20);
}

#[test]
fn again_survive() {
    let scenario = Scenario::new("crash::again_survive", sample("sequence"), engine);
    let crashes = crash_repeatedly(&scenario, 5).unwrap();
    assert!(crashes.kills >= 4, "{crashes:?}");
}

#[test]
fn a_promise_that_is_not_kept_is_found() {
    // Chance that is not journaled: another result after a crash.
    let scenario = Scenario::new(
        "crash::a_promise_that_is_not_kept_is_found",
        sample("careless"),
        |journal| {
            Engine::new(journal).register("careless", |run| async move {
                let chance = std::process::id();
                let kept = run.step("keep", Effect::Read, &(), |_| async { Ok(chance) });
                Ok(json!([kept.await?, join_all([async { chance }]).await]))
            })
        },
    );
    let violation = crash_everywhere(&scenario).unwrap_err();
    assert!(violation.what.starts_with("ended with"), "{violation}");
}
