//! What must hold, whatever has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use journal::{Dimension, Page, RunRecord, RunStatus, StepRecord, StepStatus};
use rusqlite::Connection;
use serde_json::Value;

use crate::disk::{Files, Wreck};
use crate::simulation::{Checked, Simulation, now};
use crate::workflow::plan_of;
use crate::world::Place;

#[derive(Default)]
pub(crate) struct Checks {
    /// How steps ended; that never changes.
    results: BTreeMap<Place, (StepStatus, Option<Value>, Option<String>)>,
    /// How runs finished.
    outputs: BTreeMap<String, Value>,
    /// Commits that a crash has undone, and those that it has not.
    pub(crate) lost: u64,
    pub(crate) whole: u64,
}

/// All that a journal says, in one text.
fn contents(path: &Path) -> Checked<String> {
    let connection = Connection::open(path).map_err(|error| error.to_string())?;
    let sound: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if sound != "ok" {
        return Err(format!("the file is damaged after a crash: {sound}"));
    }
    let mut text = String::new();
    for table in ["event", "run", "question", "budget", "lease", "payload"] {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .map_err(|error| error.to_string())?;
        let columns = statement.column_count();
        let mut rows = statement.query([]).map_err(|error| error.to_string())?;
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            for column in 0..columns {
                text.push_str(&format!("{:?} ", row.get_ref(column).unwrap()));
            }
            text.push('\n');
        }
    }
    Ok(text)
}

impl Checks {
    /// After a crash the file is sound, and the last commit is either lost or whole; says which.
    pub(crate) fn recovered(
        &mut self,
        wreck: &Wreck,
        files: &Files,
        folder: &Path,
    ) -> Checked<bool> {
        let of = |files: &Files, name: &str| {
            let path = folder.join(name);
            files.write(&path);
            let contents = contents(&path);
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.join(format!("{name}{suffix}")));
            }
            contents
        };
        let found = of(files, "found.db")?;
        if found == of(&wreck.after, "after.db")? {
            self.whole += 1;
            return Ok(false);
        }
        self.lost += 1;
        if found == of(&wreck.before, "before.db")? {
            return Ok(true);
        }
        Err(format!(
            "a commit is neither lost nor whole after {:?}",
            wreck.crash
        ))
    }

    /// Whether a run may have failed for this reason.
    pub(crate) fn may_fail(&self, simulation: &Simulation, run: &str, reason: &str) -> Checked<()> {
        let state = simulation.world.lock();
        let plan = plan_of(&state.shadow.runs[run].agent);
        let by_plan = simulation.plans[plan].fails && reason == "the plan is to fail";
        let by_budget = reason.contains("is exhausted") && state.refused.contains(run);
        if by_plan || by_budget {
            return Ok(());
        }
        Err(format!("{run} failed: {reason}"))
    }

    /// Looks at what has changed since the last look.
    pub(crate) fn look(simulation: &mut Simulation) -> Checked<()> {
        let touched = std::mem::take(&mut simulation.world.lock().shadow.touched);
        for run in touched {
            Checks::run(simulation, &run)?;
        }
        let wrong = simulation.world.lock().wrong.clone();
        wrong.map_or(Ok(()), Err)
    }

    /// Looks at everything.
    pub(crate) fn look_at_all(simulation: &mut Simulation) -> Checked<()> {
        let journal = &simulation.processes[0].journal;
        let everything = Page {
            limit: usize::MAX,
            before: None,
        };
        let runs = now(journal.runs(everything)).map_err(|error| error.to_string())?;
        let known: BTreeSet<String> = {
            let state = simulation.world.lock();
            state.shadow.runs.keys().cloned().collect()
        };
        let found: BTreeSet<String> = runs.iter().map(|run| run.id.to_string()).collect();
        if found != known {
            return Err(format!("the runs are {found:?}, not {known:?}"));
        }
        for run in &known {
            Checks::run(simulation, run)?;
        }
        Checks::questions(simulation)?;
        crate::ledger::check(simulation)?;
        Checks::look(simulation)
    }

    fn run(simulation: &mut Simulation, id: &str) -> Checked<()> {
        let journal = simulation.processes[0].journal.clone();
        let record = now(journal.run(id)).map_err(|error| error.to_string())?;
        let steps = now(journal.steps(&record.id)).map_err(|error| error.to_string())?;
        Checks::compare(simulation, &record, &steps).map_err(|what| format!("{id}: {what}"))?;
        for step in &steps {
            simulation.checks.step(id, step)?;
        }
        simulation.checks.output(&record)
    }

    /// A run is as its commits have made it.
    fn compare(simulation: &Simulation, record: &RunRecord, steps: &[StepRecord]) -> Checked<()> {
        let state = simulation.world.lock();
        let shadow = &state.shadow.runs[record.id.as_str()];
        if record.status != shadow.status {
            return Err(format!(
                "it is {:?}, not {:?}",
                record.status, shadow.status
            ));
        }
        let own: Vec<&StepRecord> = steps.iter().filter(|step| !step.shared).collect();
        let ended = shadow.steps.values().filter(|step| step.ended).count();
        let counts = [record.steps, record.finished_steps];
        if own.len() != shadow.steps.len() || counts != [own.len() as u64, ended as u64] {
            return Err(format!("{} steps, counted as {counts:?}", own.len()));
        }
        for step in own {
            let Some(known) = shadow.steps.get(&step.path) else {
                return Err(format!("nobody began {}", step.path));
            };
            let status = match (known.ended, known.failed) {
                (false, _) => StepStatus::Started,
                (true, false) => StepStatus::Finished,
                (true, true) => StepStatus::Failed,
            };
            if (step.status, step.attempts) != (status, known.attempts) {
                return Err(format!(
                    "{} is {:?}, not {status:?}",
                    step.path, step.status
                ));
            }
        }
        Ok(())
    }

    /// The result of a step never changes.
    fn step(&mut self, run: &str, step: &StepRecord) -> Checked<()> {
        if step.status == StepStatus::Started {
            return Ok(());
        }
        let place = (run.to_string(), step.path.clone());
        let result = (step.status, step.output.clone(), step.error.clone());
        let first = self.results.entry(place).or_insert_with(|| result.clone());
        // What a fork shares may be given another answer, before the fork has come there itself.
        if *first != result && !step.shared && !step.attributes.contains_key("given") {
            return Err(format!(
                "{run} {} ended with {first:?}, now {result:?}",
                step.path
            ));
        }
        Ok(())
    }

    fn output(&mut self, record: &RunRecord) -> Checked<()> {
        if record.status != RunStatus::Finished {
            return Ok(());
        }
        let output = record.output.clone().ok_or("finished without an output")?;
        let id = record.id.to_string();
        let first = self.outputs.entry(id).or_insert_with(|| output.clone());
        if *first != output {
            return Err(format!("{} has another output now", record.id));
        }
        Ok(())
    }

    /// The list of open questions has those that are open, and no others.
    pub(crate) fn questions(simulation: &Simulation) -> Checked<()> {
        let journal = &simulation.processes[0].journal;
        let listed = now(journal.questions(None)).map_err(|error| error.to_string())?;
        let listed: BTreeSet<Place> = listed
            .into_iter()
            .map(|question| (question.run.to_string(), question.path))
            .collect();
        let open = simulation.world.lock().shadow.questions();
        if listed != open {
            return Err(format!("listed as open are {listed:?}, open are {open:?}"));
        }
        Ok(())
    }
}

/// How a limit stands, but for time, which depends on when somebody looked.
pub(crate) fn counts(dimension: Dimension) -> bool {
    matches!(dimension, Dimension::Tokens | Dimension::Steps)
}
