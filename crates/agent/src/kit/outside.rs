//! The tools that reach beyond the agent's own folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tool::Tool;
use tool::builtin::{
    Auth, AuthPlace, Database, Http, Page, ReadPage, Sandbox, Sql, WebFetch, WebSearch,
};
use url::Url;

use super::Kit;
use crate::definition::{HttpAuth, HttpTool, PythonTool, SqlTool, WebFetchTool, WebSearchTool};
use crate::{Error, Result};

/// What is wrong with the settings of a tool.
fn wrong(tool: &str, message: impl Into<String>, hint: &str) -> Error {
    Error::Tool {
        tool: tool.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
    }
}

impl Kit {
    pub(super) fn sql(&self, settings: &SqlTool) -> Result<Vec<Arc<dyn Tool>>> {
        let database = match (&settings.sqlite, &settings.postgres) {
            (Some(file), None) => {
                let path = self.folder.join(file);
                if !path.is_file() {
                    let message = format!("the database {file} is not there");
                    return Err(wrong(
                        "sql",
                        message,
                        "name a file relative to the agent's file",
                    ));
                }
                Database::Sqlite(path)
            }
            (None, Some(secret)) => Database::Postgres(secret.clone()),
            (None, None) | (Some(_), Some(_)) => {
                let hint = "write `- sql: {sqlite: shop.db}` or `- sql: {postgres: SHOP_DATABASE}`";
                return Err(wrong("sql", "it wants one database", hint));
            }
        };
        let mut sql = Sql::of(database);
        if let Some(name) = &settings.name {
            sql.name.clone_from(name);
        }
        if let Some(rows) = settings.rows {
            sql.limits.rows = rows;
        }
        if let Some(seconds) = settings.time_s {
            sql.limits.time = Duration::from_secs(seconds);
        }
        let mut tools = sql.readers();
        if settings.write {
            tools.push(sql.writer());
        }
        Ok(tools)
    }

    pub(super) fn http(&self, settings: &HttpTool) -> Result<Vec<Arc<dyn Tool>>> {
        let mut http = Http::default();
        if let Some(name) = &settings.name {
            http.name.clone_from(name);
        }
        if let Some(base) = &settings.base_url {
            http.base_url = Some(address("http", base)?);
        }
        if let Some(seconds) = settings.time_s {
            http.time = Duration::from_secs(seconds);
        }
        http.operations.clone_from(&settings.operations);
        http.reach.private.clone_from(&settings.private);
        let effects = settings.effects.iter();
        http.effects = effects
            .map(|(id, said)| (id.clone(), (*said).into()))
            .collect();
        http.auth = settings.auth.as_ref().map(auth).transpose()?;
        let file = self.folder.join(&settings.openapi);
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let message = format!("{} cannot be read: {error}", settings.openapi);
            wrong(
                "http",
                message,
                "name an OpenAPI file relative to the agent's file",
            )
        })?;
        http.tools(&text).map_err(|message| {
            let message = format!("{}: {message}", settings.openapi);
            wrong(
                "http",
                message,
                "see docs/guides/tools.md for what is understood of OpenAPI",
            )
        })
    }

    pub(super) fn python(&self, settings: &PythonTool) -> Result<Arc<dyn Tool>> {
        let sandbox = self.sandbox("python", settings)?;
        sandbox
            .python()
            .map_err(|message| wrong("python", message, "or leave the tool out"))
    }

    pub(super) fn sandbox(&self, tool: &str, settings: &PythonTool) -> Result<Sandbox> {
        let mut sandbox = Sandbox::new().map_err(|message| {
            let hint = "on Debian and Ubuntu: apt-get install bubblewrap; or leave the tool out";
            wrong(tool, message, hint)
        })?;
        if let Some(folder) = &settings.folder {
            let path = self.folder.join(folder);
            let path = path.canonicalize().map_err(|error| {
                let message = format!("the folder {folder}: {error}");
                wrong(
                    tool,
                    message,
                    "name a folder that there is, relative to the agent's file",
                )
            })?;
            sandbox.folder = Some(path);
        } else if settings.write {
            let hint = "name a folder with `folder`";
            return Err(wrong(tool, "there is nothing to write to", hint));
        }
        sandbox.write = settings.write;
        let limits = &mut sandbox.limits;
        limits.memory_mb = settings.memory_mb.unwrap_or(limits.memory_mb);
        limits.processes = settings.processes.unwrap_or(limits.processes);
        if let Some(seconds) = settings.time_s {
            limits.time = Duration::from_secs(seconds);
        }
        Ok(sandbox)
    }
}

pub(super) fn web_fetch(settings: &WebFetchTool) -> Arc<dyn Tool> {
    let mut fetch = WebFetch::new(reader());
    fetch.reach.hosts.clone_from(&settings.hosts);
    fetch.reach.private.clone_from(&settings.private);
    fetch.limits.bytes = settings.bytes.unwrap_or(fetch.limits.bytes);
    if let Some(seconds) = settings.time_s {
        fetch.limits.time = Duration::from_secs(seconds);
    }
    fetch.tool()
}

pub(super) fn web_search(settings: &WebSearchTool) -> Result<Arc<dyn Tool>> {
    let named = settings.url.as_deref();
    let url = named.or(settings.engine.usual_url()).ok_or_else(|| {
        let hint = "write `- web.search: {engine: searxng, url: http://localhost:8888}`";
        wrong("web.search", "where the server is has to be said", hint)
    })?;
    let mut search = WebSearch::new(settings.engine, address("web.search", url)?);
    if let Some(key) = &settings.key {
        search.key = Some(key.clone());
    }
    search.results = settings.results.unwrap_or(search.results);
    Ok(search.tool())
}

fn address(tool: &str, url: &str) -> Result<Url> {
    let read = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    read.ok_or_else(|| {
        let message = format!("`{url}` is no address");
        wrong(tool, message, "write one with http:// or https://")
    })
}

fn auth(settings: &HttpAuth) -> Result<Auth> {
    let place = match (&settings.header, &settings.query, settings.basic) {
        (None, None, false) => AuthPlace::Bearer,
        (None, None, true) => AuthPlace::Basic,
        (Some(header), None, false) => AuthPlace::Header(header.clone()),
        (None, Some(query), false) => AuthPlace::Query(query.clone()),
        _ => {
            return Err(wrong(
                "http",
                "auth goes to one place",
                "give one of header, query and basic",
            ));
        }
    };
    let secret = settings.secret.clone();
    Ok(Auth { secret, place })
}

/// Reads pages as the library reads documents.
fn reader() -> ReadPage {
    Arc::new(
        |name, bytes| match knowledge::read::read_file(Path::new(name), bytes) {
            Ok(document) => Ok(Page {
                // A page without a title is called by the file that it never was.
                title: if document.title == name {
                    String::new()
                } else {
                    document.title
                },
                text: document.text,
            }),
            Err(error) => Err(error.problem.to_string()),
        },
    )
}
