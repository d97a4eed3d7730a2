//! The journal against a plain model in memory, over random histories; and addresses under every
//! order of finishing.

use std::collections::BTreeMap;

use journal::{Effect, Error, Journal, Page, Run, RunStatus, StepError, StepStatus};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::{Bench, block_on, new_run};

#[derive(Clone, Debug)]
enum Act {
    Start,
    /// Run, name, what the work would do.
    Step(usize, u8, Work),
    Park(usize),
    Fail(usize),
    Finish(usize),
    /// Let go of the run without a word, as an error in the code does.
    Drop(usize),
    Resume(usize),
    /// Close the file and open it again.
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Done(u16),
    Failed,
    Fault,
}

#[derive(Default, Debug)]
struct ModelRun {
    status: Option<RunStatus>,
    /// Path to (status, attempts, output), and the order of their start.
    steps: BTreeMap<String, (StepStatus, u32, Option<Value>)>,
    order: Vec<String>,
    /// Of the handle, when there is one.
    ordinals: Option<BTreeMap<u8, usize>>,
}

fn act() -> impl Strategy<Value = Act> {
    let work = prop_oneof![
        4 => any::<u16>().prop_map(Work::Done),
        1 => Just(Work::Failed),
        1 => Just(Work::Fault)
    ];
    prop_oneof![
        2 => Just(Act::Start),
        12 => (0usize..4, 0u8..3, work).prop_map(|(run, name, work)| Act::Step(run, name, work)),
        1 => (0usize..4).prop_map(Act::Park),
        1 => (0usize..4).prop_map(Act::Fail),
        1 => (0usize..4).prop_map(Act::Finish),
        1 => (0usize..4).prop_map(Act::Drop),
        4 => (0usize..4).prop_map(Act::Resume),
        1 => Just(Act::Reopen),
    ]
}

struct World {
    bench: Bench,
    journal: Option<Journal>,
    handles: Vec<Option<Run>>,
    model: Vec<ModelRun>,
}

impl World {
    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Start => {
                let id = format!("run-{}", self.model.len());
                self.handles
                    .push(Some(self.journal().start(new_run(&id)).await.unwrap()));
                let status = Some(RunStatus::Running);
                self.model.push(ModelRun {
                    status,
                    ordinals: Some(BTreeMap::new()),
                    ..Default::default()
                });
            }
            Act::Step(run, name, work) if run < self.model.len() => {
                self.step(run, name, work).await
            }
            Act::Park(run) | Act::Fail(run) | Act::Finish(run) if run < self.model.len() => {
                let Some(handle) = self.handles[run].take() else {
                    return;
                };
                let status = match act {
                    Act::Park(_) => handle.park("later").await.map(|()| RunStatus::Parked),
                    Act::Fail(_) => handle.fail("broken").await.map(|()| RunStatus::Failed),
                    _ => handle
                        .finish(&json!(run))
                        .await
                        .map(|()| RunStatus::Finished),
                };
                self.model[run].status = Some(status.unwrap());
                self.model[run].ordinals = None;
            }
            Act::Drop(run) if run < self.model.len() => {
                self.handles[run] = None;
                self.model[run].ordinals = None;
            }
            Act::Resume(run) if run < self.model.len() => self.resume(run).await,
            Act::Reopen => {
                self.handles.iter_mut().for_each(|handle| *handle = None);
                self.model.iter_mut().for_each(|run| run.ordinals = None);
                self.journal = None;
                self.journal = Some(self.bench.open());
            }
            Act::Step(..)
            | Act::Park(_)
            | Act::Fail(_)
            | Act::Finish(_)
            | Act::Drop(_)
            | Act::Resume(_) => {}
        }
    }

    async fn resume(&mut self, run: usize) {
        let resumed = self.journal().resume(&format!("run-{run}")).await;
        let model = &mut self.model[run];
        if model.status == Some(RunStatus::Finished) {
            assert!(matches!(resumed, Err(Error::Finished { .. })));
        } else if model.ordinals.is_some() {
            assert!(matches!(resumed, Err(Error::Held { .. })));
        } else {
            self.handles[run] = Some(resumed.unwrap());
            model.status = Some(RunStatus::Running);
            model.ordinals = Some(BTreeMap::new());
        }
    }

    async fn step(&mut self, run: usize, name: u8, work: Work) {
        let Some(handle) = &self.handles[run] else {
            return;
        };
        let model = &mut self.model[run];
        let ordinal = model.ordinals.as_mut().unwrap().entry(name).or_default();
        let path = format!("s{name}[{ordinal}]");
        *ordinal += 1;
        let output =
            |number: u16| json!({"number": number, "text": "x".repeat(usize::from(number) % 700)});
        let got = handle
            .step::<_, Value, _, _>(&format!("s{name}"), Effect::Read, &path, |_| async move {
                match work {
                    Work::Done(number) => Ok(output(number)),
                    Work::Failed => Err(StepError::Failed("no".to_string())),
                    Work::Fault => Err(StepError::Fault("down".to_string())),
                }
            })
            .await;
        if !model.steps.contains_key(&path) {
            model.order.push(path.clone());
        }
        let entry = model
            .steps
            .entry(path)
            .or_insert((StepStatus::Started, 0, None));
        if entry.0 == StepStatus::Started {
            entry.1 += 1;
            match work {
                Work::Done(number) => {
                    (entry.0, entry.2) = (StepStatus::Finished, Some(output(number)))
                }
                Work::Failed => entry.0 = StepStatus::Failed,
                Work::Fault => {}
            }
        }
        match entry.0 {
            StepStatus::Finished => assert_eq!(Some(got.unwrap()), entry.2),
            StepStatus::Failed => assert!(matches!(got, Err(Error::StepFailed { .. }))),
            StepStatus::Started => assert!(matches!(got, Err(Error::StepFault { .. }))),
        }
    }

    async fn compare(&self) {
        let records = self.journal().runs(Page::default()).await.unwrap();
        assert_eq!(records.len(), self.model.len());
        for (record, (number, model)) in records.iter().rev().zip(self.model.iter().enumerate()) {
            assert_eq!(record.id.as_str(), format!("run-{number}"));
            assert_eq!(Some(record.status), model.status);
            // A run that was let go of is free for the next resume at once, but may be listed as held
            // until the writer gets to it.
            assert!(record.held_by.is_some() || model.ordinals.is_none());
            assert_eq!(record.steps, model.steps.len() as u64);
            let ended = model
                .steps
                .values()
                .filter(|step| step.0 != StepStatus::Started)
                .count();
            assert_eq!(record.finished_steps, ended as u64);
            let steps = self.journal().steps(&record.id).await.unwrap();
            let paths: Vec<&String> = steps.iter().map(|step| &step.path).collect();
            assert_eq!(paths, model.order.iter().collect::<Vec<_>>());
            for step in steps {
                assert_eq!(step.input, json!(step.path));
                assert_eq!(
                    (step.status, step.attempts, step.output),
                    model.steps[&step.path]
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_journal_does_what_the_model_does(acts in prop::collection::vec(act(), 1..60)) {
        block_on(async {
            let bench = Bench::new();
            let journal = Some(bench.open());
            let mut world = World { bench, journal, handles: Vec::new(), model: Vec::new() };
            for act in acts {
                world.act(act).await;
            }
            world.compare().await;
            world.act(Act::Reopen).await;
            world.compare().await;
            let records = world.journal().runs(Page::default()).await.unwrap();
            assert!(records.iter().all(|record| record.held_by.is_none()));
        });
    }

    #[test]
    fn addresses_do_not_depend_on_the_order_of_finishing(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle()
    ) {
        let finished = block_on(parallel(&order));
        let straight = block_on(parallel(&(0..12).collect::<Vec<_>>()));
        prop_assert_eq!(finished, straight);
    }
}

/// Four branches of three steps, released in the given order; gives every address with its output.
async fn parallel(order: &[usize]) -> BTreeMap<String, Option<Value>> {
    let journal = Journal::in_memory().unwrap();
    let run = journal.start(new_run("one")).await.unwrap();
    let (gates, waits): (Vec<_>, Vec<_>) = (0..12).map(|_| oneshot::channel::<()>()).unzip();
    let mut gates: Vec<_> = gates.into_iter().map(Some).collect();
    let mut waits = waits.into_iter();
    let branches = (0..4).map(|branch| {
        let waits: Vec<_> = waits.by_ref().take(3).collect();
        let scope = run.scope("branch", branch);
        async move {
            for (round, wait) in waits.into_iter().enumerate() {
                scope
                    .step("work", Effect::Read, &(branch, round), |_| async move {
                        wait.await.unwrap();
                        Ok(json!([branch, round]))
                    })
                    .await
                    .unwrap();
            }
        }
    });
    let branches: Vec<_> = branches.collect();
    let release = async {
        for number in order {
            gates[*number].take().unwrap().send(()).unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(futures::future::join_all(branches), release);
    let steps = journal.steps(run.id()).await.unwrap();
    steps
        .into_iter()
        .map(|step| (step.path, step.output))
        .collect()
}
