//! Calling a tool within its limits.

use journal::StepError;
use serde_json::Value;

use crate::{Answer, Context, Effect, Error, Tool};

/// The longest answer that is recorded, in bytes. What of it a model is shown is less: see
/// [`Toolbox::shown`](crate::Toolbox::shown).
const MOST_BYTES: usize = 4_000_000;

/// Calls a tool within its limits, as the work of a step.
///
/// What goes wrong and may be told to the model is an answer. A call of a tool that only reads and takes too
/// long is an answer as well; of one that writes nobody knows then what became of it, so its step ends
/// with a fault: it is tried again with its key, or is in doubt.
///
/// # Errors
/// [`StepError::Fault`], as said, and when what the tool needs is out of reach.
pub async fn carry_out(
    tool: &dyn Tool,
    arguments: Value,
    context: Context,
) -> Result<Answer, StepError> {
    let spec = tool.spec();
    let guard = context.cancel_on_drop();
    let called = tokio::time::timeout(spec.limits.time, tool.call(arguments, context)).await;
    drop(guard);
    let answer = match called {
        Ok(Ok(value)) => Answer::given(value),
        Ok(Err(Error::Failed(error))) => Answer::Error(error),
        Ok(Err(Error::Asks(asks))) => Answer::Asks(asks),
        Ok(Err(Error::Unavailable(error))) => {
            return Err(StepError::Fault(format!("{}: {error}", spec.name)));
        }
        Err(_) => {
            let seconds = spec.limits.time.as_secs_f32();
            let said = format!("{} took longer than {seconds} s", spec.name);
            match spec.effect {
                Effect::Pure | Effect::Read => Answer::Error(said),
                Effect::Idempotent | Effect::Irreversible => return Err(StepError::Fault(said)),
            }
        }
    };
    Ok(answer.without(&spec.secret_fields).within(MOST_BYTES))
}
