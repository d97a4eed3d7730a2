//! Every pattern under seeds that decide what goes wrong when: in what order branches get on, which call finds its
//! model or its tool down, and where the process is cut off. Whatever a seed does, the run comes to the same end as
//! without trouble, no writing call is in the world twice, and a replay holds.
//!
//! `PLUMB_SEEDS=5000` tries more than the usual 300, `PLUMB_SEED=17` that one alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use journal::{Effect, Journal, ManualClock, Options, Outcome, Run, RunStatus, WorkflowError};
use model::{Model, Output, Request, Response, Scripted};
use plumb_agent::act::Acting;
use plumb_agent::watcher::Watcher;
use serde_json::{Value, json};
use tool::{Function, Tool};

use crate::every::{self, PATTERNS};
use crate::support::{asked, calls, ended, new, says, told, work};

/// Which seeds are tried.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("PLUMB_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("PLUMB_SEEDS").unwrap_or(300)).collect(),
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Chance(AtomicU64);

impl Chance {
    fn below(&self, most: u64) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// What is outside: models and tools that dawdle and fail, and what has been written, by key.
struct World {
    chance: Chance,
    trouble: bool,
    written: Mutex<BTreeMap<String, (String, u32)>>,
}

impl World {
    fn new(seed: u64, trouble: bool) -> Arc<World> {
        Arc::new(World {
            chance: Chance(AtomicU64::new(seed)),
            trouble,
            written: Mutex::default(),
        })
    }

    /// Takes as long as chance will have it.
    async fn dawdle(&self) {
        for _ in 0..self.chance.below(6) {
            tokio::task::yield_now().await;
        }
    }

    fn is_down(&self) -> bool {
        self.trouble && self.chance.below(12) == 0
    }

    /// What was written, without the keys, and the most often that one key was used for something else.
    fn texts(&self) -> Vec<String> {
        let written = self.written.lock().unwrap();
        let mut texts: Vec<String> = written.values().map(|(text, _)| text.clone()).collect();
        texts.sort();
        texts
    }
}

/// A scripted model that dawdles and may be down.
struct Flaky {
    script: Scripted,
    world: Arc<World>,
}

impl Model for Flaky {
    fn name(&self) -> &str {
        self.script.name()
    }

    fn context_tokens(&self) -> Option<u32> {
        None
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len() / 4
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<model::DeltaSink>,
    ) -> BoxFuture<'a, model::Result<Response>> {
        Box::pin(async move {
            self.world.dawdle().await;
            if self.world.is_down() {
                return Err(model::Error::Unreachable {
                    provider: "scripted".to_owned(),
                    message: "down".to_owned(),
                });
            }
            self.script.generate(request, sink).await
        })
    }
}

fn tools(world: &Arc<World>) -> Vec<Arc<dyn Tool>> {
    let schema = || json!({"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]});
    let (reading, writing) = (Arc::clone(world), Arc::clone(world));
    let read = Function::new("read", "Reads.", move |what: Value, _| {
        let world = Arc::clone(&reading);
        async move {
            world.dawdle().await;
            if world.is_down() {
                return Err(tool::Error::Unavailable("down".to_owned()));
            }
            match what["what"].as_str() {
                Some("nothing") | None => Err("there is nothing".into()),
                Some(what) => Ok(format!("{what} is red")),
            }
        }
    });
    let write = Function::new(
        "write",
        "Writes.",
        move |what: Value, context: tool::Context| {
            let world = Arc::clone(&writing);
            async move {
                world.dawdle().await;
                if world.is_down() {
                    return Err(tool::Error::Unavailable("down".to_owned()));
                }
                let text = what["what"].as_str().unwrap_or_default().to_owned();
                let mut written = world.written.lock().unwrap();
                let entry = written
                    .entry(context.key().to_owned())
                    .or_insert((text.clone(), 0));
                entry.1 += 1;
                assert_eq!(entry.0, text, "a key is used for something else");
                Ok(format!("wrote {text}"))
            }
        },
    );
    vec![
        Arc::new(read.parameters(schema()).effect(Effect::Read)),
        Arc::new(write.parameters(schema()).effect(Effect::Idempotent)),
    ]
}

/// What the one model of all says: it reads, writes and answers; plans, judges, supervises and programs where that is
/// asked for.
fn script(request: &Request) -> Response {
    let said = asked(request);
    if let Output::Json(schema) = &request.output {
        return says(&formed(&schema.to_string(), &said).to_string());
    }
    let may_call = !request.tools.is_empty();
    let names: Vec<&str> = request
        .tools
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    match told(request).as_slice() {
        [] if names.contains(&"hand_off_to_second") => calls(&[("hand_off_to_second", json!({}))]),
        [] if names.contains(&"helper") => calls(&[
            ("helper", json!({"task": "one"})),
            ("helper", json!({"task": "two"})),
        ]),
        [] if may_call => calls(&[
            ("read", json!({"what": "apple"})),
            ("read", json!({"what": "nothing"})),
            (
                "write",
                json!({"what": said.lines().last().unwrap_or_default()}),
            ),
        ]),
        heard => says(&format!("{} heard, on {}", heard.len(), said.len())),
    }
}

fn formed(schema: &str, said: &str) -> Value {
    if schema.contains("\"program\"") && !said.contains("printed") {
        let lines =
            "for what in ['a', 'b', 'c']:\n    print(read(what=what))\nprint(write(what='all'))";
        return json!({"next": "program", "program": lines});
    }
    if schema.contains("\"who\"") && !said.contains("second says") {
        let who = if said.contains("helper says") {
            "second"
        } else {
            "helper"
        };
        return json!({"next": "ask", "who": who, "task": "look"});
    }
    if schema.contains("\"next\"") {
        return json!({"next": "answer", "answer": said.len().to_string()});
    }
    if schema.contains("\"steps\"") {
        let step = |name: &str, after: &[&str]| json!({"name": name, "task": name, "after": after, "expect": ""});
        return json!({"steps": [step("a", &[]), step("b", &[]), step("c", &["a", "b"])]});
    }
    if schema.contains("\"sentence\"") {
        let is_over = said.contains("\"is_over\":true");
        return json!({"sentence": if is_over { "All is dug." } else { "It digs." }});
    }
    match schema.contains("\"accepted\"") {
        true => json!({"remarks": "", "score": said.len() % 10, "accepted": false}),
        false => json!({"done": true}),
    }
}

fn flaky(world: &Arc<World>) -> Arc<dyn Model> {
    Arc::new(Flaky {
        script: Scripted::with_calls("scripted:seeds", |request| Ok(script(request))),
        world: Arc::clone(world),
    })
}

async fn worked(
    run: Run,
    journal: Journal,
    pattern: &'static str,
    world: Arc<World>,
) -> Result<Value, WorkflowError> {
    match pattern {
        "workflow" => crate::workflows::workflow(run).await,
        "watcher" => watched(&run, journal, &world).await,
        _ => {
            let agent = every::agent(pattern, &|| flaky(&world), &tools(&world));
            work(run, agent).await
        }
    }
}

const WATCHED: &str = "watched";

/// A watcher of a run that works meanwhile; gives what it says last.
async fn watched(run: &Run, journal: Journal, world: &Arc<World>) -> Result<Value, WorkflowError> {
    let said = Arc::new(Mutex::new(String::new()));
    let watcher = Watcher {
        journal: journal.clone(),
        acting: Some(Acting::new(flaky(world))),
        every: Duration::from_secs(1),
        most: 1_000,
        tell: {
            let said = Arc::clone(&said);
            Arc::new(move |sentence| sentence.clone_into(&mut said.lock().unwrap()))
        },
    };
    // In a replay the other run is over long since. Before, it digs once between two looks.
    if journal.run(WATCHED).await?.status != RunStatus::Finished {
        let dig = |run: Run| async move {
            for spade in 0..4 {
                run.step("dig", Effect::Read, &spade, |_| async { Ok(()) })
                    .await?;
                run.sleep(Duration::from_secs(1)).await?;
            }
            Ok(Value::Null)
        };
        journal.resume(WATCHED).await?.execute(dig).await?;
        world.dawdle().await;
    }
    ended(watcher.watch(run, WATCHED).await)?;
    let last = said.lock().unwrap().clone();
    Ok(last.into())
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> Journal {
    let options = Options {
        clock: Arc::clone(clock) as Arc<dyn journal::Clock>,
        inline: true,
        ..Options::default()
    };
    Journal::open_with(&folder.join("journal.db"), options).unwrap()
}

/// How a pattern ends, and what is written then.
async fn end_of(seed: u64, pattern: &'static str, trouble: bool) -> (Value, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_000_000));
    let world = World::new(seed, trouble);
    let mut journal = open(folder.path(), &clock);
    let mut start = new("the wall");
    start.id = Some("seeded".to_owned());
    journal.submit(start).await.unwrap();
    if pattern == "watcher" {
        let mut other = new("a hole");
        other.id = Some(WATCHED.to_owned());
        journal.submit(other).await.unwrap();
    }
    for attempt in 1..1_000 {
        // Later than any lease.
        clock.set(1_000_000 + attempt * 60_000);
        let run = journal.resume("seeded").await.unwrap();
        let working = run.execute(|run| worked(run, journal.clone(), pattern, Arc::clone(&world)));
        let outcome = match trouble && world.chance.below(3) == 0 {
            true => cut_off(working, world.chance.below(120)).await,
            false => Some(working.await.unwrap()),
        };
        drop(run);
        match outcome {
            None => {
                drop(journal);
                journal = open(folder.path(), &clock);
            }
            Some(Outcome::Finished(output)) => {
                let replay = journal.replay("seeded", |run| {
                    worked(run, journal.clone(), pattern, Arc::clone(&world))
                });
                assert!(replay.await.unwrap().complete);
                return (output, world.texts());
            }
            Some(Outcome::Parked(_)) => {}
            Some(other) => panic!("{other:?}"),
        }
        for question in journal.questions(None).await.unwrap() {
            let verdict = json!({"remarks": "more", "score": 3, "accepted": false});
            journal
                .answer("seeded", &question.path, verdict, "Ada")
                .await
                .unwrap();
        }
    }
    panic!("it does not get on")
}

/// Works for so many turns, and is then dropped, as by a crash.
async fn cut_off<T>(working: impl Future<Output = journal::Result<T>>, turns: u64) -> Option<T> {
    let mut working = std::pin::pin!(working);
    let mut turns = turns;
    std::future::poll_fn(|context| {
        if let Poll::Ready(outcome) = working.as_mut().poll(context) {
            return Poll::Ready(Some(outcome.unwrap()));
        }
        if turns == 0 {
            return Poll::Ready(None);
        }
        turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[test]
fn every_pattern_comes_to_its_end_whatever_goes_wrong() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut expected: BTreeMap<&str, (Value, Vec<String>)> = BTreeMap::new();
    for seed in seeds() {
        let pattern = PATTERNS[(seed % PATTERNS.len() as u64) as usize];
        let usual = expected
            .entry(pattern)
            .or_insert_with(|| runtime.block_on(end_of(0, pattern, false)));
        let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(end_of(seed, pattern, true))
        }));
        match came {
            Ok(came) => assert_eq!(&came, usual, "PLUMB_SEED={seed}, the pattern {pattern}"),
            Err(_) => panic!("PLUMB_SEED={seed}, the pattern {pattern}"),
        }
    }
}
