//! Installs what a build needs and this machine lacks, and finds out what the processor can do.
//!
//! The local engine is C++ and is bound by its headers: it wants a C++ compiler, cmake and libclang.
//! With root (or sudo) and apt they come as Debian packages, otherwise cmake and libclang come as
//! Python wheels into a cache folder. What cargo has to know about either goes to
//! `.cargo/processor.toml`, which `.cargo/config.toml` includes. Nothing else is changed.

mod processor;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The wheels that take the place of the Debian packages, pinned.
const WHEELS: [&str; 2] = ["cmake==3.31.10", "libclang==18.1.1"];

/// Installs what is missing and writes down what cargo has to know.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut environment =
        processor::environment(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    let missing = missing();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|need| need.what).collect();
        eprintln!("missing: {}", names.join(", "));
        install(&missing)?;
    }
    environment.extend(wheels_in_use()?);
    write_if_changed(&root.join(".cargo/processor.toml"), &file(&environment))
}

/// Something that a build needs.
struct Need {
    what: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: [Need; 4] = [
    Need {
        what: "a C++ compiler",
        package: "g++",
        present: || runs("c++"),
    },
    Need {
        what: "cmake",
        package: "cmake",
        present: || runs("cmake"),
    },
    Need {
        what: "libclang",
        package: "libclang-dev",
        present: has_libclang,
    },
    Need {
        what: "pip",
        package: "python3-pip",
        present: has_pip,
    },
];

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.present)()).collect()
}

fn runs(program: &str) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

fn has_pip() -> bool {
    succeeds(Command::new("python3").args(["-m", "pip", "--version"]))
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Looks where the crate that binds the engine looks.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders: Vec<PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ]
    .map(PathBuf::from)
    .to_vec();
    for version in entries(Path::new("/usr/lib")) {
        if version
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("llvm-"))
        {
            folders.push(version.join("lib"));
        }
    }
    folders.push(PathBuf::from("/Library/Developer/CommandLineTools/usr/lib"));
    folders
        .iter()
        .flat_map(|folder| entries(folder))
        .any(|path| is_libclang(&path))
}

fn is_libclang(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (name.starts_with("libclang.so")
        || name.starts_with("libclang-") && name.contains(".so") && !name.contains("cpp"))
        || name == "libclang.dylib"
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// Debian packages where that is possible, else wheels for what wheels can give.
fn install(missing: &[&Need]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if install_packages(&packages) {
        return Ok(());
    }
    let left: Vec<&Need> = NEEDS.iter().filter(|need| !(need.present)()).collect();
    if left
        .iter()
        .all(|need| matches!(need.package, "cmake" | "libclang-dev"))
        && !left.is_empty()
    {
        return install_wheels();
    }
    if left.is_empty() {
        return Ok(());
    }
    bail!(
        "install {} with this system's package manager and try again",
        packages.join(" ")
    )
}

/// With root or a sudo that asks for nothing but a password on the terminal.
fn install_packages(packages: &[&str]) -> bool {
    if !runs("apt-get") {
        return false;
    }
    let Some(prefix) = root_prefix() else {
        return false;
    };
    let apt = |arguments: &[&str]| {
        let line = prefix.iter().copied().chain([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
        ]);
        let mut line = line.chain(arguments.iter().copied());
        let Some(program) = line.next() else {
            return false;
        };
        Command::new(program)
            .args(line)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().copied())
        .collect();
    eprintln!("installing the packages {}", packages.join(" "));
    // Old package lists name files that are gone.
    apt(&["update"]);
    apt(&install)
}

/// What to put before a command that needs root; nothing when there is no way.
fn root_prefix() -> Option<&'static [&'static str]> {
    let id = workspace::output(Command::new("id").arg("-u")).ok()?;
    if id.trim() == "0" {
        return Some(&[]);
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let quietly = succeeds(Command::new("sudo").args(["-n", "true"]));
    (quietly || terminal && runs("sudo")).then_some(&["sudo"])
}

fn wheel_folder() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("tools"))
}

fn install_wheels() -> Result<()> {
    let folder = wheel_folder()?;
    eprintln!(
        "installing {} into {}",
        WHEELS.join(" and "),
        folder.display()
    );
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .arg(&folder)
        .args(WHEELS);
    workspace::output(&mut pip)
        .context("hint: install cmake and libclang with this system's package manager")?;
    Ok(())
}

/// What cargo has to know to find the wheels; nothing where the system has its own.
fn wheels_in_use() -> Result<BTreeMap<String, String>> {
    let folder = wheel_folder()?;
    let mut environment = BTreeMap::new();
    let cmake = folder.join("cmake/data/bin/cmake");
    if !runs("cmake") && cmake.exists() {
        environment.insert("CMAKE".to_owned(), cmake.display().to_string());
    }
    let libclang = folder.join("clang/native");
    if !has_libclang() && libclang.exists() {
        environment.insert("LIBCLANG_PATH".to_owned(), libclang.display().to_string());
        // The wheel has no headers of its own; the compiler's do as well.
        let headers = workspace::output(Command::new("cc").arg("-print-file-name=include"))?;
        environment.insert(
            "BINDGEN_EXTRA_CLANG_ARGS".to_owned(),
            format!("-isystem {}", headers.trim()),
        );
    }
    Ok(environment)
}

/// The text of `.cargo/processor.toml`.
fn file(environment: &BTreeMap<String, String>) -> String {
    if environment.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name} = {value:?}\n"))
        .collect();
    format!("[env]\n{}", lines.concat())
}

/// Cargo builds the engine anew when this file's values change, so an equal one is left alone.
fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_file_is_not_written_again() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("processor.toml");
        let environment = BTreeMap::from([
            ("B".to_owned(), "ON".to_owned()),
            ("A".to_owned(), "x y".to_owned()),
        ]);
        write_if_changed(&path, &file(&environment))?;
        assert_eq!(
            std::fs::read_to_string(&path)?,
            "[env]\nA = \"x y\"\nB = \"ON\"\n"
        );
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        std::fs::File::options()
            .append(true)
            .open(&path)?
            .set_modified(long_ago)?;
        write_if_changed(&path, &file(&environment))?;
        assert_eq!(std::fs::metadata(&path)?.modified()?, long_ago);
        write_if_changed(&path, &file(&BTreeMap::new()))?;
        assert_eq!(std::fs::read_to_string(&path)?, "");
        Ok(())
    }

    #[test]
    fn libclang_is_known_by_its_names() {
        for name in [
            "libclang.so",
            "libclang.so.1",
            "libclang-14.so.1",
            "libclang.dylib",
        ] {
            assert!(is_libclang(Path::new(name)), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangAST.a", "libclang.a"] {
            assert!(!is_libclang(Path::new(name)), "{name}");
        }
    }
}
