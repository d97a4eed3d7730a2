//! What may happen next: the work goes on, time passes, something breaks.

use journal::{Budget, Clock, NewRun, StoreFault};
use serde_json::json;

use crate::checks::Checks;
use crate::disk::CRASHES;
use crate::people;
use crate::simulation::{BEGIN_MS, Checked, Simulation};
use crate::workflow::{Code, agent, plan_of};
use crate::world::{Actor, Bug};

/// Runs that are started by somebody, at most.
const RUNS: u64 = 8;

/// Lets something happen.
pub(crate) fn act(simulation: &mut Simulation) -> Checked<()> {
    for process in &mut simulation.processes {
        process.stalled = process.stalled.saturating_sub(1);
    }
    match simulation.chance.below(100) {
        0..=49 => {
            if !simulation.poll()? {
                take_up_one(simulation)?;
            }
        }
        50..=52 => simulation.poll_any()?,
        53..=63 => {
            take_up_one(simulation)?;
        }
        64..=67 => start(simulation)?,
        68..=76 => time_passes(simulation),
        77..=83 => people::answer(simulation)?,
        84..=86 => people::settle(simulation)?,
        87 => people::cancel(simulation)?,
        88 | 89 => people::resume(simulation)?,
        90 | 91 => people::fork(simulation)?,
        92 => replay(simulation)?,
        93 => {
            let politely = simulation.chance.one_in(2);
            simulation.stop_task(politely);
        }
        94 => stall_or_restart(simulation),
        95 => break_something(simulation)?,
        96 | 97 => arm_fault(simulation),
        98 => arm_crash(simulation),
        _ => Checks::look_at_all(simulation)?,
    }
    if simulation.world.lock().disk.crashed() {
        simulation.recover()?;
    }
    Checks::look(simulation)
}

/// A process takes up a run that is ready, as an engine does.
pub(crate) fn take_up_one(simulation: &mut Simulation) -> Checked<bool> {
    let process = simulation.chance.place(simulation.processes.len());
    if simulation.processes[process].stalled > 0 {
        return Ok(false);
    }
    let ready: Vec<String> = ready(simulation)
        .into_iter()
        .filter(|run| !simulation.is_at_work(process, run))
        .collect();
    let Some(run) = simulation.chance.pick(&ready).cloned() else {
        return Ok(false);
    };
    simulation.take_up(process, &run)?;
    Ok(true)
}

/// The runs that an engine would take up now.
pub(crate) fn ready(simulation: &Simulation) -> Vec<String> {
    let connection = simulation.sql();
    let sql = "SELECT id FROM run WHERE ready_ms <= ?1 ORDER BY ready_ms, key";
    let mut statement = connection.prepare(sql).unwrap();
    let now_ms = simulation.clock.now_ms();
    let rows = statement.query_map([now_ms], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn start(simulation: &mut Simulation) -> Checked<()> {
    if simulation.started >= RUNS {
        return Ok(());
    }
    simulation.started += 1;
    let chance = &mut simulation.chance;
    let mut new = NewRun::new(&agent(chance.place(3)), json!(chance.below(100)));
    new.id = Some(format!("run-{}", simulation.started));
    new.budget = budget(simulation);
    let process = simulation.chance.place(simulation.processes.len());
    let journal = simulation.processes[process].journal.clone();
    if simulation.chance.one_in(2) {
        let submitted = simulation.act(Actor::Person, journal.submit(new));
        return submitted
            .map(|_| ())
            .or_else(|error| simulation.allow(&error));
    }
    match simulation.act(Actor::Person, journal.start(new)) {
        Ok(handle) => simulation.work_on(process, handle),
        Err(error) => simulation.allow(&error)?,
    }
    Ok(())
}

pub(crate) fn budget(simulation: &mut Simulation) -> Budget {
    let chance = &mut simulation.chance;
    Budget {
        tokens: chance.one_in(3).then(|| 40 + chance.below(200)),
        steps: chance.one_in(4).then(|| 2 + chance.below(6)),
        ..Budget::default()
    }
}

fn time_passes(simulation: &mut Simulation) {
    let chance = &mut simulation.chance;
    let now_ms = simulation.clock.now_ms();
    let to_ms = match chance.below(20) {
        0 => now_ms + chance.below(100_000_000) as i64,
        1 | 2 => now_ms + chance.below(100_000) as i64,
        3 => now_ms - chance.below(4_000) as i64,
        4 => now_ms - chance.below(400_000) as i64,
        5..=8 => simulation.clock.next_sleeper_ms().unwrap_or(now_ms),
        _ => now_ms + chance.below(1_000) as i64,
    };
    simulation.clock.set(to_ms.max(BEGIN_MS));
}

/// A replay does nothing and writes nothing, and the code does what it did.
fn replay(simulation: &mut Simulation) -> Checked<()> {
    let runs: Vec<String> = {
        let state = simulation.world.lock();
        state.shadow.runs.keys().cloned().collect()
    };
    let Some(run) = simulation.chance.pick(&runs).cloned() else {
        return Ok(());
    };
    replay_of(simulation, &run)
}

pub(crate) fn replay_of(simulation: &Simulation, run: &str) -> Checked<()> {
    let code = Code {
        plans: simulation.plans.clone(),
        world: simulation.world.clone(),
    };
    let (plan, before) = {
        let state = simulation.world.lock();
        let works = state.trace.len();
        (plan_of(&state.shadow.runs[run].agent), works)
    };
    let journal = simulation.processes[0].journal.clone();
    let replayed = simulation.act(
        Actor::Person,
        journal.replay(run, |run| code.work(run, plan)),
    );
    if simulation.world.lock().trace.len() != before {
        return Err(format!("the replay of {run} did something"));
    }
    match replayed {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the replay of {run}: {error}")),
    }
}

fn stall_or_restart(simulation: &mut Simulation) {
    let process = simulation.chance.place(simulation.processes.len());
    if simulation.chance.one_in(3) {
        simulation.restart(process);
    } else {
        simulation.processes[process].stalled = 1 + simulation.chance.below(40);
    }
}

fn arm_fault(simulation: &mut Simulation) {
    let chance = &mut simulation.chance;
    let fault = if chance.one_in(2) {
        StoreFault::Write
    } else {
        StoreFault::Full
    };
    let commits = chance.below(4);
    simulation.world.lock().disk.fault_in(commits, fault);
}

fn arm_crash(simulation: &mut Simulation) {
    let chance = &mut simulation.chance;
    let crash = CRASHES[chance.place(CRASHES.len())];
    let commits = chance.below(6);
    simulation.world.lock().crash_in(commits, crash);
}

/// Kills all processes between two polls, or makes a mistake on purpose.
fn break_something(simulation: &mut Simulation) -> Checked<()> {
    let bug = simulation.world.lock().bug;
    let sql = match bug {
        Some(Bug::LedgerForgets) => "UPDATE budget SET reserved = 0, spent = spent / 2",
        Some(Bug::QuestionLost) => {
            "DELETE FROM question WHERE rowid = (SELECT max(rowid) FROM question)"
        }
        Some(Bug::WorksAgain) | None => return simulation.kill(),
    };
    simulation.sql().execute(sql, []).unwrap();
    Ok(())
}
