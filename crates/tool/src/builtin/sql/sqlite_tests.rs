#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may fail loudly")]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtin::sql::{Database, Sql};
use crate::{Answer, Effect, Secrets, carry_out};

fn shop() -> (tempfile::TempDir, Sql) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers(id), paid REAL);
             CREATE INDEX by_customer ON orders(customer);
             CREATE VIEW paid AS SELECT * FROM orders WHERE paid > 0;
             INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob');
             INSERT INTO orders VALUES (17, 1, 80.5), (18, 2, 0), (19, 1, NULL);",
        )
        .unwrap();
    (folder, Sql::of(Database::Sqlite(file)))
}

async fn call(sql: &Sql, tool: &str, arguments: Value) -> Answer {
    let mut tools = sql.readers();
    tools.push(sql.writer());
    let name = format!("{}.{tool}", sql.name);
    let tool = tools.iter().find(|one| one.spec().name == name).unwrap();
    carry_out(&**tool, arguments, Context::new("k", &Secrets::default()))
        .await
        .unwrap()
}

async fn asked(sql: &Sql, statement: &str) -> String {
    call(sql, "query", json!({"statement": statement}))
        .await
        .text()
}

#[tokio::test]
async fn a_model_sees_the_tables_and_asks_them() {
    let (_folder, sql) = shop();
    insta::assert_snapshot!(call(&sql, "schema", json!({})).await.text(), @r"
    customers: id INTEGER primary key, name TEXT not null
    orders: id INTEGER primary key, customer INTEGER references customers(id), paid REAL
    paid (a view): id INTEGER, customer INTEGER, paid REAL
    ");
    let one = call(&sql, "schema", json!({"table": "Orders"}))
        .await
        .text();
    assert!(
        one.starts_with("orders:") && one.lines().count() == 1,
        "{one}"
    );
    assert!(
        call(&sql, "schema", json!({"table": "nothing"}))
            .await
            .is_error()
    );
    let statement =
        "SELECT name, sum(paid) AS total FROM orders JOIN customers ON customer = customers.id
                     WHERE name = ?1 AND total > ?2";
    let statement = statement.replace("AND total > ?2", "AND paid > ?2 GROUP BY name");
    let answer = call(
        &sql,
        "query",
        json!({"statement": statement, "parameters": ["Ann", 1]}),
    )
    .await;
    assert_eq!(
        answer.text(),
        r#"{"columns":["name","total"],"rows":[["Ann",80.5]]}"#
    );
    let wrong = call(
        &sql,
        "query",
        json!({"statement": "SELECT ?1", "parameters": []}),
    )
    .await;
    assert_eq!(
        wrong.text(),
        "the statement has 1 placeholders, and 0 parameters were given"
    );
    let effects: Vec<Effect> = sql
        .readers()
        .iter()
        .map(|tool| tool.spec().effect)
        .collect();
    assert_eq!(effects, [Effect::Read, Effect::Read]);
    assert_eq!(sql.writer().spec().effect, Effect::Irreversible);
}

#[tokio::test]
async fn a_query_only_reads() {
    let (folder, sql) = shop();
    let outside = folder.path().join("outside.db");
    let attach = format!("ATTACH '{}' AS out", outside.display());
    let vacuum = format!("VACUUM INTO '{}'", outside.display());
    for statement in [
        "DELETE FROM orders",
        "INSERT INTO customers VALUES (3, 'Eve')",
        "UPDATE orders SET paid = 1 RETURNING id",
        "WITH x AS (SELECT 1) DELETE FROM orders",
        "DROP TABLE orders",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('x')",
        "SELECT * FROM pragma_database_list",
        "BEGIN",
        "REINDEX",
        "ANALYZE",
        &attach,
        &vacuum,
        "SELECT 1; DELETE FROM orders",
    ] {
        let answer = call(&sql, "query", json!({"statement": statement})).await;
        assert!(answer.is_error(), "{statement}: {}", answer.text());
        assert!(
            !answer.text().contains(&*folder.path().to_string_lossy()),
            "{}",
            answer.text()
        );
    }
    assert!(!outside.exists());
    assert_eq!(
        asked(&sql, "SELECT 1; SELECT 2").await,
        "one statement at a time"
    );
    let count = asked(&sql, "SELECT count(*) AS n FROM orders; -- all").await;
    assert_eq!(count, r#"{"columns":["n"],"rows":[[3]]}"#);
    let quoted = asked(&sql, "SELECT id FROM customers WHERE name = \"Ann\"").await;
    assert!(quoted.contains("no such column"), "{quoted}");
}

#[tokio::test]
async fn a_statement_ends_by_time_rows_and_bytes() {
    let (_folder, mut sql) = shop();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT";
    sql.limits.time = Duration::from_millis(50);
    let stopped = asked(&sql, &format!("{endless} max(i) FROM n")).await;
    assert_eq!(
        stopped,
        "the statement was stopped: it took longer than 0.05 s; ask for less"
    );
    sql.limits = SqlLimits {
        rows: 2,
        ..SqlLimits::default()
    };
    assert_eq!(
        asked(&sql, &format!("{endless} i FROM n")).await,
        r#"{"columns":["i"],"rows":[[1],[2]],"note":"there are more than these 2 rows; count, group or narrow down"}"#
    );
    sql.limits = SqlLimits {
        bytes: 100,
        ..SqlLimits::default()
    };
    let long = asked(&sql, &format!("{endless} printf('%060d', i) FROM n")).await;
    assert!(
        long.contains("more than these 1 rows: all would be longer than 100 bytes"),
        "{long}"
    );
    let huge = asked(&sql, "SELECT zeroblob(500000000)").await;
    assert!(huge.contains("too big"), "{huge}");
}

#[tokio::test]
async fn values_of_every_kind_come_and_go() {
    let (_folder, sql) = shop();
    let arguments = json!({
        "statement": "SELECT ?1, ?2, ?3, ?4, ?5, x'0102', 9e999",
        "parameters": [null, true, 1.5, "it's", [1]],
    });
    let rows = call(&sql, "query", arguments).await.text();
    assert!(
        rows.ends_with(r#""rows":[[null,1,1.5,"it's","[1]","[2 bytes]","inf"]]}"#),
        "{rows}"
    );
}

#[tokio::test]
async fn writing_is_one_statement_in_one_transaction() {
    let (folder, sql) = shop();
    let insert = json!({"statement": "INSERT INTO customers VALUES (?1, ?2), (4, 'Dan') RETURNING id", "parameters": [3, "Eve"]});
    assert_eq!(
        call(&sql, "write", insert.clone()).await.text(),
        r#"{"rows_changed":2}"#
    );
    assert!(call(&sql, "write", insert).await.is_error());
    let outside = folder.path().join("outside.db");
    for statement in [
        format!("ATTACH '{}' AS out", outside.display()),
        format!("VACUUM INTO '{}'", outside.display()),
        "PRAGMA journal_mode = OFF".to_owned(),
        "COMMIT".to_owned(),
        "DELETE FROM customers; COMMIT".to_owned(),
    ] {
        let answer = call(&sql, "write", json!({"statement": statement})).await;
        assert!(answer.is_error(), "{statement}: {}", answer.text());
    }
    assert!(!outside.exists());
    assert_eq!(
        asked(&sql, "SELECT count(*) FROM customers").await,
        r#"{"columns":["count(*)"],"rows":[[4]]}"#
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.db");
    let sql = Sql::of(Database::Sqlite(file.clone()));
    for tool in sql.readers().into_iter().chain([sql.writer()]) {
        let arguments = match tool.spec().name.as_str() {
            "sql.schema" => json!({}),
            _ => json!({"statement": "SELECT 1"}),
        };
        let Err(error) = tool.call(arguments, Context::default()).await else {
            panic!("{} answered", tool.spec().name);
        };
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    assert!(!file.exists());
}

/// Statements put together from what writes, what reads, and what separates.
fn statement() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("SELECT"),
        Just("1"),
        Just("*"),
        Just("FROM"),
        Just("orders"),
        Just("customers"),
        Just("DELETE"),
        Just("INSERT"),
        Just("INTO"),
        Just("VALUES"),
        Just("(9, 'x')"),
        Just("UPDATE"),
        Just("SET"),
        Just("name = 'x'"),
        Just("DROP"),
        Just("TABLE"),
        Just("CREATE"),
        Just("t"),
        Just("AS"),
        Just("WITH"),
        Just("x AS (SELECT 1)"),
        Just("RETURNING"),
        Just(";"),
        Just("--\n"),
        Just("/**/"),
        Just("PRAGMA"),
        Just("user_version = 7"),
        Just("BEGIN"),
        Just("COMMIT"),
        Just("EXPLAIN"),
        Just("REPLACE"),
        Just("VACUUM"),
        Just("REINDEX"),
        Just("ALTER"),
        Just("RENAME TO y"),
    ];
    proptest::collection::vec(word, 1..8).prop_map(|words| words.join(" "))
}

#[test]
fn no_query_changes_the_file() {
    let (_folder, sql) = shop();
    let Database::Sqlite(file) = sql.database.clone() else {
        panic!("no file")
    };
    let before = std::fs::read(&file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    runner
        .run(&statement(), |statement| {
            runtime.block_on(asked(&sql, &statement));
            prop_assert!(std::fs::read(&file).unwrap() == before, "{}", statement);
            Ok(())
        })
        .unwrap();
}
