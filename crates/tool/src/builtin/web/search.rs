//! `web.search`: what a search engine finds.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::builtin::net::{Net, Reach, RequestLimits, Sent};
use crate::{Context, Effect, Error, Function, Result, Source, Tool};

/// The longest text shown of a finding, in characters.
const SHOWN_CHARACTERS: usize = 500;

/// Who searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A SearXNG server, which has to answer in JSON as well (`search.formats` in its settings).
    Searxng,
    /// Brave Search.
    Brave,
    /// Tavily.
    Tavily,
}

/// A search in the web.
#[derive(Clone, Debug)]
pub struct WebSearch {
    /// Who searches.
    pub engine: Engine,
    /// Its address, where it is not the usual one; SearXNG has none.
    pub url: Url,
    /// The name of the secret that has the key.
    pub key: Option<String>,
    /// Findings that are given. 5.
    pub results: usize,
    /// How long a search may take. 20 s.
    pub time: Duration,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The words to look for, as one would type them.
    query: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Finding {
    title: String,
    url: String,
    text: String,
}

impl Engine {
    /// Where it is, when it is in one place only.
    pub fn usual_url(self) -> Option<&'static str> {
        match self {
            Engine::Searxng => None,
            Engine::Brave => Some("https://api.search.brave.com"),
            Engine::Tavily => Some("https://api.tavily.com"),
        }
    }

    /// The environment variable of its key, where it wants one.
    pub fn usual_key(self) -> Option<&'static str> {
        match self {
            Engine::Searxng => None,
            Engine::Brave => Some("BRAVE_API_KEY"),
            Engine::Tavily => Some("TAVILY_API_KEY"),
        }
    }

    /// Where in its answer the findings are, and under which name the text of one.
    fn findings(self) -> (&'static str, &'static str) {
        match self {
            Engine::Searxng | Engine::Tavily => ("/results", "content"),
            Engine::Brave => ("/web/results", "description"),
        }
    }
}

impl WebSearch {
    /// A search with its usual key, and the usual limits.
    pub fn new(engine: Engine, url: Url) -> WebSearch {
        WebSearch {
            engine,
            url,
            key: engine.usual_key().map(str::to_owned),
            results: 5,
            time: Duration::from_secs(20),
        }
    }

    /// The tool `web.search`.
    pub fn tool(&self) -> Arc<dyn Tool> {
        // Who named the server meant it, wherever it is.
        let reach = Reach {
            private: self.url.host_str().map(str::to_owned).into_iter().collect(),
            hosts: Vec::new(),
        };
        let limits = RequestLimits {
            time: self.time,
            bytes: 2_000_000,
            redirects: 0,
        };
        let net = Net::new(reach, limits);
        let with = Arc::new(self.clone());
        let mut search = Function::new(
            "web.search",
            "Searches the web and gives addresses with what they are about; web.fetch reads one.",
            move |search: Search, context: Context| {
                let (net, with) = (net.clone(), Arc::clone(&with));
                async move { with.find(&net, &search.query, &context).await }
            },
        )
        .effect(Effect::Read)
        .source(Source::Web)
        .sends_out(true);
        search.spec.limits.time = self.time + Duration::from_secs(5);
        search.spec.secrets.extend(self.key.clone());
        Arc::new(search)
    }

    async fn find(&self, net: &Net, query: &str, context: &Context) -> Result<Vec<Finding>> {
        let query = query.trim();
        if query.is_empty() {
            return Err("the query is empty".into());
        }
        let key = match &self.key {
            Some(name) => Some(context.secret(name)?),
            None => None,
        };
        let received = net.send(self.request(query, key)?).await?;
        let status = received.status;
        if !status.is_success() {
            let why = match (self.engine, status.as_u16()) {
                (_, 429) => "there were too many searches; wait a while".to_owned(),
                (Engine::Searxng, 403) => {
                    return Err(unavailable(
                        "it does not answer in JSON; add json to search.formats in its settings.yml",
                    ));
                }
                (_, 401 | 403) => {
                    return Err(unavailable(&format!("it refused the key ({status})")));
                }
                _ => format!("the search answered {status}"),
            };
            return Err(why.into());
        }
        let answer: Value = serde_json::from_slice(&received.body)
            .map_err(|error| format!("the search answered no JSON: {error}"))?;
        let found = self.findings(&answer);
        match found.is_empty() {
            true => Err("nothing was found; search with other words".into()),
            false => Ok(found),
        }
    }

    fn request(&self, query: &str, key: Option<&str>) -> Result<Sent> {
        let mut headers =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let mut url = self.url.clone();
        let path = match self.engine {
            Engine::Searxng | Engine::Tavily => "search",
            Engine::Brave => "res/v1/web/search",
        };
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        let count = self.results.to_string();
        let mut body = None;
        match self.engine {
            Engine::Searxng => {
                url.query_pairs_mut()
                    .append_pair("q", query)
                    .append_pair("format", "json");
                if let Some(key) = key {
                    headers.insert(AUTHORIZATION, secret(&format!("Bearer {key}"))?);
                }
            }
            Engine::Brave => {
                url.query_pairs_mut()
                    .append_pair("q", query)
                    .append_pair("count", &count)
                    .append_pair("text_decorations", "false");
                let name = HeaderName::from_static("x-subscription-token");
                headers.insert(name, secret(key.unwrap_or_default())?);
            }
            Engine::Tavily => {
                headers.insert(
                    AUTHORIZATION,
                    secret(&format!("Bearer {}", key.unwrap_or_default()))?,
                );
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let asked = json!({"query": query, "max_results": self.results});
                body = Some(asked.to_string().into_bytes());
            }
        }
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        Ok(Sent {
            method,
            url,
            headers,
            body,
        })
    }

    fn findings(&self, answer: &Value) -> Vec<Finding> {
        let (place, text) = self.engine.findings();
        let found = answer.pointer(place).and_then(Value::as_array);
        let found = found.into_iter().flatten().filter_map(|one| {
            let field = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
            let url = field("url");
            let is_web = url.starts_with("http://") || url.starts_with("https://");
            is_web.then(|| Finding {
                title: short(field("title")),
                url: url.to_owned(),
                text: short(field(text)),
            })
        });
        found.take(self.results).collect()
    }
}

fn unavailable(why: &str) -> Error {
    Error::Unavailable(format!("the search: {why}"))
}

/// A header that is shown nowhere.
fn secret(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| unavailable("its key has signs that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// On one line, and not too long.
fn short(text: &str) -> String {
    let flat: Vec<&str> = text.split_whitespace().collect();
    let flat = flat.join(" ");
    match flat.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", flat.get(..end).unwrap_or_default()),
        None => flat,
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
