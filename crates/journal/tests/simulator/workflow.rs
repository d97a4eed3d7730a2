//! A plan as a workflow: ordinary code over a run's handle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use journal::{
    Cost, Effect, Error, NewChild, Question, Reconciled, Run, StepContext, StepOptions,
    WorkflowError,
};
use serde_json::{Value, json};

use crate::chance::digest;
use crate::plan::{Node, Plan, Step, WaitFor};
use crate::world::{Bug, World};

/// The name under which runs of a plan are registered.
pub(crate) fn agent(plan: usize) -> String {
    format!("plan-{plan}")
}

pub(crate) fn plan_of(agent: &str) -> usize {
    agent.trim_start_matches("plan-").parse().unwrap()
}

/// What a step is asked, and what its work answers: functions of the address and what came before.
pub(crate) fn step_input(step: &Step, start: &Value, so_far: &[Value]) -> Value {
    let so_far = json!([start, so_far]);
    if step.whole {
        json!({"step": step.name, "so_far": so_far, "text": "a long text ".repeat(20)})
    } else {
        json!({"step": step.name, "so_far": digest(&so_far.to_string())})
    }
}

pub(crate) fn step_output(path: &str, input: &Value) -> Value {
    json!({"of": path, "to": digest(&input.to_string())})
}

pub(crate) fn question(expires: Option<(u64, Option<bool>)>) -> Question {
    let mut question = Question::yes_or_no("Shall it go on?");
    if let Some((after_ms, default)) = expires {
        question.expires_after_ms = Some(after_ms);
        question.default = default.map(Value::Bool);
    }
    question
}

/// What a step's failure counts as for the code that goes on.
pub(crate) fn failure(message: &str) -> Value {
    json!({"failed": message})
}

#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) world: World,
}

impl Code {
    pub(crate) async fn work(self, run: Run, plan: usize) -> Result<Value, WorkflowError> {
        let start = run.input().clone();
        let plan = &self.plans[plan];
        let did = match self.sequence(&run, &plan.nodes, start).await {
            Ok(did) => did,
            Err(error) => {
                self.defy(&run, &error).await;
                return Err(error.into());
            }
        };
        if plan.fails {
            return Err("the plan is to fail".into());
        }
        Ok(did.into())
    }

    /// Code that does not take no for an answer: a run that has stopped does nothing more.
    async fn defy(&self, run: &Run, error: &Error) {
        if !matches!(
            error,
            Error::Store { .. } | Error::LeaseLost { .. } | Error::RunCancelled { .. }
        ) {
            return;
        }
        let world = &self.world;
        let said = error.to_string();
        let defied = run.step("defiant", Effect::Read, &(), |_| async {
            world.wrong(format!("a run went on after: {said}"));
            Ok(())
        });
        if defied.await.is_ok() {
            world.wrong(format!("a run went on after: {error}"));
        }
    }

    fn sequence<'a>(
        &'a self,
        run: &'a Run,
        nodes: &'a [Node],
        start: Value,
    ) -> Pin<Box<dyn Future<Output = journal::Result<Vec<Value>>> + 'a>> {
        Box::pin(async move {
            let mut did = Vec::new();
            let mut children = Vec::new();
            for node in nodes {
                let value = match node {
                    Node::Step(step) => self.step(run, step, step_input(step, &start, &did)).await,
                    Node::Ask { name, expires } => run.ask(name, &question(*expires)).await,
                    Node::Sleep { ms } => run
                        .sleep(Duration::from_millis(*ms))
                        .await
                        .map(|()| Value::Null),
                    Node::Version { name } => {
                        let code = self.world.code_version();
                        run.version(name, code).await.map(Value::from)
                    }
                    Node::Now => run.now_ms().await.map(Value::from),
                    Node::Child {
                        name,
                        plan,
                        tokens,
                        cancel,
                        wait,
                    } => {
                        let mut new =
                            NewChild::new(&agent(*plan), json!(digest(&json!(did).to_string())));
                        new.budget.tokens = *tokens;
                        let child = run.spawn(name, &new).await?;
                        if *cancel {
                            child.cancel().await?;
                        }
                        match wait {
                            WaitFor::Now => child.wait().await.map(|end| json!(end)),
                            WaitFor::AtTheEnd => {
                                children.push(child);
                                Ok(json!("a child"))
                            }
                            WaitFor::Never => Ok(json!("a child")),
                        }
                    }
                    Node::Branches(branches) => self.branches(run, branches, &start, &did).await,
                };
                did.push(match value {
                    Err(Error::StepFailed { message, .. }) => failure(&message),
                    value => value?,
                });
            }
            for child in children {
                did.push(json!(child.wait().await?));
            }
            Ok(did)
        })
    }

    /// All branches come to their end, also when one of them fails: which one fails first must not
    /// make a difference.
    async fn branches(
        &self,
        run: &Run,
        branches: &[Vec<Node>],
        start: &Value,
        did: &[Value],
    ) -> journal::Result<Value> {
        let scopes: Vec<Run> = (0..branches.len())
            .map(|number| run.scope("branch", number))
            .collect();
        let branches = scopes.iter().zip(branches).map(|(scope, nodes)| {
            let start = json!([start, digest(&json!(did).to_string())]);
            self.sequence(scope, nodes, start)
        });
        let ended = futures::future::join_all(branches).await;
        let did: journal::Result<Vec<Vec<Value>>> = ended.into_iter().collect();
        did.map(Value::from)
    }

    async fn step(&self, run: &Run, step: &Step, input: Value) -> journal::Result<Value> {
        let (reserve, _) = step.cost.unwrap_or_default();
        let mut options = StepOptions::reserve(Cost {
            tokens: reserve,
            ..Cost::default()
        });
        let id = run.id().to_string();
        if step.reconciles {
            let (world, id) = (self.world.clone(), id.clone());
            options = options.reconcile(move |context| {
                let found = world.reconcile(&id, context.path());
                async move { Ok(found) }
            });
        }
        let world = &self.world;
        let work = |context: StepContext| {
            let place = (id.clone(), context.path().to_string());
            let output = step_output(context.path(), &input);
            world.perform(step, place, context, output)
        };
        let done: Value = run
            .step_with(&step.name, step.effect, &input, options, work)
            .await?;
        if self.world.has_bug(Bug::WorksAgain) {
            let path = done["of"].as_str().unwrap_or_default();
            self.world.works_again(&id, path, step.effect);
        }
        Ok(done)
    }
}

/// What a reconciliation found, by what the world knows.
pub(crate) fn found(effect: Option<Value>, in_flight: bool) -> Reconciled {
    match effect {
        Some(value) => Reconciled::Done(value),
        None if in_flight => Reconciled::Unknown,
        None => Reconciled::NotDone,
    }
}
