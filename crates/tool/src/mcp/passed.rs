//! A server that is passed on: what it offers goes to another program as it is, and not as a model reads it.
//!
//! Its tools are those that were approved, as they were approved. Resources and prompts are read when they are
//! asked for; there is nothing to approve of them, and nobody here acts on them.

use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{
    CallToolResult, CompleteRequestParams, CompleteResult, ErrorData, GetPromptRequestParams,
    GetPromptResponse, Prompt, ReadResourceRequestParams, ReadResourceResponse, Reference,
    Resource, ResourceTemplate, ServerCapabilities,
};
use rmcp::service::{Peer, ServiceError};
use serde::{Deserialize, Serialize};

use super::Servers;
use super::connection::{CallEnd, Connection};
use crate::Tool;

/// What a tool that is passed on has answered, as its server said it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whole {
    /// An answer, with all its pictures and sounds.
    Result(CallToolResult),
    /// An error of the protocol.
    Error(ErrorData),
}

/// A server that is passed on. Cheap to clone.
#[derive(Clone)]
pub struct Passed {
    pub(super) tools: Vec<Arc<dyn Tool>>,
    pub(super) servers: Servers,
    pub(super) server: String,
}

impl Passed {
    /// The server's name here.
    pub fn name(&self) -> &str {
        &self.server
    }

    /// Its approved tools, under the server's own names. Each answers with a [`Whole`].
    pub fn tools(&self) -> &[Arc<dyn Tool>] {
        &self.tools
    }

    /// What it says that it can do; starts it.
    ///
    /// # Errors
    /// When it is out of reach.
    pub async fn capabilities(&self) -> Result<ServerCapabilities, ErrorData> {
        let info = self.connection().await?.peer().peer_info();
        Ok(info
            .map(|info| info.capabilities.clone())
            .unwrap_or_default())
    }

    /// Its resources; none where it has no such thing.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn resources(&self) -> Result<Vec<Resource>, ErrorData> {
        match self.capabilities().await?.resources {
            Some(_) => self.ask(async |peer| peer.list_all_resources().await).await,
            None => Ok(Vec::new()),
        }
    }

    /// Its families of resources; none where it has no such thing.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn templates(&self) -> Result<Vec<ResourceTemplate>, ErrorData> {
        match self.capabilities().await?.resources {
            Some(_) => {
                self.ask(async |peer| peer.list_all_resource_templates().await)
                    .await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Its prompts; none where it has no such thing.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn prompts(&self) -> Result<Vec<Prompt>, ErrorData> {
        match self.capabilities().await?.prompts {
            Some(_) => self.ask(async |peer| peer.list_all_prompts().await).await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether a resource is one of its own: it lists it, or a template of its begins so.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn has(&self, uri: &str) -> Result<bool, ErrorData> {
        if self.resources().await?.iter().any(|own| own.uri == uri) {
            return Ok(true);
        }
        let templates = self.templates().await?;
        Ok(templates.iter().any(|own| fits(&own.uri_template, uri)))
    }

    /// Whether what is to be completed is its own.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn completes(&self, what: &Reference) -> Result<bool, ErrorData> {
        if self.capabilities().await?.completions.is_none() {
            return Ok(false);
        }
        Ok(match what {
            Reference::Prompt(prompt) => {
                let prompts = self.prompts().await?;
                prompts.iter().any(|own| own.name == prompt.name)
            }
            Reference::Resource(resource) => {
                let templates = self.templates().await?;
                templates.iter().any(|own| own.uri_template == resource.uri)
            }
            _ => false,
        })
    }

    /// What a resource holds, or what it wants to know first.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn read(
        &self,
        asked: ReadResourceRequestParams,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.ask(async |peer| peer.read_resource_once(asked).await)
            .await
    }

    /// What a prompt says, or what it wants to know first.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn prompt(
        &self,
        asked: GetPromptRequestParams,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.ask(async |peer| peer.get_prompt_once(asked).await)
            .await
    }

    /// How an argument may go on.
    ///
    /// # Errors
    /// When it is out of reach, and what it says.
    pub async fn complete(
        &self,
        asked: CompleteRequestParams,
    ) -> Result<CompleteResult, ErrorData> {
        self.ask(async |peer| peer.complete(asked).await).await
    }

    async fn connection(&self) -> Result<Arc<Connection>, ErrorData> {
        let connection = self.servers.connection(&self.server).await;
        connection.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    /// Asks within the time that a call of the server may take.
    async fn ask<T>(
        &self,
        asking: impl AsyncFnOnce(&Peer<RoleClient>) -> Result<T, ServiceError>,
    ) -> Result<T, ErrorData> {
        let out_of_reach = |how: &str| {
            ErrorData::internal_error(format!("the MCP server {} {how}", self.server), None)
        };
        let time = self.servers.config(&self.server);
        let time = time
            .map_err(|error| out_of_reach(&error.to_string()))?
            .time();
        let connection = self.connection().await?;
        match tokio::time::timeout(time, asking(connection.peer())).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match connection.end(error).await {
                CallEnd::Refused(error) => *error,
                CallEnd::Gone(how) => {
                    self.servers.leave(&self.server, &connection).await;
                    out_of_reach(&how)
                }
                CallEnd::TooLong => out_of_reach("took too long"),
                CallEnd::Login(_) => out_of_reach("wants a login"),
            }),
            Err(_) => Err(out_of_reach("took too long")),
        }
    }
}

/// Whether a URI may come of a template: what stands outside of its braces is there, in order.
fn fits(template: &str, uri: &str) -> bool {
    let mut fixed = template.split('{');
    let first = fixed.next().unwrap_or_default();
    let Some(mut rest) = uri.strip_prefix(first) else {
        return false;
    };
    let mut last = first;
    for part in fixed {
        last = part.split_once('}').map_or("", |(_, after)| after);
        match rest.find(last) {
            Some(at) => rest = rest.get(at + last.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    // Without braces a template is one URI; what ends with one may go on.
    rest.is_empty() || last.is_empty() && template.contains('{')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_resource_is_known_by_its_template() {
        for (template, uri, expected) in [
            ("test://t/{id}/data", "test://t/123/data", true),
            ("test://t/{id}/data", "test://t/123/other", false),
            ("test://t/{id}/data", "test://u/123/data", false),
            ("file:///{+path}", "file:///a/b.txt", true),
            ("note://one", "note://one", true),
            ("note://one", "note://one/two", false),
            ("a:{x}-{y}.txt", "a:1-2.txt", true),
        ] {
            assert_eq!(fits(template, uri), expected, "{template} {uri}");
        }
    }
}
