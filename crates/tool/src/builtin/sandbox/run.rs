//! One program on its way, until it ends or is ended.

use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{Ran, Sandbox, watching};
use crate::{Context, Error, Result};

/// Runs a command in the sandbox, with this input.
///
/// It has a thread of its own, because bubblewrap ends with the thread that started it, so that nothing outlives
/// Plumb; those of a runtime come and go.
pub(super) async fn run(
    sandbox: Arc<Sandbox>,
    command: Vec<String>,
    input: String,
    context: Context,
) -> Result<Ran> {
    let (done, answer) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new()
        .name("sandbox".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let ran = match runtime {
                Ok(runtime) => runtime.block_on(ran(&sandbox, &command, &input, &context)),
                Err(error) => Err(Error::Unavailable(error.to_string())),
            };
            // Nobody waits for it when the call was given up.
            let _given_up = done.send(ran);
        });
    started.map_err(|error| Error::Unavailable(format!("the sandbox: {error}")))?;
    answer
        .await
        .map_err(|_| Error::Unavailable("the sandbox went away".to_owned()))?
}

async fn ran(sandbox: &Sandbox, command: &[String], input: &str, context: &Context) -> Result<Ran> {
    let mut child = Command::new(&sandbox.bubblewrap)
        .args(sandbox.arguments(command))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::Unavailable(format!("the sandbox: {error}")))?;
    let most = sandbox.limits.output_bytes;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let giving = async {
        if let Some(mut stdin) = stdin {
            // A program need not read all that it is given.
            let _unread = stdin.write_all(input.as_bytes()).await;
        }
    };
    let reading = async { tokio::join!(giving, text(stdout, most), text(stderr, most)) };
    let waiting = ended(&mut child, sandbox, context);
    let ((_, stdout, stderr), ended) = tokio::join!(reading, waiting);
    let (exit_code, note) = ended?;
    if exit_code == Some(1) && stdout.is_empty() && stderr.starts_with("bwrap: ") {
        return Err(Error::Unavailable(format!(
            "the sandbox: {}",
            stderr.trim()
        )));
    }
    Ok(Ran {
        exit_code,
        stdout,
        stderr,
        note,
    })
}

/// Waits for the end, and brings it about when a limit is reached. All that runs in the sandbox goes with it.
async fn ended(
    child: &mut Child,
    sandbox: &Sandbox,
    context: &Context,
) -> Result<(Option<i32>, Option<String>)> {
    let limits = &sandbox.limits;
    let pid = child.id();
    let why = tokio::select! {
        status = child.wait() => {
            let status = status.map_err(|error| Error::Unavailable(error.to_string()))?;
            let note = status.code().is_none().then(|| "it was killed".to_owned());
            return Ok((status.code(), note));
        }
        () = tokio::time::sleep(limits.time) => {
            format!("it was stopped: it took longer than {} s", limits.time.as_secs_f32())
        }
        why = watching::too_much(pid, limits) => format!("it was stopped: {why}"),
        () = context.cancelled() => "it was stopped: nobody waits for it".to_owned(),
    };
    kill(pid);
    child
        .kill()
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok((None, Some(why)))
}

/// Kills bubblewrap and all below it. What has been set up would end with bubblewrap by itself, but for a moment in
/// between it is neither of its group any more nor bound to it yet.
fn kill(pid: Option<u32>) {
    let signal = |pid: u32, signal| {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed());
        // It may have ended already.
        let _ended = pid.map(|pid| rustix::process::kill_process(pid, signal));
    };
    let Some(pid) = pid else { return };
    // Stopped, it begins nothing more, and what it began keeps its number.
    signal(pid, Signal::STOP);
    for below in watching::below(pid) {
        signal(below, Signal::KILL);
    }
    signal(pid, Signal::KILL);
}

/// The beginning of what is printed; the rest is read and forgotten.
async fn text(from: Option<impl AsyncRead + Unpin>, most: usize) -> String {
    let Some(mut from) = from else {
        return String::new();
    };
    let (mut kept, mut all) = (Vec::new(), 0);
    let mut chunk = vec![0; 16_384];
    // What cannot be read on has ended.
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        all += read;
        let room = most - kept.len();
        kept.extend_from_slice(chunk.get(..read.min(room)).unwrap_or_default());
    }
    let mut text = String::from_utf8_lossy(&kept).into_owned();
    if all > kept.len() {
        text.push_str(&format!(
            "\n[cut off: {} of {all} bytes are shown]",
            kept.len()
        ));
    }
    text
}
