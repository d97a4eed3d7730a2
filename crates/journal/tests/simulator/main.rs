//! A simulator of the journal. One seed decides everything: workflows made up by chance, the clock, the
//! order in which code is polled, writes that fail, a full disk, a power loss in the middle of a commit,
//! processes that stall or are killed, and people who answer, settle, cancel, resume and fork.
//!
//! ```text
//! cargo test -p plumb-journal --test simulator                             300 seeds
//! PLUMB_SEEDS=10000 cargo test -p plumb-journal --test simulator           the long run, some minutes
//! PLUMB_SEED=123 cargo test -p plumb-journal --test simulator -- --nocapture   one seed, with its trace
//! ```
//!
//! Start at `simulation` (what there is) and `actions` (what may happen); `shadow` and `checks` have
//! what must hold after each action, `plain` the output that a run must end with, `ending` that all
//! comes to its end, `disk` what a crash leaves. `world` is what survives every crash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod actions;
mod chance;
mod checks;
mod disk;
mod ending;
mod ledger;
mod people;
mod plain;
mod plan;
mod shadow;
mod simulation;
mod workflow;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::simulation::Simulation;
use crate::world::Bug;

/// What a simulation that went well has seen.
#[derive(Debug, Default)]
struct Seen {
    trace: String,
    events: i64,
    faults: u64,
    lost: u64,
    whole: u64,
}

/// What a simulation that went wrong has seen.
#[derive(Debug)]
struct Violation {
    what: String,
    trace: Vec<String>,
}

fn simulate(seed: u64, bug: Option<Bug>) -> Result<Seen, Violation> {
    let mut simulation = Simulation::new(seed, bug);
    let actions = 100 + simulation.chance.below(300);
    let mut checked = Ok(());
    for _ in 0..actions {
        checked = checked.and_then(|()| actions::act(&mut simulation));
    }
    checked = checked.and_then(|()| ending::to_the_end(&mut simulation));
    let (lost, whole) = (simulation.checks.lost, simulation.checks.whole);
    let state = simulation.world.lock();
    match checked {
        Ok(()) => Ok(Seen {
            trace: state.fingerprint(),
            events: state.shadow.last_seq,
            faults: state.disk.faults,
            lost,
            whole,
        }),
        Err(what) => Err(Violation {
            what,
            trace: state.trace.clone(),
        }),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Simulates all these seeds, on all processors; the first that goes wrong, if any.
fn simulate_all(seeds: u64, bug: Option<Bug>) -> (Option<(u64, Violation)>, Seen) {
    let next = AtomicU64::new(1);
    let (found, sum) = (Mutex::new(None), Mutex::new(Seen::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed > seeds || found.lock().unwrap().is_some() {
                        return;
                    }
                    match simulate(seed, bug) {
                        Ok(seen) => {
                            let sum = &mut *sum.lock().unwrap();
                            sum.events += seen.events;
                            sum.faults += seen.faults;
                            sum.lost += seen.lost;
                            sum.whole += seen.whole;
                        }
                        Err(violation) => {
                            found.lock().unwrap().get_or_insert((seed, violation));
                        }
                    }
                }
            });
        }
    });
    (found.into_inner().unwrap(), sum.into_inner().unwrap())
}

#[test]
fn every_promise_is_kept() {
    if let Some(seed) = number("PLUMB_SEED") {
        match simulate(seed, None) {
            Ok(seen) => println!("seed {seed} went well: {seen:?}"),
            Err(violation) => {
                violation.trace.iter().for_each(|line| println!("{line}"));
                panic!("seed {seed}: {}", violation.what);
            }
        }
        return;
    }
    let seeds = number("PLUMB_SEEDS").unwrap_or(300);
    let (found, seen) = simulate_all(seeds, None);
    if let Some((seed, violation)) = found {
        panic!(
            "seed {seed}: {}\nrepeat it with: PLUMB_SEED={seed} cargo test -p plumb-journal --test \
             simulator -- --nocapture",
            violation.what
        );
    }
    println!("{seeds} seeds: {seen:?}");
    // A simulation in which nothing happens would find nothing.
    assert!(
        seen.faults > seeds / 4 && seen.lost > seeds / 10 && seen.whole > seeds / 4,
        "{seen:?}"
    );
}

#[test]
fn a_seed_decides_everything() {
    for seed in [3, 17, 99] {
        let traces = [(); 2].map(|()| match simulate(seed, None) {
            Ok(seen) => seen.trace,
            Err(violation) => violation.what,
        });
        assert_eq!(traces[0], traces[1]);
    }
}

/// The simulator finds a mistake within so many seeds.
#[track_caller]
fn is_found(bug: Bug, words: &[&str]) {
    let (found, _) = simulate_all(60, Some(bug));
    let (_, violation) = found.expect("the simulator has not found it");
    let what = violation.what;
    assert!(words.iter().any(|word| what.contains(word)), "{what}");
}

#[test]
fn finished_work_done_again_is_found() {
    is_found(Bug::WorksAgain, &["is worked on again"]);
}

#[test]
fn a_ledger_that_forgets_is_found() {
    is_found(Bug::LedgerForgets, &["the ledger of"]);
}

#[test]
fn a_lost_question_is_found() {
    is_found(Bug::QuestionLost, &["listed as open"]);
}
