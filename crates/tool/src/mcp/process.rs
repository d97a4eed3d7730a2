//! The process of a server: started in a group of its own, and stopped with all that it has started.

use std::collections::VecDeque;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Error, Result, ServerConfig};

/// What every program needs; nothing else of Plumb's environment reaches a server, least of all keys.
const INHERITED: [&str; 12] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TEMP",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
];

/// How much of what it writes to standard error is kept.
const TAIL_BYTES: usize = 2_000;

/// How long it may take to end once its input has ended, and again once it was asked to.
const GRACE: Duration = Duration::from_millis(400);

/// How often it is looked whether it has ended, while a call is under way.
const LOOKS: Duration = Duration::from_millis(50);

/// What the keeper of a server runs. Its input ends when Plumb has ended, in whatever way: then it stops the server and
/// those that it has started, unless they have ended by themselves. A process that has got the server's number since,
/// and so began at another time, is left alone.
const KEEPER: &str = r#"
trap '' HUP INT TERM
began() { ps -o lstart= -p "$0" 2>/dev/null; }
first=$(began)
read -r line
sleep 1
last=$(began)
[ -z "$last" ] || [ "$first" = "$last" ] || exit 0
kill -s TERM -- "-$0" 2>/dev/null || exit 0
sleep 1
kill -s KILL -- "-$0" 2>/dev/null
"#;

/// A server's process.
pub(super) struct Process {
    child: Mutex<Child>,
    /// Stops the server when Plumb is killed and can stop nobody itself. Its input is open as long as this is.
    keeper: Option<std::process::Child>,
    group: Option<Pid>,
    tail: Arc<Mutex<VecDeque<u8>>>,
}

/// What a process is started with, and spoken to by.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) output: ChildStdout,
    pub(super) input: ChildStdin,
}

/// Starts the program.
pub(super) fn start(name: &str, config: &ServerConfig, project: &Path) -> Result<Started> {
    let unreachable = |message: String| Error::Unreachable {
        server: name.to_owned(),
        message,
        hint: format!("check the command of [mcp.{name}] in plumb.toml"),
    };
    let Some((program, arguments)) = config.command.split_first() else {
        return Err(unreachable("has no command".to_owned()));
    };
    let folder = project.join(config.folder.as_deref().unwrap_or("."));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&folder).env_clear();
    for variable in INHERITED {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    for (variable, value) in &config.env {
        command.env(variable, value.value(name)?);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| unreachable(format!("cannot be started: {program}: {error}")))?;
    let pipes = (child.stdout.take(), child.stdin.take(), child.stderr.take());
    let (Some(output), Some(input), Some(mut errors)) = pipes else {
        return Err(unreachable("has no standard input and output".to_owned()));
    };
    // It leads its group, so the group has its number.
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&tail);
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = errors.read(&mut buffer).await {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(buffer.iter().take(count));
            let over = kept.len().saturating_sub(TAIL_BYTES);
            kept.drain(..over);
        }
    });
    let process = Process {
        child: Mutex::new(child),
        keeper: group.and_then(keep),
        group,
        tail,
    };
    Ok(Started {
        process,
        output,
        input,
    })
}

/// Starts the keeper of a group. Without one, where there is no shell, a server is as well off as its own care for the
/// end of its input makes it.
fn keep(group: Pid) -> Option<std::process::Child> {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", KEEPER, &group.as_raw_nonzero().to_string()])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What is typed at the terminal to stop Plumb is not meant for it.
        .process_group(0);
    command.spawn().ok()
}

impl Process {
    /// How it has ended and what it wrote last, for who has to find out why: it is waited for a moment.
    pub(super) async fn last_words(&self) -> String {
        let mut ended = self.has_ended();
        for _ in 0..10 {
            if ended.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended = self.has_ended();
        }
        let mut words = match ended {
            Some(status) => format!(" ({status})"),
            None => String::new(),
        };
        let tail = self.tail();
        if !tail.is_empty() {
            words.push_str("; its standard error ends with:\n");
            words.extend(tail.lines().map(|line| format!("  {line}\n")));
        }
        words.trim_end().to_owned()
    }

    /// Waits until it has ended, and a moment more for what it said last. Its output may stay open: a program that
    /// it has left behind can hold it.
    pub(super) async fn ended(&self) {
        while self.has_ended().is_none() {
            tokio::time::sleep(LOOKS).await;
        }
        tokio::time::sleep(LOOKS).await;
    }

    /// How it has ended, where it has.
    pub(super) fn has_ended(&self) -> Option<std::process::ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    /// The end of what it has written to standard error.
    fn tail(&self) -> String {
        let kept = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let is_shown = |c: &char| *c == '\n' || !c.is_control();
        text.chars()
            .filter(is_shown)
            .collect::<String>()
            .trim()
            .to_owned()
    }

    /// Waits so long for it to end by itself.
    fn ends_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.has_ended().is_some() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Fails where all of the group have ended, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Its input has ended by now, at which a good server ends; the others are told, then stopped, and so are those
/// that they have left behind.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.ends_within(GRACE) {
            self.signal(Signal::TERM);
            self.ends_within(GRACE);
        }
        self.signal(Signal::KILL);
        self.ends_within(GRACE);
        if let Some(mut keeper) = self.keeper.take() {
            // Nobody is left for it to stop. Where it has ended itself, that is as well.
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}
