//! A model call as a journaled step.

use journal::{Cost, Dimension, Effect, Run, StepContext, StepError, StepOptions};
use model::{Message, Model, Output, Request, Response, Role, prices};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Definition, Error, Result};

/// What a step records as its input: the model and everything that it was shown.
#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    request: &'a Request,
}

/// Builds the request that shows `definition`'s instructions and examples, then `conversation`
/// (user and assistant in turn, the user first).
pub fn request(definition: &Definition, conversation: &[String], schema: Value) -> Request {
    let message = |role, content: &str| Message::new(role, content.trim());
    let mut messages = vec![message(Role::System, &definition.instructions)];
    for example in &definition.examples {
        messages.push(message(Role::User, &example.user));
        messages.push(message(Role::Assistant, &example.assistant));
    }
    let stable = messages.len();
    for (index, content) in conversation.iter().enumerate() {
        let role = if index % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        messages.push(message(role, content));
    }
    Request {
        messages,
        output: Output::Json(schema),
        max_tokens: definition.max_tokens,
        temperature: definition.temperature,
        stable,
        ..Request::default()
    }
}

/// Asks `model` as the step `name` of `run`; `title` says in the journal what the call is about.
///
/// # Errors
/// [`crate::Error::Journal`] when the run is cancelled, the model cannot be reached (the step stays
/// unfinished and a resume tries again), or the journal cannot be written.
pub async fn ask(
    run: &Run,
    name: &str,
    model: &dyn Model,
    request: &Request,
    title: &str,
) -> Result<Response> {
    let asked = Asked {
        model: model.name(),
        request,
    };
    let prompt_tokens = request.messages.iter().map(|m| tokens_of(model, m)).sum();
    let price = Price::of(model, prompt_tokens, request.max_tokens);
    let response = run
        .step_with(
            name,
            Effect::Read,
            &asked,
            price.reserve(),
            |context| async move {
                context.attribute("title", title);
                context.attribute("model", model.name());
                price.check(run, model, &context).await?;
                let response = model.generate(request, None).await.map_err(step_error)?;
                note(&context, &response);
                Ok(response)
            },
        )
        .await?;
    Ok(response)
}

/// The most that a call may take.
#[derive(Clone, Copy)]
pub(crate) struct Price {
    tokens: u64,
    /// `None` where nobody knows.
    micros: Option<u64>,
}

impl Price {
    /// Of a prompt and the longest answer allowed.
    pub(crate) fn of(model: &dyn Model, prompt_tokens: u64, max_tokens: u32) -> Price {
        let output_tokens = u64::from(max_tokens);
        Price {
            tokens: prompt_tokens + output_tokens,
            micros: prices::most_micros(model.name(), prompt_tokens, output_tokens),
        }
    }

    /// Sets it aside.
    pub(crate) fn reserve(self) -> StepOptions {
        StepOptions::reserve(Cost {
            tokens: self.tokens,
            money_micros: self.micros.unwrap_or_default(),
        })
    }

    /// Notes with the step that the price is not known; with a limit in money, the call is not made
    /// then.
    pub(crate) async fn check(
        self,
        run: &Run,
        model: &dyn Model,
        context: &StepContext,
    ) -> std::result::Result<(), StepError> {
        if self.micros.is_some() {
            return Ok(());
        }
        context.attribute("price", "unknown");
        match run.is_limited(Dimension::Money).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(StepError::Fault(format!(
                "the run has a limit in money, and what {} costs is not known: take a model with a \
                 price (plumb models --provider NAME), or a limit in tokens (--budget-tokens)",
                model.name()
            ))),
            Err(error) => Err(StepError::Fault(error.to_string())),
        }
    }
}

/// Notes with a step what its call has taken.
pub(crate) fn note(context: &StepContext, response: &Response) {
    let usage = &response.usage;
    context.attribute("prompt_tokens", usage.prompt_tokens);
    context.attribute("cached_tokens", usage.cached_tokens);
    context.attribute("output_tokens", usage.output_tokens);
    context.spent(Cost {
        tokens: u64::from(usage.prompt_tokens) + u64::from(usage.output_tokens),
        // No price: a model of this machine, or a run without a limit in money, see `Price`.
        money_micros: response.cost_micros.unwrap_or_default(),
    });
    if let Some(cost) = response.cost_micros {
        context.attribute("cost_micros", cost);
    }
    if let Some(model) = &response.model {
        context.attribute("model", model.as_str());
    }
}

/// Tokens that a chat template puts around each message, at most.
const AROUND_MESSAGE_TOKENS: usize = 16;

/// The tokens of a message, at most.
pub(crate) fn tokens_of(model: &dyn Model, message: &Message) -> u64 {
    let tokens = model.count_tokens(&message.text()) + AROUND_MESSAGE_TOKENS;
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// Like [`ask`], for an answer that is JSON of the type `T`.
///
/// # Errors
/// As [`ask`], and [`crate::Error::Model`] when the answer does not have the form of `T`.
pub async fn ask_json<T: DeserializeOwned>(
    run: &Run,
    name: &str,
    model: &dyn Model,
    request: &Request,
    title: &str,
) -> Result<T> {
    let response = ask(run, name, model, request, title).await?;
    response.json().map_err(|error| Error::Model {
        step: name.to_owned(),
        message: error.to_string(),
    })
}

/// An answer that the model cannot give better is a result; a model that cannot be reached is not.
pub(crate) fn step_error(error: model::Error) -> StepError {
    if error.is_answer() {
        StepError::Failed(error.to_string())
    } else {
        StepError::Fault(error.to_string())
    }
}
