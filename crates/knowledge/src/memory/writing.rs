//! Writing: saving, accepting, reverting, forgetting.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use super::entry::{MemoryKind, NewEntry, Outcome, Saved, Source, State};
use super::store::{self, Version};
use super::{Memory, searching};
use crate::error::{Error, Result};

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// The entries, all versions.
    pub ids: Vec<String>,
    /// The runs whose journals may still have what was said.
    pub runs: Vec<String>,
}

/// The longest text of an entry, in bytes.
const MOST_BYTES: usize = 4_000;

/// A write under way.
struct Write<'a> {
    connection: &'a Connection,
    generation: u64,
    at_ms: i64,
    /// The run that writes.
    writer: Option<&'a str>,
}

impl Memory {
    /// Remembers something. What contradicts it (same scope, kind, subject and attribute, another text, at the same
    /// time) is superseded; where the earlier entry also held before or after, it goes on doing so.
    ///
    /// An instruction waits for a person, and so does what a tool or a model says against what a human being said.
    ///
    /// # Errors
    /// [`Error::Memory`] when it is empty, too long, or holds for no time at all.
    pub fn save(&self, new: &NewEntry, now_ms: i64) -> Result<Saved> {
        check(new)?;
        self.0.store.write(|connection| {
            if let Some(saved) = done(connection, new.key.as_deref())? {
                return Ok(saved);
            }
            let identity = identity(&new.subject, &new.attribute);
            let versions = store::versions(connection, &new.scope, new.kind, &identity)?;
            let from_ms = new.valid_from_ms.unwrap_or(now_ms);
            let touched: Vec<&Version> = versions
                .iter()
                .filter(|version| version.is_current())
                .filter(|version| overlaps(version, from_ms, new.valid_to_ms))
                .collect();
            let known = touched.iter().find(|version| {
                let entry = &version.entry;
                let covers = entry.valid_from_ms <= from_ms
                    && entry
                        .valid_to_ms
                        .is_none_or(|end| new.valid_to_ms.is_some_and(|to_ms| to_ms <= end));
                // What a model thought becomes more when the user says it.
                let as_good = entry_is_as_good(version, new);
                same_text(&entry.text, &new.text) && covers && as_good
            });
            let saved = match known {
                Some(known) => Saved {
                    id: known.entry.id.clone(),
                    outcome: Outcome::Known,
                    supersedes: Vec::new(),
                },
                None => write_new(connection, new, &identity, &versions, (now_ms, from_ms))?,
            };
            keep_key(connection, new.key.as_deref(), &saved)?;
            Ok(saved)
        })
    }

    /// Lets what waits take effect, from now on. `by` is who says so: a person, or an evaluation.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no such entry, or it does not wait.
    pub fn accept(&self, id: &str, by: &str, now_ms: i64) -> Result<Saved> {
        self.0.store.write(|connection| {
            let version = waiting(connection, id)?;
            let (generation, at_ms) = store::next_generation(connection, now_ms)?;
            let entry = &version.entry;
            let from_ms = match entry.kind {
                // It was not followed before.
                MemoryKind::Procedural => at_ms,
                MemoryKind::Semantic | MemoryKind::Episodic => entry.valid_from_ms,
            };
            let versions = store::versions(connection, &entry.scope, entry.kind, &version.identity)?;
            let touched: Vec<&Version> = versions
                .iter()
                .filter(|other| other.is_current() && overlaps(other, from_ms, entry.valid_to_ms))
                .collect();
            connection.execute(
                "UPDATE entries SET state = 'live', accepted_by = ?2, recorded = ?3, recorded_ms = ?4,
                    valid_from_ms = ?5, writer = NULL WHERE id = ?1",
                params![version.number, by, generation.cast_signed(), at_ms, from_ms],
            )?;
            let write = Write {
                connection,
                generation,
                at_ms,
                writer: None,
            };
            let supersedes =
                write.supersede(&touched, version.number, from_ms, entry.valid_to_ms)?;
            Ok(Saved {
                id: entry.id.clone(),
                outcome: Outcome::Saved,
                supersedes,
            })
        })
    }

    /// Refuses what waits.
    ///
    /// # Errors
    /// As [`Memory::accept`].
    pub fn reject(&self, id: &str, now_ms: i64) -> Result<()> {
        self.0.store.write(|connection| {
            let version = waiting(connection, id)?;
            store::next_generation(connection, now_ms)?;
            let query = "UPDATE entries SET state = 'rejected' WHERE id = ?1";
            connection.execute(query, [version.number])?;
            Ok(())
        })
    }

    /// Restores an earlier version: what it said holds again from now on.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no such entry, or it is not an earlier version.
    pub fn revert(&self, id: &str, now_ms: i64) -> Result<Saved> {
        self.0.store.write(|connection| {
            let version = found(connection, id)?;
            if version.entry.state != State::Live || version.superseded.is_none() {
                return Err(refused(
                    format!("{id} is not an earlier version"),
                    format!("plumb memory show {id} lists the versions; revert goes back to one that was superseded"),
                ));
            }
            let entry = version.entry;
            let versions = store::versions(connection, &entry.scope, entry.kind, &version.identity)?;
            let (generation, at_ms) = store::next_generation(connection, now_ms)?;
            let current = versions.iter().filter(|other| other.is_current());
            let touched: Vec<&Version> =
                current.filter(|other| overlaps(other, at_ms, None)).collect();
            let new = NewEntry {
                scope: entry.scope,
                kind: entry.kind,
                subject: entry.subject,
                attribute: entry.attribute,
                text: entry.text,
                source: Source::person(),
                valid_from_ms: Some(at_ms),
                valid_to_ms: None,
                key: None,
            };
            let write = Write {
                connection,
                generation,
                at_ms,
                writer: None,
            };
            let restores = Some(version.number);
            let number = write.insert(&new, &version.identity, State::Live, at_ms, restores)?;
            let supersedes = write.supersede(&touched, number, at_ms, None)?;
            Ok(Saved {
                id: store::name(number),
                outcome: Outcome::Saved,
                supersedes,
            })
        })
    }

    /// Deletes the text of an entry and of all its versions, also of those that wait; what is left says that there
    /// was something, and from which run. What was on the disk is overwritten.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no such entry.
    pub fn forget(&self, id: &str, now_ms: i64) -> Result<Forgotten> {
        let forgotten = self.0.store.write(|connection| {
            let version = found(connection, id)?;
            let entry = &version.entry;
            let versions = match entry.state {
                State::Forgotten => vec![version],
                State::Live | State::Proposed | State::Rejected => {
                    store::versions(connection, &entry.scope, entry.kind, &version.identity)?
                }
            };
            empty(connection, &versions, now_ms)
        })?;
        self.scrub()?;
        Ok(forgotten)
    }

    /// Deletes all that is remembered in a scope, as [`Memory::forget`] does.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_scope(&self, scope: &str, now_ms: i64) -> Result<Forgotten> {
        let forgotten = self.0.store.write(|connection| {
            let filter = super::Filter {
                scope: Some(scope.to_owned()),
                ..super::Filter::default()
            };
            let mut versions = store::all(connection, &filter)?;
            versions.retain(|version| version.entry.state != State::Forgotten);
            empty(connection, &versions, now_ms)
        })?;
        self.scrub()?;
        Ok(forgotten)
    }

    /// Empties the log in which the file's earlier pages stand.
    fn scrub(&self) -> Result<()> {
        self.0.store.read(|connection| {
            let busy: i64 =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            match busy {
                0 => Ok(()),
                _ => Err(refused(
                    "it is forgotten, and its bytes are still in the file's log, which another process reads".to_owned(),
                    "end the other process and forget it once more".to_owned(),
                )),
            }
        })
    }
}

impl Write<'_> {
    fn insert(
        &self,
        new: &NewEntry,
        identity: &str,
        state: State,
        from_ms: i64,
        version_of: Option<i64>,
    ) -> Result<i64> {
        let (generation, source) = (self.generation.cast_signed(), &new.source);
        self.connection.execute(
            "INSERT INTO entries (scope, kind, subject, attribute, identity, text, said_by, run, step, state,
                valid_from_ms, valid_to_ms, recorded, recorded_ms, writer, version_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                new.scope,
                new.kind.as_str(),
                new.subject.trim(),
                new.attribute.trim(),
                identity,
                new.text.trim(),
                source.said_by.as_str(),
                source.run,
                source.step,
                state.as_str(),
                from_ms,
                new.valid_to_ms,
                generation,
                self.at_ms,
                self.writer,
                version_of,
            ],
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Closes the versions that overlap with the time in which `by` holds; what they say about the time before and
    /// after goes on in versions of its own.
    fn supersede(
        &self,
        touched: &[&Version],
        by: i64,
        from_ms: i64,
        to_ms: Option<i64>,
    ) -> Result<Vec<String>> {
        for version in touched {
            self.connection.execute(
                "UPDATE entries SET superseded = ?2, superseded_ms = ?3, superseded_by = ?4, superseder = ?5
                 WHERE id = ?1",
                params![
                    version.number,
                    self.generation.cast_signed(),
                    self.at_ms,
                    by,
                    self.writer
                ],
            )?;
            let entry = &version.entry;
            if entry.valid_from_ms < from_ms {
                self.go_on(version.number, entry.valid_from_ms, Some(from_ms))?;
            }
            if let Some(to_ms) = to_ms
                && entry.valid_to_ms.is_none_or(|end| end > to_ms)
            {
                self.go_on(version.number, to_ms, entry.valid_to_ms)?;
            }
        }
        Ok(touched
            .iter()
            .map(|version| version.entry.id.clone())
            .collect())
    }

    /// A version that says the same about a part of the time.
    fn go_on(&self, version: i64, from_ms: i64, to_ms: Option<i64>) -> Result<()> {
        self.connection.execute(
            "INSERT INTO entries (scope, kind, subject, attribute, identity, text, said_by, run, step, state,
                accepted_by, valid_from_ms, valid_to_ms, recorded, recorded_ms, writer, version_of)
             SELECT scope, kind, subject, attribute, identity, text, said_by, run, step, state, accepted_by,
                ?2, ?3, ?4, ?5, ?6, id FROM entries WHERE id = ?1",
            params![
                version,
                from_ms,
                to_ms,
                self.generation.cast_signed(),
                self.at_ms,
                self.writer
            ],
        )?;
        Ok(())
    }
}

fn write_new(
    connection: &Connection,
    new: &NewEntry,
    identity: &str,
    versions: &[Version],
    (now_ms, from_ms): (i64, i64),
) -> Result<Saved> {
    let current = versions.iter().filter(|version| version.is_current());
    let touched: Vec<&Version> = current
        .filter(|version| overlaps(version, from_ms, new.valid_to_ms))
        .collect();
    let against = touched.iter().any(|version| version.entry.is_trusted());
    let by_person = new.source.said_by == super::Said::Person;
    let waits = (new.kind == MemoryKind::Procedural && !by_person)
        || (against && !new.source.said_by.is_trusted());
    let of_before = match waits {
        true => versions.iter().find_map(|version| before(version, new)),
        false => None,
    };
    if let Some(saved) = of_before {
        return Ok(saved);
    }
    let (generation, at_ms) = store::next_generation(connection, now_ms)?;
    let write = Write {
        connection,
        generation,
        at_ms,
        writer: new.source.run.as_deref(),
    };
    let state = if waits { State::Proposed } else { State::Live };
    let number = write.insert(new, identity, state, from_ms, None)?;
    let (outcome, supersedes) = match waits {
        true => (Outcome::Proposed, Vec::new()),
        false => {
            let supersedes = write.supersede(&touched, number, from_ms, new.valid_to_ms)?;
            (Outcome::Saved, supersedes)
        }
    };
    Ok(Saved {
        id: store::name(number),
        outcome,
        supersedes,
    })
}

/// What became of the same proposal before: a person is asked once.
fn before(version: &Version, new: &NewEntry) -> Option<Saved> {
    let outcome = match version.entry.state {
        State::Proposed => Outcome::Proposed,
        State::Rejected => Outcome::Refused,
        State::Live | State::Forgotten => return None,
    };
    same_text(&version.entry.text, &new.text).then(|| Saved {
        id: version.entry.id.clone(),
        outcome,
        supersedes: Vec::new(),
    })
}

fn entry_is_as_good(known: &Version, new: &NewEntry) -> bool {
    known.entry.is_trusted() || !new.source.said_by.is_trusted()
}

fn empty(connection: &Connection, versions: &[Version], now_ms: i64) -> Result<Forgotten> {
    store::next_generation(connection, now_ms)?;
    let mut runs = BTreeSet::new();
    for version in versions {
        connection.execute(
            "UPDATE entries SET state = 'forgotten', subject = '', attribute = '', identity = '', text = ''
             WHERE id = ?1",
            [version.number],
        )?;
        let content = searching::content(&version.entry).cast_signed();
        connection.execute("DELETE FROM vectors WHERE content = ?1", [content])?;
        runs.extend(version.entry.source.run.clone());
    }
    Ok(Forgotten {
        ids: versions
            .iter()
            .map(|version| version.entry.id.clone())
            .collect(),
        runs: runs.into_iter().collect(),
    })
}

fn check(new: &NewEntry) -> Result<()> {
    let fields = [&new.scope, &new.subject, &new.attribute, &new.text];
    if fields.iter().any(|field| field.trim().is_empty()) {
        return Err(refused(
            "there is nothing to remember".to_owned(),
            "give a subject, an attribute and what is so".to_owned(),
        ));
    }
    if fields.iter().any(|field| field.len() > MOST_BYTES) {
        return Err(refused(
            format!("an entry has at most {MOST_BYTES} bytes"),
            "remember it in fewer words; long texts belong into documents".to_owned(),
        ));
    }
    match (new.valid_from_ms, new.valid_to_ms) {
        (Some(from_ms), Some(to_ms)) if from_ms >= to_ms => Err(refused(
            "it would hold for no time at all".to_owned(),
            "let it end after it begins".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn found(connection: &Connection, id: &str) -> Result<Version> {
    let version = match store::number(id) {
        Some(number) => store::version_of(connection, number)?,
        None => None,
    };
    version.ok_or_else(|| no_entry(id))
}

pub(super) fn no_entry(id: &str) -> Error {
    refused(
        format!("there is no entry {id}"),
        "plumb memory list --all lists them".to_owned(),
    )
}

fn waiting(connection: &Connection, id: &str) -> Result<Version> {
    let version = found(connection, id)?;
    match version.entry.state {
        State::Proposed => Ok(version),
        state => Err(refused(
            format!("{id} does not wait for anybody: it is {}", state.as_str()),
            "plumb memory list --waiting lists what waits".to_owned(),
        )),
    }
}

fn refused(message: String, hint: String) -> Error {
    Error::Memory { message, hint }
}

fn done(connection: &Connection, key: Option<&str>) -> Result<Option<Saved>> {
    let Some(key) = key else { return Ok(None) };
    let query = "SELECT saved FROM keys WHERE key = ?1";
    let text: Option<String> = connection
        .query_row(query, [key], |row| row.get(0))
        .optional()?;
    let saved = text.map(|text| serde_json::from_str(&text));
    saved
        .transpose()
        .map_err(|error| Error::DamagedMemory(error.to_string()))
}

fn keep_key(connection: &Connection, key: Option<&str>, saved: &Saved) -> Result<()> {
    if let Some(key) = key {
        let text = serde_json::json!(saved).to_string();
        connection.execute("INSERT INTO keys VALUES (?1, ?2)", (key, text))?;
    }
    Ok(())
}

fn overlaps(version: &Version, from_ms: i64, to_ms: Option<i64>) -> bool {
    let entry = &version.entry;
    entry.valid_to_ms.is_none_or(|end| end > from_ms)
        && to_ms.is_none_or(|end| entry.valid_from_ms < end)
}

/// Subject and attribute as they are compared: words in lower case, whatever stands between them.
pub(super) fn identity(subject: &str, attribute: &str) -> String {
    format!("{}\n{}", plain(subject), plain(attribute))
}

fn same_text(a: &str, b: &str) -> bool {
    plain(a) == plain(b) || a.trim() == b.trim()
}

/// Words in lower case; what has none, such as `:-)`, stays as it is.
fn plain(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    match words.is_empty() {
        true => text.trim().to_owned(),
        false => words.join(" "),
    }
}
