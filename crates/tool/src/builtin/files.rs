//! `files.list`, `files.read` and `files.write`: files below one folder and nowhere else.
//!
//! All access goes through a handle of the folder, which resolves every path, with its links, below itself:
//! neither `..` nor a link leads out, also when somebody changes the folder meanwhile.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, Effect, Error, Function, Result, Source, Tool};

/// The most bytes of a file that are read at once.
const MOST_READ_BYTES: usize = 20_000;
/// The most entries of a folder that are listed.
const MOST_ENTRIES: usize = 500;
/// Names that are said where a file is not there.
const MOST_NAMED: usize = 20;
/// The longest text that is written, in bytes.
const MOST_WRITTEN_BYTES: usize = 1_000_000;

/// A folder whose files a model may see.
#[derive(Clone, Debug)]
pub struct Files(Arc<Dir>, Source);

/// Which folder to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// The folder; the outermost one where not given.
    folder: Option<String>,
}

/// What to read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// The file, by the name that the user or files.list gives it.
    file: String,
    /// The byte to begin at, to read on in a long file; 0 where not given.
    from: Option<u64>,
}

/// What to write.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Writing {
    /// The file, by its name alone or with its folder, which has to exist. What it had before is replaced.
    file: String,
    /// All of its new text.
    text: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    folder: bool,
}

impl Files {
    /// The files below `root`.
    ///
    /// # Errors
    /// When it is no folder that can be read.
    pub fn below(root: &Path) -> std::io::Result<Files> {
        let folder = Dir::open_ambient_dir(root, ambient_authority())?;
        Ok(Files(Arc::new(folder), Source::Document))
    }

    /// The same files, of which nobody knows who wrote them: what they say is not to be trusted.
    pub fn untrusted(self) -> Files {
        Files(self.0, Source::Elsewhere)
    }

    /// The tools that see the files: `files.list` and `files.read`.
    pub fn readers(&self) -> Vec<Arc<dyn Tool>> {
        let files = self.clone();
        let list = Function::new(
            "files.list",
            "Lists the files and folders in a folder.",
            move |list: List, _: Context| {
                let files = files.clone();
                blocking(move || files.list(list.folder.as_deref().unwrap_or(".")))
            },
        );
        let files = self.clone();
        let read = Function::new(
            "files.read",
            "Reads a text file.",
            move |reading: Reading, _: Context| {
                let files = files.clone();
                blocking(move || files.read(&reading.file, reading.from.unwrap_or(0)))
            },
        );
        let mut read = read.effect(Effect::Read).source(self.1);
        // What is read has its own limit, and says where to read on.
        read.spec.limits.answer_bytes = MOST_READ_BYTES + 200;
        let list = list.effect(Effect::Read).source(self.1);
        vec![Arc::new(list), Arc::new(read)]
    }

    /// The tool `files.write`. To write the same text once more changes nothing.
    pub fn writer(&self) -> Arc<dyn Tool> {
        let files = self.clone();
        let write = Function::new(
            "files.write",
            "Writes a text file.",
            move |writing: Writing, _: Context| {
                let files = files.clone();
                blocking(move || files.write(&writing.file, &writing.text))
            },
        );
        let write = write.effect(Effect::Idempotent).sends_out(false);
        Arc::new(write.source(Source::Computed))
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in self.0.read_dir(folder).map_err(about(folder))? {
            let entry = entry.map_err(about(folder))?;
            let metadata = entry.metadata().map_err(about(folder))?;
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: metadata.is_file().then(|| metadata.len()),
                folder: metadata.is_dir(),
            });
            if entries.len() > MOST_ENTRIES {
                return Err(format!("{folder} has more than {MOST_ENTRIES} entries").into());
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read(&self, file: &str, from: u64) -> Result<String> {
        use std::io::{Seek as _, SeekFrom};
        let mut opened = self
            .0
            .open(file)
            .map_err(|error| self.missing(file, error))?;
        let metadata = opened.metadata().map_err(about(file))?;
        if !metadata.is_file() {
            return Err(format!("{file} is no file").into());
        }
        opened.seek(SeekFrom::Start(from)).map_err(about(file))?;
        let mut bytes = Vec::new();
        let most = u64::try_from(MOST_READ_BYTES)?;
        opened
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(about(file))?;
        if bytes.contains(&0) {
            return Err(format!("{file} is no text").into());
        }
        let end = from + u64::try_from(bytes.len())?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if end < metadata.len() {
            text.push_str(&format!(
                "\n[{} bytes in all; read on from {end}]",
                metadata.len()
            ));
        }
        Ok(text)
    }

    /// A file that cannot be opened: where it was looked for in a wrong folder, which one it is, else which
    /// there are. Small models make names up, and the same again when they hear no other.
    fn missing(&self, file: &str, error: std::io::Error) -> Error {
        if error.kind() != std::io::ErrorKind::NotFound {
            return about(file)(error);
        }
        let path = Path::new(file);
        let is_elsewhere = |name: &&Path| *name != path && self.0.is_file(name);
        if let Some(name) = path.file_name().map(Path::new).filter(is_elsewhere) {
            return format!("there is no {file}, but there is {}", name.display()).into();
        }
        let mut folders = path.ancestors().skip(1);
        let folder = folders.find(|folder| self.0.is_dir(folder));
        let folder = folder.map(Path::to_string_lossy);
        let there = self
            .list(folder.as_deref().unwrap_or("."))
            .unwrap_or_default();
        let mut names: Vec<&str> = there.iter().map(|entry| entry.name.as_str()).collect();
        names.retain(|name| !name.starts_with('.'));
        let more = if names.len() > MOST_NAMED {
            ", ..."
        } else {
            ""
        };
        names.truncate(MOST_NAMED);
        format!(
            "there is no {file}; {} has: {}{more}",
            folder.as_deref().unwrap_or("the folder"),
            names.join(", ")
        )
        .into()
    }

    /// The new text stands under another name until it is whole.
    fn write(&self, file: &str, text: &str) -> Result<String> {
        if text.len() > MOST_WRITTEN_BYTES {
            return Err(format!("the text is longer than {MOST_WRITTEN_BYTES} bytes").into());
        }
        let path = Path::new(file);
        let name = path
            .file_name()
            .ok_or_else(|| Error::from(format!("{file} is no file")))?;
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(".part");
        let beside = path.with_file_name(beside);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut opened = self.0.open_with(&beside, &options).map_err(about(file))?;
        opened.write_all(text.as_bytes()).map_err(about(file))?;
        opened.sync_all().map_err(about(file))?;
        self.0.rename(&beside, &self.0, path).map_err(about(file))?;
        Ok(format!("{file} is written, {} bytes", text.len()))
    }
}

/// An error with the name that the model gave; never a path of this machine.
fn about(name: &str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Failed(format!("{name}: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn world() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("notes")).unwrap();
        std::fs::write(root.join("notes/today.md"), "Buy chairs.\n").unwrap();
        std::fs::write(folder.path().join("secret.txt"), "the secret").unwrap();
        let files = Files::below(&root).unwrap();
        (folder, files)
    }

    fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(Error::Failed(error)) => error,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn files_are_listed_read_and_written() {
        let (folder, files) = world();
        assert_eq!(files.read("notes/today.md", 4), Ok("chairs.\n".to_owned()));
        // Small models put files into folders that they have seen somewhere.
        std::fs::write(folder.path().join("root/plan.md"), "Sell chairs.\n").unwrap();
        let wrong = said(files.read("notes/plan.md", 0));
        assert_eq!(wrong, "there is no notes/plan.md, but there is plan.md");
        let wrong = said(files.read("notes/old/later.md", 0));
        assert_eq!(wrong, "there is no notes/old/later.md; notes has: today.md");
        let wrong = said(files.read("read.md", 0));
        assert_eq!(wrong, "there is no read.md; the folder has: notes, plan.md");
        let written = files.write("notes/new.md", "New.").unwrap();
        assert_eq!(written, "notes/new.md is written, 4 bytes");
        // Twice is once.
        files.write("notes/new.md", "New.").unwrap();
        let names: Vec<_> = files
            .list("notes")
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(names, ["new.md", "today.md"]);
        let on_disk = std::fs::read_to_string(folder.path().join("root/notes/new.md"));
        assert_eq!(on_disk.unwrap(), "New.");
    }

    #[test]
    fn a_long_file_is_read_on() {
        let (_folder, files) = world();
        files
            .write("long.txt", &"a".repeat(MOST_READ_BYTES + 5))
            .unwrap();
        let first = files.read("long.txt", 0).unwrap();
        assert!(
            first.ends_with("a\n[20005 bytes in all; read on from 20000]"),
            "{}",
            first.len()
        );
        assert_eq!(files.read("long.txt", 20_000), Ok("aaaaa".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn nothing_leads_out() {
        use std::os::unix::fs::symlink;
        let (folder, files) = world();
        let root = folder.path().join("root");
        symlink(folder.path().join("secret.txt"), root.join("link.txt")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(folder.path(), root.join("away")).unwrap();
        for out in [
            "../secret.txt",
            "notes/../../secret.txt",
            "link.txt",
            "up/secret.txt",
            "away/secret.txt",
        ] {
            let read = said(files.read(out, 0));
            assert!(
                !read.contains("the secret") && read.starts_with(out),
                "{read}"
            );
            let wrote = said(files.write(out, "mine"));
            assert!(
                !wrote.contains("is written") || out == "link.txt",
                "{out}: {wrote}"
            );
        }
        let absolute = folder.path().join("secret.txt").display().to_string();
        assert!(files.read(&absolute, 0).is_err() && files.list("up").is_err());
        let secret = std::fs::read_to_string(folder.path().join("secret.txt"));
        assert_eq!(secret.unwrap(), "the secret");
    }
}
