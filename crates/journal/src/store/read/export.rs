//! Writing a run and its descendants out, line by line.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::super::event::{EventRow, Kind};
use super::super::schema;
use super::source::Source;
use super::{Reader, at};
use crate::export::{
    EndLine, EventLine, FORMAT, HeaderLine, Line, MOST_LINE_BYTES, PayloadKind, PayloadLine,
    RunLine, VERSION,
};
use crate::payload::{self, Hash, Node, NodeKind, Nodes};
use crate::records::{ForkedFrom, RunId};
use crate::{Error, Result};

/// Where an export goes; called with a few lines at a time.
type Out<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<()>;

/// Bytes passed on together.
const CHUNK_BYTES: usize = 64 * 1024;

struct Export<'a> {
    reader: &'a Reader<'a>,
    out: Out<'a>,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    /// Payloads written so far.
    written: HashSet<Hash>,
    runs: u64,
    events: u64,
}

/// A run that an exported one shares its first events with: itself, or a source.
struct Level {
    key: i64,
    id: RunId,
    /// Shared are the events before this one.
    before: i64,
}

impl Reader<'_> {
    /// Writes a run, by its id or a prefix, and its descendants.
    pub(crate) fn export(&self, asked: &str, out: Out<'_>) -> Result<()> {
        let (key, _) = self.find(asked)?;
        let mut export = Export {
            reader: self,
            out,
            buffer: Vec::new(),
            hasher: blake3::Hasher::new(),
            written: HashSet::new(),
            runs: 0,
            events: 0,
        };
        export.write(&Line::Header(HeaderLine {
            format: FORMAT.to_string(),
            version: VERSION,
            schema: schema::current_version(),
        }))?;
        for key in self.family(key)? {
            export.run(key)?;
        }
        export.end()
    }

    /// A run and its descendants, parents before their children.
    fn family(&self, key: i64) -> Result<Vec<i64>> {
        let sql = "WITH RECURSIVE family(key) AS (SELECT ?1 UNION \
                   SELECT run.key FROM run JOIN family ON run.parent = family.key) \
                   SELECT key FROM family ORDER BY key";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map([key], |row| row.get(0))?.collect())
            .map_err(at)
    }

    /// The runs whose events make up this one's, farthest source first, itself last.
    fn levels(&self, key: i64, id: &RunId) -> Result<Vec<Level>> {
        let mut levels = vec![Level {
            key,
            id: id.clone(),
            before: i64::MAX,
        }];
        let mut key = key;
        while let Some((source, id, before)) = self.source_of(key)? {
            key = source;
            levels.push(Level {
                key: source,
                id,
                before,
            });
        }
        levels.reverse();
        Ok(levels)
    }
}

impl Export<'_> {
    fn write(&mut self, line: &Line) -> Result<()> {
        let start = self.buffer.len();
        let written = serde_json::to_writer(&mut self.buffer, line);
        written.map_err(|error| refused(error.to_string()))?;
        self.buffer.push(b'\n');
        let line = self.buffer.get(start..).unwrap_or_default();
        if line.len() > MOST_LINE_BYTES {
            return Err(refused(format!(
                "a payload takes {} bytes, and a line of an export at most {MOST_LINE_BYTES}",
                line.len()
            )));
        }
        self.hasher.update(line);
        if self.buffer.len() >= CHUNK_BYTES {
            (self.out)(std::mem::take(&mut self.buffer))?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        let line = Line::End(EndLine {
            runs: self.runs,
            payloads: self.written.len() as u64,
            events: self.events,
            blake3: self.hasher.finalize().to_hex().to_string(),
        });
        self.write(&line)?;
        (self.out)(std::mem::take(&mut self.buffer))
    }

    fn run(&mut self, key: i64) -> Result<()> {
        let reader = self.reader;
        let record = reader.run(key)?;
        let fork = reader.start_field(key, &record.id, "fork")?;
        let forked_from: Option<ForkedFrom> =
            fork.and_then(|fork| serde_json::from_value(fork).ok());
        self.runs += 1;
        self.write(&Line::Run(RunLine {
            id: record.id.to_string(),
            agent: record.agent,
            status: record.status,
            reason: record.reason,
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            parent: record.parent.map(|id| id.to_string()),
            forked_from,
            budget: reader.spending(key)?,
        }))?;
        let levels = reader.levels(key, &record.id)?;
        let started = reader.started_seq(key)?;
        let start = reader.event(&record.id, started, "its start")?;
        self.event(&record.id, start, false)?;
        self.shared(&levels)?;
        reader.each_event(key, &record.id, i64::MAX, |seq, event| {
            if seq == started {
                return Ok(());
            }
            self.event(&record.id, event, false)
        })?;
        Ok(())
    }

    /// Writes the steps that a fork shares as its own: those that had ended when it was forked, and
    /// that it has not begun anew.
    fn shared(&mut self, levels: &[Level]) -> Result<()> {
        if levels.len() < 2 {
            return Ok(());
        }
        let reader = self.reader;
        // At which level each step was begun last, and whether it had ended.
        let mut places: HashMap<String, (usize, bool)> = HashMap::new();
        for (place, level) in levels.iter().enumerate() {
            reader.each_event(level.key, &level.id, level.before, |_, event| {
                match (event.kind, event.path) {
                    (Kind::StepStarted, Some(path)) => {
                        places.insert(path, (place, false));
                    }
                    (Kind::StepFinished | Kind::StepFailed, Some(path)) => {
                        places.entry(path).and_modify(|step| step.1 = true);
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        for (place, level) in levels.iter().take(levels.len() - 1).enumerate() {
            reader.each_event(level.key, &level.id, level.before, |_, event| {
                let step = event.path.as_ref().and_then(|path| places.get(path));
                match step {
                    Some(step) if *step == (place, true) => self.event(&level.id, event, true),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Writes an event of the run with this id, and the payloads that it refers to before it.
    fn event(&mut self, id: &RunId, event: EventRow, shared: bool) -> Result<()> {
        let place = event.path.as_deref().unwrap_or("its start");
        let mut source = Source {
            connection: self.reader.connection,
            id,
            place,
        };
        let links =
            payload::links(NodeKind::Value, &event.body).map_err(|what| source.malformed(what))?;
        for (hash, _) in links.hashes {
            self.payload(hash, &mut source)?;
        }
        let body = serde_json::from_str::<Map<String, Value>>(&event.body);
        let mut body = body.map_err(|error| source.malformed(error.to_string()))?;
        if shared && event.kind == Kind::StepStarted {
            // The last field: that is where it is looked for.
            body.shift_remove("shared");
            body.insert("shared".to_string(), true.into());
        }
        self.events += 1;
        self.write(&Line::Event(EventLine {
            kind: event.kind.name().to_string(),
            at_ms: event.at_ms,
            path: event.path,
            effect: event.effect,
            fingerprint: event.fingerprint.as_ref().map(payload::hex),
            body,
        }))
    }

    /// Writes a payload, and before it those that it refers to; by hand and not by recursion, because
    /// lists are chains as long as they please.
    fn payload(&mut self, hash: Hash, source: &mut Source<'_>) -> Result<()> {
        let mut stack = vec![hash];
        while let Some(hash) = stack.last().copied() {
            if self.written.contains(&hash) {
                stack.pop();
                continue;
            }
            let Node { kind, text, .. } = source.node(&hash)?;
            let text = String::from_utf8(text).map_err(|_| {
                source.malformed(format!("payload {} is no text", payload::hex(&hash)))
            })?;
            let links = payload::links(kind, &text).map_err(|what| source.malformed(what))?;
            let before = stack.len();
            let missing = links.hashes.into_iter().map(|(hash, _)| hash);
            stack.extend(missing.filter(|hash| !self.written.contains(hash)));
            if stack.len() > before {
                continue;
            }
            self.written.insert(hash);
            stack.pop();
            self.write(&Line::Payload(PayloadLine {
                hash: payload::hex(&hash),
                kind: match kind {
                    NodeKind::Value => PayloadKind::Value,
                    NodeKind::List => PayloadKind::List,
                },
                text,
            }))?;
        }
        Ok(())
    }
}

fn refused(message: String) -> Error {
    Error::File {
        path: "the export".into(),
        message,
    }
}
