//! The disk: writes that fail, and what a crash leaves of the files.
//!
//! A crash comes right after a commit. What is on the disk then is one of: all of it (the process was
//! killed), or all before that commit and an arbitrary part of what the commit was writing to the
//! `-wal` (power was lost before the disk had confirmed). The commit must then be either lost or whole.

use std::fs;
use std::path::{Path, PathBuf};

use journal::StoreFault;

use crate::chance::Chance;
use crate::shadow::Shadow;

/// What a crash does to the last commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed: everything is there.
    Killed,
    /// Nothing of the last commit has reached the disk.
    Lost,
    /// What it wrote is cut off somewhere.
    Cut,
    /// Some of its sectors have reached the disk and others have not.
    Sectors,
    /// Some of its bytes are others.
    Garbled,
}

pub(crate) const CRASHES: [Crash; 5] = [
    Crash::Killed,
    Crash::Lost,
    Crash::Cut,
    Crash::Sectors,
    Crash::Garbled,
];

/// The files of a journal.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) database: Vec<u8>,
    pub(crate) wal: Vec<u8>,
}

fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

impl Files {
    pub(crate) fn read(path: &Path) -> Files {
        Files {
            database: fs::read(path).unwrap_or_default(),
            wal: fs::read(wal_of(path)).unwrap_or_default(),
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, &self.database).unwrap();
        fs::write(wal_of(path), &self.wal).unwrap();
    }
}

/// What a crash found.
pub(crate) struct Wreck {
    pub(crate) crash: Crash,
    pub(crate) before: Files,
    pub(crate) after: Files,
    pub(crate) shadow_before: Shadow,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    fault_in: Option<(u64, StoreFault)>,
    pub(crate) faults: u64,
    crash_in: Option<(u64, Crash)>,
    before: Option<(Files, Shadow)>,
    pub(crate) wreck: Option<Wreck>,
    /// The number of the first event of the commit under way.
    commit: Option<i64>,
    last: i64,
}

impl Disk {
    pub(crate) fn crashed(&self) -> bool {
        self.wreck.is_some()
    }

    /// Whether this event is the first one of a commit.
    pub(crate) fn begins_commit(&mut self, seq: i64) -> bool {
        let begins = self.commit.is_none() || seq <= self.last;
        if begins {
            self.commit = Some(seq);
        }
        self.last = seq;
        begins
    }

    pub(crate) fn fault_in(&mut self, commits: u64, fault: StoreFault) {
        self.fault_in = Some((commits, fault));
    }

    pub(crate) fn crash_in(&mut self, commits: u64, crash: Crash) {
        self.crash_in = Some((commits, crash));
    }

    /// No faults and no crashes any more.
    pub(crate) fn calm(&mut self) {
        (self.fault_in, self.crash_in) = (None, None);
    }

    pub(crate) fn fault(&mut self) -> Option<StoreFault> {
        let (left, fault) = self.fault_in.take()?;
        if left > 0 {
            self.fault_in = Some((left - 1, fault));
            return None;
        }
        self.faults += 1;
        self.commit = None;
        Some(fault)
    }

    pub(crate) fn crash_is_due(&mut self) -> bool {
        match &mut self.crash_in {
            Some((0, _)) => true,
            Some((left, _)) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    pub(crate) fn before_crash(&mut self, shadow: Shadow) {
        self.before = Some((Files::read(&self.path), shadow));
    }

    pub(crate) fn after_commit(&mut self) {
        self.commit = None;
        let (Some((before, shadow_before)), Some((_, crash))) = (self.before.take(), self.crash_in)
        else {
            return;
        };
        self.crash_in = None;
        self.wreck = Some(Wreck {
            crash,
            before,
            after: Files::read(&self.path),
            shadow_before,
        });
    }

    /// A new life, in other files.
    pub(crate) fn reopen(&mut self, path: &Path) {
        *self = Disk {
            path: path.to_path_buf(),
            faults: self.faults,
            ..Disk::default()
        };
    }
}

/// Length of a log's header; SQLite syncs a new one before it writes anything else.
const HEADER: usize = 32;
const SECTOR: usize = 512;
const PAGE: usize = 4096;

impl Wreck {
    /// What is left of the files.
    pub(crate) fn files(&self, chance: &mut Chance) -> Files {
        if self.before.database != self.after.database {
            return self.half_checkpoint(chance);
        }
        let (before, after) = (&self.before.wal, &self.after.wal);
        let changed: Vec<usize> = (0..after.len())
            .filter(|place| before.get(*place) != after.get(*place))
            .collect();
        let (Some(first), Some(last)) = (changed.first(), changed.last()) else {
            return self.after.clone();
        };
        let (first, end) = ((*first).max(HEADER), last + 1);
        let mut wal = after.clone();
        match self.crash {
            Crash::Killed => {}
            Crash::Lost => return self.before.clone(),
            Crash::Cut => {
                let cut = first + chance.place(end.saturating_sub(first).max(1));
                wal.truncate(cut);
                wal.extend(before.iter().skip(cut));
            }
            Crash::Sectors => {
                for sector in first / SECTOR..end.div_ceil(SECTOR) {
                    if chance.one_in(2) {
                        continue;
                    }
                    let places = sector * SECTOR..((sector + 1) * SECTOR).min(wal.len());
                    for place in places.filter(|place| *place >= HEADER) {
                        wal[place] = before.get(place).copied().unwrap_or_default();
                    }
                }
            }
            Crash::Garbled => {
                for _ in 0..1 + chance.below(4) {
                    let place = first + chance.place(end.saturating_sub(first).max(1));
                    if let Some(byte) = wal.get_mut(place) {
                        *byte ^= 1 + chance.below(255) as u8;
                    }
                }
            }
        }
        Files {
            database: self.after.database.clone(),
            wal,
        }
    }

    /// The commit is in the log for good, and some of the log's pages are in the database already.
    fn half_checkpoint(&self, chance: &mut Chance) -> Files {
        let mut database = self.after.database.clone();
        for page in 0..database.len() / PAGE {
            let places = page * PAGE..(page + 1) * PAGE;
            if let Some(before) = self.before.database.get(places.clone())
                && chance.one_in(2)
            {
                database[places].copy_from_slice(before);
            }
        }
        Files {
            database,
            wal: self.after.wal.clone(),
        }
    }
}
