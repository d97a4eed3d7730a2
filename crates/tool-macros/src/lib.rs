//! The attribute `#[tool]`, which makes a tool of a function. Use it as `tool::tool`; the crate `tool` says
//! what a tool is.
//!
//! A procedural macro has to be a crate of its own; this one holds nothing else. `function` reads the
//! function and says what is wrong with it, `options` the words in the parentheses.

mod function;
mod options;

use proc_macro::TokenStream;

/// Makes a tool of an async function.
///
/// The doc comment of the function and those of its parameters become descriptions, the types of the
/// parameters the schema; models read both. A parameter of the type `Context` or `&Context` is not shown
/// to the model: it has the idempotency key, the cancellation and the secrets. The function stays what it
/// is; `NAME::tool()` is the tool.
///
/// What the function returns is the tool's answer: text as it is, anything else as JSON. An error of a
/// `Result` is told to the model in its own words.
///
/// ```text
/// #[tool]                                  the worst is supposed: irreversible
/// #[tool(effect = "read")]                 pure, read, idempotent or irreversible
/// #[tool(name = "orders.lookup")]          what it is called, where the function's name will not do
/// #[tool(time_s = 5, answer_bytes = 2000)] its limits
/// #[tool(secrets = ["SHOP_TOKEN"])]        what `Context::secret` may be asked for
/// #[tool(secret_fields = ["card"])]        fields of its answer that nobody gets to see
/// #[tool(reconcile = find_refund)]         an async function of arguments and context that finds out
///                                          what became of a call that was cut off
/// ```
#[proc_macro_attribute]
pub fn tool(options: TokenStream, function: TokenStream) -> TokenStream {
    function::expand(options.into(), function.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
