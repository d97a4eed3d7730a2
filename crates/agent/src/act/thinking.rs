//! A call of the model as a step: told piece by piece, and stopped where somebody wants it.

use journal::{Effect, List, Run, StepError};
use model::{Delta, Output, Request, Response, Tool, ToolChoice};
use serde::{Deserialize, Serialize};

use super::{Acting, Conversation, Down, Progress};
use crate::{Result, call};

/// What the step records as its input.
#[derive(Serialize)]
struct Asked<'a> {
    model: &'a str,
    messages: &'a List,
    output: &'a Output,
    tools: &'a [Tool],
    tool_choice: &'a ToolChoice,
    max_tokens: u32,
    temperature: f32,
}

/// What the step records as its result.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answered {
    #[serde(flatten)]
    pub(crate) response: Response,
    /// Somebody stopped it; the text is what had come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopped: bool,
}

/// Asks the model.
pub(crate) async fn think(
    run: &Run,
    with: &Acting,
    conversation: &mut Conversation,
    tool_choice: ToolChoice,
    output: Output,
) -> Result<Answered> {
    let request = Request {
        messages: conversation.messages().to_vec(),
        output,
        tools: with.shown(),
        tool_choice,
        max_tokens: with.max_tokens,
        temperature: with.temperature,
        ..Request::default()
    };
    let prompt_tokens = conversation.tokens(&*with.model);
    let price = call::Price::of(&*with.model, prompt_tokens, with.max_tokens);
    let asked = Asked {
        model: &with.model_name,
        messages: conversation.list(),
        output: &request.output,
        tools: &request.tools,
        tool_choice: &request.tool_choice,
        max_tokens: request.max_tokens,
        temperature: request.temperature,
    };
    // What it makes of it comes from all of them.
    let labels = conversation.heard().labels();
    let answered: Answered = run
        .step_with(
            "model",
            Effect::Read,
            &asked,
            price.reserve(),
            |context| async {
                let context = context;
                price.check(run, &*with.model, &context).await?;
                context.attribute("model", with.model.name());
                context.attribute("labels", serde_json::json!(labels));
                let answered = answer(with, &request)
                    .await
                    .map_err(|error| match with.down {
                        Down::Parks => call::step_error(error),
                        Down::Fails => StepError::Failed(error.to_string()),
                    })?;
                context.attribute("title", title(&answered));
                if !answered.stopped {
                    call::note(&context, &answered.response);
                }
                Ok(answered)
            },
        )
        .await?;
    let text = answered.response.text.clone();
    (with.watch)(Progress::Answered { text });
    Ok(answered)
}

/// A tool as models are shown it.
pub(super) fn shown(spec: &tool::Spec) -> Tool {
    Tool {
        name: spec.shown_name(),
        description: spec.description.clone(),
        parameters: spec.parameters.clone(),
    }
}

/// What the answer is, in a few words.
fn title(answered: &Answered) -> String {
    let response = &answered.response;
    match response.tool_calls.as_slice() {
        _ if answered.stopped => "stopped".to_owned(),
        [] => "answers".to_owned(),
        calls => {
            let names = calls.iter().map(|call| call.name.as_str());
            format!("calls {}", names.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The whole answer, whose pieces are told as they arrive.
async fn answer(with: &Acting, request: &Request) -> model::Result<Answered> {
    let (sink, mut pieces) = tokio::sync::mpsc::unbounded_channel();
    let generating = with.model.generate(request, Some(sink));
    tokio::pin!(generating);
    let mut text = String::new();
    let mut tell = |piece: Delta| {
        if let Delta::Text { text: more } = &piece {
            text.push_str(more);
        }
        (with.watch)(Progress::Piece(piece));
    };
    let response = loop {
        tokio::select! {
            biased;
            () = with.stop.cancelled() => break None,
            Some(piece) = pieces.recv() => tell(piece),
            response = &mut generating => break Some(response?),
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        tell(piece);
    }
    let stopped = response.is_none();
    let response = response.unwrap_or_else(|| Response {
        text,
        ..Response::default()
    });
    Ok(Answered { response, stopped })
}
