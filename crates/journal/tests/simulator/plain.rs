//! The plain meaning of a plan: what its output must be, given what people said and what only the
//! journal can know (the time, a version). No run, no journal, no crash.

use std::collections::BTreeMap;

use journal::{StepRecord, StepStatus};
use serde_json::{Value, json};

use crate::chance::digest;
use crate::plan::{Node, Step, WaitFor};
use crate::simulation::{Checked, Simulation, now};
use crate::workflow::{failure, plan_of, step_input, step_output};
use crate::world::State;

struct Plain<'a> {
    run: &'a str,
    records: BTreeMap<String, StepRecord>,
    state: &'a State,
    ordinals: BTreeMap<String, u64>,
}

/// The output of a finished run is what its plan means.
pub(crate) fn check(simulation: &Simulation, run: &str) -> Checked<()> {
    let journal = &simulation.processes[0].journal;
    let record = now(journal.run(run)).map_err(|error| error.to_string())?;
    let steps = now(journal.steps(&record.id)).map_err(|error| error.to_string())?;
    let state = simulation.world.lock();
    let mut plain = Plain {
        run,
        records: steps
            .into_iter()
            .map(|step| (step.path.clone(), step))
            .collect(),
        state: &state,
        ordinals: BTreeMap::new(),
    };
    let plan = &simulation.plans[plan_of(&record.agent)];
    let expected = plain
        .sequence("", &plan.nodes, &record.input)
        .map_err(|what| format!("{run}: {what}"))?;
    if record.output != Some(json!(expected)) {
        return Err(format!(
            "{run} ended with {:?}, not {}",
            record.output,
            json!(expected)
        ));
    }
    Ok(())
}

impl Plain<'_> {
    fn path(&mut self, scope: &str, name: &str) -> String {
        let name = format!("{scope}{name}");
        let ordinal = self.ordinals.entry(name.clone()).or_default();
        *ordinal += 1;
        format!("{name}[{}]", *ordinal - 1)
    }

    fn record(&self, path: &str) -> Checked<&StepRecord> {
        let record = self.records.get(path);
        record
            .filter(|record| record.status != StepStatus::Started)
            .ok_or_else(|| format!("{path} has not ended"))
    }

    /// What the journal says, where only the journal can know.
    fn recorded(&self, path: &str) -> Checked<Value> {
        let record = self.record(path)?;
        Ok(match record.status {
            StepStatus::Failed => failure(record.error.as_deref().unwrap_or_default()),
            _ => record.output.clone().unwrap_or_default(),
        })
    }

    fn sequence(&mut self, scope: &str, nodes: &[Node], start: &Value) -> Checked<Vec<Value>> {
        let mut did: Vec<Value> = Vec::new();
        let mut late = Vec::new();
        for node in nodes {
            let value = match node {
                Node::Step(step) => self.step(scope, step, &step_input(step, start, &did))?,
                Node::Ask { name, expires } => {
                    let path = self.path(scope, name);
                    self.answer(&path, *expires)?
                }
                Node::Sleep { .. } => {
                    let path = self.path(scope, "sleep");
                    self.recorded(&path)?
                }
                Node::Version { name } => {
                    let path = self.path(scope, name);
                    self.recorded(&path).unwrap_or(json!(0))
                }
                Node::Now => {
                    let path = self.path(scope, "now");
                    self.recorded(&path)?
                }
                Node::Child {
                    name, cancel, wait, ..
                } => {
                    let path = self.path(scope, name);
                    if *cancel {
                        let path = self.path(scope, "cancel");
                        self.record(&path)?;
                    }
                    match wait {
                        WaitFor::Now => self.child(&path)?,
                        WaitFor::AtTheEnd => {
                            late.push(path);
                            json!("a child")
                        }
                        WaitFor::Never => json!("a child"),
                    }
                }
                Node::Branches(branches) => {
                    let start = json!([start, digest(&json!(did).to_string())]);
                    let mut all = Vec::new();
                    for (number, nodes) in branches.iter().enumerate() {
                        let scope = format!("{scope}branch[{number}]/");
                        all.push(Value::from(self.sequence(&scope, nodes, &start)?));
                    }
                    all.into()
                }
            };
            did.push(value);
        }
        for path in late {
            did.push(self.child(&path)?);
        }
        Ok(did)
    }

    fn step(&mut self, scope: &str, step: &Step, input: &Value) -> Checked<Value> {
        let path = self.path(scope, &step.name);
        let record = self.record(&path)?;
        let answered = ["given", "reused", "drift"];
        if record.shared
            || answered
                .iter()
                .any(|mark| record.attributes.contains_key(*mark))
        {
            let is_fork = self.state.forks.contains_key(self.run);
            return if is_fork {
                self.recorded(&path)
            } else {
                Err(format!("{path} was not done, and this is no fork"))
            };
        }
        if record.input != *input {
            return Err(format!("{path} was asked {}, not {input}", record.input));
        }
        let settled = record.attributes.contains_key("settled");
        let said = self.state.said.get(&(self.run.to_string(), path.clone()));
        let expected = match said.filter(|_| settled) {
            Some(said) => said.clone(),
            None if step.fails => failure("it is to fail"),
            None => step_output(&path, input),
        };
        let recorded = self.recorded(&path)?;
        if recorded != expected {
            return Err(format!("{path} answered {recorded}, not {expected}"));
        }
        Ok(expected)
    }

    fn answer(&self, path: &str, expires: Option<(u64, Option<bool>)>) -> Checked<Value> {
        let record = self.record(path)?;
        let recorded = self.recorded(path)?;
        if record.shared || record.attributes.contains_key("reused") {
            return Ok(recorded);
        }
        let said = self
            .state
            .said
            .get(&(self.run.to_string(), path.to_string()));
        let expired = record.attributes.contains_key("expired");
        let expected = match (said, expires) {
            (Some(said), _) if !expired => said.clone(),
            (_, Some((_, Some(default)))) if expired => json!(default),
            (_, Some((_, None))) if expired => failure("nobody has answered in time"),
            _ => return Err(format!("nobody answered {path}")),
        };
        if recorded != expected {
            return Err(format!("{path} was answered {recorded}, not {expected}"));
        }
        Ok(expected)
    }

    /// A child's end has been checked with the child.
    fn child(&self, path: &str) -> Checked<Value> {
        let recorded = self.recorded(path)?;
        Ok(match (recorded.get("output"), recorded.get("error")) {
            (Some(output), _) => json!({"Ok": output}),
            (_, error) => json!({"Err": error}),
        })
    }
}
