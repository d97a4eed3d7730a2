//! Taking runs from one journal to another.

use std::io::Cursor;

use journal::{
    Effect, Engine, Error, Fork, Journal, NewChild, Outcome, Run, RunStatus, Settlement, StepError,
    WorkflowError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::caring::{all_sorts, findings};
use crate::support::{Bench, block_on, new_run, say};

pub(crate) async fn exported(journal: &Journal, run: &str) -> Vec<u8> {
    let mut file = Vec::new();
    journal.export(run, &mut file).await.unwrap();
    file
}

async fn import(journal: &Journal, file: Vec<u8>) -> journal::Result<Vec<String>> {
    let ids = journal.import(Cursor::new(file)).await?;
    Ok(ids.into_iter().map(|id| id.to_string()).collect())
}

/// All that is told of a run, but for what is of the moment, and for whose its steps are.
async fn told(journal: &Journal, id: &str) -> Value {
    let record = journal.run(id).await.unwrap();
    let mut steps = journal.steps(&record.id).await.unwrap();
    steps.iter_mut().for_each(|step| step.shared = false);
    let mut told = json!({"run": record, "steps": steps});
    for of_the_moment in ["held_by", "ready_ms"] {
        told["run"][of_the_moment] = Value::Null;
    }
    told
}

async fn empty(journal: &Journal) -> bool {
    journal
        .runs(journal::Page::default())
        .await
        .unwrap()
        .is_empty()
}

#[test]
fn every_run_comes_through_as_it_was() {
    block_on(async {
        let bench = Bench::new();
        let journal = all_sorts(&bench).await;
        for id in [
            "plain",
            "mother",
            "waiting",
            "forked",
            "doubtful",
            "spender",
            "faulty",
            "cancelled",
        ] {
            let file = exported(&journal, id).await;
            let other_bench = Bench::new();
            let other = other_bench.open();
            let runs = import(&other, file).await.unwrap();
            assert_eq!(runs[0], id);
            let family = matches!(id, "mother" | "waiting");
            assert_eq!(runs.len(), if family { 3 } else { 1 });
            for run in &runs {
                let (mut was, mut is) = (told(&journal, run).await, told(&other, run).await);
                if ["running", "parked"]
                    .map(Value::from)
                    .contains(&was["run"]["status"])
                {
                    assert_eq!(is["run"]["status"], "parked", "{run}");
                    assert_eq!(is["run"]["reason"], "imported", "{run}");
                    for changed in ["status", "reason", "updated_ms"] {
                        was["run"][changed] = Value::Null;
                        is["run"][changed] = Value::Null;
                    }
                }
                assert_eq!(is, was);
                let run = journal.run(run).await.unwrap().id;
                assert_eq!(
                    other.spending(&run).await.unwrap(),
                    journal.spending(&run).await.unwrap()
                );
                let open = |mut questions: Vec<journal::OpenQuestion>| {
                    questions
                        .iter_mut()
                        .for_each(|question| question.expires_ms = None);
                    questions
                };
                assert_eq!(
                    open(other.questions(Some(run.as_str())).await.unwrap()),
                    open(journal.questions(Some(run.as_str())).await.unwrap())
                );
            }
            assert_eq!(findings(&other).await, [], "{id}");
            // What was imported is exported as what was exported, but for the parking.
            if journal.run(id).await.unwrap().status == RunStatus::Finished {
                assert_eq!(exported(&other, id).await, exported(&journal, id).await);
            }
        }
    });
}

/// A workflow whose later steps depend on what the fork changes.
async fn answer(run: &Run) -> Result<Value, Error> {
    let question = run.input()["question"].clone();
    let plan: String = run
        .step("plan", Effect::Read, &question, |_| async {
            Ok("think. ".repeat(900))
        })
        .await?;
    let sent: Value = run
        .step("send", Effect::Idempotent, &plan, |_| async {
            Ok(json!("sent"))
        })
        .await?;
    Ok(json!([question, plan.len(), sent, say(run, "last").await?]))
}

async fn boxed(run: Run) -> Result<Value, WorkflowError> {
    Ok(answer(&run).await?)
}

#[test]
fn a_flattened_fork_stands_by_itself() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("origin")).await.unwrap();
        run.execute(boxed).await.unwrap();
        // The fork asks something else, and still has the plan and the sending that it shares.
        let mut changes = Fork {
            id: Some("fork".to_string()),
            at: Some("last[0]".to_string()),
            ..Fork::default()
        };
        changes.budget.steps = Some(5);
        changes.set.insert("question".to_string(), "how?".into());
        let fork = journal.fork("origin", changes).await.unwrap();
        let Outcome::Finished(output) = fork.execute(boxed).await.unwrap() else {
            panic!("it has not finished");
        };
        assert_eq!(output[0], "how?");
        let mut again = Fork {
            id: Some("second".to_string()),
            at: Some("last[0]".to_string()),
            ..Fork::default()
        };
        again
            .answers
            .insert("plan[0]".to_string(), "another plan".into());
        let second = journal.fork("fork", again).await.unwrap();
        assert_eq!(answer(&second).await.unwrap()[1], 12);
        second.park("later").await.unwrap();
        drop((fork, second));

        for (id, steps_spent) in [("fork", Some(1)), ("second", None)] {
            let other = Journal::in_memory().unwrap();
            import(&other, exported(&journal, id).await).await.unwrap();
            assert_eq!(findings(&other).await, [], "{id}");
            let replay = other.replay(id, boxed).await.unwrap();
            assert!(replay.complete, "{id}: {replay:?}");
            let run = other.run(id).await.unwrap();
            let spent = other.spending(&run.id).await.unwrap();
            assert_eq!(spent.first().map(|steps| steps.spent), steps_spent);
            let mut was: Vec<_> = journal.steps(&run.id).await.unwrap();
            let mut is: Vec<_> = other.steps(&run.id).await.unwrap();
            was.sort_by(|a, b| a.path.cmp(&b.path));
            is.sort_by(|a, b| a.path.cmp(&b.path));
            assert_eq!(is, was);
            // And once more, from there.
            let third = Journal::in_memory().unwrap();
            import(&third, exported(&other, id).await).await.unwrap();
            assert!(third.replay(id, boxed).await.unwrap().complete);
        }

        // A fork of an imported fork, where its source is not known.
        let other = Journal::in_memory().unwrap();
        import(&other, exported(&journal, "fork").await)
            .await
            .unwrap();
        let changes = Fork {
            at: Some("last[0]".to_string()),
            ..Fork::default()
        };
        let next = other.fork("fork", changes).await.unwrap();
        assert_eq!(answer(&next).await.unwrap(), output);
    });
}

#[test]
fn an_imported_run_goes_on_where_it_stood() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let engine = |journal: &Journal| {
            Engine::new(journal.clone())
                .register("parent", |run| async move {
                    let child = run
                        .spawn("child", &NewChild::new("child", Value::Null))
                        .await?;
                    Ok(json!([say(&run, "a").await?, child.wait().await??]))
                })
                .register("child", |run| async move {
                    let question = journal::Question::yes_or_no("Shall I?");
                    Ok(run.ask::<bool>("may", &question).await?.into())
                })
        };
        let mut new = new_run("family");
        new.agent = "parent".to_string();
        journal.submit(new).await.unwrap();
        engine(&journal).run_until_idle().await.unwrap();

        let other = Journal::in_memory().unwrap();
        let ids = import(&other, exported(&journal, "family").await)
            .await
            .unwrap();
        // Nothing goes on by itself.
        engine(&other).run_until_idle().await.unwrap();
        for id in &ids {
            let record = other.run(id).await.unwrap();
            assert_eq!((record.status, record.ready_ms), (RunStatus::Parked, None));
        }
        // An answer is a word that it may, and its end wakes the parent.
        other
            .answer(&ids[1], "may[0]", true.into(), "Ada")
            .await
            .unwrap();
        engine(&other).run_until_idle().await.unwrap();
        let record = other.run("family").await.unwrap();
        assert_eq!(record.output, Some(json!(["answer of a", true])));
        assert_eq!(findings(&other).await, []);

        // In doubt it stays, until somebody settles it.
        let run = journal.start(new_run("doubt")).await.unwrap();
        let fault = run.step("pay", Effect::Irreversible, &1, |_| async {
            Err::<u8, _>(StepError::Fault("no network".to_string()))
        });
        fault.await.unwrap_err();
        import(&other, exported(&journal, "doubt").await)
            .await
            .unwrap();
        let run = other.resume("doubt").await.unwrap();
        let paid = run.step("pay", Effect::Irreversible, &1, |_| async { Ok(2u8) });
        assert!(matches!(paid.await, Err(Error::InDoubt { .. })));
        drop(run);
        other
            .settle("doubt", "pay[0]", Settlement::Done(3.into()))
            .await
            .unwrap();
        let run = other.resume("doubt").await.unwrap();
        let paid = run.step("pay", Effect::Irreversible, &1, |_| async { Ok(2u8) });
        assert_eq!(paid.await.unwrap(), 3);
    });
}

#[test]
fn a_run_that_exists_is_not_imported_over() {
    block_on(async {
        let bench = Bench::new();
        let journal = all_sorts(&bench).await;
        let file = exported(&journal, "mother").await;
        let error = import(&journal, file.clone()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Exists { id } if id == "mother"),
            "{error}"
        );
        // One of the children is there already, under a parent of another name.
        let other = Journal::in_memory().unwrap();
        let child = journal.questions(None).await.unwrap();
        let ids = import(&Journal::in_memory().unwrap(), file.clone())
            .await
            .unwrap();
        assert!(!child.is_empty());
        import(&other, exported(&journal, &ids[2]).await)
            .await
            .unwrap();
        assert_eq!(other.run(&ids[2]).await.unwrap().parent, None);
        let error = import(&other, file).await.unwrap_err();
        assert!(
            matches!(&error, Error::Exists { id } if *id == ids[2]),
            "{error}"
        );
        assert_eq!(findings(&other).await, []);
    });
}

/// The lines with a last line that fits them.
fn sealed(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut file: Vec<u8> = lines.concat();
    let count = |name: &str| {
        let start = format!("{{\"{name}\":");
        let lines = lines.iter();
        lines
            .filter(|line| line.starts_with(start.as_bytes()))
            .count()
    };
    let hash = blake3::hash(&file).to_hex().to_string();
    let end = json!({"end": {
        "runs": count("run"), "payloads": count("payload"), "events": count("event"), "blake3": hash
    }});
    file.extend_from_slice(end.to_string().as_bytes());
    file.push(b'\n');
    file
}

fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn text(lines: &[Value]) -> Vec<Vec<u8>> {
    lines
        .iter()
        .map(|line| format!("{line}\n").into_bytes())
        .collect()
}

/// An export of a run and what each of its lines says: header, run, start, step, end of step, payload,
/// end of run, end.
async fn good_file() -> (Vec<u8>, Vec<Value>) {
    let journal = Journal::in_memory().unwrap();
    let run = journal.start(new_run("one")).await.unwrap();
    say(&run, "a").await.unwrap();
    run.finish(&json!("word ".repeat(400))).await.unwrap();
    let good = exported(&journal, "one").await;
    let parts = lines(&good)
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect::<Vec<Value>>();
    assert_eq!(parts.len(), 8);
    (good, parts)
}

/// Such a file is not imported, and the error says where it is wrong, and how.
async fn is_refused(file: Vec<u8>, line: u64, message: &str) {
    let journal = Journal::in_memory().unwrap();
    let error = import(&journal, file).await.unwrap_err();
    let Error::Import {
        line: at,
        message: said,
    } = &error
    else {
        panic!("{message}: {error}");
    };
    assert!(said.contains(message), "{message}: {error}");
    assert_eq!(*at, line, "{message}: {error}");
    assert!(empty(&journal).await);
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    let output = "/event/body/output/$plumb";
    let zeros = "0".repeat(64);
    let cases: [(usize, &str, Value, u64, &str); 14] = [
        (0, "/header/format", "zip".into(), 1, "but `zip`"),
        (0, "/header/version", 2.into(), 1, "use a newer Plumb"),
        (1, "/run/id", "a b".into(), 2, "cannot be a run's id"),
        (1, "/run/status", "failed".into(), 8, "is finished"),
        (1, "/run/agent", "other".into(), 8, "agent"),
        (
            2,
            "/event/kind",
            "run_walked".into(),
            3,
            "no event `run_walked`",
        ),
        (2, "/event/at_ms", (-1).into(), 3, "its time"),
        (3, "/event/path", "a\u{7}".into(), 4, "address"),
        (3, "/event/fingerprint", "00".into(), 4, "fingerprint"),
        (4, "/event/path", "b[0]".into(), 5, "beginning is missing"),
        (5, "/payload/text", "\"x\"".into(), 6, "hash"),
        (6, output, zeros.into(), 7, "does not stand"),
        (6, output, 1.into(), 7, "not a reference"),
        (6, output, Value::Null, 7, "not a reference"),
    ];
    block_on(async {
        let (_, parts) = good_file().await;
        for (place, pointer, value, line, message) in cases {
            let mut parts = parts[..7].to_vec();
            *parts[place].pointer_mut(pointer).unwrap() = value;
            is_refused(sealed(&text(&parts)), line, message).await;
        }
    });
}

#[test]
fn what_is_wrong_with_a_whole_file_is_said_with_its_line() {
    block_on(async {
        let (good, parts) = good_file().await;
        is_refused(Vec::new(), 1, "cut off").await;
        is_refused(b"\n".to_vec(), 1, "not a line").await;
        is_refused(good[..good.len() - 1].to_vec(), 8, "no end").await;
        is_refused(lines(&good)[..7].concat(), 8, "before its last line").await;
        let double = [good.clone(), good.clone()].concat();
        is_refused(double, 9, "after the last line").await;
        let mut swapped = parts[..7].to_vec();
        swapped.swap(3, 4);
        is_refused(sealed(&text(&swapped)), 4, "beginning is missing").await;
        let mut twice = parts[..7].to_vec();
        twice.insert(5, twice[4].clone());
        is_refused(sealed(&text(&twice)), 6, "ended before").await;
        let mut flipped = good.clone();
        let place = good
            .windows(8)
            .position(|window| window == b"\"input\":")
            .unwrap();
        flipped[place + 1] = b'I';
        is_refused(flipped, 8, "its hash is another one").await;
        let long = [b"{\"header\":\"".to_vec(), vec![b'x'; 65 << 20]].concat();
        is_refused(long, 1, "longer than").await;
        let journal = Journal::in_memory().unwrap();
        assert_eq!(import(&journal, good).await.unwrap(), ["one"]);
    });
}

/// A payload line, and its hash.
fn payload(kind: &str, value: String) -> (Value, String) {
    let letter = if kind == "list" { "l" } else { "v" };
    let hash = blake3::hash(format!("{letter}{value}").as_bytes())
        .to_hex()
        .to_string();
    (
        json!({"payload": {"hash": hash, "kind": kind, "text": value}}),
        hash,
    )
}

#[test]
fn what_would_not_end_is_refused() {
    block_on(async {
        let header = json!({"header": {"format": "plumb-export", "version": 1, "schema": 2}});
        let run = json!({"run": {
            "id": "one", "agent": "a", "status": "running", "reason": null, "created_ms": 1,
            "updated_ms": 1, "parent": null, "forked_from": null, "budget": []
        }});
        let start = |input: &str| {
            json!({"event": {"kind": "run_started", "at_ms": 1, "body": {
                "agent": "a", "definition": "", "input": {"$plumb": input}
            }}})
        };
        let nested = |deep: usize, wrap: &dyn Fn(&str) -> String| {
            let mut lines = vec![header.clone(), run.clone()];
            let (line, mut hash) = payload("value", "\"leaf\"".to_string());
            lines.push(line);
            for _ in 0..deep {
                let (line, next) = payload("value", wrap(&hash));
                lines.push(line);
                hash = next;
            }
            lines.push(start(&hash));
            sealed(&text(&lines))
        };
        let deeper = |hash: &str| format!("[{{\"$plumb\":\"{hash}\"}}]");
        let doubled = |hash: &str| format!("[{{\"$plumb\":\"{hash}\"}},{{\"$plumb\":\"{hash}\"}}]");
        for (file, message) in [
            (nested(5_000, &deeper), "goes deeper"),
            (nested(60, &doubled), "put together"),
            (nested(1, &|_| "[".repeat(100_000)), "not JSON"),
        ] {
            let error = import(&Journal::in_memory().unwrap(), file)
                .await
                .unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
        // What is allowed can be read.
        let other = Journal::in_memory().unwrap();
        import(&other, nested(250, &deeper)).await.unwrap();
        let mut input = other.run("one").await.unwrap().input;
        let mut depth = 0;
        while let Value::Array(mut items) = input {
            input = items.remove(0);
            depth += 1;
        }
        assert_eq!(depth, 250);
        // A chain is no depth.
        let mut lines = vec![header.clone(), run.clone()];
        let mut previous = "null".to_string();
        for number in 0..20_000 {
            let (line, hash) = payload("list", format!("[{previous},{number}]"));
            lines.push(line);
            previous = format!("\"{hash}\"");
        }
        lines.push(start(previous.trim_matches('"')));
        let other = Journal::in_memory().unwrap();
        import(&other, sealed(&text(&lines))).await.unwrap();
        let input = other.run("one").await.unwrap().input;
        assert_eq!(input.as_array().unwrap().len(), 20_000);
        assert_eq!(findings(&other).await, []);
        assert_eq!(
            exported(&other, "one").await.len(),
            exported(&other, "one").await.len()
        );
    });
}

#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    CutOff(usize),
    /// A number or a word in place of another one.
    Write(usize, usize, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let place = any::<usize>;
    let words = prop::sample::select(vec![
        "null",
        "-1",
        "9223372036854775807",
        "18446744073709551615",
        "1e308",
        "\"\"",
        "{}",
        "[]",
        "true",
        "\"$plumb\"",
        "\"question\"",
        "\"step_finished\"",
        "\"run_parked\"",
        "\"parked\"",
    ]);
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        place().prop_map(Change::Drop),
        place().prop_map(Change::Double),
        (place(), place()).prop_map(|(a, b)| Change::Swap(a, b)),
        place().prop_map(Change::CutOff),
        (place(), place(), words)
            .prop_map(|(line, at, word)| { Change::Write(line, at, word.as_bytes().to_vec()) }),
    ]
}

fn apply(change: Change, lines: &mut Vec<Vec<u8>>) {
    let count = lines.len();
    if count == 0 {
        return;
    }
    match change {
        Change::Flip(at, bits) => {
            let all: usize = lines.iter().map(Vec::len).sum();
            let mut at = at % all.max(1);
            for line in lines {
                if at < line.len() {
                    line[at] ^= bits;
                    return;
                }
                at -= line.len();
            }
        }
        Change::Drop(at) => drop(lines.remove(at % count)),
        Change::Double(at) => lines.insert(at % count, lines[at % count].clone()),
        Change::Swap(a, b) => lines.swap(a % count, b % count),
        Change::CutOff(at) => lines.truncate(at % count),
        Change::Write(line, at, word) => {
            let line = &mut lines[line % count];
            // In place of what stands between two colons, commas or brackets.
            let stops: Vec<usize> = (0..line.len())
                .filter(|place| b":,}]".contains(&line[*place]))
                .collect();
            if stops.len() > 1 {
                let at = at % (stops.len() - 1);
                line.splice(stops[at] + 1..stops[at + 1], word);
            }
        }
    }
}

/// Exports to be spoilt; made once.
fn samples() -> &'static Vec<Vec<u8>> {
    static SAMPLES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SAMPLES.get_or_init(|| {
        block_on(async {
            let bench = Bench::new();
            let journal = all_sorts(&bench).await;
            let mut samples = Vec::new();
            for id in [
                "plain", "waiting", "forked", "spender", "doubtful", "faulty",
            ] {
                samples.push(exported(&journal, id).await);
            }
            samples
        })
    })
}

/// Nothing panics; what is refused leaves nothing; what is taken is sound and can be read.
async fn takes_or_leaves(file: Vec<u8>) -> bool {
    let journal = Journal::in_memory().unwrap();
    match import(&journal, file).await {
        Err(Error::Import { .. }) => {
            assert!(empty(&journal).await);
            assert_eq!(journal.collect(i64::MAX).await.unwrap().payloads, 0);
            false
        }
        Err(error) => panic!("{error}"),
        Ok(ids) => {
            let found = findings(&journal).await;
            let found = found.iter().filter(|finding| finding.place != "its times");
            assert_eq!(found.collect::<Vec<_>>(), Vec::<&journal::Finding>::new());
            journal.questions(None).await.unwrap();
            for id in ids {
                let record = journal.run(&id).await.unwrap();
                journal.steps(&record.id).await.unwrap();
                exported(&journal, &id).await;
                if let Ok(run) = journal.resume(&id).await {
                    say(&run, "next").await.ok();
                }
            }
            true
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_spoilt_file_leaves_nothing(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let good = &samples()[sample.index(samples().len())];
        let mut spoilt = lines(good);
        for change in changes {
            apply(change, &mut spoilt);
        }
        let spoilt = spoilt.concat();
        if spoilt != *good {
            prop_assert!(!block_on(takes_or_leaves(spoilt)));
        }
    }

    #[test]
    fn a_forged_file_is_sound_or_leaves_nothing(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let mut forged = lines(&samples()[sample.index(samples().len())]);
        forged.pop();
        for change in changes {
            apply(change, &mut forged);
        }
        block_on(takes_or_leaves(sealed(&forged)));
    }
}
