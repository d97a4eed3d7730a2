//! Answers kept from before: the same request to the same model is answered without asking anybody.
//!
//! Off unless the user says so. An answer is one file, named by the hash of its request and readable by
//! the user alone; the oldest go when there are too many. Errors and refusals are never kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::future::BoxFuture;
use serde::Deserialize;

use crate::{Delta, DeltaSink, Model, Request, Response, Result, Stop, store};

/// The form of the files.
const VERSION: u32 = 1;

/// Whether answers are kept, where, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keeping {
    /// The folder; `plumb/answers` in the user's cache where not set.
    pub folder: Option<PathBuf>,
    /// How large all of them together may be.
    pub megabytes: u64,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping {
            folder: None,
            megabytes: 256,
        }
    }
}

/// The answers that are kept.
#[derive(Debug)]
pub(crate) struct Answers {
    folder: PathBuf,
    most: u64,
    /// How large all of them are together, once that is known.
    bytes: Mutex<Option<u64>>,
}

impl Answers {
    /// # Errors
    /// [`crate::Error::Setting`] where there is no folder for them.
    pub(crate) fn new(keeping: &Keeping) -> Result<Answers> {
        let folder = match &keeping.folder {
            Some(folder) => folder.clone(),
            None => store::cache()?.join("answers"),
        };
        Ok(Answers {
            folder,
            most: keeping.megabytes.saturating_mul(1_000_000),
            bytes: Mutex::default(),
        })
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(format!("{hash}.json"))
    }

    /// The answer to the request of this hash. A file that cannot be read is none.
    fn find(&self, hash: &str) -> Option<Response> {
        let file = std::fs::File::open(self.path(hash)).ok()?;
        let response = serde_json::from_reader(std::io::BufReader::new(&file)).ok()?;
        // What is used stays; a folder that cannot be written still gives answers.
        let _ = file.set_modified(SystemTime::now());
        Some(response)
    }

    fn keep(&self, hash: &str, response: &Response) -> std::io::Result<()> {
        let text = serde_json::to_vec(response)?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        // One answer must not drive out all the others.
        if length > self.most / 4 {
            return Ok(());
        }
        private_folder(&self.folder)?;
        let part = self.path(&format!("{hash}.{}.part", std::process::id()));
        std::fs::write(&part, text)?;
        std::fs::rename(&part, self.path(hash))?;
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let all = match *bytes {
            Some(before) => before + length,
            None => files(&self.folder)?.iter().map(|file| file.1).sum(),
        };
        *bytes = Some(match all > self.most {
            true => self.shrink()?,
            false => all,
        });
        Ok(())
    }

    /// Deletes the oldest until there is some room again; how large the rest is.
    fn shrink(&self) -> std::io::Result<u64> {
        let mut files = files(&self.folder)?;
        files.sort();
        let mut left: u64 = files.iter().map(|file| file.1).sum();
        for (_, length, path) in files {
            if left <= self.most / 10 * 9 {
                break;
            }
            std::fs::remove_file(path)?;
            left -= length;
        }
        Ok(left)
    }
}

/// The files of a folder: when they were used, their lengths, their paths.
fn files(folder: &Path) -> std::io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        files.push((about.modified()?, about.len(), entry.path()));
    }
    Ok(files)
}

#[cfg(unix)]
fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// A model whose answers are kept.
pub(crate) struct Kept {
    inner: Arc<dyn Model>,
    /// Tells models of the same name at different places apart.
    address: String,
    answers: Arc<Answers>,
}

impl Kept {
    pub(crate) fn new(inner: Arc<dyn Model>, address: String, answers: Arc<Answers>) -> Kept {
        Kept {
            inner,
            address,
            answers,
        }
    }

    /// What the request is called. Without a temperature the seed changes nothing.
    fn hash(&self, request: &Request) -> Option<String> {
        let mut request = request.clone();
        if request.temperature == 0.0 {
            request.seed = 0;
        }
        let asked = (VERSION, &self.address, self.inner.name(), request);
        let text = serde_json::to_vec(&asked).ok()?;
        Some(blake3::hash(&text).to_hex().to_string())
    }

    async fn answer(&self, request: &Request, sink: Option<DeltaSink>) -> Result<Response> {
        let Some(hash) = self.hash(request) else {
            return self.inner.generate(request, sink).await;
        };
        let (answers, name) = (Arc::clone(&self.answers), hash.clone());
        let found = tokio::task::spawn_blocking(move || answers.find(&name)).await;
        if let Ok(Some(mut response)) = found {
            (response.kept, response.cost_micros, response.dropped_calls) = (true, Some(0), 0);
            for piece in pieces(&response) {
                // Whoever reads the stream may have gone.
                let _ = sink.as_ref().map(|sink| sink.send(piece));
            }
            return Ok(response);
        }
        let response = self.inner.generate(request, sink).await?;
        if response.stop != Stop::Refused {
            let (answers, kept) = (Arc::clone(&self.answers), response.clone());
            let keeping = tokio::task::spawn_blocking(move || answers.keep(&hash, &kept));
            if let Ok(Err(error)) = keeping.await {
                tracing::warn!(%error, "an answer could not be kept");
            }
        }
        Ok(response)
    }
}

/// An answer as if it arrived.
fn pieces(response: &Response) -> Vec<Delta> {
    let mut pieces = Vec::new();
    for thought in response
        .reasoning
        .iter()
        .filter(|thought| !thought.text.is_empty())
    {
        pieces.push(Delta::Reasoning {
            text: thought.text.clone(),
        });
    }
    if !response.text.is_empty() {
        pieces.push(Delta::Text {
            text: response.text.clone(),
        });
    }
    for (index, call) in response.tool_calls.iter().enumerate() {
        pieces.push(Delta::ToolCall {
            index,
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.to_string(),
        });
    }
    pieces
}

impl Model for Kept {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn context_tokens(&self) -> Option<u32> {
        self.inner.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(self.answer(request, sink))
    }
}

#[cfg(test)]
mod tests;
