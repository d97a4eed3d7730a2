//! Calls of tools as steps, in parallel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{BoxFuture, join_all};
use guard::Heard;
use journal::{Effect, Reconciled, Run, StepContext, StepError, StepOptions};
use model::{ToolCall, ToolResult};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tool::{Answer, Context, Secrets, Told, Tool};

use super::asking::{self, Asker, Recorded};
use super::guarding::{self, Called};
use super::{Acting, Watch};
use crate::{Error, Result};

/// How much of the arguments a step's title shows.
const TITLE_CHARACTERS: usize = 80;

/// What came of the calls of one answer, in their order.
pub(crate) struct Done {
    pub(crate) answers: Vec<Answer>,
    /// Those that were carried out or refused, each once: what was heard and done.
    pub(crate) called: Vec<Called>,
    pub(super) results: Vec<ToolResult>,
    pub(crate) carried_out: u32,
    pub(super) any_wrong: bool,
}

/// Carries the calls out side by side, after `before` earlier ones; those that are wrong are answered with the
/// reason. `heard` is what the model has heard.
pub(crate) async fn carry_out(
    run: &Run,
    with: &Acting,
    heard: &Heard,
    calls: &[ToolCall],
    before: u32,
) -> Result<Done> {
    let problems = model::tools::problems(calls, &with.shown()).map_err(|error| Error::Model {
        step: "model".to_owned(),
        message: error.to_string(),
    })?;
    let (mut tried, mut any_wrong) = (0, false);
    // A step's address is settled when it is made, so this order is always the same, whatever the order
    // in which the tools answer.
    let mut working: Vec<BoxFuture<'_, Result<Called>>> = Vec::new();
    // For each call, which work it takes its answer from.
    let mut from = Vec::new();
    for (index, (call, problem)) in calls.iter().zip(problems).enumerate() {
        let tool = with.tools.find(&call.name);
        let earlier = same_before(calls, index).filter(|_| may_share(with, call));
        if let Some(place) = earlier.and_then(|earlier| from.get(earlier)).copied() {
            from.push(place);
            continue;
        }
        from.push(working.len());
        match (tool, with.member(&call.name), problem) {
            (Some(tool), _, None) if index < with.limits.calls => {
                tried += 1;
                let arguments = &call.arguments;
                working.push(Box::pin(guarding::call(run, with, heard, tool, arguments)));
            }
            (None, Some(member), None) if index < with.limits.calls => {
                let place = usize::try_from(before + tried).unwrap_or(usize::MAX);
                tried += 1;
                working.push(member.call(run, with, heard, place, &call.arguments));
            }
            // Nothing is wrong, and it is neither: it hands the conversation over.
            (None, None, None) if index < with.limits.calls => {
                let told = Called::noted("The conversation is handed over.");
                working.push(Box::pin(async { Ok(told) }));
            }
            (_, _, problem) => {
                any_wrong = true;
                let most = with.limits.calls;
                let reason = problem
                    .unwrap_or_else(|| format!("at most {most} calls are carried out at once"));
                let told = Called::refused(format!("Not done: {reason}."));
                working.push(Box::pin(async { Ok(told) }));
            }
        }
    }
    // None is dropped because another one went wrong: a call that writes would be in doubt then.
    let called: Vec<Called> = join_all(working).await.into_iter().collect::<Result<_>>()?;
    let answer = |place: usize| Some(called.get(place)?.answer.clone());
    let answers: Vec<Answer> = from.into_iter().filter_map(answer).collect();
    let results = calls.iter().zip(&answers).map(|(call, answer)| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: with.tools.shown(&call.name, answer),
        is_error: answer.is_error(),
    });
    Ok(Done {
        results: results.collect(),
        answers,
        called,
        carried_out: tried,
        any_wrong,
    })
}

/// The first call of the same answer that is the same; small models repeat themselves.
fn same_before(calls: &[ToolCall], index: usize) -> Option<usize> {
    let call = calls.get(index)?;
    let same = |other: &ToolCall| (&other.name, &other.arguments) == (&call.name, &call.arguments);
    calls.iter().take(index).position(same)
}

/// Whether one answer is enough for several such calls: what reads, and questions to a person.
fn may_share(with: &Acting, call: &ToolCall) -> bool {
    let reads = |tool: &Arc<dyn Tool>| matches!(tool.spec().effect, Effect::Pure | Effect::Read);
    with.tools.find(&call.name).is_some_and(reads) || with.people().contains(&call.name.as_str())
}

/// Calls a tool as a step of the run because the program says so, not a model: no policy is asked, and the
/// arguments are not held against its schema. What a model asks for goes through
/// [`call`](super::guarding::call).
///
/// # Errors
/// [`Error::Journal`] when what the tool needs is out of reach, or the run has to stop.
pub async fn call_tool(
    run: &Run,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
    secrets: &Secrets,
) -> Result<Answer> {
    let never = CancellationToken::new();
    Ok(step(run, tool, arguments, secrets, never, None, |_| ()).await?)
}

/// Like [`call_tool`], with somebody who is told how far the call has come.
///
/// # Errors
/// As [`call_tool`].
pub async fn call_tool_watched(
    run: &Run,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
    secrets: &Secrets,
    watch: Watch,
) -> Result<Answer> {
    let never = CancellationToken::new();
    Ok(step(run, tool, arguments, secrets, never, Some(watch), |_| ()).await?)
}

/// A call as a step, whose address is settled here and now; further steps where it has to ask people first.
/// `begins` is told when it is really made.
pub(super) fn step<'a, B: FnOnce(&StepContext) + Send + 'a>(
    run: &'a Run,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
    secrets: &Secrets,
    stop: CancellationToken,
    watch: Option<Watch>,
    begins: B,
) -> impl Future<Output = journal::Result<Answer>> + Send + use<'a, B> {
    let attempt = Attempt {
        tool: Arc::clone(tool),
        arguments: arguments.clone(),
        secrets: secrets.clone(),
        stop,
        watch,
    };
    let first = attempt.step(run, None, begins);
    async move {
        let first = first.await?;
        let name = attempt.tool.spec().name.clone();
        let again = |scope: Run, told| {
            let attempt = attempt.clone();
            async move { attempt.step(&scope, Some(told), |_| ()).await }
        };
        asking::until_answered(run, &name, first, again).await
    }
}

/// One call of a tool.
#[derive(Clone)]
struct Attempt {
    tool: Arc<dyn Tool>,
    arguments: Value,
    secrets: Secrets,
    stop: CancellationToken,
    watch: Option<Watch>,
}

impl Attempt {
    fn step<'a, B: FnOnce(&StepContext) + Send + 'a>(
        &self,
        run: &'a Run,
        told: Option<Told>,
        begins: B,
    ) -> impl Future<Output = journal::Result<Answer>> + Send + use<'a, B> {
        let (name, effect) = (self.tool.spec().name.clone(), self.tool.spec().effect);
        let is_live = Arc::new(AtomicBool::new(false));
        let (own, goes_live) = (self.clone(), Arc::clone(&is_live));
        let options = StepOptions::default().reconcile({
            let (tool, arguments) = (Arc::clone(&self.tool), self.arguments.clone());
            let secrets = self.secrets.clone();
            move |context| find_out(tool, arguments, secrets, context)
        });
        // What is recorded of a call that nobody was asked about is its arguments alone.
        let input = match &told {
            Some(told) => json!({"arguments": self.arguments, "told": told}),
            None => self.arguments.clone(),
        };
        let step = run.step_with(&name, effect, &input, options, move |context| async move {
            goes_live.store(true, Ordering::Release);
            context.attribute("title", excerpt(&own.arguments));
            begins(&context);
            let bare = Context::new(context.key(), &own.secrets)
                .in_step(context.path())
                .with_told(told);
            let name = &own.tool.spec().name;
            let asker = Asker::new(run, name, context.path());
            let called = asker.context(name, bare, own.watch.clone());
            let working = tool::carry_out(&*own.tool, own.arguments.clone(), called);
            let answer = match effect {
                Effect::Pure | Effect::Read => tokio::select! {
                    biased;
                    answer = working => answer,
                    () = own.stop.cancelled() => Ok(Answer::Error("stopped by the user".to_owned())),
                },
                // What is being written is not left half done.
                Effect::Idempotent | Effect::Irreversible => working.await,
            };
            answer.map(|answer| asker.recorded(answer))
        });
        async move {
            let recorded: Recorded = step.await?;
            if !is_live.load(Ordering::Acquire) {
                recorded.ask_again(run, &name).await?;
            }
            Ok(recorded.answer)
        }
    }
}

/// What became of a call that was cut off.
async fn find_out(
    tool: Arc<dyn Tool>,
    arguments: Value,
    secrets: Secrets,
    context: StepContext,
) -> std::result::Result<Reconciled, StepError> {
    let called = Context::new(context.key(), &secrets).in_step(context.path());
    match tool.reconcile(arguments, called).await {
        Ok(found) => Ok(found),
        Err(tool::Error::Failed(error) | tool::Error::Unavailable(error)) => {
            Err(StepError::Fault(error))
        }
        Err(tool::Error::Asks(_)) => Ok(Reconciled::Unknown),
    }
}

fn excerpt(arguments: &Value) -> String {
    let text = arguments.to_string();
    let short: String = text.chars().take(TITLE_CHARACTERS).collect();
    if short.len() < text.len() {
        format!("{short}…")
    } else {
        short
    }
}
