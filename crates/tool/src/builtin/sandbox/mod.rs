//! `shell` and `python`: programs in a sandbox of bubblewrap.
//!
//! Inside there are the system's programs, read only, and one folder `/work`; no network, no home, no other process, no
//! device but the harmless ones. Where such a sandbox cannot be made there is no tool: what would only look like one is
//! worse than none.

mod run;
mod watching;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Context, Effect, Function, Result, Source, Tool};

/// The longest program with its arguments, in bytes: systems take no longer ones.
const MOST_PROGRAM_BYTES: usize = 100_000;

/// Where programs run.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The folder that is seen as `/work`; an empty one for each call, of which nothing stays, where there is none.
    pub folder: Option<PathBuf>,
    /// Whether programs may write in the folder.
    pub write: bool,
    /// Where a program ends.
    pub limits: SandboxLimits,
    bubblewrap: PathBuf,
}

/// Where a program ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxLimits {
    /// How long it may run. 30 s.
    pub time: Duration,
    /// Bytes of its output and of its errors that are given, each. 50,000.
    pub output_bytes: usize,
    /// Memory of all its processes, and the size of a file, of `/tmp` and of `/work` where nothing stays. 512 MB.
    pub memory_mb: u64,
    /// Processes and threads at once. 64.
    pub processes: u64,
}

impl Default for SandboxLimits {
    fn default() -> SandboxLimits {
        SandboxLimits {
            time: Duration::from_secs(30),
            output_bytes: 50_000,
            memory_mb: 512,
            processes: 64,
        }
    }
}

/// What a program came to.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Ran {
    /// 0 where all went well; none where it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    stdout: String,
    stderr: String,
    /// Why it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Script {
    /// The commands, for /bin/sh. They begin in /work; there is no network.
    script: String,
}

/// What to run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Program {
    /// The program, for Python 3. It begins in /work; there is no network. What it prints is given back.
    code: String,
}

/// What to run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    command: String,
    #[serde(default)]
    arguments: Vec<String>,
}

impl Sandbox {
    /// A sandbox with an empty folder, within the usual limits.
    ///
    /// # Errors
    /// Why there can be none on this machine, and what to do about it.
    pub fn new() -> Result<Sandbox, String> {
        Sandbox::with(find("bwrap"))
    }

    /// A sandbox by this program of bubblewrap, where there is one.
    fn with(bubblewrap: Option<PathBuf>) -> Result<Sandbox, String> {
        let Some(bubblewrap) = bubblewrap else {
            return Err("there is no sandbox on this machine: bwrap is missing; install bubblewrap (Linux only)".to_owned());
        };
        let sandbox = Sandbox {
            folder: None,
            write: false,
            limits: SandboxLimits::default(),
            bubblewrap,
        };
        sandbox.check()?;
        Ok(sandbox)
    }

    /// Runs nothing in it, to see whether it can be made.
    fn check(&self) -> Result<(), String> {
        let arguments = self.arguments(&["true".to_owned()]);
        let ran = Command::new(&self.bubblewrap)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("bwrap cannot be started: {error}"))?;
        if ran.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        Err(format!(
            "there is no sandbox on this machine: {}; bwrap has to be 0.8 or newer, and the system has to allow \
             unprivileged user namespaces",
            said.trim()
        ))
    }

    /// The tool `shell`. With names of commands it runs one of them with arguments, and no shell; without, a script.
    pub fn shell(&self, commands: &[String]) -> Arc<dyn Tool> {
        let sandbox = Arc::new(self.clone());
        let shell = if commands.is_empty() {
            Function::new(
                "shell",
                "Runs shell commands in a sandbox without network and gives what they print.",
                move |script: Script, context: Context| {
                    let run = vec!["sh".to_owned(), "-c".to_owned(), script.script];
                    Arc::clone(&sandbox).run(run, String::new(), context)
                },
            )
        } else {
            let allowed = commands.to_vec();
            Function::new(
                "shell",
                "Runs one command with arguments, not through a shell, in a sandbox without network and gives what it prints.",
                move |named: Value, context: Context| {
                    let (sandbox, allowed) = (Arc::clone(&sandbox), allowed.clone());
                    async move {
                        let named: Named = crate::spec::read(named)?;
                        if !allowed.contains(&named.command) {
                            return Err(format!("only {} may be run", allowed.join(", ")).into());
                        }
                        let run = [named.command].into_iter().chain(named.arguments).collect();
                        sandbox.run(run, String::new(), context).await
                    }
                },
            )
            .parameters(json!({
                "type": "object",
                "properties": {
                    "command": {"type": "string", "enum": commands},
                    "arguments": {"type": "array", "items": {"type": "string"}, "description": "Each in a text of its own."},
                },
                "required": ["command"],
                "additionalProperties": false,
            }))
        };
        self.finished(shell)
    }

    /// The tool `python`.
    ///
    /// # Errors
    /// When there is no Python among the system's programs.
    pub fn python(&self) -> Result<Arc<dyn Tool>, String> {
        let present = ["/usr/bin/python3", "/usr/local/bin/python3"];
        if !present.iter().any(|path| Path::new(path).exists()) {
            return Err("there is no Python in /usr; install python3".to_owned());
        }
        let sandbox = Arc::new(self.clone());
        let python = Function::new(
            "python",
            "Runs a Python program in a sandbox without network and gives what it prints.",
            move |program: Program, context: Context| {
                let run = ["python3", "-I", "-"].map(str::to_owned).to_vec();
                Arc::clone(&sandbox).run(run, program.code, context)
            },
        );
        Ok(self.finished(python))
    }

    /// Nothing stays of what only looks or has a folder for itself; anything may be done to a folder that stays.
    fn finished(&self, tool: Function) -> Arc<dyn Tool> {
        let effect = match self.folder.is_some() && self.write {
            true => Effect::Irreversible,
            false => Effect::Read,
        };
        // What runs in a folder shows what is in it, whoever wrote that.
        let source = match self.folder {
            Some(_) => Source::Elsewhere,
            None => Source::Computed,
        };
        let mut tool = tool.effect(effect).source(source).sends_out(false);
        tool.spec.limits.time = self.limits.time + Duration::from_secs(10);
        Arc::new(tool)
    }

    async fn run(
        self: Arc<Sandbox>,
        command: Vec<String>,
        input: String,
        context: Context,
    ) -> Result<Ran> {
        let length = input.len() + command.iter().map(String::len).sum::<usize>();
        if length > MOST_PROGRAM_BYTES {
            return Err(format!("the program is longer than {MOST_PROGRAM_BYTES} bytes").into());
        }
        run::run(self, command, input, context).await
    }

    /// The arguments of bubblewrap, before those of the command.
    fn arguments(&self, command: &[String]) -> Vec<String> {
        let bytes = (self.limits.memory_mb << 20).to_string();
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let mut arguments = words(
            "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session --cap-drop ALL \
             --uid 1000 --gid 1000 --hostname sandbox --clearenv --setenv HOME /work --setenv LANG C.UTF-8 \
             --setenv PATH /usr/local/bin:/usr/bin:/bin --ro-bind /usr /usr",
        );
        for name in ["bin", "sbin", "lib", "lib32", "lib64"] {
            let path = format!("/{name}");
            // Where these are links, as in most systems today, they lead below /usr.
            match std::fs::read_link(&path) {
                Ok(to) => {
                    arguments.extend(["--symlink".to_owned(), to.display().to_string(), path])
                }
                Err(_) => arguments.extend(["--ro-bind-try".to_owned(), path.clone(), path]),
            }
        }
        for path in ["/etc/alternatives", "/etc/ld.so.cache"] {
            arguments.extend(["--ro-bind-try", path, path].map(str::to_owned));
        }
        arguments.extend(words("--proc /proc --dev /dev --size"));
        arguments.push(bytes.clone());
        arguments.extend(words("--tmpfs /tmp"));
        match &self.folder {
            Some(folder) => {
                let bind = if self.write { "--bind" } else { "--ro-bind" };
                arguments.extend([
                    bind.to_owned(),
                    folder.display().to_string(),
                    "/work".to_owned(),
                ]);
            }
            None => arguments.extend([
                "--size".to_owned(),
                bytes.clone(),
                "--tmpfs".to_owned(),
                "/work".to_owned(),
            ]),
        }
        arguments.extend(words(
            "--remount-ro / --chdir /work -- prlimit --core=0 --nofile=256",
        ));
        let limits = &self.limits;
        for (limit, most) in [
            ("as", bytes.clone()),
            ("fsize", bytes),
            ("nproc", limits.processes.to_string()),
            ("cpu", (limits.time.as_secs() + 1).to_string()),
        ] {
            arguments.push(format!("--{limit}={most}"));
        }
        arguments.push("--".to_owned());
        arguments.extend(command.iter().cloned());
        arguments
    }
}

/// A program of this name, where a shell would find it.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
