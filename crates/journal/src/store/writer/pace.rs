//! When the writer goes to sleep and when it commits: how long it waits for whom.
//!
//! Both waits are short beside the commit that they follow or precede. Without the first, a run by itself
//! pays two switches of threads for each commit; without the second, runs that all wait for the same
//! commit come back while the first of them has begun the next one, and every commit has half of them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::{Command, GROUP, take};

/// How long to look for the next command before going to sleep, after commands that came soon.
const LOOK: Duration = Duration::from_micros(40);
/// A sleep shorter than this takes longer than was asked for.
const SHORTEST_SLEEP: Duration = Duration::from_micros(200);

/// How the last group went.
pub(super) struct Pace {
    /// How long to look before going to sleep: not at all where there is no second processor, on which
    /// somebody could send what is looked for.
    look: Duration,
    /// Whether the last command came soon after the group before it.
    soon: bool,
    /// Commands that somebody waited for, in the last group.
    company: usize,
    began: Instant,
    /// How long the last group took to commit.
    took: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        Pace {
            look: if alone { Duration::ZERO } else { LOOK },
            soon: false,
            company: 0,
            began: Instant::now(),
            took: Duration::ZERO,
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
        self.soon = start.elapsed() < LOOK * 4;
        Ok(command)
    }

    /// Waits for those who waited for the last group too: as long as they keep coming, and not longer
    /// than a fraction of what a commit takes.
    pub(super) fn gather(&self, receiver: &Receiver<Command>, group: &mut Vec<Command>) {
        if self.company < 2 {
            return;
        }
        let start = Instant::now();
        let (most, gap) = (self.took / 4, self.took / 32);
        loop {
            let before = group.len();
            pause(gap);
            take(receiver, group);
            if group.len() == before || group.len() >= GROUP || start.elapsed() >= most {
                return;
            }
        }
    }

    /// A group is about to be committed.
    pub(super) fn begin(&mut self, group: &[Command]) {
        self.company = group.iter().filter(|command| command.urgent()).count();
        self.began = Instant::now();
    }

    /// It has been.
    pub(super) fn end(&mut self) {
        self.took = self.began.elapsed();
    }
}

fn pause(time: Duration) {
    if time >= SHORTEST_SLEEP {
        std::thread::sleep(time);
        return;
    }
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
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
    fn company_is_gathered_only_where_there_was_some() {
        let (sender, receiver) = mpsc::channel();
        (0..3).for_each(|_| sender.send(release()).unwrap());
        let mut pace = Pace::default();
        let mut group = vec![pace.first(&receiver, Duration::ZERO).unwrap()];
        pace.gather(&receiver, &mut group);
        assert_eq!(group.len(), 1);
        pace.begin(&[release(), release()]);
        pace.end();
        pace.gather(&receiver, &mut group);
        assert_eq!(group.len(), 3);
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
