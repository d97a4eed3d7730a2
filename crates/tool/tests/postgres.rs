//! `sql` over a real Postgres server, started here for the test and stopped after it.
//!
//! Where no server is installed the test says so and passes; with `PLUMB_REQUIRE_POSTGRES=1` it fails.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tool::builtin::{Database, Sql};
use tool::{Answer, Context, Effect, Secrets, carry_out};

/// A server of its own, in a folder of its own, that listens on a socket of its own and nowhere else.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A fast shutdown: the data is thrown away.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The newest server of this machine.
fn programs() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let versions = installed.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|bin| bin.join("initdb").exists()).max()
}

/// Postgres refuses to run as root; its own user is there where it is installed.
fn as_postgres(program: &Path, folder: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("TZ", "UTC")
        .env("LC_ALL", "C");
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The user and group `postgres`, when this process is root.
fn other_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    fields.next().zip(fields.next())
}

fn server() -> Option<Server> {
    let Some(bin) = programs() else {
        let required = std::env::var_os("PLUMB_REQUIRE_POSTGRES").is_some_and(|value| value == "1");
        assert!(!required, "apt-get install postgresql");
        eprintln!("skipped: there is no Postgres server");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    let data = folder.path().join("data");
    let made = as_postgres(&bin.join("initdb"), folder.path())
        .args([
            "--auth=trust",
            "--username=plumb",
            "--encoding=UTF8",
            "--no-sync",
            "-D",
        ])
        .arg(&data)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let log = File::create(folder.path().join("log")).unwrap();
    let child = as_postgres(&bin.join("postgres"), folder.path())
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-D"])
        .arg(&data)
        .arg("-k")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Some(Server { child, folder })
}

impl Server {
    fn url(&self) -> String {
        format!(
            "host={} user=plumb dbname=postgres",
            self.folder.path().display()
        )
    }

    /// Waits until it takes connections.
    async fn client(&self) -> tokio_postgres::Client {
        let begun = Instant::now();
        loop {
            match tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn call(&self, sql: &Sql, tool: &str, arguments: Value) -> Answer {
        let mut tools = sql.readers();
        tools.push(sql.writer());
        let name = format!("{}.{tool}", sql.name);
        let tool = tools.iter().find(|one| one.spec().name == name).unwrap();
        let secrets = Secrets::new([("SHOP_DB".to_owned(), self.url())]);
        carry_out(&**tool, arguments, Context::new("k", &secrets))
            .await
            .unwrap()
    }

    async fn ask(&self, sql: &Sql, statement: &str) -> Answer {
        self.call(sql, "query", json!({"statement": statement}))
            .await
    }
}

const SHOP: &str = "
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id serial PRIMARY KEY, customer int REFERENCES customers, paid numeric(8, 2), placed date, about jsonb, ok boolean
);
CREATE VIEW unpaid AS SELECT id FROM orders WHERE paid IS NULL;
CREATE FUNCTION forget() RETURNS int LANGUAGE sql AS 'DELETE FROM orders; SELECT 1';
INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO orders (customer, paid, placed, about, ok) VALUES
    (1, 80.50, '2026-11-27', '{\"chairs\": 4}', true), (2, NULL, '2026-11-28', NULL, false);
";

#[tokio::test]
async fn a_real_server_is_asked_and_nothing_more() {
    let Some(server) = server() else { return };
    let client = server.client().await;
    client.batch_execute(SHOP).await.unwrap();
    let sql = Sql::of(Database::Postgres("SHOP_DB".to_owned()));
    assert_eq!(sql.readers()[0].spec().secrets, ["SHOP_DB"]);

    insta::assert_snapshot!(server.call(&sql, "schema", json!({})).await.text(), @r"
    customers: id integer primary key, name text not null
    orders: id integer primary key, customer integer references customers(id), paid numeric(8,2), placed date, about jsonb, ok boolean
    unpaid (a view): id integer
    ");
    let asked = json!({
        "statement": "SELECT name, paid, placed, about, ok FROM orders JOIN customers c ON c.id = customer \
                      WHERE placed >= $1 AND paid > $2 AND name = $3 AND ok = $4;",
        "parameters": ["2026-01-01", 10, "Ann", true],
    });
    assert_eq!(
        server.call(&sql, "query", asked).await.text(),
        r#"{"columns":["name","paid","placed","about","ok"],"rows":[["Ann","80.50","2026-11-27",{"chairs":4},true]]}"#
    );
    only_reads(&server, &sql, &client).await;
    ends(&server, sql.clone()).await;
    writes(&server, &sql).await;
}

async fn only_reads(server: &Server, sql: &Sql, client: &tokio_postgres::Client) {
    let made = server.folder.path().join("made");
    let program = format!("COPY orders TO PROGRAM 'touch {}'", made.display());
    for statement in [
        "DELETE FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "SELECT forget()",
        "SELECT nextval('orders_id_seq')",
        "SELECT set_config('transaction_read_only', 'off', true), forget()",
        "SELECT 1; DELETE FROM orders",
        "SELECT 1; COMMIT; DELETE FROM orders",
        "COMMIT",
        "DO $$ BEGIN DELETE FROM orders; END $$",
        "CALL forget()",
        "SET TRANSACTION READ WRITE",
        "CREATE TABLE t (a int)",
        "SELECT * INTO t FROM orders",
        "SELECT * FROM orders FOR UPDATE",
        &program,
    ] {
        let answer = server.ask(sql, statement).await;
        assert!(answer.is_error(), "{statement}: {}", answer.text());
    }
    assert!(!made.exists());
    let left = client
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 2);
    // Older servers let this through; the transaction never ends but by being undone.
    server.ask(sql, "SELECT lo_create(0)").await;
    let made = client.query_one("SELECT count(*) FROM pg_largeobject_metadata", &[]);
    assert_eq!(made.await.unwrap().get::<_, i64>(0), 0);
    let two = server.ask(sql, "SELECT 1; SELECT 2").await;
    assert!(two.text().contains("multiple commands"), "{}", two.text());
}

async fn ends(server: &Server, mut sql: Sql) {
    sql.limits.time = Duration::from_millis(100);
    let slow = server.ask(&sql, "SELECT pg_sleep(30)").await;
    assert_eq!(
        slow.text(),
        "the statement was stopped: it took longer than 0.1 s; ask for less"
    );
    sql.limits.time = Duration::from_secs(10);
    sql.limits.rows = 150;
    let many = server
        .ask(&sql, "SELECT i FROM generate_series(1, 10000) i")
        .await;
    assert!(
        many.text().contains("more than these 150 rows"),
        "{}",
        many.text()
    );
    let wrong = server.ask(&sql, "SELECT nam FROM customers").await;
    assert!(
        wrong
            .text()
            .contains("column \"nam\" does not exist (Perhaps"),
        "{}",
        wrong.text()
    );
}

async fn writes(server: &Server, sql: &Sql) {
    assert_eq!(sql.writer().spec().effect, Effect::Irreversible);
    let insert =
        json!({"statement": "INSERT INTO customers VALUES ($1, $2)", "parameters": [3, "Eve"]});
    let wrote = server.call(sql, "write", insert.clone()).await;
    assert_eq!(wrote.text(), r#"{"rows_changed":1}"#);
    let again = server.call(sql, "write", insert).await;
    assert!(again.text().contains("duplicate key"), "{}", again.text());
    for statement in [
        "DROP TABLE orders",
        "COPY orders TO PROGRAM 'true'",
        "COMMIT",
    ] {
        assert!(
            server
                .call(sql, "write", json!({"statement": statement}))
                .await
                .is_error()
        );
    }
}
