//! Adapters (LoRA): small files that change what a base model says, loaded beside it.
//!
//! The adapters of a model are the files `BASE+NAME.gguf` in its folder. All of them are loaded with the base,
//! because the engine plans its work for all that there are, and each call names the one it wants.

use std::path::{Path, PathBuf};

use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use crate::gguf::Header;

/// The adapters in the folder of the model at `path`, by their names.
pub(crate) fn adapters_beside(path: &Path) -> Vec<(String, PathBuf)> {
    let base = path.file_stem().and_then(|stem| stem.to_str());
    let (Some(base), Some(folder)) = (base, path.parent()) else {
        return Vec::new();
    };
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let name = file
            .strip_prefix(base)?
            .strip_prefix('+')?
            .strip_suffix(".gguf")?;
        (!name.is_empty()).then(|| (name.to_owned(), entry.path()))
    });
    let mut adapters: Vec<_> = named.collect();
    adapters.sort();
    adapters
}

/// The adapters of a model, loaded.
#[derive(Default)]
pub(super) struct Adapters {
    /// Their names, and which of the loaded ones each is, or why it is none.
    pub names: Vec<(String, std::result::Result<usize, String>)>,
    /// The loaded ones.
    pub loaded: Vec<LlamaLoraAdapter>,
}

impl Adapters {
    /// Loads what lies beside the model at `path`. One that cannot be loaded is no hindrance until it is
    /// asked for.
    pub(super) fn load(model: &mut LlamaModel, path: &Path) -> Adapters {
        let mut adapters = Adapters::default();
        let architecture = Header::read(path).map(|header| header.architecture().to_owned());
        let architecture = architecture.unwrap_or_default();
        for (name, file) in adapters_beside(path) {
            let outcome = load(model, &file, &architecture);
            let outcome = outcome.map(|adapter| {
                adapters.loaded.push(adapter);
                adapters.loaded.len() - 1
            });
            if let Err(message) = &outcome {
                tracing::warn!(adapter = name, message, "left out");
            }
            adapters.names.push((name, outcome));
        }
        adapters
    }
}

fn load(
    model: &mut LlamaModel,
    file: &Path,
    architecture: &str,
) -> std::result::Result<LlamaLoraAdapter, String> {
    let header = Header::read(file).map_err(|error| error.without_hint())?;
    if !header.is_adapter() {
        return Err(format!("{} is no adapter", file.display()));
    }
    if header.architecture() != architecture {
        return Err(format!(
            "{} is for {} and the model is {architecture}",
            file.display(),
            header.architecture()
        ));
    }
    let loaded = model.lora_adapter_init(file);
    loaded.map_err(|_| format!("{} does not fit the model", file.display()))
}
