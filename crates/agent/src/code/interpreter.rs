//! Where programs run, and what is said between them and the run.
//!
//! Whoever runs a program tells [`Told`] and hears [`Reply`]: over channels where it is a thread of this process,
//! as lines of JSON where it is another one.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::monty;

/// The stack of a thread that runs programs: their functions may call each other some hundred deep.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// How much longer than its time a program may be silent before it is killed.
const PATIENCE_MS: u64 = 5_000;

/// What runs programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// `monty`, in a thread of this process. Its time and its recursion are bounded, its memory is not: for models
    /// that one trusts not to fill it.
    Here,
    /// `monty`, in a process of its own, whose memory is bounded as well. It is this command, which has to call
    /// [`serve_program`]; `plumb` has one.
    Worker {
        /// The program.
        program: PathBuf,
        /// What it is called with.
        arguments: Vec<String>,
    },
    /// CPython in a sandbox without network and files, by `bwrap`. It is the whole of the language, with the
    /// standard library.
    CPython,
    /// CPython as it is, without a sandbox: a program may do whatever the user may. For tests of the way to it.
    #[doc(hidden)]
    BareCPython,
}

/// Why programs cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A program, and what it may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) text: String,
    pub(super) functions: Vec<String>,
    pub(super) bounds: Bounds,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub(super) time_ms: u64,
    pub(super) memory_bytes: u64,
    pub(super) recursion: u32,
    pub(super) printed_bytes: usize,
}

/// What a program says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
    /// It calls a function, and waits.
    Call(Call),
    /// It has ended.
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Value>,
    pub(super) named: Map<String, Value>,
}

/// What comes of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) printed: String,
    /// The value of the last expression.
    pub(super) value: Value,
    pub(super) trouble: Option<Trouble>,
}

/// Why a program came to no end of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trouble {
    pub(super) message: String,
    /// Where, counted from 1.
    pub(super) line: Option<u32>,
}

/// What a function answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    Answer(Value),
    Raise(String),
}

impl Ended {
    pub(super) fn of_trouble(message: String) -> Ended {
        let trouble = Trouble {
            message,
            line: None,
        };
        Ended {
            trouble: Some(trouble),
            ..Ended::default()
        }
    }

    /// What it is, in a few words.
    pub(super) fn title(&self) -> String {
        match &self.trouble {
            None => "ended".to_owned(),
            Some(Trouble { message, line }) => {
                let place = line.map(|line| format!(" in line {line}"));
                let message: String = message.chars().take(80).collect();
                format!("failed{}: {message}", place.unwrap_or_default())
            }
        }
    }
}

/// A program at work. It ends when this is dropped.
pub(super) struct Machine {
    way: Way,
    bounds: Bounds,
}

enum Way {
    Thread {
        told: tokio::sync::mpsc::UnboundedReceiver<Told>,
        replies: mpsc::Sender<Reply>,
    },
    Process {
        child: Box<Child>,
        input: ChildStdin,
        output: Lines<BufReader<ChildStdout>>,
    },
}

impl Interpreter {
    /// Begins to run a program.
    pub(super) async fn start(&self, program: Program) -> Result<Machine, Missing> {
        let bounds = program.bounds;
        let way = match self {
            Interpreter::Here => in_thread(program)?,
            Interpreter::Worker {
                program: file,
                arguments,
            } => {
                let mut command = Command::new(file);
                command.args(arguments);
                in_process(command, &program).await?
            }
            Interpreter::CPython => in_process(sandboxed()?, &program).await?,
            Interpreter::BareCPython => {
                let mut command = Command::new("python3");
                command.args(["-I", "-c", SHIM]);
                in_process(command, &program).await?
            }
        };
        Ok(Machine { way, bounds })
    }
}

fn in_thread(program: Program) -> Result<Way, Missing> {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let (replies, heard) = mpsc::channel();
    let work = move || {
        let ended = monty::run(&program, &mut |call| {
            tell.send(Told::Call(call)).ok()?;
            heard.recv().ok()
        });
        // When nobody listens any more, nobody needs to hear it.
        let _ = tell.send(Told::Ended(ended));
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(work).map_err(|error| Missing {
        message: format!("no thread for a program: {error}"),
        hint: "try again when the machine does less".to_owned(),
    })?;
    Ok(Way::Thread { told, replies })
}

async fn in_process(mut command: Command, program: &Program) -> Result<Way, Missing> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let missing = |message: String| Missing {
        message: format!("{name} cannot run programs: {message}"),
        hint: "see the pattern code in docs/guides/patterns.md".to_owned(),
    };
    let spawned = command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| missing(error.to_string()))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(missing("it has no pipes".to_owned()));
    };
    let sent = send(&mut input, program).await;
    sent.map_err(|error| missing(error.to_string()))?;
    Ok(Way::Process {
        child: Box::new(child),
        input,
        output: BufReader::new(output).lines(),
    })
}

async fn send<T: Serialize>(input: &mut ChildStdin, said: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    input.write_all(line.as_bytes()).await?;
    input.flush().await
}

impl Machine {
    /// What the program says next.
    pub(super) async fn told(&mut self) -> Told {
        let patience_ms = self.bounds.time_ms.saturating_add(PATIENCE_MS);
        let said = tokio::time::timeout(Duration::from_millis(patience_ms), self.way.told());
        let Ok(told) = said.await else {
            let seconds = Duration::from_millis(self.bounds.time_ms).as_secs_f32();
            let message = format!("it took longer than {seconds} s");
            return Told::Ended(Ended::of_trouble(message));
        };
        told.unwrap_or_else(|| {
            let megabytes = self.bounds.memory_bytes / 1024 / 1024;
            let message =
                format!("it took more than {megabytes} MB of memory, or broke the interpreter");
            Told::Ended(Ended::of_trouble(message))
        })
    }

    /// Answers what the program called.
    pub(super) async fn reply(&mut self, reply: Reply) {
        // A program that is not there any more shows in what it says next: nothing.
        match &mut self.way {
            Way::Thread { replies, .. } => drop(replies.send(reply)),
            Way::Process { input, .. } => drop(send(input, &reply).await),
        }
    }
}

impl Way {
    async fn told(&mut self) -> Option<Told> {
        match self {
            Way::Thread { told, .. } => told.recv().await,
            Way::Process { output, child, .. } => {
                let mut told = None;
                while let Ok(Some(line)) = output.next_line().await {
                    // A program that runs others may say something of its own before.
                    told = serde_json::from_str(&line).ok();
                    if told.is_some() {
                        break;
                    }
                }
                if told.is_none() {
                    // It ends by itself, or is ended with its handle.
                    let _ = child.start_kill();
                }
                told
            }
        }
    }
}

/// Runs one program in this process, for a run that is in another one: see [`Interpreter::Worker`]. The process
/// must have nothing else to do, as its memory is bounded.
///
/// # Errors
/// When what is read is no program, or nobody listens.
pub fn serve_program(
    mut input: impl BufRead + Send,
    mut output: impl Write + Send,
) -> std::io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let program: Program = serde_json::from_str(&line)?;
    let work = move || {
        bound_memory(program.bounds.memory_bytes)?;
        let mut say = |told: &Told| {
            let mut line = serde_json::to_string(told)?;
            line.push('\n');
            output.write_all(line.as_bytes())?;
            output.flush()
        };
        let ended = monty::run(&program, &mut |call| {
            say(&Told::Call(call)).ok()?;
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            serde_json::from_str(&line).ok()
        });
        say(&Told::Ended(ended))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let worked = thread.spawn_scoped(scope, work)?.join();
        worked.unwrap_or_else(|_| Err(std::io::Error::other("the interpreter broke")))
    })
}

/// Lets this process take so many bytes more than it has.
#[cfg(target_os = "linux")]
fn bound_memory(bytes: u64) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let status = std::fs::read_to_string("/proc/self/status")?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let data = data.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = data
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| std::io::Error::other("/proc/self/status has no VmData"))?;
    let most = Some(bytes.saturating_add(kilobytes.saturating_mul(1024)));
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    Ok(setrlimit(Resource::Data, limit)?)
}

/// Elsewhere there is no such limit to be had: better no program than one without bounds.
#[cfg(not(target_os = "linux"))]
fn bound_memory(_: u64) -> std::io::Result<()> {
    let message = "the memory of a program can be bounded on Linux only";
    Err(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        message,
    ))
}

/// The whole of CPython, in a sandbox that has neither network nor files of the user.
fn sandboxed() -> Result<Command, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    for name in ["bwrap", "python3"] {
        if !is_there(name) {
            return Err(Missing {
                message: format!("there is no {name}, and without it no CPython in a sandbox"),
                hint: format!(
                    "install {name}, or leave `python: cpython` out: monty needs neither"
                ),
            });
        }
    }
    let mut command = Command::new("bwrap");
    command.args([
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ]);
    command.args([
        "--ro-bind",
        "/usr",
        "/usr",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
    ]);
    for folder in ["/bin", "/lib", "/lib64"] {
        command.args(["--ro-bind-try", folder, folder]);
    }
    command.args(["--setenv", "PATH", "/usr/bin:/bin", "--chdir", "/tmp"]);
    command.args(["python3", "-I", "-c", SHIM]);
    Ok(command)
}

/// The same conversation, held by CPython.
const SHIM: &str = include_str!("shim.py");
