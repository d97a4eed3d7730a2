//! `plumb models` and `plumb models pull`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use knowledge::EmbeddingFiles;
use model::catalogue::{self, Kind};
use model::{Bounds, Listed, ListedProvider, Models, Settings, prices};
use serde_json::json;

use crate::arguments::{self, ModelsCommand, Provider};
use crate::configuration::Configuration;
use crate::view;

/// Lists models, or fetches some.
pub async fn run(arguments: arguments::Models) -> Result<ExitCode> {
    let models = open(&arguments.provider)?;
    match arguments.command {
        None => match arguments.only.as_deref() {
            Some(name) => list_provider(&models, name, arguments.json)?,
            None => list(&models, arguments.json).await?,
        },
        Some(ModelsCommand::Pull { names }) => pull(&models, &names).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The models under the user's settings.
pub fn open(provider: &Provider) -> Result<Models> {
    let configuration = Configuration::find()?;
    Ok(Models::new(Settings {
        base_url: provider.base_url.clone(),
        local: Bounds {
            threads: provider.threads,
            context_tokens: provider.context_tokens,
            memory_mb: provider.memory_mb,
            ..Bounds::default()
        }
        .or(configuration.local),
        servers: configuration.servers,
        limits: configuration.limits,
        ..Settings::default()
    }))
}

/// The files of the embedding model, when they are on this machine.
pub fn embedding_files() -> Option<EmbeddingFiles> {
    let path = |name| {
        let entry = catalogue::find(name)
            .ok()
            .filter(|entry| entry.is_present());
        entry.and_then(|entry| entry.path().ok())
    };
    Some(EmbeddingFiles {
        model: path("minilm-int8")?,
        tokenizer: path("minilm-tokenizer")?,
    })
}

async fn list(models: &Models, json: bool) -> Result<()> {
    let listed = models.list()?;
    let remote = models.remote().await;
    if json {
        let remote = remote.map_err(|error| error.to_string());
        let (reachable, error) = match remote {
            Ok(names) => (names, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        return view::print_json(
            &json!({"catalogue": listed, "openai": {"models": reachable, "error": error},
                "providers": models.providers(), "prices_of": prices::table().date}),
        );
    }
    let mut text = String::new();
    text.extend(listed.iter().map(local));
    match remote {
        Ok(names) => names
            .iter()
            .for_each(|name| text.push_str(&format!("openai:{name:<19}           reachable\n"))),
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            text.push_str(&format!(
                "{:<26}           not reachable: {first}\n",
                "openai:..."
            ));
        }
    }
    text.push('\n');
    for provider in models.providers() {
        text.push_str(&line(&provider));
    }
    view::print(&text)
}

/// A catalogued file: its size, and what it needs at work.
fn local(entry: &Listed) -> String {
    let state = match (entry.present, entry.default) {
        (true, true) => "present, default",
        (true, false) => "present",
        (false, true) => "not fetched, default",
        (false, false) => "not fetched",
    };
    let megabytes = |bytes: u64| format!("{} MB", bytes.div_ceil(1_000_000));
    let need = match (entry.kind, entry.fits) {
        (Kind::Index, _) => String::new(),
        (Kind::Chat, Some(false)) => {
            format!("needs {}, does not fit", megabytes(entry.memory_bytes))
        }
        (Kind::Chat, _) => format!("needs {}", megabytes(entry.memory_bytes)),
    };
    let context = entry
        .context_tokens
        .map_or_else(String::new, |tokens| format!("{tokens} tokens"));
    let mut text = format!(
        "{:<26} {:>7}  {state:<20}  {need:<27} {context:<13} {}\n",
        entry.name,
        megabytes(entry.bytes),
        entry.about
    );
    for adapter in &entry.adapters {
        text.push_str(&format!("{}+{adapter}\n", entry.name));
    }
    text
}

/// A provider and whether its key is there.
fn line(provider: &ListedProvider) -> String {
    let key = match (&provider.key_variable, provider.ready) {
        (None, _) => "needs no key".to_owned(),
        (Some(variable), true) => format!("{variable} is set"),
        (Some(variable), false) => format!("{variable} is not set"),
    };
    let name = format!("{}:...", provider.name);
    format!("{name:<26} {key:<36} {}\n", provider.base_url)
}

/// One provider, with what is known of its models. Nobody is asked.
fn list_provider(models: &Models, name: &str, json: bool) -> Result<()> {
    let providers = models.providers();
    let Some(provider) = providers.iter().find(|provider| provider.name == name) else {
        let names: Vec<_> = providers
            .iter()
            .map(|provider| provider.name.as_str())
            .collect();
        anyhow::bail!(
            "there is no provider {name}\nhint: there are {}",
            names.join(", ")
        );
    };
    let table = prices::table();
    if json {
        return view::print_json(&json!({"provider": provider, "prices_of": table.date}));
    }
    let mut text = line(provider);
    for (model, price) in &provider.models {
        let context = price
            .context
            .map_or_else(|| "?".to_owned(), |tokens| tokens.to_string());
        text.push_str(&format!(
            "{model:<38} ${:>6} in ${:>6} out  {context:>8} tokens  {}\n",
            price.input,
            price.output,
            price.abilities.join(", ")
        ));
    }
    text.push_str(&format!(
        "prices in US dollars for a million tokens, from a table of {} that was not compared with the providers' lists; models that are not listed work, at an unknown price\n",
        table.date
    ));
    view::print(&text)
}

/// Fetches files, each with a progress bar; nothing that is there already is fetched again.
async fn pull(models: &Models, names: &[String]) -> Result<()> {
    let names: Vec<String> = if names.is_empty() {
        let default = models.default_name()?;
        let index = catalogue::entries()?
            .iter()
            .filter(|entry| entry.kind != Kind::Chat);
        std::iter::once(default)
            .chain(index.map(|entry| entry.name.clone()))
            .collect()
    } else {
        names.to_vec()
    };
    for name in names {
        let entry = catalogue::find(&name)?;
        if entry.is_present() {
            view::say(&format!("{name} is here already"));
            continue;
        }
        let bar = view::bar(
            entry.bytes,
            "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        );
        bar.set_message(name.clone());
        bar.tick();
        let path = entry
            .pull(&|bytes| bar.set_position(bytes))
            .await
            .context("nothing was lost: the same command goes on")?;
        bar.finish_and_clear();
        view::say(&format!("{name}: {} (checksum right)", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_model_is_listed_with_what_it_needs() {
        let entry = |present, fits, adapters: &[&str]| Listed {
            name: "local:small".to_owned(),
            kind: Kind::Chat,
            present,
            default: present,
            bytes: 491_400_064,
            memory_bytes: 881_000_000,
            fits: Some(fits),
            context_tokens: Some(12_288),
            adapters: adapters.iter().map(|&name| name.to_owned()).collect(),
            licence: "Apache-2.0".to_owned(),
            about: "Small".to_owned(),
        };
        let index = Listed {
            kind: Kind::Index,
            name: "index".to_owned(),
            context_tokens: None,
            ..entry(false, true, &[])
        };
        let listed = [
            entry(true, true, &["support"]),
            entry(false, false, &[]),
            index,
        ];
        let text: String = listed.iter().map(local).collect();
        insta::assert_snapshot!(text, @r"
        local:small                 492 MB  present, default      needs 881 MB                12288 tokens  Small
        local:small+support
        local:small                 492 MB  not fetched           needs 881 MB, does not fit  12288 tokens  Small
        index                       492 MB  not fetched                                                     Small
        ");
    }
}
