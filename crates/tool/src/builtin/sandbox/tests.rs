//! Where there is no bubblewrap, these assert the refusal, and say so.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests may fail loudly"
)]

use std::time::Instant;

use super::*;
use crate::{Answer, Secrets, carry_out};

fn sandbox() -> Option<Sandbox> {
    match Sandbox::new() {
        Ok(sandbox) => Some(sandbox),
        Err(why) => {
            assert!(
                why.starts_with("there is no sandbox on this machine: "),
                "{why}"
            );
            let required =
                std::env::var_os("PLUMB_REQUIRE_SANDBOX").is_some_and(|value| value == "1");
            assert!(!required, "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

async fn call(tool: &dyn Tool, arguments: Value) -> Answer {
    carry_out(tool, arguments, Context::new("k", &Secrets::default()))
        .await
        .unwrap()
}

async fn sh(sandbox: &Sandbox, script: &str) -> Value {
    let answer = call(&*sandbox.shell(&[]), json!({"script": script})).await;
    match answer {
        Answer::Value(value) => value,
        other => json!({"error": other.text()}),
    }
}

#[test]
fn without_bubblewrap_or_namespaces_there_is_no_tool() {
    let missing = Sandbox::with(None).unwrap_err();
    assert!(missing.contains("install bubblewrap"), "{missing}");
    // Such as bwrap where user namespaces are forbidden.
    let forbidden = tempfile::tempdir().unwrap();
    let program = forbidden.path().join("bwrap");
    std::fs::write(
        &program,
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let refused = Sandbox::with(Some(program)).unwrap_err();
    assert!(
        refused.contains("No permissions") && refused.contains("user namespaces"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_program_sees_the_system_and_nothing_of_the_user() {
    let Some(sandbox) = sandbox() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush").unwrap();
    let script = format!(
        "cat {secret}; ls /home /root /etc/passwd; echo x > /usr/x; echo x > /x; \
         (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1; cat /proc/net/route | wc -l; id -u; pwd; env | sort; \
         echo kept > file; cat file; ls /proc | grep -c '^[0-9]'",
        secret = secret.path().display()
    );
    let run = ["bash".to_owned(), "-c".to_owned(), script];
    let ran = Arc::new(sandbox.clone())
        .run(run.to_vec(), String::new(), Context::default())
        .await
        .unwrap();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].contains("Network is unreachable") || lines[0].contains("Connection refused"),
        "{ran:?}"
    );
    let rest = lines.iter().filter(|line| !line.starts_with("bash: "));
    let rest: Vec<&str> = rest
        .copied()
        .filter(|line| !line.starts_with("_=") && !line.starts_with("SHLVL"))
        .collect();
    let expected = [
        "1",
        "1000",
        "/work",
        "HOME=/work",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "PWD=/work",
        "kept",
    ];
    assert_eq!(rest[..expected.len()], expected, "{ran:?}");
    assert!(
        !ran.stdout.contains("hush") && ran.stderr.contains("Read-only file system"),
        "{ran:?}"
    );
    for gone in ["/home", "/root", "/etc/passwd"] {
        assert!(
            ran.stderr.contains(&format!("cannot access '{gone}'")),
            "{ran:?}"
        );
    }
    // Of a folder for one call nothing stays.
    let later = sh(&sandbox, "ls").await;
    assert_eq!(later, json!({"exit_code": 0, "stdout": "", "stderr": ""}));
    assert_eq!(sandbox.shell(&[]).spec().effect, Effect::Read);
}

#[tokio::test]
async fn a_folder_is_read_and_written_only_as_allowed() {
    let Some(mut sandbox) = sandbox() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "given").unwrap();
    sandbox.folder = Some(folder.path().to_owned());
    let read = sh(&sandbox, "cat in; echo new > out").await;
    assert_eq!(read["stdout"], "given");
    assert!(
        read["stderr"].as_str().unwrap().contains("Read-only"),
        "{read}"
    );
    sandbox.write = true;
    let tool = sandbox.shell(&["cp".to_owned(), "cat".to_owned()]);
    assert_eq!(tool.spec().effect, Effect::Irreversible);
    let copied = call(
        &*tool,
        json!({"command": "cp", "arguments": ["in", "out; rm in"]}),
    )
    .await;
    assert_eq!(copied.text(), r#"{"exit_code":0,"stdout":"","stderr":""}"#);
    assert_eq!(
        std::fs::read_to_string(folder.path().join("out; rm in")).unwrap(),
        "given"
    );
    let refused = call(&*tool, json!({"command": "sh", "arguments": ["-c", "ls"]})).await;
    assert_eq!(refused.text(), "only cp, cat may be run");
}

#[tokio::test]
async fn a_program_ends_by_time_output_memory_and_processes() {
    let Some(mut sandbox) = sandbox() else { return };
    sandbox.limits.output_bytes = 10;
    let much = sh(&sandbox, "head -c 3000000 /dev/zero | tr '\\0' a; exit 7").await;
    assert_eq!(
        much["stdout"],
        "aaaaaaaaaa\n[cut off: 10 of 3000000 bytes are shown]"
    );
    assert_eq!(much["exit_code"], 7);
    sandbox.limits.output_bytes = 50_000;
    sandbox.limits.processes = 12;
    let bomb = sh(&sandbox, "for i in $(seq 40); do sleep 20 & done; wait").await;
    let said = bomb.to_string();
    assert!(
        said.contains("more than 12 processes") || said.contains("Cannot fork"),
        "{said}"
    );
    sandbox.limits = SandboxLimits {
        memory_mb: 100,
        ..SandboxLimits::default()
    };
    let file = sh(
        &sandbox,
        "head -c 300000000 /dev/zero > /tmp/file; echo $?; ls -l /tmp/file",
    )
    .await
    .to_string();
    assert!(
        !file.contains("300000000") || file.contains("No space left"),
        "{file}"
    );
    sandbox.limits.time = Duration::from_millis(300);
    let begun = Instant::now();
    let slow = sh(&sandbox, "echo begun; setsid sleep 60 & sleep 60").await;
    assert_eq!(
        slow,
        json!({"stdout": "begun\n", "stderr": "", "note": "it was stopped: it took longer than 0.3 s"})
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Whether a process of this machine was started with these words.
fn is_running(words: &str) -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .into_iter()
        .any(|line| String::from_utf8_lossy(&line).contains(words))
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_program() {
    let Some(sandbox) = sandbox() else { return };
    let words = format!("given up {}", std::process::id());
    let script = format!("while true; do : {words}; sleep 0.02; done");
    let tool = sandbox.shell(&[]);
    let calling = carry_out(&*tool, json!({"script": script}), Context::default());
    let begins = async {
        while !is_running(&words) {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        ended = calling => Some(ended),
        () = begins => None,
    };
    assert_eq!(ended, None);
    // The call is dropped, and all that it started goes.
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(&words) {
        assert!(Instant::now() < deadline, "it goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn python_runs_with_its_library_and_says_where_it_fails() {
    let Some(sandbox) = sandbox() else { return };
    let Ok(python) = sandbox.python() else {
        eprintln!("skipped: there is no Python");
        return;
    };
    let code = "import math, json\nprint(json.dumps({'root': math.isqrt(10**20)}))";
    let ran = call(&*python, json!({"code": code})).await;
    assert_eq!(
        ran.text(),
        r#"{"exit_code":0,"stdout":"{\"root\": 10000000000}\n","stderr":""}"#
    );
    let wrong = call(&*python, json!({"code": "x = 1\nx / 0"})).await.text();
    assert!(
        wrong.contains(r#""exit_code":1"#)
            && wrong.contains("line 2")
            && wrong.contains("ZeroDivisionError"),
        "{wrong}"
    );
    let memory = SandboxLimits {
        memory_mb: 200,
        ..SandboxLimits::default()
    };
    let python = Sandbox {
        limits: memory,
        ..sandbox
    }
    .python()
    .unwrap();
    let full = call(&*python, json!({"code": "x = bytearray(10**9)"}))
        .await
        .text();
    assert!(full.contains("MemoryError"), "{full}");
}
