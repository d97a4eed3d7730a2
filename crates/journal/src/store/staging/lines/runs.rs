//! The end of a run in an export, and of the whole: what the journal's tables get from its events.

use rusqlite::params;
use serde_json::Value;

use super::{Checked, Current, Past, Reading, Refusal, number, refuse};
use crate::budget::{Amounts, Budget, Dimension};
use crate::payload;
use crate::records::RunStatus;
use crate::run::Question;
use crate::store::event::status_code;
use crate::store::staging::at;

/// More of anything cannot be counted on with.
const MOST_AMOUNT: i64 = i64::MAX / 4;

impl Reading {
    /// The events of a run have all been read.
    pub(super) fn end_run(&mut self) -> Checked<()> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        let chronicle = &run.chronicle;
        let (Some(start), Some(started)) = (&run.start, chronicle.started_seq) else {
            return refuse(format!("run {} has no events", run.id));
        };
        if run.line.status != chronicle.status {
            let (said, is) = (run.line.status.as_str(), chronicle.status.as_str());
            return refuse(format!("run {} is said to be {said}, and is {is}", run.id));
        }
        if let Some(path) = chronicle.taken_over_open() {
            return refuse(format!(
                "step {path} of run {} is shared and not ended",
                run.id
            ));
        }
        let begun = self.start_of(&run, start)?;
        let reason = match &run.end {
            Some(end) => match chronicle.status {
                RunStatus::Running | RunStatus::Finished => None,
                RunStatus::Failed => self.text(&end.body, "error")?,
                RunStatus::Parked | RunStatus::Cancelled => self.text(&end.body, "reason")?,
            },
            None => None,
        };
        self.open_questions(&run)?;
        let place = number(self.runs.len());
        self.staging
            .connection
            .prepare_cached(
                "INSERT INTO run (number, id, agent, parent, status, reason, created_ms, \
                 updated_ms, steps, finished_steps, started, ended) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    place,
                    run.id.as_str(),
                    run.line.agent,
                    run.parent.map(number),
                    status_code(chronicle.status),
                    reason,
                    chronicle.created_ms,
                    chronicle.updated_ms,
                    chronicle.begun,
                    chronicle.ended,
                    started,
                    chronicle.ended_seq
                ])
            })
            .map_err(at)?;
        self.places.insert(run.id.to_string(), self.runs.len());
        self.runs.push(begun);
        Ok(())
    }

    /// What a run's first event says, as far as the journal's tables need it.
    fn start_of(&self, run: &Current, start: &str) -> Checked<Past> {
        if self.field(start, "agent")? != *run.line.agent {
            return refuse(format!(
                "the agent of run {} is another one in its start",
                run.id
            ));
        }
        let parent = self.field(start, "parent")?;
        if run.parent.is_some() && parent.as_str() != run.line.parent.as_deref() {
            return refuse(format!(
                "the parent of run {} is another one in its start",
                run.id
            ));
        }
        let budget = match self.field(start, "budget")? {
            Value::Null => Budget::default(),
            budget => match serde_json::from_value(budget) {
                Ok(budget) => budget,
                Err(error) => return refuse(format!("the budget of run {}: {error}", run.id)),
            },
        };
        let time = run.line.budget.iter();
        let time = time.filter(|row| row.dimension == Dimension::Time);
        Ok(Past {
            id: run.id.clone(),
            parent: run.parent,
            budget,
            raised: run.chronicle.raised,
            spent: run.chronicle.spent,
            reserved: run.chronicle.reserved(),
            time_ms: time.fold(0, |_, row| i64::try_from(row.spent).unwrap_or(i64::MAX)),
        })
    }

    fn field(&self, body: &str, field: &str) -> Checked<Value> {
        let found = payload::decode_field(body, field, &mut &self.staging);
        Ok(found.map_err(Refusal::Line)?.unwrap_or_default())
    }

    fn text(&self, body: &str, field: &str) -> Checked<Option<String>> {
        match self.field(body, field)? {
            Value::String(text) => Ok(Some(text)),
            _ => refuse(format!("an event before it lacks its {field}")),
        }
    }

    fn open_questions(&self, run: &Current) -> Checked<()> {
        let place = number(self.runs.len());
        for asked in run.chronicle.open_questions() {
            let input = match run.questions.get(&asked.seq) {
                Some(body) => self.field(body, "input")?,
                None => Value::Null,
            };
            let question: Question = match serde_json::from_value(input) {
                Ok(question) => question,
                Err(error) => {
                    return refuse(format!(
                        "the question {} cannot be read: {error}",
                        asked.path
                    ));
                }
            };
            let after_ms = question.expires_after_ms;
            let after_ms = after_ms.and_then(|after_ms| i64::try_from(after_ms).ok());
            let expires_ms = after_ms.map(|after_ms| asked.at_ms.saturating_add(after_ms));
            self.staging
                .connection
                .prepare_cached(
                    "INSERT INTO question (run, path, asked, expires_ms) VALUES (?1, ?2, ?3, ?4)",
                )
                .and_then(|mut statement| {
                    statement.execute(params![place, asked.path, asked.seq, expires_ms])
                })
                .map_err(at)?;
        }
        Ok(())
    }

    /// Adds up what each run with a budget and its descendants have used.
    pub(super) fn budgets(&mut self) -> Checked<()> {
        let own = self.runs.iter().map(|run| (run.spent, run.reserved));
        let mut sums: Vec<(Amounts, Amounts)> = own.collect();
        // Children stand after their parents, so from the back each sum is whole when it is passed on.
        for (place, run) in self.runs.iter().enumerate().rev() {
            let whole = sums.get(place).copied().unwrap_or_default();
            if let Some(sum) = run.parent.and_then(|parent| sums.get_mut(parent)) {
                *sum = (sum.0.plus(whole.0), sum.1.plus(whole.1));
            }
        }
        for ((place, run), (spent, reserved)) in self.runs.iter().enumerate().zip(sums) {
            let spent = spent.with(Dimension::Time, run.time_ms);
            for (code, dimension) in Dimension::ALL.into_iter().enumerate() {
                let Some(most) = run.budget.most(dimension) else {
                    continue;
                };
                let of = |amounts: &Amounts| amounts.0.get(code).copied().unwrap_or_default();
                let most = i64::try_from(most).unwrap_or(i64::MAX).max(of(&run.raised));
                let (spent, reserved) = (of(&spent), of(&reserved));
                if !(0..=MOST_AMOUNT).contains(&spent) || !(0..=MOST_AMOUNT).contains(&reserved) {
                    return refuse(format!("run {} has used more than can be", run.id));
                }
                self.staging
                    .connection
                    .prepare_cached(
                        "INSERT INTO budget (run, dimension, most, spent, reserved) \
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .and_then(|mut statement| {
                        statement.execute(params![
                            number(place),
                            number(code),
                            most,
                            spent,
                            reserved
                        ])
                    })
                    .map_err(at)?;
            }
        }
        Ok(())
    }
}
