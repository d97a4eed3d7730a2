//! Beginnings of prompts that every call of an agent shares, computed once and kept on disk.
//!
//! The instructions and examples of an agent are the same in every run, and on a small machine they take
//! seconds. What the engine computed of them (the keys and values of attention) is written beside the model
//! and read again by the next process.
//!
//! A file is a cache and nothing more: it has the hash of what it holds in its name, one that does not fit
//! is deleted, and where none can be written each process computes its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use llama_cpp_2::token::LlamaToken;

/// The most files; those that were used least recently go first.
const MOST: usize = 24;
/// A beginning of fewer tokens is not worth a file.
const LEAST: usize = 48;
/// What changes when the engine writes other bytes; see the version of its crate.
const FORMAT: &str = "llama-cpp-2 0.1.160, f16";

/// The beginnings kept for one model.
pub(super) struct Prefixes {
    folder: PathBuf,
    /// Says which model it is.
    model: String,
}

impl Prefixes {
    /// Those of the model in the file at `path`, in the folder `prefixes` beside it.
    pub(super) fn of(path: &Path) -> Prefixes {
        let about = fs::metadata(path).ok();
        let size = about.as_ref().map_or(0, fs::Metadata::len);
        let changed = about.and_then(|about| about.modified().ok());
        let since = changed.and_then(|changed| changed.duration_since(SystemTime::UNIX_EPOCH).ok());
        let name = path.file_name().unwrap_or_default().display();
        Prefixes {
            folder: path.with_file_name("prefixes"),
            model: format!("{FORMAT} {name} {size} {:?}", since.unwrap_or_default()),
        }
    }

    /// Whether a beginning is long enough to be kept.
    pub(super) fn is_worth_it(tokens: &[LlamaToken]) -> bool {
        tokens.len() >= LEAST
    }

    /// The file that holds what was computed of these tokens.
    pub(super) fn find(&self, tokens: &[LlamaToken]) -> Option<PathBuf> {
        let path = self.kept(&self.key(tokens))?;
        let whole = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.rsplit('-').next());
        if digest(&path).ok().as_deref() != whole {
            // Cut off, or changed: it would be read as keys and values.
            let _ = fs::remove_file(&path);
            return None;
        }
        let used = File::options().write(true).open(&path);
        let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
        Some(path)
    }

    /// Keeps what `write` writes to the file that it is given, unless these tokens are kept already.
    pub(super) fn keep(&self, tokens: &[LlamaToken], write: impl FnOnce(&Path) -> bool) {
        let key = self.key(tokens);
        if self.kept(&key).is_some() {
            return;
        }
        let written = self.write(&key, write).and_then(|()| self.prune());
        if let Err(error) = written {
            let folder = self.folder.display();
            tracing::debug!("the beginning of a prompt is not kept in {folder}: {error}");
        }
    }

    /// Another process sees all of a file or nothing.
    fn write(&self, key: &str, write: impl FnOnce(&Path) -> bool) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let begun = self
            .folder
            .join(format!("{key}.{}.new", std::process::id()));
        let written = match write(&begun) {
            true => digest(&begun),
            false => Err(io::Error::other("the engine did not write it")),
        };
        let named = written.map(|digest| self.folder.join(format!("{key}-{digest}.kv")));
        let kept = named.and_then(|path| fs::rename(&begun, path));
        if kept.is_err() {
            let _ = fs::remove_file(&begun);
        }
        kept
    }

    /// Deletes what was used least recently, and what processes that were killed left behind.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.folder)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(MOST);
        for (_, path) in files.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn kept(&self, key: &str) -> Option<PathBuf> {
        let files = fs::read_dir(&self.folder).ok()?.flatten();
        let mut paths = files.map(|entry| entry.path());
        paths.find(|path| {
            let name = path.file_name().and_then(OsStr::to_str);
            let rest = name.and_then(|name| name.strip_prefix(key));
            rest.is_some_and(|rest| rest.starts_with('-') && rest.ends_with(".kv"))
        })
    }

    fn key(&self, tokens: &[LlamaToken]) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.model.as_bytes());
        for token in tokens {
            hasher.update(&token.0.to_le_bytes());
        }
        short(&hasher)
    }
}

/// The hash of a file.
fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(short(&hasher))
}

/// The first 128 bits of a hash.
fn short(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex().chars().take(32).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn prefixes(folder: &Path) -> Prefixes {
        let model = folder.join("model.gguf");
        fs::write(&model, "weights").unwrap();
        Prefixes::of(&model)
    }

    fn tokens(first: i32) -> Vec<LlamaToken> {
        (first..first + 50).map(LlamaToken).collect()
    }

    fn keep(prefixes: &Prefixes, first: i32) {
        prefixes.keep(&tokens(first), |path| {
            fs::write(path, first.to_string()).is_ok()
        });
    }

    #[test]
    fn what_was_kept_is_found_and_what_was_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let prefixes = prefixes(folder.path());
        assert_eq!(prefixes.find(&tokens(1)), None);
        keep(&prefixes, 1);
        let path = prefixes.find(&tokens(1)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
        assert_eq!(prefixes.find(&tokens(2)), None);
        // Another model of the same name knows nothing of it.
        fs::write(folder.path().join("model.gguf"), "other weights").unwrap();
        let other = Prefixes::of(&folder.path().join("model.gguf"));
        assert_eq!(other.find(&tokens(1)), None);

        fs::write(&path, "2").unwrap();
        assert_eq!(prefixes.find(&tokens(1)), None);
        assert!(!path.exists());
        keep(&prefixes, 1);
        assert!(prefixes.find(&tokens(1)).is_some());
    }

    #[test]
    fn the_oldest_go_and_what_failed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let prefixes = prefixes(folder.path());
        let count = || {
            fs::read_dir(folder.path().join("prefixes"))
                .unwrap()
                .count()
        };
        let most = i32::try_from(MOST).unwrap();
        for first in 0..most {
            keep(&prefixes, first);
            let path = prefixes.find(&tokens(first)).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(first as u64 + 1);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(at)
                .unwrap();
        }
        assert!(prefixes.find(&tokens(0)).is_some(), "and it was used");
        keep(&prefixes, most);
        assert_eq!(count(), MOST);
        assert_eq!(prefixes.find(&tokens(1)), None);
        assert!(prefixes.find(&tokens(0)).is_some());
        prefixes.keep(&tokens(-100), |path| {
            fs::write(path, "half").unwrap();
            false
        });
        assert_eq!(count(), MOST);
    }
}
