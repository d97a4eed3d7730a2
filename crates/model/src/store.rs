//! The folder of model files, and whether a file in it is the catalogued one.
//!
//! A file counts only once its SHA-256 was right. That is remembered beside it with its length and time,
//! so that loading a model does not hash it again.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::catalogue::Entry;
use crate::{Error, Result};

/// The folder of this machine's models: `$PLUMB_MODELS`, else `plumb/models` in the user's cache.
///
/// # Errors
/// [`Error::Setting`] when neither that nor the home directory is known.
pub fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PLUMB_MODELS").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    Ok(cache()?.join("models"))
}

/// The folder of what can be had again: `plumb` in the user's cache.
///
/// # Errors
/// [`Error::Setting`] when neither that nor the home directory is known.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    match cache.map(PathBuf::from).or_else(home) {
        Some(cache) => Ok(cache.join("plumb")),
        None => Err(Error::Setting {
            message: "there is no folder for models and answers: HOME is not set".to_owned(),
            hint: "set HOME or XDG_CACHE_HOME; for models alone, PLUMB_MODELS".to_owned(),
        }),
    }
}

impl Entry {
    /// Where the file is kept.
    ///
    /// # Errors
    /// As [`folder`].
    pub fn path(&self) -> Result<PathBuf> {
        Ok(folder()?.join(&self.file))
    }

    /// Whether the file is there and is the catalogued one. The first time that costs hashing it.
    pub fn is_present(&self) -> bool {
        self.path().is_ok_and(|path| self.is_right(&path))
    }

    /// The path of the file, which is the catalogued one.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no file; [`Error::Checksum`] when it is another one, which is
    /// deleted.
    pub fn verified(&self) -> Result<PathBuf> {
        let path = self.path()?;
        self.verify(&path)?;
        Ok(path)
    }

    pub(crate) fn verify(&self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::Missing {
                name: self.name.clone(),
            });
        }
        if self.is_right(path) {
            return Ok(());
        }
        let actual = sha256(path)?;
        std::fs::remove_file(path).map_err(|error| file_error(path, error))?;
        Err(Error::Checksum {
            name: self.name.clone(),
            expected: self.sha256.clone(),
            actual,
        })
    }

    fn is_right(&self, path: &Path) -> bool {
        let Some(state) = state(path, &self.sha256) else {
            return false;
        };
        let note = note(path);
        if std::fs::read_to_string(&note).is_ok_and(|noted| noted == state) {
            return true;
        }
        let length = std::fs::metadata(path).map(|metadata| metadata.len());
        let right = length.is_ok_and(|length| length == self.bytes)
            && sha256(path).is_ok_and(|actual| actual == self.sha256);
        if right {
            // In a folder that cannot be written, the file is hashed each time.
            let _ = std::fs::write(&note, state);
        }
        right
    }
}

/// Where it is noted that the file at `path` was found right.
pub(crate) fn note(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".verified");
    path.with_file_name(name)
}

/// What is noted: the checksum that was found right, and what tells that the file is the same still.
fn state(path: &Path, sha256: &str) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    let modified = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!(
        "{sha256} {} {}\n",
        metadata.len(),
        modified.as_nanos()
    ))
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let io = |error| file_error(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let hash = hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::time::{Duration, SystemTime};

    use crate::catalogue::{self, Entry};

    use super::*;

    fn entry(content: &str) -> (tempfile::TempDir, PathBuf, Entry) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, content).unwrap();
        let entry = Entry {
            bytes: content.len() as u64,
            sha256: sha256(&path).unwrap(),
            ..catalogue::find("smollm2-135m").unwrap().clone()
        };
        (folder, path, entry)
    }

    #[test]
    fn a_wrong_file_is_refused_with_both_hashes_and_deleted() {
        let (_folder, path, entry) = entry("the model");
        for wrong in ["the m0del", "the model, cut"] {
            std::fs::write(&path, wrong).unwrap();
            let actual = sha256(&path).unwrap();
            let error = entry.verify(&path).unwrap_err().to_string();
            assert!(error.contains(&entry.sha256), "{error}");
            assert!(error.contains(&actual), "{error}");
            assert!(!path.exists());
        }
        assert!(matches!(entry.verify(&path), Err(Error::Missing { .. })));
    }

    #[test]
    fn a_right_file_is_hashed_once() {
        let (_folder, path, entry) = entry("the model");
        entry.verify(&path).unwrap();
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        let set_time = |time: SystemTime| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        };
        std::fs::write(&path, "the m0del").unwrap();
        set_time(before);
        entry.verify(&path).unwrap();
        set_time(before + Duration::from_secs(1));
        assert!(matches!(entry.verify(&path), Err(Error::Checksum { .. })));
    }

    #[test]
    fn another_checksum_in_the_catalogue_is_checked_anew() {
        let (_folder, path, mut entry) = entry("the model");
        entry.verify(&path).unwrap();
        entry.sha256 = "0".repeat(64);
        assert!(matches!(entry.verify(&path), Err(Error::Checksum { .. })));
    }
}
