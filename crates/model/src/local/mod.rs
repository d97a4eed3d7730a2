//! Inference in process: GGUF models through llama.cpp, many calls decoded in one batch.
//!
//! [`Local`] is the handle; a thread of its own ([`engine`]) holds the model and its key-value cache.
//! [`prompt`] renders the chat template that the model ships, [`grammar`] turns a schema into a
//! constraint, [`prefixes`] keeps what agents begin with, [`ending`] brings a constrained answer to its end in time, [`choices`] reads the probabilities of closed choices off what was decoded, and
//! [`adapters`] finds what changes a model (LoRA).
//!
//! A prompt that does not fit is refused; nothing is ever dropped from a context.

mod adapters;
mod calls;
mod choices;
mod ending;
mod engine;
mod formats;
mod grammar;
mod pattern;
mod prefixes;
mod prompt;
mod sampling;
mod schema;
mod slots;
mod tokens;
mod work;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llguidance::Matcher;
use tokio::sync::oneshot;

use crate::{
    Delta, DeltaSink, Error, Model, Output, Request, Response, Result, Stop, Tool, ToolChoice,
};

use adapters::Adapters;
use calls::Sieve;
use engine::Engine;
use grammar::Grammars;
use prefixes::Prefixes;
use prompt::Template;
use work::{Decoded, Job};

pub(crate) use adapters::adapters_beside;

pub use crate::capacity::Options;

/// A model in process, or one of its adapters over it. Dropping the last handle ends its thread and frees
/// its memory.
#[derive(Clone)]
pub struct Local {
    name: String,
    loaded: Arc<Loaded>,
    /// Which adapter its calls are decoded with.
    adapter: Option<usize>,
    /// Whether calls of tools that the model may make are held to the tools' schemas.
    holds_calls: bool,
}

/// What all handles of a model share.
pub(crate) struct Loaded {
    model: Arc<LlamaModel>,
    template: Template,
    grammars: Grammars,
    engine: Engine,
    options: Options,
    /// The names of its adapters, and which each is, or why it is none.
    adapters: Vec<(String, std::result::Result<usize, String>)>,
    /// Counts answers, so that each call of a tool has a name of its own.
    answers: AtomicU64,
}

impl Local {
    /// Loads the GGUF file at `path`, with the adapters that lie beside it as `BASE+NAME.gguf`; `name` is
    /// what the model is called. What it computes of [`Request::stable`] messages is kept in the folder
    /// `prefixes` beside the file, where that can be written.
    ///
    /// # Errors
    /// [`Error::Engine`] when the file is no model that the engine knows; [`Error::Unfit`] when the
    /// processor lacks instructions that the engine was compiled for.
    pub fn load(name: &str, path: &Path, options: Options) -> Result<Local> {
        check_processor(name)?;
        let backend = backend()?;
        let parameters = LlamaModelParams::default().with_n_gpu_layers(0);
        let failed = |message: String| Error::Engine { message };
        let mut model = LlamaModel::load_from_file(backend, path, &parameters)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let Adapters { names, loaded } = Adapters::load(&mut model, path);
        let model = Arc::new(model);
        let template = Template::of(&model)?;
        let grammars = Grammars::new(Arc::clone(&model))?;
        let engine = Engine::start(
            backend,
            Arc::clone(&model),
            loaded,
            Prefixes::of(path),
            options,
        )?;
        Ok(Local {
            name: name.to_owned(),
            loaded: Arc::new(Loaded {
                model,
                template,
                grammars,
                engine,
                options,
                adapters: names,
                answers: AtomicU64::new(first_number()),
            }),
            adapter: None,
            holds_calls: true,
        })
    }

    /// The same model with the adapter called `adapter`; it is called `NAME+ADAPTER`. Both share weights,
    /// threads and the key-value cache.
    ///
    /// # Errors
    /// [`Error::Unknown`] where there is none of that name, [`Error::Engine`] where it could not be loaded.
    pub fn with_adapter(&self, adapter: &str) -> Result<Local> {
        let adapters = &self.loaded.adapters;
        let name = format!("{}+{adapter}", self.name);
        let found = adapters.iter().find(|(known, _)| known == adapter);
        match found {
            Some((_, Ok(index))) => Ok(Local {
                name,
                loaded: Arc::clone(&self.loaded),
                adapter: Some(*index),
                holds_calls: self.holds_calls,
            }),
            Some((_, Err(message))) => Err(Error::Engine {
                message: format!("the adapter {adapter} cannot be loaded: {message}"),
            }),
            None => Err(Error::Unknown {
                name,
                hint: match adapters.is_empty() {
                    true => {
                        "an adapter is a file BASE+NAME.gguf beside that of its base".to_owned()
                    }
                    false => {
                        let names = adapters.iter().map(|(name, _)| name.as_str());
                        format!("its adapters are {}", names.collect::<Vec<_>>().join(", "))
                    }
                },
            }),
        }
    }

    /// The same model, whose calls of tools are not held to the tools' schemas where none is required: to
    /// measure what the constraint is worth.
    pub fn without_constraint(&self) -> Local {
        Local {
            holds_calls: false,
            ..self.clone()
        }
    }

    /// What is shared by all handles, without keeping it.
    pub(crate) fn shared(&self) -> Weak<Loaded> {
        Arc::downgrade(&self.loaded)
    }

    /// A handle of a model that is loaded still.
    pub(crate) fn again(name: &str, shared: &Weak<Loaded>) -> Option<Local> {
        Some(Local {
            name: name.to_owned(),
            loaded: shared.upgrade()?,
            adapter: None,
            holds_calls: true,
        })
    }

    /// Whether answers can be held to `schema`.
    ///
    /// # Errors
    /// [`Error::Schema`] with the place in the schema that cannot be enforced.
    pub fn check_schema(&self, schema: &serde_json::Value) -> Result<()> {
        self.loaded.grammars.matcher(schema).map(drop)
    }
}

/// Another one in each process, so that the names of calls in a journal do not repeat.
fn first_number() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or_default()
}

/// The tools that a request lets the model call.
fn offered(request: &Request) -> Result<Vec<&Tool>> {
    let all = || request.tools.iter();
    match &request.tool_choice {
        ToolChoice::None => Ok(Vec::new()),
        ToolChoice::Auto => Ok(all().collect()),
        ToolChoice::Required if request.tools.is_empty() => Err(Error::Schema {
            message: "a call of a tool is required, and there is no tool".to_owned(),
        }),
        ToolChoice::Required => Ok(all().collect()),
        ToolChoice::Named(name) => match all().find(|tool| tool.name == *name) {
            Some(tool) => Ok(vec![tool]),
            None => Err(Error::Schema {
                message: format!("a call of {name} is required, and there is no such tool"),
            }),
        },
    }
}

impl Local {
    /// What decoding is held to.
    fn constraint(&self, request: &Request, tools: &[&Tool]) -> Result<Option<Matcher>> {
        match (&request.output, &request.tool_choice) {
            (_, ToolChoice::Required | ToolChoice::Named(_)) => {
                self.loaded.grammars.calls(tools, true).map(Some)
            }
            (Output::Json(schema), _) => self.loaded.grammars.matcher(schema).map(Some),
            (Output::Text, _) if tools.is_empty() || !self.holds_calls => Ok(None),
            // What cannot be enforced is checked afterwards, by whoever carries the calls out.
            (Output::Text, _) => Ok(self.loaded.grammars.calls(tools, false).ok()),
            (Output::Given(_), _) => Ok(None),
        }
    }

    /// How many tokens at the beginning of the prompt are those of the request's stable messages. With an
    /// adapter they have other values, which are not kept.
    fn stable(&self, request: &Request, prompt: &[LlamaToken]) -> usize {
        let Loaded {
            template, model, ..
        } = &*self.loaded;
        let stable = request.messages.get(..request.stable).unwrap_or_default();
        if stable.is_empty() || self.adapter.is_some() || !request.tools.is_empty() {
            return 0;
        }
        let alone = template.tokens(model, stable, &[]).unwrap_or_default();
        let count = slots::common(&alone, prompt);
        let is_worth_it = prompt.get(..count).is_some_and(Prefixes::is_worth_it);
        count * usize::from(is_worth_it)
    }

    /// The answer that is not to be written.
    fn given(&self, request: &Request) -> Option<Vec<LlamaToken>> {
        match &request.output {
            Output::Given(text) => Some(tokens::plain(&self.loaded.model, text)),
            Output::Text | Output::Json(_) => None,
        }
    }

    async fn decode(
        &self,
        request: &Request,
        prompt: Vec<LlamaToken>,
        given: Option<Vec<LlamaToken>>,
        matcher: Option<Matcher>,
        sink: Option<DeltaSink>,
    ) -> Result<Decoded> {
        let stable = self.stable(request, &prompt);
        let (reply, answer) = oneshot::channel();
        self.loaded.engine.submit(Job {
            prompt,
            stable,
            looked_up: false,
            given,
            adapter: self.adapter,
            matcher,
            bytes: matches!(request.output, Output::Json(_)).then(|| self.loaded.grammars.bytes()),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            seed: request.seed,
            sink,
            reply,
        })?;
        answer.await.map_err(|_| Error::Engine {
            message: "its thread has ended".to_owned(),
        })?
    }

    /// An answer that may call tools.
    async fn with_calls(
        &self,
        request: &Request,
        prompt: Vec<LlamaToken>,
        matcher: Option<Matcher>,
        sink: Option<DeltaSink>,
    ) -> Result<Response> {
        let (inner, mut pieces) = tokio::sync::mpsc::unbounded_channel();
        let mut sieve = Sieve::new();
        let decoding = self.decode(
            request,
            prompt,
            None,
            matcher,
            sink.is_some().then_some(inner),
        );
        tokio::pin!(decoding);
        let mut pass = |delta: Delta| {
            if let (Delta::Text { text }, Some(sink)) = (delta, &sink) {
                sieve.take(&text, sink);
            }
        };
        let decoded = loop {
            tokio::select! {
                biased;
                Some(delta) = pieces.recv() => pass(delta),
                decoded = &mut decoding => break decoded?,
            }
        };
        while let Ok(delta) = pieces.try_recv() {
            pass(delta);
        }
        let number = self.loaded.answers.fetch_add(1, Ordering::Relaxed);
        let (text, tool_calls) = calls::parse(&decoded.text, number);
        if let Some(sink) = &sink {
            sieve.end(&tool_calls, sink);
        }
        let stop = match decoded.stop {
            Stop::End if !tool_calls.is_empty() => Stop::ToolCalls,
            stop => stop,
        };
        Ok(Response {
            text,
            tool_calls,
            usage: decoded.usage,
            stop,
            ..Response::default()
        })
    }
}

/// llama.cpp is set up once in a process; its log goes to `tracing`.
fn backend() -> Result<&'static LlamaBackend> {
    static BACKEND: std::sync::OnceLock<std::result::Result<LlamaBackend, String>> =
        std::sync::OnceLock::new();
    let backend = BACKEND.get_or_init(|| {
        llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    backend.as_ref().map_err(|message| Error::Engine {
        message: message.clone(),
    })
}

/// Refuses to run into an illegal instruction: the engine is compiled for the processor that
/// `cargo xtask setup` found, and the binary may have been copied to another machine.
#[cfg(target_arch = "x86_64")]
fn check_processor(model: &str) -> Result<()> {
    let has = [
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("AVX512", std::is_x86_feature_detected!("avx512f")),
        ("AVX512_VNNI", std::is_x86_feature_detected!("avx512vnni")),
        ("AVX512_VBMI", std::is_x86_feature_detected!("avx512vbmi")),
    ];
    let compiled = tokens::system_info();
    for (feature, present) in has {
        if !present && compiled.contains(&format!("{feature} = 1")) {
            return Err(Error::Unfit {
                model: model.to_owned(),
                reason: format!(
                    "the engine was compiled for {feature}, which this processor lacks"
                ),
                hint: "build plumb on this machine: `cargo xtask setup`, then `cargo build`"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn check_processor(_model: &str) -> Result<()> {
    Ok(())
}

impl Model for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> Option<u32> {
        let trained = self.loaded.model.n_ctx_train();
        Some(self.loaded.options.context_tokens.min(trained))
    }

    fn count_tokens(&self, text: &str) -> usize {
        tokens::plain(&self.loaded.model, text).len()
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            if request.top_p.is_some() || !request.stop.is_empty() {
                return Err(Error::Unsupported {
                    provider: "the local engine".to_owned(),
                    what: "top_p or texts to stop at".to_owned(),
                });
            }
            let tools = offered(request)?;
            // A model that must not call any is not told of them: small ones would call them anyway.
            let shown = match request.tool_choice {
                ToolChoice::None => &[],
                _ => request.tools.as_slice(),
            };
            let Loaded {
                template, model, ..
            } = &*self.loaded;
            let prompt = template.tokens(model, &request.messages, shown)?;
            let context = self.context_tokens().unwrap_or(0);
            let length = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
            let given = self.given(request);
            let answer = match &given {
                Some(given) => u32::try_from(given.len()).unwrap_or(u32::MAX),
                None => request.max_tokens,
            };
            if length.saturating_add(answer) > context {
                return Err(Error::TooLong {
                    prompt: length,
                    answer,
                    context,
                });
            }
            let matcher = self.constraint(request, &tools)?;
            if !tools.is_empty() && given.is_none() {
                return self.with_calls(request, prompt, matcher, sink).await;
            }
            let decoded = self.decode(request, prompt, given, matcher, sink).await?;
            let choices = match &request.output {
                Output::Text | Output::Given(_) => Vec::new(),
                Output::Json(schema) => choices::choices(schema, &decoded.text, &decoded.sampled),
            };
            Ok(Response {
                text: decoded.text,
                choices,
                likelihood: decoded.likelihood,
                usage: decoded.usage,
                stop: decoded.stop,
                ..Response::default()
            })
        })
    }
}
