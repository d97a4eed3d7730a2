//! The ledger: what runs with a budget have used and set aside.

use rusqlite::{Transaction, params};

use crate::budget::{Budget, Dimension, Entry};
use crate::{Error, Result};

/// The number of a dimension in the database. Numbers are for ever.
fn code(dimension: Dimension) -> i64 {
    match dimension {
        Dimension::Money => 0,
        Dimension::Tokens => 1,
        Dimension::Time => 2,
        Dimension::Steps => 3,
    }
}

/// Opens the ledger of a run that has limits of its own.
pub(super) fn open(
    transaction: &Transaction<'_>,
    key: i64,
    budget: &Budget,
) -> rusqlite::Result<()> {
    for dimension in Dimension::ALL {
        let Some(most) = budget.most(dimension) else {
            continue;
        };
        transaction
            .prepare_cached(
                "INSERT INTO budget (run, dimension, most, spent, reserved) \
                 VALUES (?1, ?2, ?3, 0, 0)",
            )?
            .execute(params![
                key,
                code(dimension),
                i64::try_from(most).unwrap_or(i64::MAX)
            ])?;
    }
    Ok(())
}

/// Enters what an event changes in the ledgers of these runs, all or none: refused with
/// [`Error::OverBudget`] when what is to be set aside does not fit into one of them.
pub(super) fn enter(
    transaction: &Transaction<'_>,
    ledgers: &[i64],
    entry: &Entry,
) -> rusqlite::Result<Result<()>> {
    let changes_nothing =
        entry.reserve.is_zero() && entry.release.is_zero() && entry.spend.is_zero();
    if ledgers.is_empty() || (changes_nothing && !entry.begins) {
        return Ok(Ok(()));
    }
    for run in ledgers {
        if let Some(refusal) = refusal(transaction, *run, entry)? {
            return Ok(Err(refusal));
        }
    }
    let sql = "UPDATE budget SET spent = spent + ?3, reserved = max(0, reserved + ?4) \
               WHERE run = ?1 AND dimension = ?2";
    let mut update = transaction.prepare_cached(sql)?;
    for run in ledgers {
        for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
            let spend = entry.spend.0[place];
            let reserve = entry.reserve.0[place] - entry.release.0[place];
            if spend != 0 || reserve != 0 {
                update.execute(params![run, code(dimension), spend, reserve])?;
            }
        }
    }
    Ok(Ok(()))
}

/// Why an event may not begin, if it may not.
fn refusal(
    transaction: &Transaction<'_>,
    run: i64,
    entry: &Entry,
) -> rusqlite::Result<Option<Error>> {
    if !entry.begins {
        return Ok(None);
    }
    let sql = "SELECT dimension, most, spent, reserved, (SELECT id FROM run WHERE key = ?1) \
               FROM budget WHERE run = ?1 ORDER BY dimension";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([run])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let place = Dimension::ALL
            .iter()
            .position(|dimension| code(*dimension) == number);
        let Some(place) = place else { continue };
        let dimension = Dimension::ALL[place];
        let (most, spent, reserved): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let used = spent.saturating_add(reserved);
        let asked = entry.reserve.0[place].saturating_add(match dimension {
            Dimension::Steps => entry.spend.0[place],
            Dimension::Money | Dimension::Tokens | Dimension::Time => 0,
        });
        // Time cannot be set aside: a step may begin as long as there is some left.
        let fits = match dimension {
            Dimension::Time => used < most,
            Dimension::Money | Dimension::Tokens | Dimension::Steps => {
                asked == 0 || used.saturating_add(asked) <= most
            }
        };
        if !fits {
            let number = |amount: i64| u64::try_from(amount).unwrap_or_default();
            return Ok(Some(Error::OverBudget {
                run: row.get(4)?,
                dimension,
                most: number(most),
                used: number(used),
                asked: number(asked.max(1)),
            }));
        }
    }
    Ok(None)
}

/// Raises a limit; never lowers it. `false` when the run has no such limit.
pub(super) fn raise(
    transaction: &Transaction<'_>,
    key: i64,
    dimension: Dimension,
    most: u64,
) -> rusqlite::Result<bool> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let changed = transaction
        .prepare_cached("UPDATE budget SET most = max(most, ?3) WHERE run = ?1 AND dimension = ?2")?
        .execute(params![key, code(dimension), most])?;
    Ok(changed > 0)
}
