//! Deleting what is old, and finding what is damaged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{
    Budget, Cost, Effect, Engine, Error, Finding, Fork, Journal, NewChild, NewRun, Question, Run,
    RunStatus, Settlement, StepError, StepOptions,
};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run, say};

/// A text long enough to become a payload, and another one for each name.
fn long(name: &str) -> String {
    format!("{name} has a lot to say. ").repeat(300)
}

/// A run of one long step, finished.
async fn finished(journal: &Journal, id: &str, says: &str) {
    let run = journal.start(new_run(id)).await.unwrap();
    talk(&run, says).await;
    run.finish(&json!("done")).await.unwrap();
}

async fn talk(run: &Run, says: &str) {
    let text = long(says);
    run.step("talk", Effect::Read, &says, |_| async { Ok(text) })
        .await
        .unwrap();
}

async fn ids(journal: &Journal) -> Vec<String> {
    let page = journal::Page {
        limit: 1000,
        before: None,
    };
    let mut ids: Vec<String> = journal
        .runs(page)
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.id.to_string())
        .collect();
    ids.sort();
    ids
}

pub(crate) async fn findings(journal: &Journal) -> Vec<Finding> {
    journal.check(|_, _| {}).await.unwrap()
}

#[test]
fn old_runs_go_with_what_only_they_refer_to() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        finished(&journal, "one", "Ada").await;
        finished(&journal, "two", "Grace").await;
        let parked = journal.start(new_run("parked")).await.unwrap();
        talk(&parked, "Ada").await;
        parked.park("later").await.unwrap();
        let running = journal.start(new_run("running")).await.unwrap();
        say(&running, "a").await.unwrap();
        let failed = journal.start(new_run("failed")).await.unwrap();
        failed.fail("no").await.unwrap();
        let payloads = bench.number("SELECT count(*) FROM payload");

        // Nothing is old enough yet.
        assert_eq!(journal.collect(1).await.unwrap(), Default::default());
        assert_eq!(ids(&journal).await.len(), 5);

        let collected = journal.collect(i64::MAX).await.unwrap();
        assert_eq!((collected.runs, collected.kept), (3, 0));
        // Grace's words are gone; Ada's are still said by the parked run.
        assert_eq!(collected.payloads, 1);
        assert!(collected.bytes > 100, "{collected:?}");
        assert_eq!(bench.number("SELECT count(*) FROM payload"), payloads - 1);
        assert_eq!(ids(&journal).await, ["parked", "running"]);
        assert_eq!(findings(&journal).await, []);
        let steps = journal.steps(parked.id()).await.unwrap();
        assert_eq!(steps[0].output, Some(json!(long("Ada"))));
        say(&running, "b").await.unwrap();
        assert_eq!(bench.number("SELECT value FROM meta"), 2);
    });
}

#[test]
fn a_time_divides_the_old_from_the_young() {
    block_on(async {
        let bench = Bench::new();
        let clock = journal::ManualClock::new(1_000_000);
        let options = journal::Options {
            clock: Arc::new(clock.clone()),
            ..Default::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        finished(&journal, "old", "Ada").await;
        clock.set(2_000_000);
        finished(&journal, "young", "Grace").await;
        let collected = journal.collect(2_000_000).await.unwrap();
        assert_eq!((collected.runs, collected.payloads), (1, 1));
        assert_eq!(ids(&journal).await, ["young"]);
    });
}

#[test]
fn what_forks_and_pins_point_at_is_kept() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        for id in ["pinned", "origin", "reused", "gone"] {
            finished(&journal, id, id).await;
        }
        journal.pin("pinned", "a dataset").await.unwrap();
        journal.pin("pinned", "a report").await.unwrap();
        // A fork of a fork, parked; it reaches back to the first one.
        let fork = |id: &str, at: Option<&str>| Fork {
            id: Some(id.to_string()),
            at: at.map(String::from),
            reuse: true,
            ..Fork::default()
        };
        let middle = journal.fork("origin", fork("middle", None)).await.unwrap();
        talk(&middle, "origin").await;
        say(&middle, "next").await.unwrap();
        middle.finish(&Value::Null).await.unwrap();
        let last = journal
            .fork("middle", fork("last", Some("next[0]")))
            .await
            .unwrap();
        last.park("later").await.unwrap();
        let reusing = journal.fork("reused", fork("reusing", None)).await.unwrap();
        reusing.park("later").await.unwrap();

        let collected = journal.collect(i64::MAX).await.unwrap();
        assert_eq!((collected.runs, collected.kept), (1, 4));
        let kept = ["last", "middle", "origin", "pinned", "reused", "reusing"];
        assert_eq!(ids(&journal).await, kept);
        assert_eq!(findings(&journal).await, []);

        // What the fork shares, and what it may reuse, is still there to be taken.
        let last = journal.resume("last").await.unwrap();
        talk(&last, "origin").await;
        last.finish(&Value::Null).await.unwrap();
        let reusing = journal.resume("reusing").await.unwrap();
        let text: String = reusing
            .step("talk", Effect::Read, &"reused", |_| async {
                Err(StepError::Failed("it was not reused".to_string()))
            })
            .await
            .unwrap();
        assert_eq!(text, long("reused"));
        reusing.finish(&Value::Null).await.unwrap();

        journal.unpin("pinned", "a report").await.unwrap();
        let collected = journal.collect(i64::MAX).await.unwrap();
        assert_eq!((collected.runs, collected.kept), (5, 1));
        journal.unpin("pinned", "a dataset").await.unwrap();
        journal.collect(i64::MAX).await.unwrap();
        assert!(ids(&journal).await.is_empty());
        assert_eq!(bench.number("SELECT count(*) FROM payload"), 0);
        assert_eq!(bench.number("SELECT count(*) FROM event"), 0);
        let error = journal.pin("pinned", "late").await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    });
}

/// An engine for families: a parent that spawns two children, one of which asks.
fn family(journal: &Journal) -> Engine {
    Engine::new(journal.clone())
        .register("parent", |run| async move {
            let quick = run
                .spawn("quick", &NewChild::new("quick", json!(long("child"))))
                .await?;
            let asking = run
                .spawn("asking", &NewChild::new("asking", Value::Null))
                .await?;
            let quick = quick.wait().await??;
            Ok(json!([quick, asking.wait().await??]))
        })
        .register("quick", |run| async move {
            let options = StepOptions::reserve(Cost {
                tokens: 100,
                money_micros: 7,
            });
            let work = |context: journal::StepContext| async move {
                context.spent(Cost {
                    tokens: 60,
                    money_micros: 5,
                });
                Ok(1)
            };
            let one: u8 = run
                .step_with("cost", Effect::Read, &(), options, work)
                .await?;
            Ok(one.into())
        })
        .register("asking", |run| async move {
            let question = Question::yes_or_no("Shall I?");
            Ok(run.ask::<bool>("may", &question).await?.into())
        })
}

fn parent(id: &str) -> NewRun {
    let mut new = NewRun::new("parent", Value::Null);
    new.id = Some(id.to_string());
    new.budget = Budget {
        tokens: Some(1_000),
        money_micros: Some(500),
        steps: Some(50),
        time_ms: Some(600_000),
    };
    new
}

#[test]
fn families_go_together() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        journal.submit(parent("mother")).await.unwrap();
        let engine = family(&journal);
        engine.run_until_idle().await.unwrap();
        // One child has finished, the other one and the parent wait.
        let collected = journal.collect(i64::MAX).await.unwrap();
        assert_eq!((collected.runs, collected.kept), (0, 1));
        assert_eq!(ids(&journal).await.len(), 3);
        assert_eq!(findings(&journal).await, []);
        let open = journal.questions(None).await.unwrap().remove(0);
        let child = open.run.to_string();
        journal
            .answer(&child, &open.path, true.into(), "Ada")
            .await
            .unwrap();
        engine.run_until_idle().await.unwrap();
        assert_eq!(
            journal.run("mother").await.unwrap().status,
            RunStatus::Finished
        );
        assert_eq!(findings(&journal).await, []);
        // A pinned child keeps its parent and its sister.
        journal.pin(&child, "shown").await.unwrap();
        let collected = journal.collect(i64::MAX).await.unwrap();
        assert_eq!((collected.runs, collected.kept), (0, 3));
        journal.unpin(&child, "shown").await.unwrap();
        assert_eq!(journal.collect(i64::MAX).await.unwrap().runs, 3);
        assert_eq!(bench.number("SELECT count(*) FROM budget"), 0);
    });
}

#[test]
fn another_process_goes_on_after_a_collection() {
    block_on(async {
        let bench = Bench::new();
        let (first, second) = (bench.open(), bench.open());
        // The second one knows these payloads to be on disk.
        let mut new = new_run("warm");
        new.definition = long("the definition");
        let warm = second.start(new.clone()).await.unwrap();
        let messages: Vec<String> = (0..20).map(|number| long(&number.to_string())).collect();
        let list = |run: Run, name: &'static str, messages: Vec<String>| async move {
            run.step(name, Effect::Read, &messages, |_| async {
                Ok(long("said"))
            })
            .await
            .unwrap()
        };
        list(warm.clone(), "model", messages.clone()).await;
        let other = second.start(new_run("other")).await.unwrap();
        warm.finish(&Value::Null).await.unwrap();

        let collected = first.collect(i64::MAX).await.unwrap();
        assert_eq!(collected.runs, 1);
        assert!(collected.payloads > 20, "{collected:?}");

        // A running run refers to them again, and so does a new one.
        assert_eq!(
            list(other.clone(), "model", messages.clone()).await,
            long("said")
        );
        new.id = Some("again".to_string());
        let again = second.start(new).await.unwrap();
        list(again.clone(), "model", messages.clone()).await;
        let longer: Vec<String> = messages.iter().cloned().chain([long("more")]).collect();
        list(again.clone(), "model", longer.clone()).await;
        for journal in [&first, &second] {
            assert_eq!(findings(journal).await, []);
            let steps = journal.steps(other.id()).await.unwrap();
            assert_eq!(steps[0].input, json!(messages));
            let steps = journal.steps(again.id()).await.unwrap();
            assert_eq!(steps[1].input, json!(longer));
            let record = journal.run("again").await.unwrap();
            assert_eq!(record.definition, long("the definition"));
        }
    });
}

#[test]
fn runs_go_on_while_others_are_collected() {
    block_on(async {
        let bench = Bench::new();
        let (first, second) = (bench.open(), bench.open());
        let round = |journal: Journal, name: String| async move {
            for number in 0..12 {
                let run = journal
                    .start(new_run(&format!("{name}-{number}")))
                    .await
                    .unwrap();
                // The same words in every run, so that each collection takes them away from the next.
                for says in ["Ada", "Grace", "Mary"] {
                    talk(&run, says).await;
                }
                let text = long("Ada");
                assert_eq!(
                    journal.steps(run.id()).await.unwrap()[0].output,
                    Some(json!(text))
                );
                run.finish(&json!(long("output"))).await.unwrap();
            }
        };
        let collect = async {
            let mut runs = 0;
            for _ in 0..15 {
                runs += first.collect(i64::MAX).await.unwrap().runs;
                tokio::task::yield_now().await;
            }
            runs
        };
        let (collected, ..) = tokio::join!(
            collect,
            round(first.clone(), "a".to_string()),
            round(second.clone(), "b".to_string())
        );
        assert!(collected > 0);
        assert_eq!(findings(&second).await, []);
    });
}

#[test]
fn what_cannot_be_read_is_no_reason_to_delete() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        finished(&journal, "old", "Ada").await;
        let kept = journal.start(new_run("kept")).await.unwrap();
        talk(&kept, "Grace").await;
        let hash = bench.number("SELECT max(rowid) FROM payload");
        bench.sql(&format!(
            "UPDATE payload SET body = x'00', size = 9 WHERE rowid = {hash}"
        ));
        let error = journal.collect(i64::MAX).await.unwrap_err();
        assert!(matches!(error, Error::NotCollected { .. }), "{error}");
        assert_eq!(ids(&journal).await.len(), 2);
        assert_eq!(bench.number("SELECT value FROM meta"), 0);
    });
}

#[test]
fn the_file_gets_smaller() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("large")).await.unwrap();
        for number in 0..600_u64 {
            let noise: String = (0..4000_u64)
                .map(|place| char::from(b'a' + (blake(number, place) % 26) as u8))
                .collect();
            run.step("noise", Effect::Read, &number, |_| async { Ok(noise) })
                .await
                .unwrap();
        }
        run.finish(&Value::Null).await.unwrap();
        drop(run);
        let before = std::fs::metadata(bench.path()).unwrap().len();
        journal.collect(i64::MAX).await.unwrap();
        let after = std::fs::metadata(bench.path()).unwrap().len();
        assert!(before > 1_000_000 && after < 200_000, "{before} to {after}");
        finished(&journal, "next", "Ada").await;
        assert_eq!(findings(&journal).await, []);
    });
}

/// Numbers without a pattern that would compress.
fn blake(number: u64, place: u64) -> u64 {
    let mixed = (number << 32 | place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// A run that was cut off in a step that sets something aside, and settled.
async fn doubtful(journal: &Journal) {
    let mut new = new_run("doubtful");
    new.budget.tokens = Some(100);
    new.budget.steps = Some(3);
    let run = journal.start(new).await.unwrap();
    let options = StepOptions::reserve(Cost {
        tokens: 40,
        ..Cost::default()
    });
    let (begun, wait) = tokio::sync::oneshot::channel();
    let flight = run.step_with("pay", Effect::Irreversible, &12, options, |_| async move {
        begun.send(()).unwrap();
        std::future::pending::<Result<(), StepError>>().await
    });
    tokio::select! {
        _ = flight => panic!("it ended"),
        _ = wait => {}
    }
    drop(run);
    // Letting go is written behind what this waits for.
    journal.pin("doubtful", "to be looked at").await.unwrap();
    journal
        .settle("doubtful", "pay[0]", Settlement::NotDone)
        .await
        .unwrap();
}

/// A run with a question that raised its limit, answered, and another one that is open.
async fn spender(journal: &Journal) {
    let mut new = NewRun::new("spender", Value::Null);
    new.id = Some("spender".to_string());
    new.budget.tokens = Some(50);
    let engine = Engine::new(journal.clone()).register("spender", |run| async move {
        for amount in [40, 40, 400] {
            let options = StepOptions::reserve(Cost {
                tokens: amount,
                ..Cost::default()
            });
            run.step_with("model", Effect::Read, &amount, options, |_| async {
                Ok(())
            })
            .await?;
        }
        Ok(Value::Null)
    });
    journal.submit(new).await.unwrap();
    engine.run_until_idle().await.unwrap();
    journal
        .answer("spender", "budget/tokens[50]", 90.into(), "Ada")
        .await
        .unwrap();
    engine.run_until_idle().await.unwrap();
}

/// A run whose step ended with a fault, and then well.
async fn faulty(journal: &Journal) {
    let faulty = journal.start(new_run("faulty")).await.unwrap();
    let fault = || async { Err::<u8, _>(StepError::Fault("no network".to_string())) };
    faulty
        .step("fetch", Effect::Read, &"page", |_| fault())
        .await
        .unwrap_err();
    faulty.fail("no network").await.unwrap();
    drop(faulty);
    let faulty = journal.resume("faulty").await.unwrap();
    faulty
        .step("fetch", Effect::Read, &"page", |_| async { Ok(1) })
        .await
        .unwrap();
    drop(faulty);
}

/// A journal with one of everything, and nothing wrong with it.
pub(crate) async fn all_sorts(bench: &Bench) -> Journal {
    let journal = bench.open();
    finished(&journal, "plain", "Ada").await;
    journal.submit(parent("mother")).await.unwrap();
    family(&journal).run_until_idle().await.unwrap();
    let open = journal.questions(None).await.unwrap().remove(0);
    journal
        .answer(open.run.as_str(), &open.path, true.into(), "Ada")
        .await
        .unwrap();
    family(&journal).run_until_idle().await.unwrap();
    journal.submit(parent("waiting")).await.unwrap();
    family(&journal).run_until_idle().await.unwrap();
    let changes = Fork {
        id: Some("forked".to_string()),
        ..Fork::default()
    };
    let fork = journal.fork("plain", changes).await.unwrap();
    say(&fork, "more").await.unwrap();
    fork.park("later").await.unwrap();
    doubtful(&journal).await;
    spender(&journal).await;
    faulty(&journal).await;
    let cancelled = journal.start(new_run("cancelled")).await.unwrap();
    say(&cancelled, "a").await.unwrap();
    journal.cancel("cancelled", "enough").await.unwrap();
    journal.run("faulty").await.unwrap();
    journal.unpin("doubtful", "to be looked at").await.unwrap();
    journal
}

#[test]
fn nothing_is_found_in_a_sound_journal() {
    block_on(async {
        let bench = Bench::new();
        let journal = all_sorts(&bench).await;
        let seen = Arc::new(AtomicU64::new(0));
        let (counter, rows) = (
            Arc::clone(&seen),
            bench.number("SELECT count(*) FROM event"),
        );
        let found = journal
            .check(move |done, total| {
                assert!(done <= total);
                counter.store(done, Ordering::Relaxed);
            })
            .await
            .unwrap();
        assert_eq!(found, []);
        assert!(seen.load(Ordering::Relaxed) > rows as u64);
        // As another process would see it, the leases of this one are in order too.
        assert_eq!(findings(&bench.open()).await, []);
    });
}

/// Damages a sound journal and looks for what the check says of it.
fn finds(sql: &str, run: Option<&str>, place: &str, what: &str) {
    block_on(async {
        let bench = Bench::new();
        drop(all_sorts(&bench).await);
        assert!(bench.sql(sql) > 0, "{sql}");
        let found = findings(&bench.open()).await;
        let hit = found.iter().any(|finding| {
            finding.run.as_ref().map(|id| id.as_str()) == run
                && finding.place.contains(place)
                && finding.what.contains(what)
        });
        assert!(hit, "{sql}: {found:#?}");
        // What is damaged in one run is not said of the others.
        let others = found.iter().filter(|finding| {
            finding.run.is_some() && finding.run.as_ref().map(|id| id.as_str()) != run
        });
        assert_eq!(others.count(), 0, "{sql}: {found:#?}");
    });
}

const PLAIN: &str = "run = (SELECT key FROM run WHERE id = 'plain')";

#[test]
fn the_check_finds_a_changed_event() {
    let sql =
        format!("UPDATE event SET body = replace(body, 'Ada', 'Eve') WHERE {PLAIN} AND kind = 10");
    finds(&sql, Some("plain"), "step talk[0]", "digest differs");
    let sql = format!("UPDATE event SET at_ms = at_ms + 1 WHERE {PLAIN} AND kind = 4");
    finds(&sql, Some("plain"), "event", "digest differs");
    let sql = format!("UPDATE event SET kind = 'x' WHERE {PLAIN} AND kind = 4");
    finds(&sql, Some("plain"), "event", "");
}

#[test]
fn the_check_finds_a_changed_and_a_missing_payload() {
    let words = "SELECT max(rowid) FROM payload WHERE size > 5000";
    let sql = format!("UPDATE payload SET body = '\"other\"' WHERE rowid = ({words})");
    finds(&sql, None, "payload", "hash differs");
    let sql = format!("UPDATE payload SET body = x'0102' WHERE rowid = ({words})");
    finds(&sql, None, "payload", "cannot be read");
    let of_plain = format!(
        "SELECT substr(body, instr(body, 'plumb\":\"') + 8, 64) FROM event WHERE {PLAIN} AND kind = 12"
    );
    let sql = format!("DELETE FROM payload WHERE lower(hex(hash)) = ({of_plain})");
    finds(&sql, Some("plain"), "step talk[0]", "which is missing");
}

#[test]
fn the_check_finds_a_deleted_event() {
    for (run, kind, what) in [
        ("cancelled", 1, "the events before it are missing"),
        ("plain", 10, "the step's beginning is missing"),
        ("plain", 12, "finished_steps is 1, by its events it is 0"),
        (
            "plain",
            4,
            "status is finished, by its events it is running",
        ),
    ] {
        let of = format!("run = (SELECT key FROM run WHERE id = '{run}')");
        let sql = format!("DELETE FROM event WHERE {of} AND kind = {kind}");
        finds(&sql, Some(run), "", what);
    }
}

#[test]
fn the_check_finds_events_out_of_order() {
    let sql = format!(
        "INSERT INTO event (run, kind, at_ms, path, body, digest) \
         SELECT run, kind, at_ms, path, body, digest FROM event WHERE {PLAIN} AND kind = 12"
    );
    finds(
        &sql,
        Some("plain"),
        "step talk[0]",
        "the run was finished then",
    );
    let sql = "INSERT INTO event (run, kind, at_ms, path, body, digest) \
               SELECT run, kind, at_ms, path, body, digest FROM event \
               WHERE run = (SELECT key FROM run WHERE id = 'faulty') AND kind = 12";
    finds(sql, Some("faulty"), "step fetch[0]", "had ended before");
}

#[test]
fn the_check_finds_wrong_projections() {
    for (change, run, what) in [
        (
            "steps = steps + 1",
            "plain",
            "steps is 2, by its events it is 1",
        ),
        ("finished_steps = 0", "plain", "finished_steps is 0"),
        (
            "status = 3",
            "plain",
            "status is failed, by its events it is finished",
        ),
        ("ended_seq = 1", "plain", "ended_seq"),
        (
            "reason = 'tired'",
            "forked",
            "its reason is not that of its events",
        ),
        (
            "agent = 'Eve'",
            "plain",
            "its agent is not that of its events",
        ),
    ] {
        let sql = format!("UPDATE run SET {change} WHERE id = '{run}'");
        finds(&sql, Some(run), "its row", what);
    }
    let open = "run = (SELECT key FROM run WHERE id = 'spender')";
    let sql = format!("DELETE FROM question WHERE {open}");
    finds(
        &sql,
        Some("spender"),
        "budget/tokens[90]",
        "not on the list",
    );
    let sql = format!("UPDATE question SET path = 'x' WHERE {open}");
    finds(&sql, Some("spender"), "step x", "is not one");
    finds(
        "DELETE FROM run WHERE id = 'cancelled'",
        None,
        "table event",
        "belong to no run",
    );
}

#[test]
fn the_check_finds_wrong_budgets() {
    for (change, run, dimension, what) in [
        (
            "spent = spent + 1",
            "mother",
            1,
            "its amount spent is 61, by the events it is 60",
        ),
        ("spent = 0", "mother", 0, "by the events it is 5"),
        ("spent = 0", "mother", 3, "by the events it is 1"),
        (
            "reserved = 0",
            "doubtful",
            1,
            "its amount set aside is 0, by the events it is 40",
        ),
        (
            "most = 50",
            "spender",
            1,
            "its limit is 50, by the events it is 90",
        ),
    ] {
        let sql = format!(
            "UPDATE budget SET {change} \
             WHERE run = (SELECT key FROM run WHERE id = '{run}') AND dimension = {dimension}"
        );
        finds(&sql, Some(run), "its budget of", what);
    }
    let of_mother = "run = (SELECT key FROM run WHERE id = 'mother') AND dimension = 2";
    let sql = format!("DELETE FROM budget WHERE {of_mother}");
    finds(
        &sql,
        Some("mother"),
        "its budget of time",
        "its row is missing",
    );
    let sql = "INSERT INTO budget VALUES ((SELECT key FROM run WHERE id = 'plain'), 0, 1, 0, 0)";
    finds(sql, Some("plain"), "its budget of money", "no such limit");
}

#[test]
fn the_check_finds_leases_of_the_dead_and_events_of_tomorrow() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("one")).await.unwrap();
        say(&run, "a").await.unwrap();
        assert_eq!(findings(&journal).await, []);
        bench.sql("UPDATE lease SET born = born - 1");
        let found = findings(&journal).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].what.contains("is dead"), "{found:#?}");
        bench.sql("UPDATE lease SET born = born + 1, expires_ms = 1");
        assert!(findings(&journal).await[0].what.contains("has not renewed"));
    });
    block_on(async {
        let bench = Bench::new();
        let far =
            journal::ManualClock::new(journal::Clock::now_ms(&journal::SystemClock) + 90_000_000);
        let options = journal::Options {
            clock: Arc::new(far),
            ..Default::default()
        };
        let ahead = Journal::open_with(&bench.path(), options).unwrap();
        finished(&ahead, "ahead", "Ada").await;
        drop(ahead);
        let found = findings(&bench.open()).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].what.starts_with("4 events are dated"),
            "{found:#?}"
        );
    });
}

#[test]
fn what_a_fault_has_set_free_is_not_set_free_again() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let mut new = new_run("one");
        new.budget.tokens = Some(1_000);
        let run = journal.start(new).await.unwrap();
        let reserve = |tokens| {
            StepOptions::reserve(Cost {
                tokens,
                ..Cost::default()
            })
        };
        let fault = run.step_with("pay", Effect::Irreversible, &1, reserve(100), |_| async {
            Err::<u8, _>(StepError::Fault("no network".to_string()))
        });
        fault.await.unwrap_err();
        drop(run);
        let run = journal.resume("one").await.unwrap();
        let (begun, wait) = tokio::sync::oneshot::channel();
        let branch = run.scope("branch", 0);
        let flight = branch.step_with("model", Effect::Read, &2, reserve(300), |_| async move {
            begun.send(()).unwrap();
            std::future::pending::<Result<(), StepError>>().await
        });
        let options = reserve(100).reconcile(|_| async { Ok(journal::Reconciled::Done(7.into())) });
        let found = async {
            wait.await.unwrap();
            run.step_with("pay", Effect::Irreversible, &1, options, |_| async {
                Ok(0)
            })
            .await
            .unwrap()
        };
        let paid: u8 = tokio::select! {
            _ = flight => panic!("it ended"),
            paid = found => paid,
        };
        assert_eq!(paid, 7);
        let tokens = journal.spending(run.id()).await.unwrap()[0];
        assert_eq!((tokens.spent, tokens.reserved), (0, 300));
        assert_eq!(findings(&journal).await, []);
    });
}
