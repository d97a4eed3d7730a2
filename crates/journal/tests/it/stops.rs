//! A run whose journal cannot be written, or has been damaged, or has been taken over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use journal::{Effect, Error, Journal, Options, Page, RunStatus};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run, recorded, say};

async fn big(run: &journal::Run, number: u64, worked: &AtomicUsize) -> journal::Result<Value> {
    let noise: String = (0..2000)
        .map(|place| char::from(b'a' + ((number + 7) * place * place % 23) as u8))
        .collect();
    run.step("big", Effect::Read, &number, |_| async move {
        worked.fetch_add(1, Ordering::Relaxed);
        Ok(json!([number, noise]))
    })
    .await
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    block_on(async {
        let bench = Bench::new();
        let options = Options {
            max_bytes: Some(160_000),
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let worked = AtomicUsize::new(0);
        let mut finished = 0;
        let error = loop {
            match big(&run, finished, &worked).await {
                Ok(_) => finished += 1,
                Err(error) => break error,
            }
        };
        assert!(finished > 3);
        assert!(error.to_string().contains("free some space"), "{error}");
        // From here on the run does nothing: it never goes on without its journal.
        let before = worked.load(Ordering::Relaxed);
        let again = big(&run, finished + 1, &worked).await.unwrap_err();
        assert!(matches!(again, Error::Store { .. }), "{again}");
        assert!(matches!(
            run.finish(&Value::Null).await,
            Err(Error::Store { .. })
        ));
        assert_eq!(worked.load(Ordering::Relaxed), before);
        drop((run, journal));

        let journal = bench.open();
        let record = journal.run("one").await.unwrap();
        assert_eq!(
            (record.status, record.finished_steps),
            (RunStatus::Running, finished)
        );
        let run = journal.resume("one").await.unwrap();
        for number in 0..=finished {
            big(&run, number, &worked).await.unwrap();
        }
        // Only the step whose result did not fit was done again.
        assert_eq!(worked.load(Ordering::Relaxed), before + 1);
    });
}

#[test]
fn an_intent_that_nobody_waits_for_stops_the_run_too() {
    block_on(async {
        let bench = Bench::new();
        let options = Options {
            busy_timeout_ms: 20,
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let other = rusqlite::Connection::open(bench.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = say(&run, "a").await.unwrap_err();
        assert!(
            error.to_string().contains("another program holds the file"),
            "{error}"
        );
        other.execute_batch("ROLLBACK").unwrap();
        assert!(matches!(say(&run, "b").await, Err(Error::Store { .. })));
        drop(run);
        let run = journal.resume("one").await.unwrap();
        assert_eq!(say(&run, "a").await.unwrap(), "answer of a");
    });
}

#[test]
fn a_run_whose_write_failed_is_parked_once_the_trouble_is_over() {
    block_on(async {
        let bench = Bench::new();
        // The disk is full for one event, whatever others it is committed with.
        let options = Options {
            probe: Some(Arc::new(|moment, event| {
                let fails = moment == journal::Moment::Before
                    && matches!(&event.kind, journal::EventKind::StepStarted { path, attempt: 1, .. } if path == "b[0]");
                if fails {
                    Err(journal::StoreFault::Full)
                } else {
                    Ok(())
                }
            })),
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let outcome = run
            .execute(|run| async move {
                say(&run, "a").await?;
                say(&run, "b").await?;
                Ok(Value::Null)
            })
            .await;
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains("free some space and resume the run"),
            "{error}"
        );
        let record = journal.run("one").await.unwrap();
        assert_eq!(
            (record.status, record.held_by, record.finished_steps),
            (RunStatus::Parked, None, 1)
        );
        assert!(record.reason.unwrap().contains("free some space"));
        drop((run, journal));
        let journal = bench.open();
        let run = journal.resume("one").await.unwrap();
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        assert_eq!(say(&run, "b").await.unwrap(), "answer of b");
    });
}

#[test]
fn a_file_that_cannot_be_written_is_refused_with_a_hint() {
    let bench = Bench::new();
    drop(bench.open());
    let file = bench.path();
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions).unwrap();
    let opened = Journal::open(&file);
    // Root may write to what is read-only; then there is nothing to refuse.
    if let Err(error) = opened {
        assert!(error.to_string().contains("can be written"), "{error}");
    }
    let nowhere = bench.folder.path().join("journal.db/inside/journal.db");
    let error = Journal::open(&nowhere).unwrap_err().to_string();
    assert!(error.contains("the folder cannot be created"), "{error}");
}

#[test]
fn one_failing_command_does_not_fail_the_others_of_its_group() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let good = journal.start(new_run("good")).await.unwrap();
        let bad = journal.start(new_run("bad")).await.unwrap();
        // SQLite refuses one run's events, as it might for a row that is too large.
        bench.sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN new.path LIKE 'bad%' \
             BEGIN SELECT RAISE(ROLLBACK, 'refused'); END",
        );
        for _ in 0..20 {
            let (fine, refused) = tokio::join!(say(&good, "fine"), say(&bad, "bad"));
            assert_eq!(fine.unwrap(), "answer of fine");
            assert!(matches!(refused, Err(Error::Store { .. })));
        }
        let record = journal.run("good").await.unwrap();
        assert_eq!((record.steps, record.finished_steps), (20, 20));
        assert_eq!(journal.run("bad").await.unwrap().steps, 0);
    });
}

#[test]
fn a_lease_taken_by_another_stops_the_first() {
    block_on(async {
        let bench = Bench::new();
        let first = bench.open();
        let run = first.start(new_run("one")).await.unwrap();
        say(&run, "a").await.unwrap();
        let second = bench.open();
        assert!(matches!(
            second.resume("one").await,
            Err(Error::Held { .. })
        ));
        // As if this process had been asleep for longer than its lease.
        bench.sql("UPDATE lease SET expires_ms = 1");
        let taken = second.resume("one").await.unwrap();
        let worked = Arc::new(AtomicUsize::new(0));
        let error = big(&run, 1, &worked).await.unwrap_err();
        assert!(matches!(error, Error::LeaseLost { .. }), "{error}");
        assert!(matches!(
            run.finish(&Value::Null).await,
            Err(Error::LeaseLost { .. })
        ));
        drop(run);
        assert_eq!(recorded(&taken, "a").await.unwrap(), "answer of a");
        assert_eq!(say(&taken, "b").await.unwrap(), "answer of b");
        taken.finish(&Value::Null).await.unwrap();
        assert_eq!(second.run("one").await.unwrap().steps, 2);
    });
}

#[test]
fn leases_are_renewed_and_those_of_other_machines_expire() {
    block_on(async {
        let bench = Bench::new();
        let options = Options {
            lease_ms: 300,
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let expiry = || bench.number("SELECT expires_ms FROM lease");
        let first = expiry();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while expiry() == first {
            assert!(
                std::time::Instant::now() < deadline,
                "the lease is not renewed"
            );
            tokio::task::yield_now().await;
        }
        drop(run);
        drop(journal);
        let journal = bench.open();
        let run = journal.start(new_run("two")).await.unwrap();
        bench.sql("UPDATE lease SET machine = 'elsewhere', pid = 1");
        let error = bench.open().resume("two").await.unwrap_err();
        assert!(
            error.to_string().contains("process 1 on another machine"),
            "{error}"
        );
        bench.sql("UPDATE lease SET expires_ms = 1");
        assert!(bench.open().resume("two").await.is_ok());
        drop(run);
    });
}

#[test]
fn damage_is_named_and_does_not_spread() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let worked = AtomicUsize::new(0);
        for id in ["sound", "payload", "event", "start"] {
            let mut new = new_run(id);
            new.input = json!({"for": id, "text": format!("{id} ").repeat(100)});
            let run = journal.start(new).await.unwrap();
            say(&run, "a").await.unwrap();
            big(&run, u64::from(id.as_bytes()[0]), &worked)
                .await
                .unwrap();
        }
        drop(journal);
        let run_of = |id: &str| bench.number(&format!("SELECT key FROM run WHERE id = '{id}'"));
        let of_payload = format!(
            "SELECT substr(body, instr(body, 'plumb\":\"') + 8, 64) FROM event WHERE run = {} AND kind = 12 AND path = 'big[0]'",
            run_of("payload")
        );
        let of_start = format!(
            "SELECT substr(body, instr(body, 'plumb\":\"') + 8, 64) FROM event WHERE run = {} AND kind = 1",
            run_of("start")
        );
        let changed = bench.sql(&format!("UPDATE payload SET body = '[null,1]' WHERE lower(hex(hash)) = ({of_payload})"))
            + bench.sql(&format!("DELETE FROM payload WHERE lower(hex(hash)) = ({of_start})"))
            + bench.sql(&format!(
                "UPDATE event SET body = replace(body, 'answer', 'Answer') WHERE run = {} AND kind = 12 AND path = 'a[0]'",
                run_of("event")
            ));
        assert_eq!(changed, 3);

        let journal = bench.open();
        let run = journal.resume("payload").await.unwrap();
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        let error = big(&run, u64::from(b'p'), &worked)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("run payload is damaged at step big[0]: payload "),
            "{error}"
        );
        let error = journal.resume("event").await.unwrap_err().to_string();
        assert!(
            error.starts_with("run event is damaged at step a[0]: the event is not what was"),
            "{error}"
        );
        let error = journal.run("start").await.unwrap_err().to_string();
        assert!(
            error.contains("run start is damaged at its start") && error.contains("is missing"),
            "{error}"
        );

        let runs = journal.runs(Page::default()).await.unwrap();
        let damaged: Vec<_> = runs
            .iter()
            .filter(|run| run.damage.is_some())
            .map(|run| run.id.as_str())
            .collect();
        assert_eq!((runs.len(), damaged), (4, vec!["start"]));
        // Neither do rows of runs in which nothing can be read.
        bench.sql("UPDATE run SET status = 77 WHERE id = 'payload'");
        bench.sql("UPDATE run SET started_seq = 'x' WHERE id = 'event'");
        bench.sql("UPDATE run SET id = '/' WHERE id = 'start'");
        let runs = journal.runs(Page::default()).await.unwrap();
        let damaged = runs.iter().filter(|run| run.damage.is_some());
        let damaged: Vec<_> = damaged.map(|run| run.id.as_str()).collect();
        assert_eq!(damaged, ["run-number-4", "event", "payload"]);
        let error = journal.run("payload").await.unwrap_err().to_string();
        assert!(error.contains("its status is unknown"), "{error}");
        let run = journal.resume("sound").await.unwrap();
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        big(&run, u64::from(b's'), &worked).await.unwrap();
        assert_eq!(worked.load(Ordering::Relaxed), 4);
        assert_eq!(journal.steps(run.id()).await.unwrap().len(), 2);
    });
}
