//! Models behind one trait: the local engine, providers, and scripted models.
//!
//! Start at [`Model`] and [`Request`]; [`Models`] opens a model by its `provider:name`. Structured
//! output goes through one call, [`Output::Json`]: the local engine decodes under the schema, other
//! providers are asked, checked and asked again.
//!
//! This crate takes no decision of an agent and writes no journal.

mod bedrock;
mod capacity;
pub mod catalogue;
mod checked;
mod embed;
mod error;
mod fallback;
pub mod gguf;
mod hedge;
mod http;
mod kept;
mod learned;
mod limits;
#[cfg(feature = "local")]
pub mod local;
#[cfg(test)]
mod loopback;
mod memory;
mod message;
mod native;
mod offline;
mod openai;
pub mod prices;
mod providers;
mod pull;
pub mod quotes;
mod refusal;
mod registry;
mod remote;
mod request;
mod scripted;
mod store;
pub mod tools;
mod watch;

use futures::future::BoxFuture;

pub use capacity::{Bounds, Need, Options};
pub use embed::{Embed, Embedded};
pub use error::{Error, Result};
pub use fallback::Fallback;
pub use kept::Keeping;
pub use limits::Limits;
pub use message::{
    Content, Media, MediaSource, Message, Part, Reasoning, Role, Tool, ToolCall, ToolChoice,
    ToolResult,
};
use openai::OpenAi;
pub use providers::{KEY_VARIABLES, PROVIDERS, Provider};
pub use registry::{Listed, ListedProvider, Models, Server, Settings};
pub use remote::{Hedging, Retry};
pub use request::{Choice, Delta, Effort, Output, Request, Response, Stop, Usage};
pub use scripted::Scripted;
pub use store::folder;
pub use watch::Patience;

/// Where an answer goes as it arrives.
pub type DeltaSink = tokio::sync::mpsc::UnboundedSender<Delta>;

/// A language model.
pub trait Model: Send + Sync {
    /// Its name, `provider:name`.
    fn name(&self) -> &str;

    /// The most tokens that a prompt and its answer may have together; `None` where that is not known.
    fn context_tokens(&self) -> Option<u32>;

    /// The number of tokens of `text`: exact for local models, an estimate elsewhere.
    fn count_tokens(&self, text: &str) -> usize;

    /// Answers `request`. There is one code path for streaming and not: the answer goes to `sink` as
    /// it arrives, and the whole comes back at the end. Dropping the future stops the work.
    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>>;
}
