//! `sql.schema`, `sql.query` and `sql.write`: one database, read only unless it is said otherwise.
//!
//! That only reading is done is not guessed from the words of a statement: SQLite's own authorizer and a file that
//! is opened for reading decide it, and in Postgres a read-only transaction and a cursor, which takes nothing but a
//! query. Values go beside the statement, never into it.

mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Context, Effect, Error, Function, Result, Source, Tool};

/// The longest statement, in bytes.
const MOST_STATEMENT_BYTES: usize = 100_000;
/// How much longer than its statement a call may take: connecting, reading rows.
const AROUND: Duration = Duration::from_secs(10);

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server, by the name of the secret that has its connection string, such as `postgres://user:password@host/name`.
    Postgres(String),
}

/// Where a statement ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlLimits {
    /// How long it may run. 10 s.
    pub time: Duration,
    /// Rows that are given. 200.
    pub rows: usize,
    /// Bytes of all rows together, as JSON. 200,000.
    pub bytes: usize,
}

impl Default for SqlLimits {
    fn default() -> SqlLimits {
        SqlLimits {
            time: Duration::from_secs(10),
            rows: 200,
            bytes: 200_000,
        }
    }
}

/// A database that a model may ask.
#[derive(Clone, Debug)]
pub struct Sql {
    /// What its tools' names begin with: `sql`, unless an agent has several databases.
    pub name: String,
    /// Where the data is.
    pub database: Database,
    /// Where a statement ends.
    pub limits: SqlLimits,
}

/// Which tables to describe.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Describe {
    /// One table; all where not given.
    table: Option<String>,
}

/// What to ask.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Statement {
    /// One SQL statement. Values from users go to `parameters`, with placeholders in the statement.
    statement: String,
    /// The values of the placeholders, in their order.
    #[serde(default)]
    #[schemars(schema_with = "parameters")]
    parameters: Vec<Value>,
}

fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}})
}

/// Rows as a model reads them.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// What is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    bytes: usize,
}

impl Rows {
    /// Takes a row, while there is room; else says that there is more.
    fn take(&mut self, row: Vec<Value>, limits: &SqlLimits) -> bool {
        let bytes = row.iter().map(size).sum::<usize>();
        let full = if self.rows.len() >= limits.rows {
            Some(format!("there are more than these {} rows", limits.rows))
        } else if self.bytes + bytes > limits.bytes {
            let shown = self.rows.len();
            Some(format!(
                "there are more than these {shown} rows: all would be longer than {} bytes",
                limits.bytes
            ))
        } else {
            None
        };
        match full {
            Some(full) => {
                self.note = Some(format!("{full}; count, group or narrow down"));
                false
            }
            None => {
                self.bytes += bytes;
                self.rows.push(row);
                true
            }
        }
    }
}

/// About how many bytes of JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
    }
}

/// What writing came to.
#[derive(Debug, PartialEq, Serialize)]
struct Written {
    rows_changed: u64,
}

impl Sql {
    /// A database under the usual name, within the usual limits.
    pub fn of(database: Database) -> Sql {
        Sql {
            name: "sql".to_owned(),
            database,
            limits: SqlLimits::default(),
        }
    }

    /// The tools that look: `sql.schema` and `sql.query`.
    pub fn readers(&self) -> Vec<Arc<dyn Tool>> {
        let dialect = self.dialect();
        let schema = self.tool(
            "schema",
            &format!("Lists the tables and columns of the {dialect} database."),
            |sql, describe: Describe, context| async move {
                let table = describe.table.as_deref();
                match &sql.database {
                    Database::Sqlite(file) => {
                        sqlite::schema(file, &sql.limits, table, context).await
                    }
                    Database::Postgres(secret) => {
                        postgres::schema(context.secret(secret)?, &sql.limits, table).await
                    }
                }
            },
        );
        let query = self.tool(
            "query",
            &format!(
                "Asks the {dialect} database with one SELECT; placeholders are written {}.",
                self.placeholders()
            ),
            |sql, asked: Statement, context| async move {
                check(&asked)?;
                match &sql.database {
                    Database::Sqlite(file) => {
                        sqlite::query(file, &sql.limits, asked, context).await
                    }
                    Database::Postgres(secret) => {
                        postgres::query(context.secret(secret)?, &sql.limits, &asked).await
                    }
                }
            },
        );
        vec![
            // Its tables are whose database it is; what stands in them, anybody may have written.
            Arc::new(schema.effect(Effect::Read).source(Source::Document)),
            Arc::new(query.effect(Effect::Read)),
        ]
    }

    /// The tool `sql.write`: one statement in a transaction of its own. A call that was cut off is in doubt.
    pub fn writer(&self) -> Arc<dyn Tool> {
        let description = format!(
            "Changes the {} database with one INSERT, UPDATE or DELETE; placeholders are written {}.",
            self.dialect(),
            self.placeholders()
        );
        let write = self.tool(
            "write",
            &description,
            |sql, asked: Statement, context| async move {
                check(&asked)?;
                match &sql.database {
                    Database::Sqlite(file) => {
                        sqlite::write(file, &sql.limits, asked, context).await
                    }
                    Database::Postgres(secret) => {
                        postgres::write(context.secret(secret)?, &sql.limits, &asked).await
                    }
                }
            },
        );
        let write = write.effect(Effect::Irreversible).source(Source::Computed);
        Arc::new(match self.database {
            Database::Sqlite(_) => write.sends_out(false),
            Database::Postgres(_) => write,
        })
    }

    fn tool<A, T, F, Fut>(&self, name: &str, description: &str, work: F) -> Function
    where
        A: serde::de::DeserializeOwned + JsonSchema + Send + 'static,
        T: Serialize + Send + 'static,
        F: Fn(Arc<Sql>, A, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let sql = Arc::new(self.clone());
        let name = format!("{}.{name}", self.name);
        let mut tool = Function::new(&name, description, move |arguments: A, context| {
            work(Arc::clone(&sql), arguments, context)
        });
        tool.spec.limits.time = self.limits.time + AROUND;
        if let Database::Postgres(secret) = &self.database {
            tool.spec.secrets.push(secret.clone());
        }
        tool
    }

    fn dialect(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "SQLite",
            Database::Postgres(_) => "Postgres",
        }
    }

    fn placeholders(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "?1, ?2",
            Database::Postgres(_) => "$1, $2",
        }
    }
}

fn check(asked: &Statement) -> Result<()> {
    match asked.statement.len() {
        0..=MOST_STATEMENT_BYTES => Ok(()),
        _ => Err(format!("the statement is longer than {MOST_STATEMENT_BYTES} bytes").into()),
    }
}

/// What a model is told of the number of its values.
fn wrong_number(wanted: usize, given: usize) -> Error {
    Error::Failed(format!(
        "the statement has {wanted} placeholders, and {given} parameters were given"
    ))
}

fn too_long(limits: &SqlLimits) -> Error {
    Error::Failed(format!(
        "the statement was stopped: it took longer than {} s; ask for less",
        limits.time.as_secs_f32()
    ))
}
