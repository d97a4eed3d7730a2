//! Leases: at most one process works on a run.
//!
//! A lease names its holder and expires unless it is renewed. A holder that is seen to be dead loses
//! it at once; that can only be seen from the same machine, the same process-id namespace and the
//! same user, and only where `/proc` tells (Linux). Elsewhere the expiry decides.

use std::path::Path;

/// Who holds a lease: a process that can be told from a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// What makes process ids comparable: boot, namespace, user. Empty when unknown.
    pub(crate) machine: String,
    /// The process.
    pub(crate) pid: u32,
    /// When the process started, in the kernel's ticks; 0 when unknown.
    pub(crate) born: i64,
}

impl Holder {
    /// This process.
    pub(crate) fn this_process() -> Holder {
        let pid = std::process::id();
        Holder {
            machine: machine().unwrap_or_default(),
            pid,
            born: process_born(pid).unwrap_or_default(),
        }
    }

    /// Whether this holder is certainly dead, as seen by `me`.
    pub(crate) fn is_dead(&self, me: &Holder) -> bool {
        if self.machine.is_empty() || self.machine != me.machine || self.born == 0 {
            return false;
        }
        process_born(self.pid) != Some(self.born)
    }

    /// How to call this holder, as seen by `me`.
    pub(crate) fn describe(&self, me: &Holder) -> String {
        if self == me {
            "this process".to_string()
        } else if self.machine == me.machine {
            format!("process {}", self.pid)
        } else {
            format!("process {} on another machine or of another user", self.pid)
        }
    }
}

/// The start time of a living process, in ticks since boot. `None` when there is none, or a zombie.
fn process_born(pid: u32) -> Option<i64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; the fields proper come after the last one.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let user = user(Path::new("/proc/self"))?;
    Some(format!(
        "{} {} user:{user}",
        boot.trim(),
        namespace.display()
    ))
}

#[cfg(unix)]
fn user(process: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(process)
        .ok()
        .map(|metadata| metadata.uid())
}

#[cfg(not(unix))]
fn user(_process: &Path) -> Option<u32> {
    None
}
