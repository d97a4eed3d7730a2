//! Workflows: branches, races, retries, loops, and events.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use journal::testing::{Scenario, crash_everywhere};
use journal::{Effect, Engine, Run, StepError, WorkflowError};
use plumb_agent::Result;
use plumb_agent::workflow::{Flow, Out, Repeated, Round, fan_out, first, repeat, retry};
use serde_json::{Value, json};

use crate::support::{ended, new, run, silent};

/// A time that no test sees come.
const NEVER_MS: u64 = 1_000_000_000_000;

type Worked = std::result::Result<Value, WorkflowError>;

async fn count(run: &Run, word: &str) -> Result<usize> {
    let step = run.step("count", Effect::Idempotent, word, |_| async {
        // Whoever has more to do takes longer.
        for _ in 0..(10 - word.len().min(10)) {
            tokio::task::yield_now().await;
        }
        Ok(word.len())
    });
    Ok(step.await?)
}

struct Text(String);
struct Word(String);
struct Counted(usize);
struct Again(usize);

/// Words are counted side by side, their numbers collected, and halved until they are odd.
fn flow() -> Flow<usize> {
    Flow::new()
        .on("split", |_, Text(text)| async move {
            Ok(Out::events(
                text.split(' ').map(|word| Word(word.to_owned())),
            ))
        })
        .on("count", |run, Word(word)| async move {
            Ok(Out::event(Counted(count(&run, &word).await?)))
        })
        .collect(
            "sum",
            "split",
            |run: Run, counted: Vec<Counted>| async move {
                let sum: usize = counted.iter().map(|Counted(number)| number).sum();
                let said: usize = run
                    .step("sum", Effect::Pure, &sum, |_| async { Ok(sum) })
                    .await?;
                Ok(Out::event(Again(said)))
            },
        )
        .on("halve", |run: Run, Again(number)| async move {
            if number % 2 == 1 {
                return Ok(Out::result(number));
            }
            let half = run.step("half", Effect::Pure, &number, |_| async { Ok(number / 2) });
            Ok(Out::event(Again(half.await?)))
        })
}

/// All of it: a fan-out, a race with a timer, a retry, a loop, and events.
async fn all(run: &Run) -> Result<Value> {
    let counted = fan_out(
        run,
        "word",
        ["one", "three", "seven"],
        |run, word| async move { count(&run, word).await },
    );
    let counted = counted.await?;
    let race = first(
        run,
        "race",
        [NEVER_MS, 0, NEVER_MS],
        |run, time_ms| async move {
            run.sleep(Duration::from_millis(time_ms)).await?;
            Ok(time_ms)
        },
    );
    let (winner, _) = race.await?;
    let sent = retry(run, "send", 3, Duration::ZERO, |run, attempt| async move {
        let post = run.step("post", Effect::Read, &attempt, |_| async move {
            match attempt {
                2 => Ok("sent".to_owned()),
                _ => Err(StepError::Failed("busy".to_owned())),
            }
        });
        Ok(post.await?)
    });
    let sent = sent.await?;
    let looped = repeat(run, "round", 5, 1, |run, number| async move {
        let next: usize = run
            .step("next", Effect::Pure, &number, |_| async { Ok(number * 3) })
            .await?;
        Ok(if next > 20 {
            Round::Done(next)
        } else {
            Round::Again(next)
        })
    });
    let looped = match looped.await? {
        Repeated::Done(number) => json!(number),
        Repeated::Limit(number) => json!({"limit": number}),
    };
    let events = flow().run(run, Text("one three four".to_owned())).await?;
    Ok(json!([counted, winner, sent, looped, events]))
}

pub(crate) fn workflow(run: Run) -> BoxFuture<'static, Worked> {
    Box::pin(async move { ended(all(&run).await) })
}

#[tokio::test]
async fn branches_have_addresses_that_do_not_depend_on_who_is_quicker() {
    let over = run(workflow, "", silent).await;
    assert_eq!(over.output, json!([[3, 5, 5], 1, "sent", 27, [3]]));
    let mut steps = over.steps;
    steps.sort();
    insta::assert_snapshot!(steps.join("\n"), @r"
    race-first[0]
    race[0]/sleep[0]
    race[1]/sleep[0]
    race[2]/sleep[0]
    round[0]/next[0]
    round[1]/next[0]
    round[2]/next[0]
    send[0]/post[0]
    send[0]/sleep[0]
    send[1]/post[0]
    send[1]/sleep[0]
    send[2]/post[0]
    split[0]/count[0]/count[0]
    split[0]/count[1]/count[0]
    split[0]/count[2]/count[0]
    split[0]/sum[0]/halve[0]/half[0]
    split[0]/sum[0]/halve[0]/halve[0]/half[0]
    split[0]/sum[0]/sum[0]
    word[0]/count[0]
    word[1]/count[0]
    word[2]/count[0]
    ");
}

#[tokio::test]
async fn who_is_first_is_recorded() {
    static QUICK: AtomicU32 = AtomicU32::new(0);
    // The branches change their speed: the second time the code is run, the other one is quicker.
    async fn race(run: &Run) -> Result<Value> {
        let quick = usize::from(QUICK.fetch_add(1, Ordering::SeqCst) > 0);
        let racing = first(run, "race", [0, 1], |run, index| async move {
            for round in 0..3 {
                if index != quick {
                    for _ in 0..50 {
                        tokio::task::yield_now().await;
                    }
                }
                let step = run.step("look", Effect::Read, &round, |_| async { Ok(()) });
                step.await?;
            }
            Ok(index)
        });
        Ok(json!(racing.await?))
    }
    let work = |run: Run| -> BoxFuture<'static, Worked> {
        Box::pin(async move { ended(race(&run).await) })
    };
    // `run` replays it, and the replay holds.
    let over = run(work, "", silent).await;
    assert_eq!(over.output, json!([0, 0]));
}

#[tokio::test]
async fn a_branch_that_fails_is_not_first_and_where_all_fail_it_is_an_error() {
    async fn race(run: &Run, failing: usize) -> Result<Value> {
        let racing = first(run, "race", [0, 1], |run, index| async move {
            let step = run.step("try", Effect::Read, &index, |_| async move {
                match index < failing {
                    true => Err(StepError::Failed(format!("{index} cannot"))),
                    false => Ok(index),
                }
            });
            Ok(step.await?)
        });
        Ok(json!(racing.await?))
    }
    let one = |run: Run| -> BoxFuture<'static, Worked> {
        Box::pin(async move { ended(race(&run, 1).await) })
    };
    assert_eq!(run(one, "", silent).await.output, json!([1, 1]));
    let both = |run: Run| -> BoxFuture<'static, Worked> {
        Box::pin(async move {
            Ok(json!(
                race(&run, 2).await.err().map(|error| error.to_string())
            ))
        })
    };
    let said = run(both, "", silent).await.output.to_string();
    assert!(said.contains("cannot"), "{said}");
}

#[tokio::test]
async fn a_race_between_a_person_and_a_time_parks() {
    async fn race(run: &Run) -> Result<Value> {
        let racing = first(run, "race", [false, true], |run, asks| async move {
            if asks {
                let question = journal::Question::yes_or_no("Go on?");
                return Ok(run.ask("person", &question).await?);
            }
            run.sleep(Duration::from_secs(3_600)).await?;
            Ok(false)
        });
        Ok(json!(racing.await?))
    }
    let work = |run: Run| -> BoxFuture<'static, Worked> {
        Box::pin(async move { ended(race(&run).await) })
    };
    let over = run(work, "", |_| json!(true)).await;
    assert_eq!(over.output, json!([1, true]));
}

/// What a flow that is put together so says.
async fn wrong(flow: Flow<usize>) -> String {
    let journal = journal::Journal::in_memory().unwrap();
    let run = journal.start(new("")).await.unwrap();
    let said = flow.run(&run, Text("a b".to_owned())).await;
    said.map(|results| format!("{results:?}"))
        .unwrap_or_else(|error| error.to_string())
}

#[tokio::test]
async fn a_flow_that_is_put_together_wrongly_says_so() {
    let split = || {
        Flow::new().on("split", |_, Text(text)| async move {
            Ok(Out::events(
                text.split(' ').map(|word| Word(word.to_owned())),
            ))
        })
    };
    let never = |_: Run, _: Vec<Word>| async { Ok(Out::nothing()) };
    let mut said = Vec::new();
    said.push(wrong(Flow::new()).await);
    said.push(wrong(split()).await);
    said.push(wrong(split().collect("words", "spilt", never)).await);
    said.push(wrong(split().collect("split", "split", never)).await);
    said.push(wrong(split().on("again", |_, Text(_)| async { Ok(Out::nothing()) })).await);
    let round = split().on("round", |_, Word(word)| async {
        Ok(Out::event(Word(word)))
    });
    said.push(wrong(round.most(10)).await);
    said.push(wrong(split().collect("words", "split", never)).await);
    insta::assert_snapshot!(said.join("\n"), @r"
    the workflow: nobody handles a patterns::workflows::Text
    the workflow: nobody handles a patterns::workflows::Word
    the workflow: there is no handler spilt
    the workflow: split is there twice
    the workflow: two handlers of patterns::workflows::Text
    the workflow: more than 10 events
    []
    ");
}

#[test]
fn every_crash_is_survived() {
    let test = "workflows::every_crash_is_survived";
    let scenario = Scenario::new(test, new(""), |journal| {
        Engine::new(journal).register("patterns", workflow)
    });
    let crashes = crash_everywhere(&scenario).unwrap();
    assert!(crashes.kills >= 60, "{crashes:?}");
}
