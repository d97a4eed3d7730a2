//! Turns: so many steps at work at once, and runs that take turns at them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out turns.
pub(crate) struct Turns(Mutex<State>);

struct State {
    free: usize,
    /// Who waits, by run.
    waiting: HashMap<i64, VecDeque<oneshot::Sender<Turn>>>,
    /// The runs that wait, each once, in the order of their turns.
    order: VecDeque<i64>,
}

/// A turn; given back when it is dropped.
pub(crate) struct Turn {
    turns: Option<Arc<Turns>>,
}

impl Turns {
    pub(crate) fn new(most: usize) -> Turns {
        Turns(Mutex::new(State {
            free: most.max(1),
            waiting: HashMap::new(),
            order: VecDeque::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn of this run.
    pub(crate) async fn take(self: &Arc<Self>, run: i64) -> Turn {
        let receiver = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn {
                    turns: Some(Arc::clone(self)),
                };
            }
            let (sender, receiver) = oneshot::channel();
            let queue = state.waiting.entry(run).or_default();
            let first = queue.is_empty();
            queue.push_back(sender);
            if first {
                state.order.push_back(run);
            }
            receiver
        };
        // The sender lives in the queue for as long as the turns do.
        receiver.await.unwrap_or(Turn { turns: None })
    }

    /// Hands a turn that has become free to whoever is next.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            let turn = Turn {
                turns: Some(Arc::clone(self)),
            };
            match next.send(turn) {
                Ok(()) => return,
                // It does not wait any more; the next one, then, and without giving this turn back.
                Err(mut turn) => turn.turns = None,
            }
        }
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let run = self.order.pop_front()?;
        let queue = self.waiting.get_mut(&run)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&run);
        } else {
            self.order.push_back(run);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use super::Turns;

    #[tokio::test]
    async fn runs_take_turns_however_much_each_one_wants() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(0).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        // Run 1 wants five turns before run 2 wants two.
        let waiting: Vec<_> = [1, 1, 1, 1, 1, 2, 2]
            .into_iter()
            .map(|run| {
                let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
                tokio::spawn(async move {
                    let _turn = turns.take(run).await;
                    order.lock().unwrap().push(run);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(first);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [1, 2, 1, 2, 1, 1, 1]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_is_not_lost() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(0).await;
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(1).await }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(first);
        drop(turns.take(2).await);
    }
}
