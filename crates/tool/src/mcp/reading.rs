//! A server's resources and prompts, as tools that only read. These tools are ours, so there is nothing to approve.

use std::sync::Arc;

use journal::Effect;
use rmcp::model::{GetPromptRequestParams, PaginatedRequestParams, ReadResourceRequestParams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::connection::{CallEnd, Connection};
use super::{ServerConfig, Servers, content, handler};
use crate::{Context, Error, Function, Result, Tool};

/// Nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Which resource.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The resource's URI, as the list shows it.
    uri: String,
}

/// Which prompt.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Prompt {
    /// The prompt's name, as the list shows it.
    name: String,
    /// Its arguments, by name.
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    arguments: Vec<String>,
}

/// Lists and reads resources.
pub(super) fn resources(
    servers: &Servers,
    server: &str,
    config: &ServerConfig,
) -> Vec<Arc<dyn Tool>> {
    let list = reader(
        servers,
        server,
        config,
        "list_resources",
        "Lists what the server has to read.",
        |connection, _: Nothing| async move {
            let page = Some(PaginatedRequestParams::default());
            let listed = connection.peer().list_resources(page).await;
            let listed = refused(&connection, listed).await?;
            let all = listed.resources.into_iter().map(|resource| Listed {
                name: resource.name,
                uri: Some(resource.uri),
                description: resource.description,
                arguments: Vec::new(),
            });
            Ok(serde_json::to_value(all.collect::<Vec<_>>())?)
        },
    );
    let read = reader(
        servers,
        server,
        config,
        "read_resource",
        "Reads a resource of the server.",
        |connection, which: Which| async move {
            let asked = ReadResourceRequestParams::new(which.uri);
            let read = connection.peer().read_resource(asked).await;
            Ok(content::resource(&refused(&connection, read).await?))
        },
    );
    vec![list, read]
}

/// Lists and reads prompts.
pub(super) fn prompts(
    servers: &Servers,
    server: &str,
    config: &ServerConfig,
) -> Vec<Arc<dyn Tool>> {
    let list = reader(
        servers,
        server,
        config,
        "list_prompts",
        "Lists the prompts that the server has.",
        |connection, _: Nothing| async move {
            let page = Some(PaginatedRequestParams::default());
            let listed = connection.peer().list_prompts(page).await;
            let listed = refused(&connection, listed).await?;
            let all = listed.prompts.into_iter().map(|prompt| Listed {
                name: prompt.name,
                uri: None,
                description: prompt.description,
                arguments: prompt
                    .arguments
                    .unwrap_or_default()
                    .into_iter()
                    .map(|argument| argument.name)
                    .collect(),
            });
            Ok(serde_json::to_value(all.collect::<Vec<_>>())?)
        },
    );
    let get = reader(
        servers,
        server,
        config,
        "get_prompt",
        "Gives the text of a prompt of the server.",
        |connection, prompt: Prompt| async move {
            let asked = GetPromptRequestParams::new(prompt.name).with_arguments(prompt.arguments);
            let got = connection.peer().get_prompt(asked).await;
            Ok(content::prompt(&refused(&connection, got).await?))
        },
    );
    vec![list, get]
}

fn reader<A, F, Fut>(
    servers: &Servers,
    server: &str,
    config: &ServerConfig,
    name: &str,
    description: &str,
    work: F,
) -> Arc<dyn Tool>
where
    A: for<'a> Deserialize<'a> + JsonSchema + Send + 'static,
    F: Fn(Arc<Connection>, A) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    let (servers, own, time) = (servers.clone(), server.to_owned(), config.time());
    let full = format!("{server}.{name}");
    let mut function = Function::new(&full, description, move |arguments: A, _: Context| {
        let (servers, own) = (servers.clone(), own.clone());
        async move {
            let connection = servers.connection(&own).await;
            let connection = connection.map_err(|error| Error::Unavailable(error.to_string()))?;
            match tokio::time::timeout(time, work(connection, arguments)).await {
                Ok(done) => done,
                Err(_) => Err(Error::Failed(format!("the MCP server {own} took too long"))),
            }
        }
    })
    .effect(Effect::Read);
    function.spec.limits = super::servers::limits(config);
    function.spec.sends_out = Some(true);
    Arc::new(function)
}

/// An answer, or what a model is told in place of it.
async fn refused<T>(
    connection: &Connection,
    answer: Result<T, rmcp::service::ServiceError>,
) -> Result<T> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => Err(match connection.end(error).await {
            CallEnd::Refused(error) => Error::Failed(handler::plain(&error.message)),
            CallEnd::Gone(how) => Error::Unavailable(format!("the MCP server {how}")),
            CallEnd::TooLong => Error::Failed("the MCP server took too long".to_owned()),
            CallEnd::Login(_) => Error::Unavailable("the MCP server wants a login".to_owned()),
        }),
    }
}
