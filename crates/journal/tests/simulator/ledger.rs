//! The ledger, worked out again from the events.

use std::collections::{BTreeMap, BTreeSet};

use journal::{Dimension, RunId};
use rusqlite::Connection;
use serde_json::Value;

use crate::checks::counts;
use crate::simulation::{Checked, Simulation, now};

/// Tokens and steps, spent and set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    tokens: u64,
    reserved: u64,
    steps: u64,
    /// Steps of forks that are open: perhaps begun only to write down an answer that was found.
    unclear: u64,
}

/// The ledger of every run with a budget is what its steps and those of its descendants add up to.
pub(crate) fn check(simulation: &Simulation) -> Checked<()> {
    let connection = simulation.sql();
    let parents = parents(&connection);
    let owners: Vec<i64> = column(&connection, "SELECT DISTINCT run FROM budget ORDER BY 1");
    let mut used: BTreeMap<i64, Used> = BTreeMap::new();
    for (run, (_, parent)) in &parents {
        let counted = has_ledger(&owners, &parents, *run);
        let fork = simulation.world.lock().forks.get(&parents[run].0).copied();
        let own = if counted {
            of_run(&connection, *run, fork)
        } else {
            Used::default()
        };
        let mut line = Some(*run);
        let mut next = *parent;
        while let Some(owner) = line {
            let sum = used.entry(owner).or_default();
            sum.tokens += own.tokens;
            sum.reserved += own.reserved;
            sum.steps += own.steps;
            sum.unclear += own.unclear;
            line = next;
            next = next.and_then(|next| parents.get(&next).and_then(|(_, parent)| *parent));
        }
    }
    for owner in owners {
        let id: RunId = serde_json::from_value(Value::String(parents[&owner].0.clone())).unwrap();
        let journal = &simulation.processes[0].journal;
        let rows = now(journal.spending(&id)).map_err(|error| error.to_string())?;
        let sum = used.get(&owner).copied().unwrap_or_default();
        for row in rows.into_iter().filter(|row| counts(row.dimension)) {
            let expected = match row.dimension {
                Dimension::Tokens => (sum.tokens, sum.reserved),
                _ => (sum.steps, 0),
            };
            let unclear = match row.dimension {
                Dimension::Steps => sum.unclear,
                _ => 0,
            };
            let spent = expected.0.saturating_sub(unclear)..=expected.0;
            if !spent.contains(&row.spent) || row.reserved != expected.1 {
                return Err(format!(
                    "the ledger of {id} is {row:?}, its steps say {expected:?}"
                ));
            }
        }
    }
    Ok(())
}

/// Runs by their key: id and parent.
fn parents(connection: &Connection) -> BTreeMap<i64, (String, Option<i64>)> {
    let mut statement = connection
        .prepare("SELECT key, id, parent FROM run")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
    rows.unwrap().map(Result::unwrap).collect()
}

fn column(connection: &Connection, sql: &str) -> Vec<i64> {
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Whether the run or an ancestor has a budget: only then is anything set aside.
fn has_ledger(owners: &[i64], parents: &BTreeMap<i64, (String, Option<i64>)>, run: i64) -> bool {
    let mut line = Some(run);
    while let Some(run) = line {
        if owners.contains(&run) {
            return true;
        }
        line = parents.get(&run).and_then(|(_, parent)| *parent);
    }
    false
}

/// What a run's own steps add up to; of a fork, whether it does steps that write with a key.
fn of_run(connection: &Connection, run: i64, fork: Option<bool>) -> Used {
    let mut used = Used::default();
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    let (mut not_done, mut restarted) = (BTreeSet::new(), BTreeSet::new());
    let mut statement = connection
        .prepare(
            "SELECT kind, path, body, effect FROM event WHERE run = ?1 AND path IS NOT NULL ORDER BY seq",
        )
        .unwrap();
    let mut rows = statement.query([run]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (kind, path): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let body: Value = serde_json::from_str(&row.get::<_, String>(2).unwrap()).unwrap();
        let tokens = |field: &str| body[field]["tokens"].as_u64().unwrap_or_default();
        match kind {
            10 | 11 => {
                let effect: Option<i64> = row.get(3).unwrap();
                let done = match (effect, fork) {
                    (Some(3), Some(_)) | (Some(2), Some(false)) => false,
                    _ => body.get("kind").is_none(),
                };
                used.steps += u64::from(kind == 10 && done);
                if kind == 11 {
                    restarted.insert(path.clone());
                } else if !done {
                    not_done.insert(path.clone());
                }
                *open.entry(path).or_default() += tokens("reserve");
            }
            12..=14 => {
                used.tokens += tokens("cost");
                let marks = ["given", "reused", "drift"];
                let found = marks.iter().any(|mark| body["attributes"][mark] == true);
                let could_be_done = !not_done.contains(&path);
                if found && could_be_done && kind == 12 {
                    // Begun again: perhaps live at first, before its source had got so far.
                    if restarted.contains(&path) {
                        used.unclear += 1;
                    } else {
                        used.steps -= 1;
                    }
                }
                open.remove(&path);
            }
            _ => {}
        }
    }
    // A run that has ended for good does no more of them.
    let over: bool = connection
        .query_row(
            "SELECT status IN (2, 4) FROM run WHERE key = ?1",
            [run],
            |row| row.get(0),
        )
        .unwrap();
    used.reserved = if over { 0 } else { open.values().sum() };
    used.unclear += fork.map_or(0, |_| open.len() as u64);
    used
}
