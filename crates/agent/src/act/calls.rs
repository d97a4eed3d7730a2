//! Calls of tools as steps, in parallel.

use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use guard::Heard;
use journal::{Effect, Reconciled, Run, StepContext, StepError, StepOptions};
use model::{ToolCall, ToolResult};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tool::{Answer, Context, Secrets, Tool};

use super::Acting;
use super::guarding::{self, Called};
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
        let earlier = same_before(calls, index).filter(|_| tool.is_some_and(only_reads));
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
    let answers = from
        .into_iter()
        .filter_map(|place| Some(called.get(place)?.answer.clone()));
    let answers: Vec<Answer> = answers.collect();
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

fn only_reads(tool: &Arc<dyn Tool>) -> bool {
    matches!(tool.spec().effect, Effect::Pure | Effect::Read)
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
    Ok(step(run, tool, arguments, secrets, never, |_| ()).await?)
}

/// A call as a step, whose address is settled here and now. `begins` is told when it is really made.
pub(super) fn step<'a, B: FnOnce(&StepContext) + Send + 'a>(
    run: &'a Run,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
    secrets: &Secrets,
    stop: CancellationToken,
    begins: B,
) -> impl Future<Output = journal::Result<Answer>> + Send + use<'a, B> {
    let (name, effect) = (tool.spec().name.clone(), tool.spec().effect);
    let options = StepOptions::default().reconcile({
        let (tool, arguments, secrets) = (Arc::clone(tool), arguments.clone(), secrets.clone());
        move |context| find_out(tool, arguments, secrets, context)
    });
    let (tool, given, secrets) = (Arc::clone(tool), arguments.clone(), secrets.clone());
    run.step_with(
        &name,
        effect,
        arguments,
        options,
        move |context| async move {
            context.attribute("title", excerpt(&given));
            begins(&context);
            let called = Context::new(context.key(), &secrets).in_step(context.path());
            let working = tool::carry_out(&*tool, given, called);
            match effect {
                Effect::Pure | Effect::Read => tokio::select! {
                    biased;
                    answer = working => answer,
                    () = stop.cancelled() => Ok(Answer::Error("stopped by the user".to_owned())),
                },
                // What is being written is not left half done.
                Effect::Idempotent | Effect::Irreversible => working.await,
            }
        },
    )
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
