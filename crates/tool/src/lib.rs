//! Tools: functions that a model may call.
//!
//! A [`Tool`] has a name, a description and a JSON schema of its arguments, which models read; and what
//! Plumb goes by: its effect on the world, its limits, the secrets it needs, and the fields of its answer
//! that nobody may see. Start at [`macro@tool`], which makes a tool of an async function, and at
//! [`Function`], which makes one of a closure; a [`Toolbox`] holds those of an agent, and [`carry_out`]
//! calls one within its limits.
//!
//! ```
//! use tool::{Result, tool};
//!
//! /// Looks an order up by its number.
//! #[tool(effect = "read")]
//! async fn lookup(
//!     /// The order's number, such as A-17.
//!     order: String,
//!     /// How many of its items to list; all where not given.
//!     items: Option<u32>,
//! ) -> Result<String> {
//!     match order.as_str() {
//!         "A-17" => Ok(format!("A-17: {} chairs, shipped", items.unwrap_or(4))),
//!         _ => Err("there is no such order".into()),
//!     }
//! }
//!
//! let tool = lookup::tool();
//! let spec = tool.spec();
//! assert_eq!(spec.description, "Looks an order up by its number.");
//! assert_eq!(
//!     spec.parameters["properties"]["order"]["description"],
//!     "The order's number, such as A-17."
//! );
//! assert_eq!(spec.parameters["required"], serde_json::json!(["order"]));
//! ```
//!
//! A parameter that has no form in JSON is refused by the compiler:
//!
//! ```compile_fail
//! struct Connection;
//!
//! /// Asks a database.
//! #[tool::tool]
//! async fn ask(connection: Connection) -> String {
//!     String::new()
//! }
//! ```
//!
//! and so is an answer that has none:
//!
//! ```compile_fail
//! struct Rows;
//!
//! /// Asks a database.
//! #[tool::tool]
//! async fn ask(query: String) -> Rows {
//!     Rows
//! }
//! ```
//!
//! This crate knows nothing of models, and decides nothing: whether a call is allowed is not its affair.

// What the macro writes says `::tool`, also where it is used in this crate.
extern crate self as tool;

mod answer;
mod asks;
pub mod builtin;
mod carry;
mod context;
mod error;
mod function;
pub mod mcp;
mod outputs;
mod spec;
mod toolbox;

use futures::future::BoxFuture;
use serde_json::Value;

pub use answer::Answer;
pub use asks::{Asks, People, Progress, Told, Wanted};
pub use carry::carry_out;
pub use context::{Context, Secrets};
pub use error::{Error, Result, SetupError};
pub use function::Function;
pub use journal::{Effect, Reconciled, StepError};
pub use spec::{Limits, Source, Spec};
pub use tool_macros::tool;
pub use toolbox::Toolbox;

/// Something that a model may call.
pub trait Tool: Send + Sync {
    /// What it is: the same each time.
    fn spec(&self) -> &Spec;

    /// Does it. The arguments fit the schema when the caller has checked them, as an agent does. What goes
    /// wrong and may be told to the model is [`Error::Failed`].
    ///
    /// Dropping the future stops the work; what goes on elsewhere is stopped through
    /// [`Context::cancelled`].
    fn call(&self, arguments: Value, context: Context) -> BoxFuture<'_, Result<Value>>;

    /// Finds out what became of an irreversible call that was cut off, by asking the other side for the
    /// context's key. A tool that cannot says [`Reconciled::Unknown`], and a person is asked.
    fn reconcile(&self, _arguments: Value, _context: Context) -> BoxFuture<'_, Result<Reconciled>> {
        Box::pin(async { Ok(Reconciled::Unknown) })
    }
}

/// What the macro's code is made of; not for people.
#[doc(hidden)]
pub mod macros {
    pub use futures::future::BoxFuture;
    pub use schemars;
    pub use serde;
    pub use serde_json::Value;

    pub use crate::answer::value as answer;
    pub use crate::spec::read;
}
