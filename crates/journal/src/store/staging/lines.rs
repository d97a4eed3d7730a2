//! The lines of an export, one by one. `runs` has what is done at the end of a run.

mod runs;

use std::collections::HashMap;
use std::io::{BufRead, Read};

use rusqlite::params;

use super::{Shape, Staging, at};
use crate::budget::{Amounts, Budget};
use crate::export::{
    EndLine, EventLine, FORMAT, HeaderLine, Line, MOST_LINE_BYTES, PayloadKind, PayloadLine,
    RunLine, VERSION,
};
use crate::payload::{self, Hash, Node, NodeKind};
use crate::records::RunId;
use crate::store::chronicle::Chronicle;
use crate::store::event::{EventRow, Kind, effect_code};
use crate::{Error, Result};

/// How long a value may be: a few payloads that refer to each other many times can make up a value of
/// any length.
const MOST_VALUE_BYTES: i64 = 256 << 20;
/// Longer addresses no step has.
const MOST_PATH_BYTES: usize = 4096;
/// The last millisecond of the year 9999.
const MOST_MS: i64 = 253_402_300_799_999;

type Checked<T> = std::result::Result<T, Refusal>;

/// Why a line is not taken.
enum Refusal {
    /// It is wrong.
    Line(String),
    /// It could not be kept, which says nothing about it.
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Store(error)
    }
}

/// For SQLite, which knows no other numbers.
fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn refuse<T>(what: impl Into<String>) -> Checked<T> {
    Err(Refusal::Line(what.into()))
}

/// An export under way.
pub(super) struct Reading {
    staging: Staging,
    hasher: blake3::Hasher,
    line: u64,
    has_header: bool,
    has_ended: bool,
    /// The run whose events are being read.
    run: Option<Current>,
    runs: Vec<Past>,
    /// Where in `runs` each stands.
    places: HashMap<String, usize>,
    payloads: u64,
    events: u64,
}

/// The run whose events are being read.
struct Current {
    id: RunId,
    line: RunLine,
    parent: Option<usize>,
    chronicle: Chronicle,
    /// The texts of its first event and of the one that ended or parked it.
    start: Option<String>,
    end: Option<EventRow>,
    /// The starts of its questions.
    questions: HashMap<i64, String>,
}

/// A run that has been read, for the budgets.
struct Past {
    id: RunId,
    parent: Option<usize>,
    budget: Budget,
    raised: Amounts,
    spent: Amounts,
    reserved: Amounts,
    time_ms: i64,
}

impl Reading {
    pub(super) fn new(staging: Staging) -> Reading {
        Reading {
            staging,
            hasher: blake3::Hasher::new(),
            line: 0,
            has_header: false,
            has_ended: false,
            run: None,
            runs: Vec::new(),
            places: HashMap::new(),
            payloads: 0,
            events: 0,
        }
    }

    fn wrong(&self, message: String) -> Error {
        Error::Import {
            line: self.line,
            message,
        }
    }

    pub(super) fn read(&mut self, mut from: impl BufRead) -> Result<()> {
        let mut text = Vec::new();
        loop {
            text.clear();
            self.line += 1;
            // One byte more than is allowed tells that there is more.
            let most = MOST_LINE_BYTES as u64 + 1;
            let read = Read::take(&mut from, most).read_until(b'\n', &mut text);
            let length = read.map_err(|error| self.wrong(format!("it cannot be read: {error}")))?;
            if length == 0 {
                return Ok(());
            }
            if length > MOST_LINE_BYTES {
                return Err(self.wrong(format!("it is longer than {MOST_LINE_BYTES} bytes")));
            }
            match self.take(&text) {
                Ok(()) => {}
                Err(Refusal::Line(what)) => return Err(self.wrong(what)),
                Err(Refusal::Store(error)) => return Err(error),
            }
            self.hasher.update(&text);
        }
    }

    /// The end of the file: it must have come where it was announced.
    pub(super) fn finish(mut self) -> Result<Staging> {
        if !self.has_ended {
            let what = "the file ends here, before its last line: it was cut off";
            return Err(self.wrong(what.to_string()));
        }
        match self.budgets() {
            Ok(()) => Ok(self.staging),
            Err(Refusal::Line(what)) => Err(self.wrong(what)),
            Err(Refusal::Store(error)) => Err(error),
        }
    }

    fn take(&mut self, text: &[u8]) -> Checked<()> {
        if self.has_ended {
            return refuse("there is something after the last line");
        }
        let Some(text) = text.strip_suffix(b"\n") else {
            return refuse("it has no end: the file was cut off");
        };
        let line: Line = match serde_json::from_slice(text) {
            Ok(line) => line,
            Err(error) => return refuse(format!("it is not a line of an export: {error}")),
        };
        match (line, self.has_header) {
            (Line::Header(header), false) => self.header(&header),
            (Line::Header(_), true) => refuse("a second header"),
            (_, false) => refuse("the first line is not the header of an export"),
            (Line::Run(run), true) => self.begin_run(run),
            (Line::Payload(payload), true) => self.payload(payload),
            (Line::Event(event), true) => self.event(event),
            (Line::End(end), true) => self.end(&end),
        }
    }

    fn header(&mut self, header: &HeaderLine) -> Checked<()> {
        if header.format != FORMAT {
            return refuse(format!(
                "it is not an export of runs but `{}`",
                header.format
            ));
        }
        if header.version != VERSION {
            return refuse(format!(
                "the export has version {}, and this program knows {VERSION}; use a newer Plumb",
                header.version
            ));
        }
        self.has_header = true;
        Ok(())
    }

    fn begin_run(&mut self, line: RunLine) -> Checked<()> {
        self.end_run()?;
        let Ok(id) = RunId::parse(&line.id) else {
            return refuse("its id cannot be a run's id");
        };
        if self.places.contains_key(id.as_str()) {
            return refuse(format!("run {id} comes a second time"));
        }
        let parent = match (&line.parent, self.runs.is_empty()) {
            // The parent of the first one, if there is one, was not exported.
            (_, true) => None,
            (None, false) => return refuse("only the first run of an export has no parent in it"),
            (Some(parent), false) => match self.places.get(parent) {
                Some(place) => Some(*place),
                None => return refuse(format!("its parent {parent} does not stand before it")),
            },
        };
        self.run = Some(Current {
            id,
            line,
            parent,
            chronicle: Chronicle::default(),
            start: None,
            end: None,
            questions: HashMap::new(),
        });
        Ok(())
    }

    fn payload(&mut self, line: PayloadLine) -> Checked<()> {
        let Some(hash) = payload::from_hex(&line.hash) else {
            return refuse("its hash is not one");
        };
        let kind = match line.kind {
            PayloadKind::Value => NodeKind::Value,
            PayloadKind::List => NodeKind::List,
        };
        if payload::hash_of(kind, line.text.as_bytes()) != hash {
            return refuse("the payload does not have the hash that it is said to have");
        }
        if self.staging.shape(&hash)?.is_some() {
            return refuse("the payload comes a second time");
        }
        let shape = self.shape(kind, &line.text)?;
        let node = Node {
            hash,
            kind,
            text: line.text.into_bytes(),
        };
        self.payloads += 1;
        Ok(self.staging.keep(node, &shape)?)
    }

    /// How deep a text goes and how long it is, with all that it refers to.
    fn shape(&self, kind: NodeKind, text: &str) -> Checked<Shape> {
        let links = payload::links(kind, text).map_err(Refusal::Line)?;
        let mut shape = Shape {
            depth: number(links.depth),
            whole: number(text.len()),
        };
        for (hash, depth) in links.hashes {
            let Some(part) = self.staging.shape(&hash)? else {
                let name = payload::hex(&hash);
                return refuse(format!("payload {name} does not stand before it"));
            };
            shape.depth = shape.depth.max(number(depth).saturating_add(part.depth));
            shape.whole = shape.whole.saturating_add(part.whole);
        }
        if shape.depth > number(payload::MOST_DEPTH) {
            return refuse(format!(
                "it goes deeper than {} arrays and objects",
                payload::MOST_DEPTH
            ));
        }
        if shape.whole > MOST_VALUE_BYTES {
            return refuse(format!(
                "put together, it has more than {MOST_VALUE_BYTES} bytes"
            ));
        }
        Ok(shape)
    }

    fn event(&mut self, line: EventLine) -> Checked<()> {
        let event = event_row(line)?;
        self.shape(NodeKind::Value, &event.body)?;
        self.events += 1;
        let seq = number(self.events);
        let place = number(self.runs.len());
        let Some(run) = &mut self.run else {
            return refuse("there is no run that it belongs to");
        };
        if let Some(what) = run.chronicle.add(seq, &event) {
            return refuse(what);
        }
        if event.kind == Kind::RunStarted {
            run.start = Some(event.body.clone());
        }
        if event.kind.ending().is_some() {
            run.end = Some(event.clone());
        }
        if event.kind == Kind::StepStarted && event.body.starts_with("{\"kind\":\"question\"") {
            run.questions.insert(seq, event.body.clone());
        }
        let id = &run.id;
        self.staging
            .connection
            .prepare_cached(
                "INSERT INTO event (number, run, kind, at_ms, path, effect, fingerprint, body, \
                 digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    seq,
                    place,
                    event.kind.code(),
                    event.at_ms,
                    event.path,
                    event.effect.map(effect_code),
                    event.fingerprint,
                    event.body,
                    event.digest(id)
                ])
            })
            .map_err(at)?;
        Ok(())
    }

    fn end(&mut self, line: &EndLine) -> Checked<()> {
        self.end_run()?;
        if self.runs.is_empty() {
            return refuse("there is no run in it");
        }
        let found = (self.runs.len() as u64, self.payloads, self.events);
        if found != (line.runs, line.payloads, line.events) {
            return refuse("there are more or fewer lines than it says");
        }
        if payload::from_hex(&line.blake3) != Some(*self.hasher.finalize().as_bytes()) {
            return refuse("the file has been changed: its hash is another one");
        }
        self.has_ended = true;
        Ok(())
    }
}

/// The row of an event, if there can be such a one.
fn event_row(line: EventLine) -> Checked<EventRow> {
    let Some(kind) = Kind::from_name(&line.kind) else {
        return refuse(format!("there is no event `{}`", line.kind));
    };
    if !(0..=MOST_MS).contains(&line.at_ms) {
        return refuse("its time makes no sense");
    }
    if let Some(path) = &line.path
        && (path.is_empty() || path.len() > MOST_PATH_BYTES || path.chars().any(char::is_control))
    {
        return refuse("its path cannot be the address of a step");
    }
    let begins = matches!(kind, Kind::StepStarted | Kind::StepRestarted);
    let fingerprint: Option<Hash> = match line.fingerprint.as_deref().map(payload::from_hex) {
        Some(None) => return refuse("its fingerprint is not one"),
        Some(Some(hash)) => Some(hash),
        None => None,
    };
    if !begins && (fingerprint.is_some() || line.effect.is_some()) {
        return refuse("only the beginning of a step has an effect and a fingerprint");
    }
    let body = serde_json::to_string(&line.body);
    let body = body.map_err(|error| Refusal::Line(error.to_string()))?;
    Ok(EventRow {
        kind,
        at_ms: line.at_ms,
        path: line.path,
        effect: line.effect,
        fingerprint,
        body,
    })
}
