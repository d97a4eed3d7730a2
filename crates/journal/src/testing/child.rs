//! The process that is killed: this test program again, running the same test.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{Scenario, block_on, open, start, to_the_end};
use crate::{Moment, Probe};

/// Tells a process that it is the child.
const ROLE: &str = "PLUMB_CRASH_CHILD";
/// What the child says when it has come to its event.
const REACHED: &str = "PLUMB-CRASH-REACHED";

#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    folder: PathBuf,
    stop: u64,
    before: bool,
}

/// What this process is to do, if it is a child.
pub(super) fn role() -> Option<Role> {
    serde_json::from_str(&std::env::var(ROLE).ok()?).ok()
}

/// As the child: work until the event has come, say so, and wait to be killed.
pub(super) fn act(scenario: &Scenario, role: &Role) -> ! {
    let moment = if role.before {
        Moment::Before
    } else {
        Moment::After
    };
    let seen = AtomicU64::new(0);
    let stop = role.stop;
    let probe: Probe = Arc::new(move |at, _| {
        if at == moment && seen.fetch_add(1, Ordering::SeqCst) + 1 == stop {
            // On the writer's thread: nothing is written any more from here on.
            say(REACHED);
            loop {
                std::thread::park();
            }
        }
        Ok(())
    });
    let worked = open(&role.folder, Some(probe))
        .map_err(|error| super::Violation::new("child", error))
        .and_then(|journal| {
            block_on(async {
                let failed = |error| super::Violation::new("child", error);
                start(&journal, scenario).await.map_err(failed)?;
                let engine = scenario.engine(journal.clone(), &role.folder);
                to_the_end(&engine, scenario, "child").await
            })
        });
    if let Err(error) = worked {
        say(&error.to_string());
    }
    std::process::exit(0)
}

fn say(line: &str) {
    // Past the capture of the test runner. When nobody listens any more, nobody needs to hear it.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{line}");
    let _ = out.flush();
}

/// Starts a child that stops at an event, and kills it there. `false` when it came to its end before.
pub(super) fn killed_at(
    scenario: &Scenario,
    folder: &Path,
    stop: u64,
    moment: Moment,
) -> std::io::Result<bool> {
    let role = Role {
        folder: folder.to_path_buf(),
        stop,
        before: moment == Moment::Before,
    };
    let mut child = Command::new(std::env::current_exe()?)
        .args([&scenario.test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, serde_json::to_string(&role)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = Vec::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line?;
            let reached = line == REACHED;
            said.push(line);
            if reached {
                break;
            }
        }
    }
    let reached = said.last().is_some_and(|line| line == REACHED);
    child.kill()?;
    child.wait()?;
    // A child that ran no test at all would make every check pass.
    if !reached && said.iter().any(|line| line.contains("running 0 tests")) {
        let message = format!("there is no test `{}`", scenario.test);
        return Err(std::io::Error::other(message));
    }
    Ok(reached)
}
