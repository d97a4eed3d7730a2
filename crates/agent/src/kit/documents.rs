//! `library.search` and `library.read`: the project's documents.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use knowledge::{Library, Passage, SearchOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::{Context, Effect, Function, Source, Tool};

use super::Kit;
use crate::definition::LibraryTool;
use crate::{Error, Result};

/// How many passages a search shows a model.
const PASSAGES: usize = 5;
/// How many passages are read before one, and after it.
const AROUND: (u32, u32) = (2, 3);
/// How many passages are read on.
const ONWARDS: u32 = 6;

/// Documents that an agent may see.
#[derive(Clone)]
pub(super) struct Documents {
    library: Library,
    /// Where they lie; anywhere in the library where it is empty.
    under: Vec<PathBuf>,
    /// How far what they say can be trusted.
    source: Source,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The whole question, in the words of who asks it.
    question: String,
}

/// What to read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// The id of a passage, as library.search or library.read gave it.
    passage: String,
    /// Whether to read on after it; else what stands around it is read.
    #[serde(default)]
    onwards: bool,
}

/// A passage as a model reads it.
#[derive(Serialize)]
struct Found {
    /// Its id, where there is a tool that takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    passage: Option<String>,
    file: String,
    title: String,
    text: String,
}

/// A part of a document as a model reads it.
#[derive(Serialize)]
struct Part {
    file: String,
    title: String,
    text: String,
    /// The last passage of it, to read on from.
    last: String,
}

impl Kit {
    pub(super) fn documents(&self, settings: &LibraryTool) -> Result<Documents> {
        let failed = |message| Error::Tool {
            tool: "library.search".to_owned(),
            message,
            hint: "plumb index PATH reads documents into the library".to_owned(),
        };
        let library = (self.library)().map_err(failed)?;
        let paths = settings.paths.iter().map(|path| self.folder.join(path));
        let under: Vec<PathBuf> = paths.collect();
        if let Some(missing) = under.iter().find(|path| !path.exists()) {
            return Err(failed(format!("{} is not there", missing.display())));
        }
        let source = match settings.untrusted {
            true => Source::Elsewhere,
            false => Source::Document,
        };
        Ok(Documents {
            library,
            under,
            source,
        })
    }
}

impl Documents {
    /// `library.search` alone.
    pub(super) fn search(self) -> Arc<dyn Tool> {
        self.searching(false)
    }

    /// `library.search` with the ids of passages, and `library.read` that takes them.
    pub(super) fn both(self) -> Vec<Arc<dyn Tool>> {
        vec![self.clone().searching(true), self.reading()]
    }

    fn searching(self, with_ids: bool) -> Arc<dyn Tool> {
        let source = self.source;
        let search = Function::new(
            "library.search",
            "Searches the documents and gives the passages that fit best, each with its file.",
            move |search: Search, _: Context| {
                let documents = self.clone();
                blocking(move || documents.found(&search, with_ids))
            },
        );
        Arc::new(search.effect(Effect::Read).source(source))
    }

    fn reading(self) -> Arc<dyn Tool> {
        let source = self.source;
        let read = Function::new(
            "library.read",
            "Reads what stands around a passage of a document, or on after it.",
            move |reading: Reading, _: Context| {
                let documents = self.clone();
                blocking(move || documents.read(&reading))
            },
        );
        Arc::new(read.effect(Effect::Read).source(source))
    }

    /// Documents that have changed are read first.
    fn found(&self, search: &Search, with_ids: bool) -> tool::Result<Vec<Found>> {
        if !self.under.is_empty() {
            self.library
                .index(&self.under, &AtomicBool::new(false), &|_| ())
                .map_err(failed)?;
        }
        let options = SearchOptions {
            limit: PASSAGES,
            under: self.under.clone(),
            ..SearchOptions::default()
        };
        let hits = self.library.search(&search.question, &options);
        let hits = hits.map_err(failed)?;
        if hits.is_empty() {
            return Err("nothing was found; ask in other words".into());
        }
        let passages = hits.into_iter().map(|hit| shown(hit.passage, with_ids));
        Ok(passages.collect())
    }

    fn read(&self, reading: &Reading) -> tool::Result<Part> {
        let id = reading.passage.trim();
        let (before, after) = match reading.onwards {
            true => (0, ONWARDS),
            false => AROUND,
        };
        let passages = match self.library.around(id, before, after) {
            Ok(passages) => passages,
            Err(knowledge::Error::NoPassage(_)) => return Err(gone(id)),
            Err(error) => return Err(failed(error)),
        };
        let passages = passages
            .into_iter()
            .filter(|passage| !(reading.onwards && passage.id == id));
        let passages: Vec<Passage> = passages.collect();
        let (Some(first), Some(last)) = (passages.first(), passages.last()) else {
            return Err("the document ends there".into());
        };
        if !self.library.is_under(&first.file, &self.under) {
            return Err(gone(id));
        }
        let document = self.library.document_text(&first.file).map_err(failed)?;
        let text = document.text.get(first.range.start..last.range.end);
        Ok(Part {
            file: name(Path::new(&first.file)),
            title: first.title.clone(),
            text: text.unwrap_or_default().to_owned(),
            last: last.id.clone(),
        })
    }
}

fn shown(passage: Passage, with_ids: bool) -> Found {
    Found {
        passage: with_ids.then_some(passage.id),
        file: name(Path::new(&passage.file)),
        title: passage.title,
        text: knowledge::marks::plain(&passage.text),
    }
}

/// The file's name without the folders of this machine.
fn name(file: &Path) -> String {
    file.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn gone(id: &str) -> tool::Error {
    tool::Error::Failed(format!(
        "there is no passage {id}; search again, its file may have changed"
    ))
}

fn failed(error: knowledge::Error) -> tool::Error {
    tool::Error::Unavailable(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> tool::Result<T> + Send + 'static,
) -> tool::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| tool::Error::Unavailable(error.to_string()))?
}
