//! Tools from closures: for those that have a state, or whose schema is only known at run time.

use std::sync::Arc;

use futures::future::BoxFuture;
use journal::{Effect, Reconciled};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::spec::read;
use crate::{Context, Result, Source, Spec, Tool, answer};

type Work = Box<dyn Fn(Value, Context) -> BoxFuture<'static, Result<Value>> + Send + Sync>;
type Find = Box<dyn Fn(Value, Context) -> BoxFuture<'static, Result<Reconciled>> + Send + Sync>;

/// A tool that is a closure.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tool::Error> {
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use tool::{Context, Effect, Function, Tool as _};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Lookup {
///     /// The order's number.
///     order: String,
/// }
///
/// let orders = Arc::new(HashMap::from([("A-17".to_string(), 4)]));
/// let lookup = Function::new("orders.lookup", "Looks an order up.", move |lookup: Lookup, _| {
///     let orders = Arc::clone(&orders);
///     async move { orders.get(&lookup.order).copied().ok_or("no such order".into()) }
/// })
/// .effect(Effect::Read);
///
/// let answer = lookup.call(serde_json::json!({"order": "A-17"}), Context::default()).await?;
/// assert_eq!(answer, 4);
/// # Ok(())
/// # }
/// ```
pub struct Function {
    /// What it is. It may be changed before it is used.
    pub spec: Spec,
    work: Work,
    find: Option<Find>,
}

impl Function {
    /// A tool that calls `work`, whose arguments are read as an `A`; with the worst effect: irreversible.
    pub fn new<A, T, F, Fut>(name: &str, description: &str, work: F) -> Function
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        T: Serialize + Send + 'static,
        F: Fn(A, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let work = Arc::new(work);
        let work: Work = Box::new(move |arguments, context| {
            let work = Arc::clone(&work);
            Box::pin(async move { answer::value(&work(read(arguments)?, context).await?) })
        });
        Function {
            spec: Spec::of::<A>(name, description),
            work,
            find: None,
        }
    }

    /// What it does to the world.
    pub fn effect(mut self, effect: Effect) -> Function {
        self.spec.effect = effect;
        self
    }

    /// Where its answers come from: somewhere else, and not to be trusted, where this is not said.
    pub fn source(mut self, source: Source) -> Function {
        self.spec.source = source;
        self
    }

    /// Whether a call sends something out of this machine; where this is not said, one that writes does.
    pub fn sends_out(mut self, sends_out: bool) -> Function {
        self.spec.sends_out = Some(sends_out);
        self
    }

    /// This schema in place of the one made from the type, which is then best a
    /// [`serde_json::Value`].
    pub fn parameters(mut self, schema: Value) -> Function {
        self.spec.parameters = schema;
        self
    }

    /// How it finds out what became of a call that was cut off, see [`Tool::reconcile`].
    pub fn reconcile<F, Fut>(mut self, find: F) -> Function
    where
        F: Fn(Value, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Reconciled>> + Send + 'static,
    {
        self.find = Some(Box::new(move |arguments, context| {
            Box::pin(find(arguments, context))
        }));
        self
    }
}

impl Tool for Function {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(&self, arguments: Value, context: Context) -> BoxFuture<'_, Result<Value>> {
        (self.work)(arguments, context)
    }

    fn reconcile(&self, arguments: Value, context: Context) -> BoxFuture<'_, Result<Reconciled>> {
        match &self.find {
            Some(find) => find(arguments, context),
            None => Box::pin(async { Ok(Reconciled::Unknown) }),
        }
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Function")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}
