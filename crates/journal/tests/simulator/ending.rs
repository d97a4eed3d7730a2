//! The end of a simulation: nothing breaks any more, people answer, and all that can go on must come to
//! its end, with the right output.

use journal::{Clock, RunStatus};

use crate::actions::{ready, replay_of};
use crate::checks::Checks;
use crate::people;
use crate::plain;
use crate::simulation::{Checked, Simulation};

/// Rounds after which a simulation that does not come to its end never will.
/// More polls in a row than any of these workflows needs.
const POLLS: usize = 20_000;
const ROUNDS: usize = 2_000;

pub(crate) fn to_the_end(simulation: &mut Simulation) -> Checked<()> {
    {
        let state = &mut *simulation.world.lock();
        state.calm = true;
        state.disk.calm();
    }
    // Past every time that anybody has seen, so that no clock has been set back.
    let now_ms = simulation.clock.now_ms();
    simulation.clock.set(now_ms + 200_000_000);
    simulation
        .processes
        .iter_mut()
        .for_each(|process| process.stalled = 0);
    for _ in 0..ROUNDS {
        let mut polls = 0;
        while simulation.poll()? {
            Checks::look(simulation)?;
            polls += 1;
            if polls > POLLS {
                return Err(format!("they go round: {}", describe(simulation)));
            }
        }
        if living(simulation).is_empty() && simulation.tasks.is_empty() {
            return ended(simulation);
        }
        let mut got_on = take_up_all(simulation)?;
        got_on |= people_speak(simulation)?;
        if !got_on && simulation.tasks.is_empty() {
            got_on = resume_stuck(simulation)?;
        }
        if !got_on {
            wait(simulation);
        }
        Checks::look(simulation)?;
    }
    Err(format!("these do not get on: {}", describe(simulation)))
}

fn living(simulation: &Simulation) -> Vec<String> {
    simulation.world.lock().shadow.living()
}

fn take_up_all(simulation: &mut Simulation) -> Checked<bool> {
    let mut got_on = false;
    for run in ready(simulation) {
        let at_work =
            (0..simulation.processes.len()).any(|process| simulation.is_at_work(process, &run));
        if !at_work {
            let before = simulation.tasks.len();
            let process = simulation.chance.place(simulation.processes.len());
            simulation.take_up(process, &run)?;
            got_on |= simulation.tasks.len() > before;
        }
    }
    Ok(got_on)
}

/// Every question is answered and every doubt settled.
fn people_speak(simulation: &mut Simulation) -> Checked<bool> {
    let (questions, doubts) = {
        let state = simulation.world.lock();
        (state.shadow.questions(), people::in_doubt(&state))
    };
    let before = simulation.world.lock().shadow.last_seq;
    for place in questions {
        let failed = {
            let state = simulation.world.lock();
            state.shadow.runs[&place.0].status == RunStatus::Failed
        };
        if !failed {
            people::answer(simulation)?;
        }
    }
    for place in doubts {
        people::settle_place(simulation, &place, false)?;
    }
    Ok(simulation.world.lock().shadow.last_seq > before)
}

/// Runs that were parked by a fault, the clock or a stop wait for somebody to resume them.
fn resume_stuck(simulation: &mut Simulation) -> Checked<bool> {
    let sql = "SELECT id FROM run WHERE status = 1 AND NOT waiting ORDER BY key";
    let stuck: Vec<String> = {
        let connection = simulation.sql();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for run in &stuck {
        simulation.take_up(0, run)?;
    }
    Ok(!stuck.is_empty())
}

/// Until the next time that somebody waits for.
fn wait(simulation: &mut Simulation) {
    let now_ms = simulation.clock.now_ms();
    let ready_ms: Option<i64> = simulation
        .sql()
        .query_row(
            "SELECT min(ready_ms) FROM run WHERE ready_ms > ?1",
            [now_ms],
            |row| row.get(0),
        )
        .unwrap();
    let sleeper_ms = simulation.clock.next_sleeper_ms();
    let next_ms = ready_ms.into_iter().chain(sleeper_ms).min();
    // Nobody waits for a time: then for a lease to expire.
    let next_ms = next_ms.unwrap_or(now_ms + 1_000);
    simulation.clock.set(next_ms.max(now_ms + 1));
}

fn ended(simulation: &mut Simulation) -> Checked<()> {
    Checks::look_at_all(simulation)?;
    let runs: Vec<(String, RunStatus)> = {
        let state = simulation.world.lock();
        let runs = state.shadow.runs.iter();
        runs.map(|(id, run)| (id.clone(), run.status)).collect()
    };
    for (run, status) in runs {
        if status == RunStatus::Finished {
            plain::check(simulation, &run)?;
        }
        replay_of(simulation, &run)?;
    }
    Ok(())
}

fn describe(simulation: &Simulation) -> String {
    let connection = simulation.sql();
    let sql = "SELECT id, status, reason, ready_ms, waiting FROM run WHERE status < 2";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let (id, status): (String, i64) = (row.get(0)?, row.get(1)?);
        let (reason, ready_ms): (Option<String>, Option<i64>) = (row.get(2)?, row.get(3)?);
        let waiting: bool = row.get(4)?;
        Ok(format!(
            "{id} status {status} {reason:?} ready {ready_ms:?} waiting {waiting}"
        ))
    });
    let mut all: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    all.extend(
        simulation
            .tasks
            .iter()
            .map(|task| format!("at work: {}", task.run)),
    );
    all.join("; ")
}
