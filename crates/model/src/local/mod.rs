//! Inference in process: GGUF models through llama.cpp, many calls decoded in one batch.
//!
//! [`Local`] is the handle; a thread of its own ([`engine`]) holds the model and its key-value cache.
//! [`prompt`] renders the chat template that the model ships, [`grammar`] turns a schema into a
//! constraint, and [`choices`] reads the probabilities of closed choices off what was decoded.
//!
//! A prompt that does not fit is refused; nothing is ever dropped from a context.

mod choices;
mod engine;
mod grammar;
mod prompt;
mod sampling;
mod slots;
mod tokens;
mod work;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use tokio::sync::oneshot;

use crate::{DeltaSink, Error, Model, Output, Request, Response, Result};

use engine::Engine;
use grammar::Grammars;
use prompt::Template;
use work::Job;

/// What the engine may use.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Tokens that the key-value cache holds, shared by all calls at work and by the prefix cache.
    pub context_tokens: u32,
    /// Calls that are decoded together; more wait.
    pub parallel: u32,
    /// Threads; all cores by default.
    pub threads: u32,
}

impl Default for Options {
    fn default() -> Options {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = u32::try_from(cores).unwrap_or(1).min(16);
        Options {
            context_tokens: 12_288,
            parallel: 8,
            threads,
        }
    }
}

/// A model in process. Dropping the last handle ends its thread and frees its memory.
pub struct Local {
    name: String,
    model: Arc<LlamaModel>,
    template: Template,
    grammars: Grammars,
    engine: Engine,
    options: Options,
}

impl Local {
    /// Loads the GGUF file at `path`; `name` is what the model is called.
    ///
    /// # Errors
    /// [`Error::Engine`] when the file is no model that the engine knows; [`Error::Unfit`] when the
    /// processor lacks instructions that the engine was compiled for.
    pub fn load(name: &str, path: &Path, options: Options) -> Result<Local> {
        check_processor(name)?;
        let backend = backend()?;
        let parameters = LlamaModelParams::default().with_n_gpu_layers(0);
        let failed = |message: String| Error::Engine { message };
        let model = LlamaModel::load_from_file(backend, path, &parameters)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let model = Arc::new(model);
        let template = Template::of(&model)?;
        let grammars = Grammars::new(Arc::clone(&model))?;
        let engine = Engine::start(backend, Arc::clone(&model), options)?;
        Ok(Local {
            name: name.to_owned(),
            model,
            template,
            grammars,
            engine,
            options,
        })
    }

    /// Whether answers can be held to `schema`.
    ///
    /// # Errors
    /// [`Error::Schema`] with the place in the schema that cannot be enforced.
    pub fn check_schema(&self, schema: &serde_json::Value) -> Result<()> {
        self.grammars.matcher(schema).map(drop)
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
        Some(self.options.context_tokens.min(self.model.n_ctx_train()))
    }

    fn count_tokens(&self, text: &str) -> usize {
        tokens::plain(&self.model, text).len()
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let prompt = self.template.tokens(&self.model, &request.messages)?;
            let context = self.context_tokens().unwrap_or(0);
            let length = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
            if length.saturating_add(request.max_tokens) > context {
                return Err(Error::TooLong {
                    prompt: length,
                    answer: request.max_tokens,
                    context,
                });
            }
            let matcher = match &request.output {
                Output::Text => None,
                Output::Json(schema) => Some(self.grammars.matcher(schema)?),
            };
            let (reply, answer) = oneshot::channel();
            self.engine.submit(Job {
                prompt,
                matcher,
                max_tokens: request.max_tokens,
                temperature: request.temperature,
                seed: request.seed,
                sink,
                reply,
            })?;
            let gone = || Error::Engine {
                message: "its thread has ended".to_owned(),
            };
            let decoded = answer.await.map_err(|_| gone())??;
            let choices = match &request.output {
                Output::Text => Vec::new(),
                Output::Json(schema) => choices::choices(schema, &decoded.text, &decoded.sampled),
            };
            Ok(Response {
                text: decoded.text,
                choices,
                usage: decoded.usage,
                stop: decoded.stop,
                ..Response::default()
            })
        })
    }
}
