//! When the writer goes to sleep and when it commits: how long it waits for whom.
//!
//! All waits are short beside the commit that they follow or precede. Without the first, a run by itself
//! pays two switches of threads for each commit. While a group is being applied, the next ones come: they
//! are taken into it, so that they share its sync. Where a sync takes long they would still come just after
//! it has begun, and every commit would have half of them; so it is waited a moment for each next one of
//! those who waited for the last group too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::{Command, GROUP, take};

/// How long to look for the next command before going to sleep, after commands that came soon.
const LOOK: Duration = Duration::from_micros(60);
/// What waking a thread may add to the time until a command is there.
const WAKE: Duration = Duration::from_micros(30);
/// Which part of the time of a commit may be waited for one more command.
const QUIET: u32 = 16;
/// Which part of the time of a commit may be waited in all.
const PATIENCE: u32 = 2;

/// How long the last commit took, in nanoseconds: for those who wait for the next one.
pub(crate) type CommitTime = Arc<AtomicU64>;

/// How the last group went.
pub(super) struct Pace {
    /// How long to look before going to sleep: not at all where there is no second processor, on which
    /// somebody could send what is looked for.
    look: Duration,
    /// Whether the last command came soon after the group before it.
    soon: bool,
    /// Commands that somebody waited for, in the last group.
    company: usize,
    /// How long the database took to commit it, its sync included.
    took: Duration,
    told: CommitTime,
}

impl Pace {
    /// What it tells of its last commit is told there.
    pub(super) fn new(told: CommitTime) -> Pace {
        Pace {
            look: if has_one_processor() {
                Duration::ZERO
            } else {
                LOOK
            },
            soon: false,
            company: 0,
            took: Duration::ZERO,
            told,
        }
    }

    /// Waits for the first command of a group. Where the last ones came at once, it looks for a moment
    /// before it sleeps.
    pub(super) fn first(
        &mut self,
        receiver: &Receiver<Command>,
        wait: Duration,
    ) -> Result<Command, RecvTimeoutError> {
        let start = Instant::now();
        let look = if self.soon { self.look } else { Duration::ZERO };
        let command = next(receiver, look, wait)?;
        self.soon = start.elapsed() < LOOK + WAKE;
        Ok(command)
    }

    /// Takes what has come for a group while it was being applied, since `start`; `false` when there is
    /// nothing and the group is to be committed.
    pub(super) fn more(
        &self,
        receiver: &Receiver<Command>,
        group: &mut Vec<Command>,
        start: Instant,
    ) -> bool {
        let before = group.len();
        take(receiver, group);
        let may_wait = group.len() == before
            && group.len() < GROUP
            && company(group) < self.company
            && start.elapsed() < self.took / PATIENCE;
        if may_wait {
            let quiet = self.took / QUIET;
            let look = quiet.min(self.look);
            group.extend(next(receiver, look, quiet - look));
        }
        group.len() > before
    }

    /// The database took so long to commit a group, its sync included.
    pub(super) fn took(&mut self, time: Duration, group: &[Command]) {
        self.company = company(group);
        self.took = time;
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.told.store(nanos, Ordering::Relaxed);
    }
}

/// Whether nothing happens while this thread looks for it.
pub(crate) fn has_one_processor() -> bool {
    std::thread::available_parallelism().is_ok_and(|count| count.get() == 1)
}

/// Waits for a command: awake, then asleep.
fn next(
    receiver: &Receiver<Command>,
    awake: Duration,
    asleep: Duration,
) -> Result<Command, RecvTimeoutError> {
    let start = Instant::now();
    while start.elapsed() < awake {
        match receiver.try_recv() {
            Ok(command) => return Ok(command),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
        }
    }
    receiver.recv_timeout(asleep)
}

/// How many commands somebody waits for.
fn company(group: &[Command]) -> usize {
    group.iter().filter(|command| command.urgent()).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;

    fn release() -> Command {
        Command::Release(1, [0; 16])
    }

    #[test]
    fn who_waited_for_the_last_group_is_waited_for_and_nobody_else() {
        let (sender, receiver) = mpsc::channel();
        let mut pace = Pace::new(Arc::default());
        let long = Duration::from_secs(60);
        let mut group = vec![release()];
        assert!(!pace.more(&receiver, &mut group, Instant::now()));
        (0..3).for_each(|_| sender.send(release()).unwrap());
        assert!(pace.more(&receiver, &mut group, Instant::now()));
        assert_eq!(group.len(), 4);
        // There were two before, and there are four: the next one is not waited for, or this would hang.
        pace.took(long, &[release(), release()]);
        assert!(!pace.more(&receiver, &mut group, Instant::now()));
        group.truncate(1);
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            sender.send(release()).unwrap();
        });
        assert!(pace.more(&receiver, &mut group, Instant::now()));
        assert_eq!(group.len(), 2);
        later.join().unwrap();
    }

    #[test]
    fn who_does_not_come_back_is_not_waited_for_longer_than_a_part_of_a_commit() {
        let (_sender, receiver) = mpsc::channel();
        let mut pace = Pace::new(Arc::default());
        pace.took(Duration::from_millis(16), &[release(), release()]);
        let mut group = vec![release()];
        let start = Instant::now();
        assert!(!pace.more(&receiver, &mut group, start));
        assert!(start.elapsed() >= Duration::from_millis(1));
        let long_ago = start - Duration::from_millis(9);
        assert!(!pace.more(&receiver, &mut group, long_ago));
    }

    #[test]
    fn an_end_is_seen_while_looking() {
        let (sender, receiver) = mpsc::channel();
        sender.send(release()).unwrap();
        drop(sender);
        let mut pace = Pace::new(Arc::default());
        assert!(pace.first(&receiver, Duration::from_secs(60)).is_ok());
        let end = pace.first(&receiver, Duration::from_secs(60));
        assert_eq!(end.err(), Some(RecvTimeoutError::Disconnected));
    }
}
