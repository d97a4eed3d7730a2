//! A simulation: processes that share a journal file, tasks that are polled in random order, and
//! somebody who makes things happen. One seed decides everything.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures::FutureExt;
use journal::{Error, Journal, ManualClock, Moment, Options, Outcome, Run};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::chance::Chance;
use crate::checks::Checks;
use crate::disk::{Crash, Wreck};
use crate::plan::{Plan, plans};
use crate::workflow::{Code, plan_of};
use crate::world::{Actor, Bug, World};

/// When simulations begin: some day in 2027.
pub(crate) const BEGIN_MS: i64 = 1_800_000_000_000;
/// Processes that work on the file.
const PROCESSES: usize = 2;
/// No process can have this id.
const DEAD_PID: i64 = 1 << 30;

/// What a simulation found wrong.
pub(crate) type Checked<T> = Result<T, String>;

/// A process: its handle to the file, and for how many actions it is stalled.
pub(crate) struct Process {
    pub(crate) journal: Journal,
    pub(crate) stalled: u64,
}

/// A run being worked on.
pub(crate) struct Task {
    number: u64,
    process: usize,
    pub(crate) run: String,
    handle: Option<Run>,
    future: Pin<Box<dyn Future<Output = journal::Result<Outcome>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Simulation {
    pub(crate) chance: Chance,
    pub(crate) world: World,
    pub(crate) clock: ManualClock,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) processes: Vec<Process>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) checks: Checks,
    pub(crate) started: u64,
    folder: TempDir,
    lives: u64,
    next_task: u64,
}

/// A result of the journal that is there at once: with `inline`, nothing waits for another thread.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("the journal waits for something outside the simulation")
}

/// A folder that is in memory, where there is one.
fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.unwrap()
}

impl Simulation {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Simulation {
        let mut chance = Chance::new(seed);
        let plans = Arc::new(plans(&mut chance));
        let mut simulation = Simulation {
            chance,
            world: World::new(bug),
            clock: ManualClock::new(BEGIN_MS),
            plans,
            processes: Vec::new(),
            tasks: Vec::new(),
            checks: Checks::default(),
            started: 0,
            folder: folder(),
            lives: 0,
            next_task: 0,
        };
        let path = simulation.next_path();
        simulation.world.lock().disk.reopen(&path);
        simulation.open();
        simulation
    }

    fn next_path(&mut self) -> PathBuf {
        self.lives += 1;
        self.folder.path().join(format!("life-{}.db", self.lives))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.world.lock().disk.path.clone()
    }

    /// For looking, and for mistakes that are made on purpose: SQL behind the journal's back.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn open(&mut self) {
        let path = self.path();
        self.processes = (0..PROCESSES)
            .map(|_| Process {
                journal: Journal::open_with(&path, self.options()).unwrap(),
                stalled: 0,
            })
            .collect();
    }

    fn options(&self) -> Options {
        let (commits, works) = (self.world.clone(), self.world.clone());
        Options {
            clock: Arc::new(self.clock.clone()),
            inline: true,
            probe: Some(Arc::new(move |moment, event| commits.probe(moment, event))),
            work_probe: Some(Arc::new(move |moment, run, context| {
                if moment == Moment::Before {
                    works.work_begins(run.as_str(), context);
                }
            })),
            ..Options::default()
        }
    }

    /// Does something in somebody's name, at once.
    pub(crate) fn act<T>(&self, actor: Actor, act: impl Future<Output = T>) -> T {
        self.world.lock().actor = actor;
        let done = now(act);
        self.world.lock().actor = Actor::Engine;
        done
    }

    /// Whether this process is working on a run.
    pub(crate) fn is_at_work(&self, process: usize, run: &str) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.any(|task| task.process == process && task.run == run)
    }

    /// Resumes a run and works on it.
    pub(crate) fn take_up(&mut self, process: usize, run: &str) -> Checked<()> {
        let journal = self.processes[process].journal.clone();
        match self.act(Actor::Engine, journal.resume(run)) {
            Ok(handle) => self.work_on(process, handle),
            Err(Error::Held { .. } | Error::Finished { .. } | Error::RunCancelled { .. }) => {}
            Err(error) => self.allow(&error)?,
        }
        Ok(())
    }

    pub(crate) fn work_on(&mut self, process: usize, handle: Run) {
        let run = handle.id().to_string();
        self.next_task += 1;
        let number = self.next_task;
        let code = Code {
            plans: Arc::clone(&self.plans),
            world: self.world.clone(),
        };
        let plan = {
            let state = &mut *self.world.lock();
            state.shadow.works_on(number, &run);
            plan_of(&state.shadow.runs[&run].agent)
        };
        let kept = handle.clone();
        let future = async move { handle.execute(|run| code.work(run, plan)).await };
        self.tasks.push(Task {
            number,
            process,
            run,
            handle: Some(kept),
            future: Box::pin(future),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        });
    }

    /// Polls one of the tasks that can get on; `false` when there is none.
    pub(crate) fn poll(&mut self) -> Checked<bool> {
        let ready: Vec<usize> = (0..self.tasks.len())
            .filter(|place| {
                let task = &self.tasks[*place];
                self.processes[task.process].stalled == 0 && task.woken.0.load(Ordering::SeqCst)
            })
            .collect();
        let Some(place) = self.chance.pick(&ready).copied() else {
            return Ok(false);
        };
        self.poll_task(place)?;
        Ok(true)
    }

    /// Polls a task that nothing has woken, as executors may.
    pub(crate) fn poll_any(&mut self) -> Checked<()> {
        let place = self.chance.place(self.tasks.len());
        match self.tasks.get(place) {
            Some(task) if self.processes[task.process].stalled == 0 => self.poll_task(place),
            _ => Ok(()),
        }
    }

    fn poll_task(&mut self, place: usize) -> Checked<()> {
        let task = &mut self.tasks[place];
        task.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&task.woken));
        self.world.lock().actor = Actor::Task(task.number);
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        if let std::task::Poll::Ready(outcome) = polled {
            let task = self.tasks.swap_remove(place);
            let run = task.run.clone();
            drop(task);
            self.ended(&run, outcome)?;
        }
        self.world.lock().actor = Actor::Engine;
        Ok(())
    }

    /// How a task may end.
    fn ended(&self, run: &str, outcome: journal::Result<Outcome>) -> Checked<()> {
        if self.world.lock().disk.crashed() {
            return Ok(());
        }
        match outcome {
            Ok(Outcome::Parked(reason)) if reason.starts_with("the run takes another way") => {
                Err(format!("{run} does not do what it did: {reason}"))
            }
            Ok(Outcome::Failed(reason)) => self.checks.may_fail(self, run, &reason),
            Ok(Outcome::Finished(_) | Outcome::Parked(_) | Outcome::Cancelled(_))
            | Err(Error::LeaseLost { .. } | Error::RunCancelled { .. } | Error::Finished { .. }) => {
                Ok(())
            }
            Err(error) => self
                .allow(&error)
                .map_err(|error| format!("{run} stopped: {error}")),
        }
    }

    /// Whether an error can be put down to what is simulated.
    pub(crate) fn allow(&self, error: &Error) -> Checked<()> {
        let state = self.world.lock();
        match error {
            Error::Store { .. } if state.disk.faults > 0 || state.disk.crashed() => Ok(()),
            Error::Clock { .. } if !state.calm => Ok(()),
            error => Err(error.to_string()),
        }
    }

    /// Drops a run's code where it stands, or tells it to stop.
    pub(crate) fn stop_task(&mut self, politely: bool) {
        if self.tasks.is_empty() {
            return;
        }
        let place = self.chance.place(self.tasks.len());
        if politely {
            if let Some(run) = &self.tasks[place].handle {
                run.cancel();
            }
        } else {
            drop(self.tasks.swap_remove(place));
        }
    }

    /// Ends one process in good order and starts it again.
    pub(crate) fn restart(&mut self, process: usize) {
        self.tasks.retain(|task| task.process != process);
        let journal = Journal::open_with(&self.path(), self.options()).unwrap();
        self.processes[process].journal = journal;
    }

    /// Kills all processes between two polls.
    pub(crate) fn kill(&mut self) -> Checked<()> {
        {
            let state = &mut *self.world.lock();
            let files = crate::disk::Files::read(&state.disk.path);
            state.disk.wreck = Some(Wreck {
                crash: Crash::Killed,
                before: files.clone(),
                after: files,
                shadow_before: state.shadow.clone(),
            });
        }
        self.recover()
    }

    /// After a crash: nothing but the files and the world is left.
    pub(crate) fn recover(&mut self) -> Checked<()> {
        self.tasks.clear();
        self.processes.clear();
        let wreck = self.world.lock().disk.wreck.take().unwrap();
        let path = self.next_path();
        let files = wreck.files(&mut self.chance);
        files.write(&path);
        let lost = self.checks.recovered(&wreck, &files, self.folder.path())?;
        let dead = self.chance.one_in(2);
        {
            let state = &mut *self.world.lock();
            state
                .trace
                .push(format!("crash {:?} {lost} {dead}", wreck.crash));
            if lost {
                state.shadow = wreck.shadow_before;
            }
            state.disk.reopen(&path);
            state.code_version += 1;
        }
        if dead {
            // Else the leases have to expire, as those of another machine do.
            self.sql()
                .execute("UPDATE lease SET pid = ?1, born = 1", [DEAD_PID])
                .unwrap();
        }
        self.open();
        Checks::look_at_all(self)
    }
}
