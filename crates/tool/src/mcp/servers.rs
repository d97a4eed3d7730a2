//! Servers by name: started when they are first needed, once, and stopped with this.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::connection::{CallEnd, Connection};
use super::passed::Passed;
use super::remote::{Reader, Remote};
use super::{Definition, Error, Keys, LoginError, Pins, Result, ServerConfig, reading};
use crate::{Limits, Spec, Tool};

/// What servers are put together from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers by name.
    pub servers: BTreeMap<String, ServerConfig>,
    /// The folder that their folders are relative to.
    pub project: PathBuf,
    /// What has been approved.
    pub pins: Pins,
    /// The keys to those that want a login.
    pub keys: Keys,
}

/// Servers by name. Cheap to clone; they stop when the last clone goes.
#[derive(Clone)]
pub struct Servers(Arc<Inner>);

struct Inner {
    settings: Settings,
    slots: Mutex<HashMap<String, Slot>>,
}

/// One server at work; whoever comes second waits for its start.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

/// The tools of servers as a run pins them: by server.
pub type Pinned = BTreeMap<String, Vec<Definition>>;

impl Servers {
    /// No server is started yet.
    pub fn new(settings: Settings) -> Servers {
        Servers(Arc::new(Inner {
            settings,
            slots: Mutex::default(),
        }))
    }

    /// No servers at all.
    pub fn none() -> Servers {
        Servers::new(Settings {
            servers: BTreeMap::new(),
            project: PathBuf::new(),
            pins: Pins::at(&PathBuf::new()),
            keys: Keys::at(&PathBuf::new()),
        })
    }

    /// All servers, by name.
    pub fn all(&self) -> &BTreeMap<String, ServerConfig> {
        &self.0.settings.servers
    }

    /// What has been approved.
    pub fn pins(&self) -> &Pins {
        &self.0.settings.pins
    }

    /// The keys to those that want a login.
    pub fn keys(&self) -> &Keys {
        &self.0.settings.keys
    }

    /// The server of a name.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is none.
    pub fn config(&self, server: &str) -> Result<&ServerConfig> {
        let all = self.all();
        all.get(server).ok_or_else(|| {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            Error::Setting {
                message: format!("there is no MCP server `{server}`"),
                hint: match names.is_empty() {
                    true => {
                        format!("describe it in plumb.toml, as [mcp.{server}] command = [\"...\"]")
                    }
                    false => format!("there are {}; plumb.toml describes them", names.join(", ")),
                },
            }
        })
    }

    /// The approved tools of a server that fit a pattern: a tool's name, the beginning of one and `*`, or `*`.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is none, or they have not been approved.
    pub fn approved(&self, server: &str, pattern: &str) -> Result<Vec<Definition>> {
        self.config(server)?;
        if pattern.starts_with('@') {
            return Ok(Vec::new());
        }
        let pins = self.pins().of(server)?;
        let fitting = pins.values().map(|pin| &pin.tool);
        let fitting: Vec<Definition> = fitting
            .filter(|tool| fits(&tool.name, pattern))
            .cloned()
            .collect();
        if !fitting.is_empty() {
            return Ok(fitting);
        }
        let approved: Vec<&str> = pins.keys().map(String::as_str).collect();
        Err(match approved.is_empty() {
            true => Error::Setting {
                message: format!("no tool of the MCP server {server} has been approved"),
                hint: format!("plumb mcp approve {server} shows what it offers, and asks"),
            },
            false => Error::Setting {
                message: format!(
                    "no approved tool of the MCP server {server} is called `{pattern}`"
                ),
                hint: format!(
                    "there are {}; plumb mcp approve {server} approves others",
                    approved.join(", ")
                ),
            },
        })
    }

    /// The tools of a server that fit a pattern, as a run has pinned them; as they are approved where it has not.
    /// `@resources` and `@prompts` are tools that read those of the server. No server is started.
    ///
    /// # Errors
    /// As [`Servers::approved`].
    pub fn tools(
        &self,
        server: &str,
        pattern: &str,
        pinned: &Pinned,
    ) -> Result<Vec<Arc<dyn Tool>>> {
        let config = self.config(server)?;
        match pattern {
            "@resources" => return Ok(reading::resources(self, server, config)),
            "@prompts" => return Ok(reading::prompts(self, server, config)),
            _ => {}
        }
        let definitions = match pinned.get(server) {
            Some(pinned) => {
                let fitting = pinned.iter().filter(|tool| fits(&tool.name, pattern));
                fitting.cloned().collect()
            }
            None => self.approved(server, pattern)?,
        };
        let tools = definitions.into_iter().map(|definition| {
            Arc::new(self.tool(server, config, definition, Reader::Model)) as Arc<dyn Tool>
        });
        Ok(tools.collect())
    }

    /// A server that is passed on to other programs.
    ///
    /// # Errors
    /// As [`Servers::approved`].
    pub fn passed(&self, server: &str) -> Result<Passed> {
        let config = self.config(server)?;
        let approved = self.approved(server, "*")?;
        let tools = approved.into_iter().map(|definition| {
            let name = definition.name.clone();
            let mut tool = self.tool(server, config, definition, Reader::Client);
            tool.spec.name = name;
            Arc::new(tool) as Arc<dyn Tool>
        });
        Ok(Passed {
            tools: tools.collect(),
            servers: self.clone(),
            server: server.to_owned(),
        })
    }

    fn tool(
        &self,
        server: &str,
        config: &ServerConfig,
        definition: Definition,
        reader: Reader,
    ) -> Remote {
        let own = config.effects.get(&definition.name).copied();
        let spec = Spec {
            parameters: parameters(&definition),
            effect: own.unwrap_or_else(|| definition.annotations.effect()),
            // A server that does not say that its world is closed may pass on what it is given.
            sends_out: Some(definition.annotations.open_world != Some(false)),
            limits: limits(config),
            ..Spec::new(&definition.full_name(server), &definition.description)
        };
        Remote {
            servers: self.clone(),
            server: server.to_owned(),
            definition,
            spec,
            reader,
        }
    }

    /// What a server offers now; starts it.
    ///
    /// # Errors
    /// [`Error::Unreachable`] and [`Error::Login`].
    pub async fn offered(&self, server: &str) -> Result<Vec<Definition>> {
        let config = self.config(server)?;
        let connection = self.connection(server).await?;
        let unreachable = |message: String| Error::Unreachable {
            server: server.to_owned(),
            message,
            hint: "ask who wrote it".to_owned(),
        };
        match connection.offered(config.start()).await {
            Ok(tools) => Ok(tools.to_vec()),
            Err(CallEnd::Login(scope)) => Err(Error::Login {
                server: server.to_owned(),
                scope: scope
                    .map(|scope| format!(" --scope '{scope}'"))
                    .unwrap_or_default(),
            }),
            Err(CallEnd::Gone(how)) => Err(unreachable(how)),
            Err(CallEnd::Refused(error)) => Err(unreachable(format!(
                "does not say what it offers: {}",
                error.message
            ))),
            Err(CallEnd::TooLong) => Err(unreachable("does not say what it offers".to_owned())),
        }
    }

    /// A server's name for itself, and the version of the protocol; starts it.
    ///
    /// # Errors
    /// As [`Servers::offered`].
    pub async fn about(&self, server: &str) -> Result<(String, String)> {
        Ok(self.connection(server).await?.about())
    }

    /// Logs in at a server, see [`Keys::login`].
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(
        &self,
        server: &str,
        scopes: Vec<String>,
        open: impl FnOnce(&str),
    ) -> Result<(), LoginError> {
        let config = self.config(server).map_err(LoginError::new)?;
        let challenge = super::opening::challenge(config, server).await;
        let keys = self.keys();
        keys.login(server, config, (challenge, scopes), open).await
    }

    /// The server at work, which is started where it is not.
    pub(super) async fn connection(&self, server: &str) -> Result<Arc<Connection>> {
        let config = self.config(server)?;
        let slot = self.slot(server);
        let mut open = slot.lock().await;
        if let Some(connection) = open.as_ref().filter(|connection| !connection.is_gone()) {
            return Ok(Arc::clone(connection));
        }
        // Stopped before its successor starts.
        drop(open.take());
        let Settings { project, keys, .. } = &self.0.settings;
        let connection = Arc::new(Connection::open(server, config, project, keys).await?);
        *open = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Has no more to do with a connection that has gone.
    pub(super) async fn leave(&self, server: &str, gone: &Arc<Connection>) {
        let slot = self.slot(server);
        let mut open = slot.lock().await;
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, gone)) {
            *open = None;
        }
    }

    fn slot(&self, server: &str) -> Slot {
        let slots = self.0.slots.lock();
        let mut slots = slots.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(server.to_owned()).or_default())
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.all().keys();
        formatter.debug_list().entries(names).finish()
    }
}

/// A call's own limit of time counts; this one is beyond it, for a start and a person's answer.
pub(super) fn limits(config: &ServerConfig) -> Limits {
    Limits {
        time: config.time() * 2 + config.ask() * 10 + config.start() * 2 + Duration::from_secs(10),
        answer_bytes: config.answer_bytes,
    }
}

/// Some servers leave the type out, and models want it.
fn parameters(definition: &Definition) -> serde_json::Value {
    let mut schema = definition.schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.entry("type").or_insert_with(|| "object".into());
        fields
            .entry("properties")
            .or_insert_with(|| serde_json::json!({}));
        // It says which dialect, which models do not care about.
        fields.remove("$schema");
    }
    schema
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

/// The time now, in milliseconds since 1970 (UTC): when something was approved.
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
