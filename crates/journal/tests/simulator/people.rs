//! What people say and do, rightly or wrongly.

use journal::{Effect, Error, Fork, Settlement};
use serde_json::{Value, json};

use crate::simulation::{Checked, Simulation};
use crate::world::{Actor, Place, State};

fn journal(simulation: &mut Simulation) -> journal::Journal {
    let process = simulation.chance.place(simulation.processes.len());
    simulation.processes[process].journal.clone()
}

fn any_run(simulation: &mut Simulation) -> Option<String> {
    let runs: Vec<String> = {
        let state = simulation.world.lock();
        state.shadow.runs.keys().cloned().collect()
    };
    simulation.chance.pick(&runs).cloned()
}

/// Answers a question: an open one, or one that has been answered already, well or badly.
pub(crate) fn answer(simulation: &mut Simulation) -> Checked<()> {
    let (open, answered): (Vec<Place>, Vec<Place>) = {
        let state = simulation.world.lock();
        let open = state.shadow.questions().into_iter().collect();
        (open, state.said.keys().cloned().collect())
    };
    if simulation.chance.one_in(8) {
        let Some(place) = simulation.chance.pick(&answered).cloned() else {
            return Ok(());
        };
        return answer_again(simulation, &place);
    }
    let Some(place) = simulation.chance.pick(&open).cloned() else {
        return Ok(());
    };
    let wrong = simulation.chance.one_in(6);
    let answer = good_answer(simulation, &place.1);
    if wrong {
        let bad = json!("perhaps");
        let journal = journal(simulation);
        let said = journal.answer(&place.0, &place.1, bad, "Mallory");
        return match simulation.act(Actor::Person, said) {
            Err(Error::WrongAnswer { .. }) => Ok(()),
            other => Err(format!("a wrong answer to {place:?}: {other:?}")),
        };
    }
    answer_with(simulation, &place, answer)
}

/// What the journal must accept, when the question has not expired.
fn good_answer(simulation: &mut Simulation, path: &str) -> Value {
    let calm = simulation.world.lock().calm;
    let chance = &mut simulation.chance;
    if !path.starts_with("budget/") {
        return json!(chance.one_in(2));
    }
    if !calm && chance.one_in(6) {
        return Value::Null;
    }
    let limit = path
        .rsplit(['[', ']'])
        .nth(1)
        .and_then(|limit| limit.parse().ok());
    let limit: u64 = limit.unwrap_or_default();
    json!(limit + 1 + if calm { 100_000 } else { chance.below(200) })
}

pub(crate) fn answer_with(
    simulation: &mut Simulation,
    place: &Place,
    answer: Value,
) -> Checked<()> {
    let journal = journal(simulation);
    let said = journal.answer(&place.0, &place.1, answer.clone(), "Ada");
    match simulation.act(Actor::Person, said) {
        Ok(()) => {
            let state = &mut *simulation.world.lock();
            // Also when a crash came right then: should its commit be lost, it is said again.
            if answer.is_null() {
                state.refused.insert(place.0.clone());
            }
            state.said.insert(place.clone(), answer);
            Ok(())
        }
        // Nobody has been told yet that it has expired.
        Err(Error::NoQuestion { .. }) => Ok(()),
        Err(error) => simulation.allow(&error),
    }
}

fn answer_again(simulation: &mut Simulation, place: &Place) -> Checked<()> {
    let expired = match simulation.world.lock().shadow.step(place) {
        Some(step) if step.ended => step.failed,
        _ => return Ok(()),
    };
    let journal = journal(simulation);
    let said = journal.answer(&place.0, &place.1, json!(true), "Mallory");
    match simulation.act(Actor::Person, said) {
        Err(Error::Answered { .. }) if !expired => Ok(()),
        Err(Error::NoQuestion { .. }) if expired => Ok(()),
        other => Err(format!("a second answer to {place:?}: {other:?}")),
    }
}

/// Steps that a person has to say something about.
pub(crate) fn in_doubt(state: &State) -> Vec<Place> {
    let open = state
        .shadow
        .open(|step| matches!(step.effect, Effect::Idempotent | Effect::Irreversible));
    open.into_iter()
        .filter(|place| {
            let step = state.shadow.step(place);
            let Some(step) = step.filter(|step| step.kind == journal::StepKind::Call) else {
                return false;
            };
            let fork = state.forks.get(&place.0);
            let in_doubt = match (step.effect, fork) {
                (Effect::Irreversible, _) => !step.cleared,
                (Effect::Idempotent, Some(live)) => !live,
                _ => false,
            };
            in_doubt && !state.is_in_flight(place)
        })
        .collect()
}

/// Says what became of a step in doubt.
pub(crate) fn settle(simulation: &mut Simulation) -> Checked<()> {
    let places = in_doubt(&simulation.world.lock());
    let Some(place) = simulation.chance.pick(&places).cloned() else {
        return Ok(());
    };
    let by_hand = simulation.chance.one_in(3);
    settle_place(simulation, &place, by_hand)
}

pub(crate) fn settle_place(
    simulation: &mut Simulation,
    place: &Place,
    by_hand: bool,
) -> Checked<()> {
    let (effect, is_fork) = {
        let state = simulation.world.lock();
        (state.effect_of(place), state.forks.contains_key(&place.0))
    };
    let settlement = match effect {
        Some(value) => Settlement::Done(value),
        None if is_fork || by_hand => Settlement::Done(json!({"by hand": place.1})),
        None => Settlement::NotDone,
    };
    let journal = journal(simulation);
    let said = journal.settle(&place.0, &place.1, settlement.clone());
    match simulation.act(Actor::Person, said) {
        Ok(()) => {
            let state = &mut *simulation.world.lock();
            match settlement {
                Settlement::Done(value) => {
                    state.said.insert(place.clone(), value);
                }
                Settlement::NotDone => state.allow(place),
            }
            Ok(())
        }
        Err(Error::Held { .. }) => Ok(()),
        Err(error) => simulation.allow(&error),
    }
}

pub(crate) fn cancel(simulation: &mut Simulation) -> Checked<()> {
    let Some(run) = any_run(simulation) else {
        return Ok(());
    };
    let journal = journal(simulation);
    match simulation.act(Actor::Person, journal.cancel(&run, "no longer wanted")) {
        Ok(()) | Err(Error::Finished { .. } | Error::RunCancelled { .. }) => Ok(()),
        Err(error) => simulation.allow(&error),
    }
}

/// Resumes any run, whether that makes sense or not; but no child that has failed, because its parent
/// knows already.
pub(crate) fn resume(simulation: &mut Simulation) -> Checked<()> {
    let Some(run) = any_run(simulation) else {
        return Ok(());
    };
    let failed = {
        let state = simulation.world.lock();
        state.shadow.runs[&run].status == journal::RunStatus::Failed
    };
    if failed && run.starts_with('c') {
        return Ok(());
    }
    let process = simulation.chance.place(simulation.processes.len());
    if simulation.processes[process].stalled > 0 || simulation.is_at_work(process, &run) {
        return Ok(());
    }
    simulation.take_up(process, &run)
}

/// Forks any run at any of its steps.
pub(crate) fn fork(simulation: &mut Simulation) -> Checked<()> {
    let Some(run) = any_run(simulation).filter(|_| simulation.started < 12) else {
        return Ok(());
    };
    let steps: Vec<String> = {
        let state = simulation.world.lock();
        state.shadow.runs[&run].steps.keys().cloned().collect()
    };
    simulation.started += 1;
    let mut fork = Fork {
        id: Some(format!("fork-{}", simulation.started)),
        ..Fork::default()
    };
    fork.budget = crate::actions::budget(simulation);
    let chance = &mut simulation.chance;
    fork.at = chance
        .pick(&steps)
        .filter(|_| chance.clone().one_in(2))
        .cloned();
    fork.reuse = chance.one_in(2);
    fork.live = chance.one_in(2);
    let is_work = |path: &&String| path.contains("step") && !path.starts_with("budget/");
    if let Some(path) = chance.pick(&steps).filter(is_work) {
        fork.answers.insert(path.clone(), json!({"given": path}));
    }
    simulation.world.lock().forking = Some(fork.live);
    let process = simulation.chance.place(simulation.processes.len());
    let journal = simulation.processes[process].journal.clone();
    let forked = simulation.act(Actor::Person, journal.fork(&run, fork));
    simulation.world.lock().forking = None;
    match forked {
        Ok(handle) => simulation.work_on(process, handle),
        Err(error) => simulation.allow(&error)?,
    }
    Ok(())
}
