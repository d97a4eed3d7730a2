//! What is checked after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Checked, Scenario, Violation, open, start, to_the_end};
use crate::records::{Effect, Page, RunRecord, StepRecord, StepStatus};
use crate::{Error, Journal, Moment, Result, Settlement, Spending, WorkProbe};

/// A step: its run and its address.
type Place = (String, String);

/// A line of the log: some work began or ended.
#[derive(Serialize, Deserialize)]
struct Line {
    run: String,
    path: String,
    key: String,
    ended: bool,
}

/// Writes each work's beginning and end into a file. What has been handed to the system before the
/// process is killed is in the file.
pub(super) fn logging(folder: &Path) -> Result<WorkProbe> {
    let path = folder.join("works.jsonl");
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(|error| Error::File {
            path,
            message: error.to_string(),
        })?;
    let file = Mutex::new(file);
    Ok(Arc::new(move |moment, run, context| {
        let line = Line {
            run: run.to_string(),
            path: context.path().to_string(),
            key: context.key().to_string(),
            ended: moment == Moment::After,
        };
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that is missing shows: then the work of a finished step never began.
        let _ = file.write_all(text.as_bytes());
    }))
}

fn log(folder: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(folder.join("works.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// How the workflow goes without a crash.
pub(super) struct Reference {
    record: RunRecord,
    outputs: BTreeMap<Place, Value>,
    works: BTreeSet<Place>,
    spending: Vec<Spending>,
}

pub(super) async fn reference(
    journal: &Journal,
    record: RunRecord,
    folder: &Path,
) -> Result<Reference> {
    let mut outputs = BTreeMap::new();
    for (place, step) in steps(journal).await? {
        outputs.insert(place, step.output.unwrap_or_default());
    }
    let works = log(folder).into_iter().map(|line| (line.run, line.path));
    Ok(Reference {
        works: works.collect(),
        outputs,
        spending: spending(journal, &record).await?,
        record,
    })
}

/// The steps of all runs.
async fn steps(journal: &Journal) -> Result<Vec<(Place, StepRecord)>> {
    let everything = Page {
        limit: usize::MAX,
        ..Page::default()
    };
    let mut all = Vec::new();
    for run in journal.runs(everything).await? {
        let steps = journal.steps(&run.id).await?;
        all.extend(
            steps
                .into_iter()
                .map(|step| ((run.id.to_string(), step.path.clone()), step)),
        );
    }
    Ok(all)
}

/// What a run has used, but for time, which is never the same.
async fn spending(journal: &Journal, record: &RunRecord) -> Result<Vec<Spending>> {
    let spending = journal.spending(&record.id).await?;
    let timeless = spending
        .into_iter()
        .filter(|row| row.dimension != crate::Dimension::Time);
    Ok(timeless.collect())
}

/// The checks after one kill.
pub(super) struct Checks<'a> {
    scenario: &'a Scenario,
    reference: &'a Reference,
    folder: &'a Path,
    place: &'a str,
}

impl<'a> Checks<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        reference: &'a Reference,
        folder: &'a Path,
        place: &'a str,
    ) -> Checks<'a> {
        Checks {
            scenario,
            reference,
            folder,
            place,
        }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Violation {
        Violation::new(self.place, what)
    }

    /// Goes on with what the child left behind, to the end. Gives the number of steps that were cut
    /// off, and of those that had to be settled.
    pub(super) async fn go_on(&self) -> Checked<(u64, u64)> {
        let failed = |error: Error| self.wrong(error);
        let before = log(self.folder);
        let journal = open(self.folder, None).map_err(failed)?;
        start(&journal, self.scenario).await.map_err(failed)?;
        let left = steps(&journal).await.map_err(failed)?;
        let (finished, open_steps): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|(_, step)| step.status != StepStatus::Started);
        let settled = self.settle(&journal, &open_steps, &before).await?;
        let engine = self.scenario.engine(journal.clone(), self.folder);
        let record = to_the_end(&engine, self.scenario, self.place).await?;
        self.check_result(&journal, &record).await?;
        let after = log(self.folder);
        let finished = finished.into_iter().map(|(place, _)| place).collect();
        self.check_works(&after, before.len(), &finished)?;
        self.check_effects(&journal, &after).await?;
        Ok((self.cut_off(&open_steps), settled))
    }

    /// Settles what is in doubt and leaves the rest for the next child.
    pub(super) async fn settle_only(&self) -> Checked<(u64, u64)> {
        let failed = |error: Error| self.wrong(error);
        let journal = open(self.folder, None).map_err(failed)?;
        let mut open_steps = steps(&journal).await.map_err(failed)?;
        open_steps.retain(|(_, step)| step.status == StepStatus::Started);
        let settled = self
            .settle(&journal, &open_steps, &log(self.folder))
            .await?;
        Ok((self.cut_off(&open_steps), settled))
    }

    fn cut_off(&self, open_steps: &[(Place, StepRecord)]) -> u64 {
        let works = |(place, _): &&(Place, StepRecord)| self.reference.works.contains(place);
        let count = open_steps.iter().filter(works).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Says what became of irreversible steps in doubt, as a person would who can see the other side:
    /// what the log has.
    async fn settle(
        &self,
        journal: &Journal,
        open_steps: &[(Place, StepRecord)],
        log: &[Line],
    ) -> Checked<u64> {
        let mut settled = 0;
        for (place, step) in open_steps {
            if step.effect != Effect::Irreversible {
                continue;
            }
            let began = log
                .iter()
                .any(|line| (&line.run, &line.path) == (&place.0, &place.1));
            let settlement = if began {
                let output = self.reference.outputs.get(place);
                Settlement::Done(output.cloned().unwrap_or_default())
            } else {
                Settlement::NotDone
            };
            match journal.settle(&place.0, &place.1, settlement).await {
                Ok(()) => settled += 1,
                // Settled after an earlier kill, and not begun again since.
                Err(Error::NotInDoubt { .. }) => {}
                Err(error) => return Err(self.wrong(error)),
            }
        }
        Ok(settled)
    }

    async fn check_result(&self, journal: &Journal, record: &RunRecord) -> Checked<()> {
        let expected = &self.reference.record;
        let ends = |record: &RunRecord| (record.status, record.output.clone());
        if ends(record) != ends(expected) {
            let (now, then) = (ends(record), ends(expected));
            return Err(self.wrong(format!("ended with {now:?}, not with {then:?}")));
        }
        let failed = |error: Error| self.wrong(error);
        let spent = spending(journal, record).await.map_err(failed)?;
        if spent != self.reference.spending {
            let then = &self.reference.spending;
            return Err(self.wrong(format!("the ledger is {spent:?}, not {then:?}")));
        }
        Ok(())
    }

    /// No finished step is worked on again, and every step has its key.
    fn check_works(&self, log: &[Line], before: usize, finished: &BTreeSet<Place>) -> Checked<()> {
        let mut keys: BTreeMap<Place, &str> = BTreeMap::new();
        for (number, line) in log.iter().enumerate() {
            let place = (line.run.clone(), line.path.clone());
            if number >= before && finished.contains(&place) {
                let path = &line.path;
                return Err(self.wrong(format!("{path} had finished and was worked on again")));
            }
            let key = keys.entry(place).or_insert(&line.key);
            if *key != line.key {
                let path = &line.path;
                return Err(self.wrong(format!("{path} was worked on with two keys")));
            }
        }
        let worked: BTreeSet<Place> = keys.into_keys().collect();
        match self.reference.works.difference(&worked).next() {
            Some((_, path)) => Err(self.wrong(format!("{path} was never worked on"))),
            None => Ok(()),
        }
    }

    /// No irreversible step is worked on twice.
    async fn check_effects(&self, journal: &Journal, log: &[Line]) -> Checked<()> {
        let failed = |error: Error| self.wrong(error);
        for ((run, path), step) in steps(journal).await.map_err(failed)? {
            let begun = log
                .iter()
                .filter(|line| !line.ended && line.run == run && line.path == path)
                .count();
            if step.effect == Effect::Irreversible && begun > 1 {
                return Err(self.wrong(format!("irreversible {path} was begun {begun} times")));
            }
        }
        Ok(())
    }
}
