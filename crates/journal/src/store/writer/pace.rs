//! When the writer goes to sleep and when it commits: how long it waits for whom.
//!
//! Both waits are short beside the commit that they follow or precede. Without the first, a run by itself
//! pays two switches of threads for each commit. Without the second, runs that all wait for the same commit
//! come back while the first of them has begun the next one, and every commit has half of them: that is
//! right only where they need longer to come back than the disk needs for another sync.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::{Command, GROUP, take};

/// How long to look for the next command before going to sleep, after commands that came soon.
const LOOK: Duration = Duration::from_micros(60);
/// How long to sleep while gathering. (Awake, the writer would keep a processor from those who are to come.)
const NAP: Duration = Duration::from_micros(20);
/// Groups that do not wait for company after it has not come in time.
const IMPATIENCE: u32 = 16;

/// How the last group went.
pub(super) struct Pace {
    /// How long to look before going to sleep: not at all where there is no second processor, on which
    /// somebody could send what is looked for.
    look: Duration,
    /// Whether the last command came soon after the group before it.
    soon: bool,
    /// Commands that somebody waited for, in the last group.
    company: usize,
    /// How long company may be waited for: less than bringing it to the disk by itself would take.
    patience: Duration,
    /// How many groups do not wait for company.
    impatient: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        let alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        Pace {
            look: if alone { Duration::ZERO } else { LOOK },
            soon: false,
            company: 0,
            patience: Duration::ZERO,
            impatient: 0,
        }
    }
}

impl Pace {
    /// Waits for the first command of a group. Where the last ones came at once, it looks for a moment
    /// before it sleeps.
    pub(super) fn first(
        &mut self,
        receiver: &Receiver<Command>,
        wait: Duration,
    ) -> Result<Command, RecvTimeoutError> {
        let start = Instant::now();
        if self.soon {
            while start.elapsed() < self.look {
                match receiver.try_recv() {
                    Ok(command) => return Ok(command),
                    Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                    Err(TryRecvError::Empty) => std::hint::spin_loop(),
                }
            }
        }
        let command = receiver.recv_timeout(wait)?;
        self.soon = start.elapsed() < LOOK * 3;
        Ok(command)
    }

    /// Waits for those who waited for the last group too, if they come soon enough.
    pub(super) fn gather(&mut self, receiver: &Receiver<Command>, group: &mut Vec<Command>) {
        if self.impatient > 0 {
            self.impatient -= 1;
            return;
        }
        let start = Instant::now();
        while company(group) < self.company.min(GROUP) {
            if start.elapsed() >= self.patience {
                self.impatient = IMPATIENCE;
                return;
            }
            std::thread::sleep(NAP);
            take(receiver, group);
        }
    }

    /// A group is about to be committed.
    pub(super) fn begin(&mut self, group: &[Command]) {
        self.company = company(group);
    }

    /// The database took so long to commit it, its sync included.
    pub(super) fn took(&mut self, time: Duration) {
        self.patience = time / 2;
    }
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
    fn company_is_waited_for_where_there_was_some_and_not_again_after_it_stayed_away() {
        let (sender, receiver) = mpsc::channel();
        let mut pace = Pace::default();
        pace.took(Duration::from_millis(2));
        let mut group = vec![release()];
        (0..3).for_each(|_| sender.send(release()).unwrap());
        pace.gather(&receiver, &mut group);
        assert_eq!(group.len(), 1, "there was nobody before");
        pace.begin(&[release(), release()]);
        pace.gather(&receiver, &mut group);
        assert_eq!(group.len(), 4);
        group.truncate(1);
        pace.gather(&receiver, &mut group);
        (0..3).for_each(|_| sender.send(release()).unwrap());
        pace.gather(&receiver, &mut group);
        assert_eq!(group.len(), 1, "they did not come in time the last time");
    }

    #[test]
    fn an_end_is_seen_while_looking() {
        let (sender, receiver) = mpsc::channel();
        sender.send(release()).unwrap();
        drop(sender);
        let mut pace = Pace::default();
        assert!(pace.first(&receiver, Duration::from_secs(60)).is_ok());
        let end = pace.first(&receiver, Duration::from_secs(60));
        assert_eq!(end.err(), Some(RecvTimeoutError::Disconnected));
    }
}
