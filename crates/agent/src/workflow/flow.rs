//! Workflows as typed events and their handlers.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, join_all};
use journal::Run;

use crate::{Error, Result};

/// Something that has happened, of some type.
type Event = Box<dyn Any + Send>;
type Handle<T> = Arc<dyn Fn(Run, Event) -> BoxFuture<'static, Result<Out<T>>> + Send + Sync>;
type Gather<T> = Arc<dyn Fn(Run, Vec<Event>) -> BoxFuture<'static, Result<Out<T>>> + Send + Sync>;

/// What a handler gives: events for others, and results of the whole.
pub struct Out<T> {
    events: Vec<(TypeId, &'static str, Event)>,
    results: Vec<T>,
}

impl<T> Default for Out<T> {
    fn default() -> Out<T> {
        Out {
            events: Vec::new(),
            results: Vec::new(),
        }
    }
}

impl<T> Out<T> {
    /// Nothing.
    pub fn nothing() -> Out<T> {
        Out::default()
    }

    /// A result of the whole.
    pub fn result(result: T) -> Out<T> {
        let mut out = Out::default();
        out.results.push(result);
        out
    }

    /// One event.
    pub fn event<E: Any + Send>(event: E) -> Out<T> {
        Out::default().and(event)
    }

    /// Several events, which are handled side by side.
    pub fn events<E: Any + Send>(events: impl IntoIterator<Item = E>) -> Out<T> {
        events.into_iter().fold(Out::default(), Out::and)
    }

    /// With one event more.
    pub fn and<E: Any + Send>(mut self, event: E) -> Out<T> {
        let event = (
            TypeId::of::<E>(),
            type_name::<E>(),
            Box::new(event) as Event,
        );
        self.events.push(event);
        self
    }
}

struct Handler<T> {
    name: &'static str,
    handle: Handle<T>,
}

struct Collector<T> {
    name: &'static str,
    of: TypeId,
    /// The handler after which it collects.
    after: &'static str,
    gather: Gather<T>,
}

/// A workflow as events and handlers: each event is handled by the handler of its type, whose events are handled in
/// turn, side by side. What they do has the address of how they came about: what handler `search` does about the
/// second event of handler `plan` is in the scope `plan[0]/search[1]`, whoever is quicker. A handler that brings an
/// event of an earlier one makes a loop.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// use journal::Effect;
/// use plumb_agent::workflow::{Flow, Out};
///
/// struct Text(&'static str);
/// struct Word(String);
/// struct Length(usize);
///
/// let flow = Flow::new()
///     .on("split", |_run, Text(text)| async move {
///         Ok(Out::events(text.split(' ').map(|word| Word(word.to_owned()))))
///     })
///     .on("measure", |run, Word(word)| async move {
///         let length = run.step("length", Effect::Pure, &word, |_| async { Ok(word.len()) });
///         Ok(Out::event(Length(length.await?)))
///     })
///     .collect("longest", "split", |_run, lengths: Vec<Length>| async move {
///         Ok(Out::result(lengths.into_iter().map(|Length(length)| length).max()))
///     });
/// assert_eq!(flow.run(&run, Text("one three")).await?, [Some(5)]);
/// assert_eq!(journal.steps(run.id()).await?[1].path, "split[0]/measure[1]/length[0]");
/// # Ok(())
/// # }
/// ```
pub struct Flow<T> {
    handlers: HashMap<TypeId, Handler<T>>,
    collectors: Vec<Collector<T>>,
    most: usize,
    wrong: Option<String>,
}

impl<T> Default for Flow<T> {
    fn default() -> Flow<T> {
        Flow {
            handlers: HashMap::new(),
            collectors: Vec::new(),
            most: 1_000,
            wrong: None,
        }
    }
}

/// What came of an event and of all that it led to.
struct Came<T> {
    results: Vec<T>,
    /// Events that somebody collects further up.
    held: Vec<(TypeId, &'static str, Event)>,
}

impl<T: Send + 'static> Flow<T> {
    /// A workflow that handles nothing yet, and at most 1000 events.
    pub fn new() -> Flow<T> {
        Flow::default()
    }

    /// Handles at most so many events: a loop that does not end is an error.
    pub fn most(mut self, events: usize) -> Flow<T> {
        self.most = events;
        self
    }

    /// Handles events of one type, in scopes of this name.
    pub fn on<E, F, Fut>(mut self, name: &'static str, handle: F) -> Flow<T>
    where
        E: Any + Send,
        F: Fn(Run, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Out<T>>> + Send + 'static,
    {
        let handle: Handle<T> = Arc::new(move |run, event| match event.downcast::<E>() {
            Ok(event) => Box::pin(handle(run, *event)),
            Err(_) => Box::pin(async { Err(other_type::<E>()) }),
        });
        let handler = Handler { name, handle };
        if self.handlers.insert(TypeId::of::<E>(), handler).is_some() {
            let of = type_name::<E>();
            self.wrong = Some(format!("two handlers of {of}"));
        }
        self
    }

    /// Collects the events of one type that come of all that one call of the handler `after` brought; then handles
    /// them together, in the order of what they came from. Where none has come, it is not called.
    pub fn collect<E, F, Fut>(
        mut self,
        name: &'static str,
        after: &'static str,
        gather: F,
    ) -> Flow<T>
    where
        E: Any + Send,
        F: Fn(Run, Vec<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Out<T>>> + Send + 'static,
    {
        let gather: Gather<T> = Arc::new(move |run, events| {
            let events = events.into_iter().map(|event| event.downcast::<E>());
            let events: std::result::Result<Vec<Box<E>>, _> = events.collect();
            match events {
                Ok(events) => Box::pin(gather(
                    run,
                    events.into_iter().map(|event| *event).collect(),
                )),
                Err(_) => Box::pin(async { Err(other_type::<E>()) }),
            }
        });
        self.collectors.push(Collector {
            name,
            of: TypeId::of::<E>(),
            after,
            gather,
        });
        self
    }

    /// Handles an event and all that comes of it; gives the results in the order of their addresses.
    ///
    /// # Errors
    /// Those of handlers, the first in that order, and [`Error::Workflow`] for an event that nobody handles, for too
    /// many of them, and for a workflow that is put together wrongly.
    pub async fn run<E: Any + Send>(&self, run: &Run, event: E) -> Result<Vec<T>> {
        self.check()?;
        let handled = AtomicUsize::new(0);
        let event = (
            TypeId::of::<E>(),
            type_name::<E>(),
            Box::new(event) as Event,
        );
        let came = self.handle(run.clone(), 0, event, &handled).await?;
        match came.held.first() {
            None => Ok(came.results),
            Some((_, of, _)) => {
                let wrong = format!("a {of} came up where nobody collects it");
                Err(Error::Workflow(wrong))
            }
        }
    }

    fn check(&self) -> Result<()> {
        let names = || self.handlers.values().map(|handler| handler.name);
        let mut wrong = self.wrong.clone();
        for collector in &self.collectors {
            if !names().any(|name| name == collector.after) {
                wrong = Some(format!("there is no handler {}", collector.after));
            }
            if self.handlers.contains_key(&collector.of) {
                wrong = Some(format!(
                    "what {} collects is handled as well",
                    collector.name
                ));
            }
        }
        let all = names().chain(self.collectors.iter().map(|collector| collector.name));
        let mut all: Vec<&str> = all.collect();
        all.sort_unstable();
        if let Some([twice, _]) = all.array_windows().find(|[one, other]| one == other) {
            wrong = Some(format!("{twice} is there twice"));
        }
        wrong.map_or(Ok(()), |wrong| Err(Error::Workflow(wrong)))
    }

    /// Handles the event that is the `place`-th of those that came about in this scope.
    fn handle<'a>(
        &'a self,
        run: Run,
        place: usize,
        (of, named, event): (TypeId, &'static str, Event),
        handled: &'a AtomicUsize,
    ) -> BoxFuture<'a, Result<Came<T>>> {
        Box::pin(async move {
            let Some(handler) = self.handlers.get(&of) else {
                if self.collectors.iter().any(|collector| collector.of == of) {
                    let held = vec![(of, named, event)];
                    let results = Vec::new();
                    return Ok(Came { results, held });
                }
                return Err(Error::Workflow(format!("nobody handles a {named}")));
            };
            if handled.fetch_add(1, Ordering::Relaxed) >= self.most {
                let most = self.most;
                return Err(Error::Workflow(format!("more than {most} events")));
            }
            let scope = run.scope(handler.name, place);
            let out = (handler.handle)(scope.clone(), event).await?;
            let mut came = self.pass_on(scope.clone(), out, handled).await?;
            for collector in &self.collectors {
                if collector.after != handler.name {
                    continue;
                }
                let all = std::mem::take(&mut came.held).into_iter();
                let (own, rest) = all.partition::<Vec<_>, _>(|(of, ..)| *of == collector.of);
                came.held = rest;
                if own.is_empty() {
                    continue;
                }
                let own = own.into_iter().map(|(.., event)| event).collect();
                let scope = scope.scope(collector.name, 0);
                let out = (collector.gather)(scope.clone(), own).await?;
                let mut more = self.pass_on(scope, out, handled).await?;
                came.results.append(&mut more.results);
                came.held.append(&mut more.held);
            }
            Ok(came)
        })
    }

    /// Has the events of a handler handled, side by side.
    async fn pass_on(&self, scope: Run, out: Out<T>, handled: &AtomicUsize) -> Result<Came<T>> {
        let events = out.events.into_iter().enumerate();
        let handling =
            events.map(|(place, event)| self.handle(scope.clone(), place, event, handled));
        let mut came = Came {
            results: out.results,
            held: Vec::new(),
        };
        // None is dropped because another one failed: what it writes would be in doubt then.
        for more in join_all(handling).await {
            let mut more = more?;
            came.results.append(&mut more.results);
            came.held.append(&mut more.held);
        }
        Ok(came)
    }
}

fn other_type<E>() -> Error {
    Error::Workflow(format!("an event is no {}", type_name::<E>()))
}
