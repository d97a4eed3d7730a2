//! Opening models of the local engine: `local:NAME`, `local:FILE.gguf`, and either with `+ADAPTER`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::Models;
use crate::catalogue::Entry;
use crate::local::{Local, adapters_beside};
use crate::{Error, Model, Result, capacity, catalogue};

impl Models {
    /// Opens a local model. One that is open already is shared, whatever the adapter, so that its weights
    /// are in memory once.
    pub(super) fn open_local(&self, local: &str) -> Result<Arc<dyn Model>> {
        let (base, adapter) = parted(local);
        let full = format!("local:{base}");
        let path = match is_file(base) {
            true => PathBuf::from(base),
            false => named(&full, base)?.verified()?,
        };
        if !path.is_file() {
            return Err(Error::Unknown {
                name: full,
                hint: format!("there is no file {}", path.display()),
            });
        }
        let opened = self.opened(&full, &path)?;
        Ok(match adapter {
            None => Arc::new(opened),
            Some(adapter) => Arc::new(opened.with_adapter(adapter)?),
        })
    }

    /// The model of the file at `path`, loaded once.
    fn opened(&self, name: &str, path: &Path) -> Result<Local> {
        // Held while it loads: a second caller waits for the same model.
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = engines
            .get(path)
            .and_then(|known| Local::again(name, known))
        {
            return Ok(known);
        }
        let bounds = &self.settings.local;
        let options = bounds.options()?;
        let adapters = adapters_beside(path).into_iter();
        let lengths = adapters.filter_map(|(_, path)| std::fs::metadata(path).ok());
        let adapters = lengths.map(|metadata| metadata.len()).sum();
        capacity::check(name, path, adapters, bounds)?;
        let opened = Local::load(name, path, options)?;
        engines.insert(path.to_owned(), opened.shared());
        Ok(opened)
    }
}

/// The catalogued model of that name.
fn named(full: &str, base: &str) -> Result<&'static Entry> {
    match base.contains(['/', '\\']) {
        true => Err(Error::Unknown {
            name: full.to_owned(),
            hint: "a model of your own is named by the path of its file, which ends in .gguf"
                .to_owned(),
        }),
        false => catalogue::find(full),
    }
}

fn is_file(base: &str) -> bool {
    let ending = Path::new(base).extension();
    ending.is_some_and(|ending| ending == "gguf")
}

/// A base and the adapter that is asked for with it. A path may have a plus in it, but after the ending.
fn parted(local: &str) -> (&str, Option<&str>) {
    if let Some((before, adapter)) = local.rsplit_once(".gguf+") {
        let base = local.get(..before.len() + ".gguf".len());
        return (base.unwrap_or(local), Some(adapter));
    }
    match local.split_once('+') {
        Some((base, adapter)) if !is_file(local) => (base, Some(adapter)),
        _ => (local, None),
    }
}

/// The names of a local model's adapters on this machine.
pub(super) fn adapters(path: &Path) -> Vec<String> {
    adapters_beside(path)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_and_its_adapter_are_told_apart() {
        for (local, expected) in [
            ("qwen", ("qwen", None)),
            ("qwen+support", ("qwen", Some("support"))),
            ("a+b/model.gguf", ("a+b/model.gguf", None)),
            (
                "a+b/model.gguf+support",
                ("a+b/model.gguf", Some("support")),
            ),
        ] {
            assert_eq!(parted(local), expected);
        }
    }
}
