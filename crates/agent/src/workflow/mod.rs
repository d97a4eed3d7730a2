//! The pattern `workflow`: plain Rust functions over a [`Run`], and what they share their work out with.
//!
//! ```text
//! fan_out   ─┬─► item[0] ─┬─► all of them, in order        retry   try[0] ✗ ─► wait ─► try[1] ✗ ─► ... ─► try[n]
//!            ├─► item[1] ─┤
//!            └─► item[2] ─┘                                repeat  state ─► round[0] ─► round[1] ─► ... until done
//!
//! first     ─┬─► item[0] ─── ✗ abandoned                   Flow    event ─► handler ─► events ─► handlers ─► ...
//!            └─► item[1] ─► the first that has it                                        collected ─► handler
//! ```
//! A workflow needs none of this: `run.step` and `if` and `for` are enough. What these functions add is that
//! branches side by side have addresses that do not depend on which of them is quicker, so that a replay holds
//! whatever order they end in. A branch is a scope `name[k]`; what is only known when it happens, as who was first,
//! is a step of its own. [`Flow`] is the form of typed events and their handlers.

mod flow;

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use journal::{Effect, Run};
use serde_json::json;

pub use flow::{Flow, Out};

use crate::{Error, Result};

/// Works on all items side by side, each in its scope `name[k]`; gives what came of them in the order of the items.
/// None is dropped because another one failed: what it writes would be in doubt then. The first error in the order
/// of the items counts.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// use journal::Effect;
/// use plumb_agent::workflow::fan_out;
///
/// let lengths = fan_out(&run, "read", ["one", "three"], |run, word| async move {
///     Ok(run.step("length", Effect::Pure, word, |_| async { Ok(word.len()) }).await?)
/// });
/// assert_eq!(lengths.await?, [3, 5]);
/// assert_eq!(journal.steps(run.id()).await?[1].path, "read[1]/length[0]");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of the branches.
pub async fn fan_out<I, T, F, Fut>(
    run: &Run,
    name: &str,
    items: impl IntoIterator<Item = I>,
    work: F,
) -> Result<Vec<T>>
where
    F: Fn(Run, I) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let branches = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| work(run.scope(name, index), item));
    join_all(branches).await.into_iter().collect()
}

/// Works on all items side by side until one of them has a result; gives its index and its result. Which it was is
/// the step `name-first[k]`, so a replay takes the same. The others are dropped where they are: let only those race
/// that read. A branch that fails drops out; where all do, the error of the last counts.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// use std::time::Duration;
///
/// use plumb_agent::workflow::first;
///
/// let quickest = first(&run, "wait", [60_000, 1], |run, time_ms| async move {
///     run.sleep(Duration::from_millis(time_ms)).await?;
///     Ok(time_ms)
/// });
/// assert_eq!(quickest.await?, (1, 1));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// That of the last branch, where all fail, and [`Error::Workflow`] where there is none.
pub async fn first<I, T, F, Fut>(
    run: &Run,
    name: &str,
    items: impl IntoIterator<Item = I>,
    work: F,
) -> Result<(usize, T)>
where
    F: Fn(Run, I) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut racing: FuturesUnordered<_> = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let branch = work(run.scope(name, index), item);
            async move { (index, branch.await) }
        })
        .collect();
    let branches = racing.len();
    let mut error = Error::Workflow("nobody was there to be first".to_owned());
    let mut came = Vec::new();
    let winner = loop {
        match racing.next().await {
            Some((index, Ok(result))) => {
                came.push((index, result));
                break index;
            }
            // What stops the run counts for more than what a branch could not do.
            Some((_, Err(other))) if !error.stops() => error = other,
            Some(_) => {}
            None => return Err(error),
        }
    };
    // Another one may be quicker when the code is run again; what counts is what is recorded.
    let of = json!({"branches": branches});
    let step = format!("{name}-first");
    let winner: usize = run
        .step(&step, Effect::Read, &of, |_| async move { Ok(winner) })
        .await?;
    while !came.iter().any(|(index, _)| *index == winner) {
        match racing.next().await {
            Some((index, Ok(result))) => came.push((index, result)),
            Some((index, Err(error))) if index == winner => return Err(error),
            Some(_) => {}
            None => return Err(Error::Workflow(format!("{step} has no branch {winner}"))),
        }
    }
    drop(racing);
    for index in (0..branches).filter(|index| *index != winner) {
        run.scope(name, index).abandon();
    }
    let result = came.into_iter().find(|(index, _)| *index == winner);
    result.ok_or(error)
}

/// Does something again where it failed, `times` at most, each time in a scope `name[k]` of its own; waits between
/// two tries, a timer of the run. What stops the run is not tried again: it goes on when it is resumed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// use std::time::Duration;
///
/// use journal::{Effect, StepError};
/// use plumb_agent::workflow::retry;
///
/// let wait = Duration::from_millis(1);
/// let done = retry(&run, "send", 3, wait, |run, attempt| async move {
///     let send = run.step("post", Effect::Read, &attempt, |_| async move {
///         if attempt < 1 { Err(StepError::Failed("busy".to_owned())) } else { Ok("sent".to_owned()) }
///     });
///     Ok(send.await?)
/// });
/// assert_eq!(done.await?, "sent");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// That of the last try, and what stops the run.
pub async fn retry<T, F, Fut>(
    run: &Run,
    name: &str,
    times: usize,
    wait: Duration,
    work: F,
) -> Result<T>
where
    F: Fn(Run, usize) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut attempt = 0;
    loop {
        let scope = run.scope(name, attempt);
        let failed = match work(scope.clone(), attempt).await {
            Err(error) if !error.stops() => error,
            other => return other,
        };
        attempt += 1;
        if attempt >= times {
            return Err(failed);
        }
        scope.sleep(wait).await?;
    }
}

/// What a round of [`repeat`] comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Round<S, T> {
    /// Another round, from this state.
    Again(S),
    /// That is it.
    Done(T),
}

/// How a loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated<S, T> {
    /// A round was the last.
    Done(T),
    /// The rounds were used up, in this state.
    Limit(S),
}

/// Goes round, each time in a scope `name[k]`, until a round is the last or there have been `most`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// use plumb_agent::workflow::{Repeated, Round, repeat};
///
/// let halved = repeat(&run, "halve", 10, 40, |_run, number: u32| async move {
///     Ok(if number % 2 == 0 { Round::Again(number / 2) } else { Round::Done(number) })
/// });
/// assert_eq!(halved.await?, Repeated::Done(5));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// That of a round.
pub async fn repeat<S, T, F, Fut>(
    run: &Run,
    name: &str,
    most: usize,
    state: S,
    work: F,
) -> Result<Repeated<S, T>>
where
    F: Fn(Run, S) -> Fut,
    Fut: Future<Output = Result<Round<S, T>>>,
{
    let mut state = state;
    for round in 0..most {
        match work(run.scope(name, round), state).await? {
            Round::Again(next) => state = next,
            Round::Done(result) => return Ok(Repeated::Done(result)),
        }
    }
    Ok(Repeated::Limit(state))
}
