//! SQLite: a file that is opened anew for each call.

use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{Value as Sqlite, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde_json::Value;

use super::{Rows, SqlLimits, Statement, Written, too_long, wrong_number};
use crate::{Context, Error, Result};

/// The longest text or blob that a statement may make, in bytes.
const MOST_VALUE_BYTES: i32 = 10_000_000;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 1_000;

/// The tables with their columns, one a line.
pub(super) async fn schema(
    file: &Path,
    limits: &SqlLimits,
    table: Option<&str>,
    context: Context,
) -> Result<String> {
    let (file, limits, table) = (file.to_owned(), *limits, table.map(str::to_owned));
    blocking(move || {
        let connection = open(&file, false, &limits, &context)?;
        described(&connection, table.as_deref()).map_err(|error| told(&error, &limits))
    })
    .await?
    .ok_or_else(|| "there is no such table".into())
}

/// The rows of a SELECT.
pub(super) async fn query(
    file: &Path,
    limits: &SqlLimits,
    asked: Statement,
    context: Context,
) -> Result<Rows> {
    let (file, limits) = (file.to_owned(), *limits);
    blocking(move || {
        let connection = open(&file, false, &limits, &context)?;
        connection
            .authorizer(Some(reading))
            .map_err(|error| told(&error, &limits))?;
        let mut statement = connection
            .prepare(&asked.statement)
            .map_err(|error| told(&error, &limits))?;
        // The authorizer has seen to it; this is SQLite's own view of the whole.
        if !statement.readonly() {
            return Err(refused());
        }
        bind(&mut statement, &asked.parameters, &limits)?;
        let columns = statement.column_names();
        let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
        let width = columns.len();
        let mut rows = Rows {
            columns,
            ..Rows::default()
        };
        let mut found = statement.raw_query();
        while let Some(row) = found.next().map_err(|error| told(&error, &limits))? {
            let values = (0..width).map(|index| row.get_ref(index).map(json));
            let values: rusqlite::Result<Vec<Value>> = values.collect();
            if !rows.take(values.map_err(|error| told(&error, &limits))?, &limits) {
                break;
            }
        }
        Ok(rows)
    })
    .await
}

/// Changes the data with one statement, in a transaction.
pub(super) async fn write(
    file: &Path,
    limits: &SqlLimits,
    asked: Statement,
    context: Context,
) -> Result<Written> {
    let (file, limits) = (file.to_owned(), *limits);
    blocking(move || {
        let mut connection = open(&file, true, &limits, &context)?;
        let told = |error: rusqlite::Error| told(&error, &limits);
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(told)?;
        transaction.authorizer(Some(writing)).map_err(told)?;
        let before = transaction.total_changes();
        {
            let mut statement = transaction.prepare(&asked.statement).map_err(told)?;
            bind(&mut statement, &asked.parameters, &limits)?;
            let mut rows = statement.raw_query();
            while rows.next().map_err(told)?.is_some() {}
        }
        let rows_changed = transaction.total_changes() - before;
        transaction
            .authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
            .map_err(told)?;
        transaction.commit().map_err(told)?;
        Ok(Written { rows_changed })
    })
    .await
}

/// Nothing is created, and a name is a name and no address.
fn open(file: &Path, write: bool, limits: &SqlLimits, context: &Context) -> Result<Connection> {
    let about = |error: rusqlite::Error| Error::Unavailable(format!("{}: {error}", name(file)));
    let access = match write {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(about)?;
    let begun = Instant::now();
    let (time, context) = (limits.time, context.clone());
    let is_over = move || begun.elapsed() > time || context.is_cancelled();
    connection
        .progress_handler(STEPS, Some(is_over))
        .map_err(about)?;
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        // "Ann" is a column and never quietly a text: the model is told.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(config, on).map_err(about)?;
    }
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MOST_VALUE_BYTES),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
    ] {
        connection.set_limit(limit, most).map_err(about)?;
    }
    if !write {
        connection
            .pragma_update(None, "query_only", true)
            .map_err(about)?;
    }
    Ok(connection)
}

/// What a query may do: select, read, and call functions that stay in the database.
fn reading(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } => of_function(function_name),
        _ => Authorization::Deny,
    }
}

/// What a statement that writes may do: everything within this file and this transaction.
fn writing(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Pragma { .. }
        | AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Unknown { .. } => Authorization::Deny,
        AuthAction::Function { function_name } => of_function(function_name),
        _ => Authorization::Allow,
    }
}

fn of_function(name: &str) -> Authorization {
    let leads_out = [
        "load_extension",
        "readfile",
        "writefile",
        "edit",
        "fts3_tokenizer",
    ];
    match leads_out.iter().any(|out| name.eq_ignore_ascii_case(out)) {
        true => Authorization::Deny,
        false => Authorization::Allow,
    }
}

fn bind(
    statement: &mut rusqlite::Statement<'_>,
    parameters: &[Value],
    limits: &SqlLimits,
) -> Result<()> {
    if statement.parameter_count() != parameters.len() {
        return Err(wrong_number(statement.parameter_count(), parameters.len()));
    }
    for (index, parameter) in parameters.iter().enumerate() {
        let value = match parameter {
            Value::Null => Sqlite::Null,
            Value::Bool(on) => Sqlite::Integer(i64::from(*on)),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Sqlite::Integer(whole),
                (None, Some(real)) => Sqlite::Real(real),
                (None, None) => Sqlite::Text(number.to_string()),
            },
            Value::String(text) => Sqlite::Text(text.clone()),
            Value::Array(_) | Value::Object(_) => Sqlite::Text(parameter.to_string()),
        };
        statement
            .raw_bind_parameter(index + 1, value)
            .map_err(|error| told(&error, limits))?;
    }
    Ok(())
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(whole) => whole.into(),
        ValueRef::Real(real) => serde_json::Number::from_f64(real)
            .map_or_else(|| real.to_string().into(), Value::Number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => format!("[{} bytes]", bytes.len()).into(),
    }
}

/// Tables and views with their columns; `None` when there is no table of this name.
fn described(connection: &Connection, only: Option<&str>) -> rusqlite::Result<Option<String>> {
    let mut tables = connection.prepare(
        "SELECT name, type FROM sqlite_schema
         WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
           AND (?1 IS NULL OR name = ?1 COLLATE NOCASE) ORDER BY name",
    )?;
    let names = tables.query_map([only], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names: Vec<(String, String)> = names.collect::<rusqlite::Result<_>>()?;
    if names.is_empty() {
        return Ok(only.is_none().then(|| "There are no tables.".to_owned()));
    }
    let mut lines = Vec::new();
    for (name, kind) in names {
        let columns = columns(connection, &name)?.join(", ");
        let view = if kind == "view" { " (a view)" } else { "" };
        lines.push(format!("{name}{view}: {columns}"));
    }
    Ok(Some(lines.join("\n")))
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut keys = connection
        .prepare("SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list(?1)")?;
    let keys = keys.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let keys: Vec<(String, String, Option<String>)> = keys.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let columns = statement.query_map([table], |row| {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let (not_null, key): (bool, i64) = (row.get(2)?, row.get(3)?);
        let mut said = format!("{name} {kind}").trim_end().to_owned();
        if key > 0 {
            said.push_str(" primary key");
        } else if not_null {
            said.push_str(" not null");
        }
        if let Some((_, table, column)) = keys.iter().find(|(from, ..)| *from == name) {
            let column = column.as_deref().unwrap_or("its key");
            said.push_str(&format!(" references {table}({column})"));
        }
        Ok(said)
    })?;
    columns.collect()
}

/// In words for the model.
fn told(error: &rusqlite::Error, limits: &SqlLimits) -> Error {
    if matches!(error, rusqlite::Error::MultipleStatement) {
        return "one statement at a time".into();
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => too_long(limits),
        Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => refused(),
        _ => Error::Failed(error.to_string()),
    }
}

fn refused() -> Error {
    Error::Failed("that is not allowed here: only what stays within the data of this database, and only SELECT where it is read".to_owned())
}

/// The file's name without the folders of this machine.
fn name(file: &Path) -> String {
    let name = file.file_name().map(PathBuf::from).unwrap_or_default();
    name.display().to_string()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
