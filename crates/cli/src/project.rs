//! The project: the folder that holds `.plumb/` with the journal, the library and the reports.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use journal::Journal;
use knowledge::memory::Memory;
use knowledge::{EmbeddingFiles, Library, LibraryOptions};

use crate::configuration::Configuration;

/// Where a project keeps its data.
#[derive(Clone, Debug)]
pub struct Project {
    directory: PathBuf,
}

impl Project {
    /// The project of `folder`, or of the nearest folder upwards that has a `.plumb/`, or a new one here.
    pub fn find(folder: Option<PathBuf>) -> anyhow::Result<Project> {
        let root = match folder {
            Some(folder) => folder,
            None => {
                let here = std::env::current_dir().context("cannot tell the working directory")?;
                here.ancestors()
                    .find(|up| up.join(".plumb").is_dir())
                    .unwrap_or(&here)
                    .to_owned()
            }
        };
        Ok(Project {
            directory: root.join(".plumb"),
        })
    }

    /// Opens the journal, creating it if need be.
    pub fn journal(&self) -> anyhow::Result<Journal> {
        self.create()?;
        let journal = Journal::open(&self.directory.join("plumb.db"))?;
        let configuration = Configuration::find()?;
        let servers = configuration.servers.values();
        let variables = servers.filter_map(|server| server.key.as_deref());
        for variable in model::KEY_VARIABLES.iter().copied().chain(variables) {
            if let Ok(key) = std::env::var(variable) {
                // A key too short to be one is not worth refusing all work.
                if let Err(error) = journal.add_secret(&key) {
                    tracing::warn!(variable, %error, "this key is not kept out of the journal");
                }
            }
        }
        Ok(journal)
    }

    /// Opens the library, with embeddings where the index models are present.
    pub fn library(&self, embedding: Option<EmbeddingFiles>) -> anyhow::Result<Library> {
        self.create()?;
        let options = LibraryOptions {
            embedding_model: embedding,
            ..LibraryOptions::default()
        };
        Ok(Library::open(&self.directory, options)?)
    }

    /// Opens the memory, with embeddings where the index models are present.
    pub fn memory(&self, embedding: Option<EmbeddingFiles>) -> anyhow::Result<Memory> {
        self.create()?;
        Ok(Memory::open(&self.directory, embedding)?)
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    /// The file of a run's report with the ending `extension`.
    pub fn report(&self, run: &str, extension: &str) -> PathBuf {
        self.directory
            .join("reports")
            .join(format!("{run}.{extension}"))
    }

    fn create(&self) -> anyhow::Result<()> {
        let name = self.directory.display();
        std::fs::create_dir_all(&self.directory).with_context(|| {
            format!("cannot create {name}\nhint: name a folder you can write to with --project")
        })?;
        let ignore = self.directory.join(".gitignore");
        if !ignore.exists() {
            // Where nothing can be written (a full disk), there may still be something to be read; what
            // has to be written says so itself.
            let _ = std::fs::write(&ignore, "*\n");
        }
        Ok(())
    }
}

/// Writes a file so that it is there whole or not at all.
pub fn write_whole(path: &Path, content: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let mut name = path.file_name().with_context(failed)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, content).with_context(failed)?;
    std::fs::rename(&temporary, path).with_context(failed)
}
