//! Postgres: a connection for each call.
//!
//! What reads is a cursor in a read-only transaction: the server takes no other statement than a query for one, so
//! neither `COPY ... TO PROGRAM` nor `CALL`, `DO` or `COMMIT` gets through. All values travel as text and are read by
//! the server's own rules.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use serde_json::{Number, Value};
use tokio_postgres::error::SqlState;

use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Rows, SqlLimits, Statement, Written, too_long, wrong_number};
use crate::{Error, Result};

/// How long connecting may take.
const CONNECTING: Duration = Duration::from_secs(5);
/// Rows that are fetched at once.
const BATCH: usize = 100;

/// The tables with their columns, one a line.
const SCHEMA: &str = "
SELECT CASE WHEN n.nspname = current_schema() THEN '' ELSE n.nspname || '.' END || c.relname
       || CASE WHEN c.relkind IN ('v', 'm') THEN ' (a view)' ELSE '' END,
       string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN k.contype = 'p' THEN ' primary key' WHEN a.attnotnull THEN ' not null' ELSE '' END
           || coalesce(f.said, ''), ', ' ORDER BY a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)
LEFT JOIN LATERAL (
    SELECT ' references ' || g.confrelid::regclass || '(' || b.attname || ')' AS said
    FROM pg_constraint g
    JOIN pg_attribute b ON b.attrelid = g.confrelid AND b.attnum = g.confkey[array_position(g.conkey, a.attnum)]
    WHERE g.conrelid = c.oid AND g.contype = 'f' AND a.attnum = ANY (g.conkey) LIMIT 1
) f ON true
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
  AND has_table_privilege(c.oid, 'SELECT')
  AND ($1::text IS NULL OR lower(c.relname) = lower($1) OR lower(n.nspname || '.' || c.relname) = lower($1))
GROUP BY n.nspname, c.relname, c.relkind ORDER BY 1";

/// The tables with their columns, one a line.
pub(super) async fn schema(
    connection: &str,
    limits: &SqlLimits,
    table: Option<&str>,
) -> Result<String> {
    let asked = Statement {
        statement: SCHEMA.to_owned(),
        parameters: vec![table.map_or(Value::Null, Value::from)],
    };
    let found = query(connection, limits, &asked).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = found.rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().map(text).collect();
        cells.join(": ")
    });
    let mut lines: Vec<String> = lines.collect();
    lines.extend(found.note);
    match (lines.is_empty(), table) {
        (false, _) => Ok(lines.join("\n")),
        (true, None) => Ok("There are no tables.".to_owned()),
        (true, Some(_)) => Err("there is no such table".into()),
    }
}

/// The rows of a query.
pub(super) async fn query(connection: &str, limits: &SqlLimits, asked: &Statement) -> Result<Rows> {
    let mut client = connect(connection, limits).await?;
    let told = |error: tokio_postgres::Error| told(&error, limits);
    let transaction = client.build_transaction().read_only(true);
    let transaction = transaction.start().await.map_err(told)?;
    // From here on the transaction cannot be made one that writes.
    transaction.simple_query("SELECT 1").await.map_err(told)?;
    // Says how many values it wants and what its columns are, and takes one statement only.
    let statement = transaction.prepare(&asked.statement).await.map_err(told)?;
    if statement.params().len() != asked.parameters.len() {
        return Err(wrong_number(
            statement.params().len(),
            asked.parameters.len(),
        ));
    }
    let columns: Vec<(String, Type)> = statement
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), column.type_().clone()))
        .collect();
    let cursor = format!(
        "DECLARE plumb_rows NO SCROLL CURSOR FOR {}",
        asked.statement
    );
    let values: Vec<Text<'_>> = asked.parameters.iter().map(Text).collect();
    let values = values.iter().map(|value| value as &(dyn ToSql + Sync));
    let values: Vec<&(dyn ToSql + Sync)> = values.collect();
    transaction.execute(&cursor, &values).await.map_err(told)?;
    let mut rows = Rows {
        columns: columns.iter().map(|(name, _)| name.clone()).collect(),
        ..Rows::default()
    };
    let fetch = format!("FETCH FORWARD {BATCH} FROM plumb_rows");
    loop {
        let batch = transaction.simple_query(&fetch).await.map_err(told)?;
        let mut got = 0;
        for message in batch {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            got += 1;
            let cells = columns.iter().enumerate();
            let cells = cells.map(|(index, (_, kind))| json(row.get(index), kind));
            if !rows.take(cells.collect(), limits) {
                return Ok(rows);
            }
        }
        if got < BATCH {
            return Ok(rows);
        }
    }
}

/// Changes the data with one statement, in a transaction.
pub(super) async fn write(
    connection: &str,
    limits: &SqlLimits,
    asked: &Statement,
) -> Result<Written> {
    let mut client = connect(connection, limits).await?;
    let told = |error: tokio_postgres::Error| told(&error, limits);
    let transaction = client.transaction().await.map_err(told)?;
    let statement = transaction.prepare(&asked.statement).await.map_err(told)?;
    if statement.params().len() != asked.parameters.len() {
        return Err(wrong_number(
            statement.params().len(),
            asked.parameters.len(),
        ));
    }
    if !changes_rows(&asked.statement) {
        return Err("only INSERT, UPDATE, DELETE, MERGE and WITH are allowed here".into());
    }
    let values: Vec<Text<'_>> = asked.parameters.iter().map(Text).collect();
    let values = values.iter().map(|value| value as &(dyn ToSql + Sync));
    let values: Vec<&(dyn ToSql + Sync)> = values.collect();
    let rows_changed = transaction
        .execute(&statement, &values)
        .await
        .map_err(told)?;
    // Whether a commit whose answer is lost has happened, nobody knows: the step is in doubt then.
    let lost = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(_) => told(error),
        None => Error::Unavailable(reason(&error)),
    };
    transaction.commit().await.map_err(lost)?;
    Ok(Written { rows_changed })
}

/// Whether a statement begins with a word that changes rows, after blanks and comments.
fn changes_rows(statement: &str) -> bool {
    let mut rest = statement.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // Comments may be nested there; then this is refused, which does no harm.
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            break;
        }
        .trim_start();
    }
    let word: String = rest
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_uppercase();
    matches!(
        word.as_str(),
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH"
    )
}

/// Connects; how that went wrong is never told with the connection string.
async fn connect(connection: &str, limits: &SqlLimits) -> Result<Client> {
    let down = |message: String| Error::Unavailable(format!("the database: {message}"));
    let mut config: Config = connection.parse().map_err(|_| {
        down("its connection string is none; write postgres://user:password@host/name".to_owned())
    })?;
    config.connect_timeout(CONNECTING);
    config.application_name("plumb");
    let options = format!(
        "{} -c statement_timeout={} -c idle_in_transaction_session_timeout=60000",
        config.get_options().unwrap_or_default(),
        limits.time.as_millis()
    );
    config.options(options);
    let connecting = config.connect(tls().map_err(down)?);
    let (client, connection) = tokio::time::timeout(CONNECTING * 2, connecting)
        .await
        .map_err(|_| down("it does not answer".to_owned()))?
        .map_err(|error| down(reason(&error)))?;
    // Ends when the client is dropped.
    tokio::spawn(connection);
    Ok(client)
}

fn tls() -> Result<MakeRustlsConnect, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// A value in the text that the server reads as what it wants there.
#[derive(Debug)]
struct Text<'a>(&'a Value);

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::String(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                out.extend_from_slice(self.0.to_string().as_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A value from the server's text. What has no form in JSON stays text, so that no digit is lost.
fn json(text: Option<&str>, kind: &Type) -> Value {
    let Some(text) = text else {
        return Value::Null;
    };
    let read = match *kind {
        Type::BOOL => Some(Value::Bool(text == "t")),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            text.parse().ok().map(|whole: i64| whole.into())
        }
        Type::FLOAT4 | Type::FLOAT8 => {
            let real = text.parse().ok().and_then(Number::from_f64);
            real.map(Value::Number)
        }
        Type::NUMERIC => {
            let real = text.parse().ok().and_then(Number::from_f64);
            let same = real.filter(|number| number.to_string() == text);
            let whole = text.parse::<i64>().ok().map(Number::from);
            whole.or(same).map(Value::Number)
        }
        Type::JSON | Type::JSONB => serde_json::from_str(text).ok(),
        Type::BYTEA => Some(format!("[{} bytes]", text.len().saturating_sub(2) / 2).into()),
        _ => None,
    };
    read.unwrap_or_else(|| text.into())
}

/// In words for the model.
fn told(error: &tokio_postgres::Error, limits: &SqlLimits) -> Error {
    let Some(said) = error.as_db_error() else {
        // The connection broke, or a value could not be written.
        return match error.is_closed() {
            true => Error::Unavailable(reason(error)),
            false => Error::Failed(reason(error)),
        };
    };
    if *said.code() == SqlState::QUERY_CANCELED {
        return too_long(limits);
    }
    let message = said.message();
    let hint = said.hint().map(|hint| format!(" ({hint})"));
    Error::Failed(format!("{message}{}", hint.unwrap_or_default()))
}

/// With what is behind it.
fn reason(error: &tokio_postgres::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    let mut distrusts = false;
    while let Some(behind) = source {
        distrusts |= is_about_certificates(behind);
        let behind_said = behind.to_string();
        if !said.contains(&behind_said) {
            said.push_str(": ");
            said.push_str(&behind_said);
        }
        source = behind.source();
    }
    if distrusts {
        said.push_str("; where the server is this machine, add sslmode=disable to its connection string, else SSL_CERT_FILE names the certificate to trust");
    }
    said
}

fn is_about_certificates(error: &(dyn StdError + 'static)) -> bool {
    let carried = error
        .downcast_ref::<std::io::Error>()
        .and_then(|error| error.get_ref());
    let carried = carried.and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(carried, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_what_they_are() {
        for (text, kind, value) in [
            (Some("t"), Type::BOOL, json!(true)),
            (Some("-7"), Type::INT8, json!(-7)),
            (Some("NaN"), Type::FLOAT8, json!("NaN")),
            (Some("19.5"), Type::NUMERIC, json!(19.5)),
            (Some("19.50"), Type::NUMERIC, json!("19.50")),
            (
                Some("12345678901234567890.12"),
                Type::NUMERIC,
                json!("12345678901234567890.12"),
            ),
            (Some("{\"a\": 1}"), Type::JSONB, json!({"a": 1})),
            (Some("\\x0102"), Type::BYTEA, json!("[2 bytes]")),
            (Some("2026-11-27"), Type::DATE, json!("2026-11-27")),
            (None, Type::INT4, json!(null)),
        ] {
            assert_eq!(super::json(text, &kind), value);
        }
    }

    #[test]
    fn only_what_changes_rows_is_written() {
        for (statement, right) in [
            ("insert into t values (1)", true),
            ("  -- a word\n /* and one */ UPDATE t SET a = 1", true),
            ("WITH x AS (SELECT 1) DELETE FROM t", true),
            ("DROP TABLE t", false),
            ("COPY t TO PROGRAM 'sh'", false),
            ("-- insert", false),
            ("/* insert", false),
            ("", false),
        ] {
            assert_eq!(changes_rows(statement), right, "{statement}");
        }
    }

    #[test]
    fn a_connection_string_is_not_told() {
        let connecting = async { connect("postgres://me:hush@", &SqlLimits::default()).await };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        match runtime.block_on(connecting) {
            Err(Error::Unavailable(message)) => assert!(!message.contains("hush"), "{message}"),
            other => assert!(other.is_err(), "it connected"),
        }
    }
}
