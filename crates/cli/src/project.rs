//! The project: the folder that holds `.plumb/` with the journal, the library and the reports.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use journal::Journal;
use knowledge::memory::Memory;
use knowledge::{EmbeddingFiles, Library, LibraryOptions};
use tool::mcp::{Keys, Pins, ServerConfig, Servers, Settings};

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
        let of_servers = configuration.mcp.values().flat_map(ServerConfig::secrets);
        let variables = variables.chain(of_servers);
        for variable in model::KEY_VARIABLES.iter().copied().chain(variables) {
            if let Ok(key) = std::env::var(variable) {
                // A key too short to be one is not worth refusing all work.
                if let Err(error) = journal.add_secret(&key) {
                    tracing::warn!(variable, %error, "this key is not kept out of the journal");
                }
            }
        }
        let keys = Keys::at(&self.directory.join("keys"));
        for (name, server) in &configuration.mcp {
            for token in server.url.iter().flat_map(|url| keys.tokens(name, url)) {
                if let Err(error) = journal.add_secret(&token) {
                    tracing::warn!(server = name, %error, "its token is not kept out of the journal");
                }
            }
        }
        Ok(journal)
    }

    /// The MCP servers that `plumb.toml` describes. None is started, and there are none where it is wrong, which
    /// whoever opens the models says.
    pub fn servers(&self) -> Servers {
        let configuration = Configuration::find().unwrap_or_default();
        Servers::new(Settings {
            servers: configuration.mcp,
            project: configuration.folder,
            pins: Pins::at(&self.directory.join("mcp.json")),
            keys: Keys::at(&self.directory.join("keys")),
        })
    }

    /// What the state is sealed with that MCP clients carry: made once, and only this user may read it.
    pub fn seal(&self) -> anyhow::Result<[u8; 32]> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        self.create()?;
        let path = self.directory.join("mcp.seal");
        let failed = || format!("cannot use {}", path.display());
        if let Ok(read) = std::fs::read(&path)
            && let Ok(seal) = read.try_into()
        {
            return Ok(seal);
        }
        let seal: [u8; 32] = rand::random();
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).with_context(failed)?;
        file.write_all(&seal).with_context(failed)?;
        Ok(seal)
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
