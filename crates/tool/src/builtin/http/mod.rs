//! `http`: the operations that an OpenAPI file declares, each a tool.
//!
//! A model fills in parameters and a body; where they go, who is asked and how it is allowed are the file's and the
//! operator's to say.

mod document;
mod request;
mod schema;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use self::document::{Document, Operation};
use crate::builtin::net::{Net, Reach, RequestLimits};
use crate::{Effect, Function, Tool};

/// The most characters of an operation's description.
const DESCRIBED_CHARACTERS: usize = 1_000;
/// The most operations of a file that become tools: models lose their way among many.
const MOST_OPERATIONS: usize = 64;

/// An API by its OpenAPI file.
#[derive(Clone, Debug)]
pub struct Http {
    /// What the names of its tools begin with.
    pub name: String,
    /// The address in place of the one in the file.
    pub base_url: Option<Url>,
    /// The operations that become tools, by their ids; all where it is empty.
    pub operations: Vec<String>,
    /// What operations do to the world, by their ids, where it is not what their methods say.
    pub effects: BTreeMap<String, Effect>,
    /// What it is allowed with.
    pub auth: Option<Auth>,
    /// Which servers may be reached.
    pub reach: Reach,
    /// How long a request may take. 30 s.
    pub time: Duration,
}

/// A secret, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The name of the secret.
    pub secret: String,
    /// Where it goes.
    pub place: AuthPlace,
}

/// Where a secret goes in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthPlace {
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// `Authorization: Basic`, with `user:password` as the secret.
    Basic,
    /// A header of this name.
    Header(String),
    /// A parameter of the address of this name.
    Query(String),
}

impl Default for Http {
    fn default() -> Http {
        Http {
            name: "http".to_owned(),
            base_url: None,
            operations: Vec::new(),
            effects: BTreeMap::new(),
            auth: None,
            reach: Reach::default(),
            time: Duration::from_secs(30),
        }
    }
}

impl Http {
    /// The tools of the operations in an OpenAPI file, in JSON or YAML, whose text this is.
    ///
    /// # Errors
    /// What in the file cannot be used, in words for who wrote it.
    pub fn tools(&self, file: &str) -> Result<Vec<Arc<dyn Tool>>, String> {
        let document = Document::parse(file)?;
        let base = match &self.base_url {
            Some(url) => url.clone(),
            None => document.server()?,
        };
        let all = document.operations()?;
        let named = self.operations.iter().chain(self.effects.keys());
        for id in named {
            if !all.iter().any(|operation| operation.id == *id) {
                let ids: Vec<&str> = all.iter().map(|operation| operation.id.as_str()).collect();
                return Err(format!(
                    "there is no operation `{id}`; there are {}",
                    ids.join(", ")
                ));
            }
        }
        let chosen = all
            .into_iter()
            .filter(|one| self.operations.is_empty() || self.operations.contains(&one.id));
        let chosen: Vec<Operation<'_>> = chosen.collect();
        if chosen.len() > MOST_OPERATIONS {
            return Err(format!(
                "it has {} operations, and {MOST_OPERATIONS} are the most; name the needed ones under operations",
                chosen.len()
            ));
        }
        let limits = RequestLimits {
            time: self.time,
            bytes: 4_000_000,
            redirects: 0,
        };
        let net = Net::new(self.reach.clone(), limits);
        chosen
            .iter()
            .map(|operation| self.tool(operation, &document, &base, &net))
            .collect()
    }

    fn tool(
        &self,
        operation: &Operation<'_>,
        document: &Document,
        base: &Url,
        net: &Net,
    ) -> Result<Arc<dyn Tool>, String> {
        let plan = operation.plan(document)?;
        let effect = match self.effects.get(&operation.id) {
            Some(effect) => *effect,
            None => effect_of(&operation.method),
        };
        let mut properties = serde_json::Map::new();
        let mut required: Vec<Value> = Vec::new();
        for argument in &plan.arguments {
            properties.insert(argument.shown.clone(), argument.schema.clone());
            if argument.required {
                required.push(argument.shown.clone().into());
            }
        }
        let schema = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        let name = format!("{}.{}", self.name, tool_name(&operation.id));
        let call = Arc::new(request::Call {
            what: format!("{} {}", operation.method, operation.path),
            method: operation.method.clone(),
            path: operation.path.to_owned(),
            base: base.clone(),
            plan,
            effect,
            auth: self.auth.clone(),
            net: net.clone(),
        });
        let description = described(operation);
        let mut tool = Function::new(&name, &description, move |arguments: Value, context| {
            let call = Arc::clone(&call);
            async move { call.make(&arguments, &context).await }
        })
        .parameters(schema)
        .effect(effect)
        .sends_out(true);
        tool.spec.limits.time = self.time + Duration::from_secs(5);
        tool.spec
            .secrets
            .extend(self.auth.iter().map(|auth| auth.secret.clone()));
        Ok(Arc::new(tool))
    }
}

/// What a method says of its effect: twice is once for PUT and DELETE.
fn effect_of(method: &Method) -> Effect {
    match method.as_str() {
        "GET" | "HEAD" => Effect::Read,
        "PUT" | "DELETE" => Effect::Idempotent,
        _ => Effect::Irreversible,
    }
}

/// An id as a tool's name may be.
fn tool_name(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    id.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

fn described(operation: &Operation<'_>) -> String {
    let mut said = operation.summary.trim().to_owned();
    let more = operation.description.trim();
    if !more.is_empty() && more != said {
        if !said.is_empty() {
            said.push_str(if said.ends_with('.') { " " } else { ". " });
        }
        said.push_str(more);
    }
    if said.is_empty() {
        said = format!("{} {}", operation.method, operation.path);
    }
    said.chars().take(DESCRIBED_CHARACTERS).collect()
}

#[cfg(test)]
mod tests;
