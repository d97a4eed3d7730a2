//! `plumb models` and `plumb models pull`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use knowledge::EmbeddingFiles;
use model::catalogue::{self, Kind};
use model::{Bounds, Keeping, Listed, ListedProvider, Models, Settings, prices};
use serde_json::json;

use crate::arguments::{self, ModelsCommand, Provider};
use crate::configuration::Configuration;
use crate::view;

/// How long a provider is waited for when it is asked for its models.
const LONGEST_QUESTION: Duration = Duration::from_secs(5);

/// Lists models, or fetches some.
pub async fn run(arguments: arguments::Models) -> Result<ExitCode> {
    let models = open(&arguments.provider)?;
    match arguments.command {
        None => match arguments.only.as_deref() {
            Some(name) => list_provider(&models, name, arguments.json).await?,
            None => list(&models, arguments.json).await?,
        },
        Some(ModelsCommand::Pull { names }) => pull(&models, &names).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The models under the user's settings.
pub fn open(provider: &Provider) -> Result<Models> {
    open_keeping(provider, false)
}

/// The models under the user's settings; with `keep`, answers of providers are kept in any case.
pub fn open_keeping(provider: &Provider, keep: bool) -> Result<Models> {
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
        timeouts: configuration.timeouts,
        hedging: configuration.hedging,
        retry: configuration.retry,
        keeping: configuration
            .answers
            .or_else(|| keep.then(Keeping::default)),
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

/// What is on this machine, and which providers answer.
async fn list(models: &Models, json: bool) -> Result<()> {
    let listed = models.list()?;
    let providers = models.providers();
    let asked =
        futures::future::join_all(providers.iter().map(|provider| ask(models, provider))).await;
    let providers: Vec<_> = providers.iter().zip(asked).collect();
    if json {
        let providers = providers
            .iter()
            .map(|(provider, asked)| as_json(provider, asked));
        return view::print_json(&json!({"catalogue": listed,
            "providers": providers.collect::<Vec<_>>(), "prices_of": prices::table().date}));
    }
    let mut text = String::new();
    text.extend(listed.iter().map(local));
    text.push('\n');
    for (provider, asked) in &providers {
        text.push_str(&line(provider, asked));
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

/// What a provider says of its models; `None` where it was not asked, for want of a key.
type Asked = Option<Result<Vec<String>, model::Error>>;

async fn ask(models: &Models, provider: &ListedProvider) -> Asked {
    if !provider.ready {
        return None;
    }
    let late = || model::Error::TimedOut {
        provider: provider.name.clone(),
        started: false,
        after_ms: 5000,
    };
    let asked = tokio::time::timeout(LONGEST_QUESTION, models.offered(&provider.name)).await;
    Some(asked.unwrap_or_else(|_| Err(late())))
}

fn as_json(provider: &ListedProvider, asked: &Asked) -> serde_json::Value {
    let mut value = json!(provider);
    value["reachable"] = json!(asked.as_ref().map(Result::is_ok));
    let offered = asked.as_ref().and_then(|asked| asked.as_ref().ok());
    value["offered"] = json!(offered);
    let error = asked.as_ref().and_then(|asked| asked.as_ref().err());
    value["error"] = json!(error.map(model::Error::without_hint));
    value
}

/// A provider, its key, and whether it answers.
fn line(provider: &ListedProvider, asked: &Asked) -> String {
    let key = match (&provider.key_variable, provider.ready) {
        (None, _) => "needs no key".to_owned(),
        (Some(variable), true) => format!("{variable} is set"),
        (Some(variable), false) => format!("{variable} is not set"),
    };
    let state = match asked {
        None => "not asked".to_owned(),
        Some(Ok(names)) => format!("reachable, {} models", names.len()),
        // It has no list of its models; whether it answers is not known.
        Some(Err(model::Error::Unsupported { .. })) => "cannot be asked".to_owned(),
        Some(Err(model::Error::Denied { .. })) if provider.key_variable.is_some() => {
            "key not accepted".to_owned()
        }
        Some(Err(model::Error::Denied { .. })) => "wants a key".to_owned(),
        Some(Err(model::Error::TimedOut { .. })) => "does not answer".to_owned(),
        Some(Err(model::Error::Busy { .. })) => "too busy".to_owned(),
        Some(Err(_)) => "not reachable".to_owned(),
    };
    let name = format!("{}:...", provider.name);
    format!("{name:<22} {key:<36} {state:<22} {}\n", provider.base_url)
}

/// One provider: whether it answers, what it offers, and what is known of that.
async fn list_provider(models: &Models, name: &str, json: bool) -> Result<()> {
    if name == "local" {
        let listed = models.list()?;
        if json {
            return view::print_json(&json!({"catalogue": listed}));
        }
        let chat = listed.iter().filter(|entry| entry.kind == Kind::Chat);
        return view::print(&chat.map(local).collect::<String>());
    }
    let providers = models.providers();
    let Some(provider) = providers.iter().find(|provider| provider.name == name) else {
        let names = providers.iter().map(|provider| provider.name.as_str());
        anyhow::bail!(
            "there is no provider {name}\nhint: {}",
            catalogue::nearest("", name, names.chain(["local"]), "plumb models")
        );
    };
    let asked = ask(models, provider).await;
    if json {
        let mut value = as_json(provider, &asked);
        value["models"] = json!(details(provider, &asked));
        return view::print_json(&json!({"provider": value, "prices_of": prices::table().date}));
    }
    let mut text = line(provider, &asked);
    for (model, price) in details(provider, &asked) {
        text.push_str(&match price {
            Some(price) => format!(
                "{model:<38} ${:>6} in ${:>6} out  {:>8} tokens  {}\n",
                price.input,
                price.output,
                price
                    .context
                    .map_or_else(|| "?".to_owned(), |tokens| tokens.to_string()),
                price.abilities.join(", ")
            ),
            None => format!("{model:<38} price, context and abilities are not known\n"),
        });
    }
    text.push_str(&format!(
        "prices in US dollars for a million tokens, from a table of {} that was not compared with the providers' lists; models that are not listed work, at an unknown price\n",
        prices::table().date
    ));
    view::print(&text)?;
    // The list is of use all the same; what is wrong is said beside it.
    if let Some(Err(error)) = asked {
        view::say(&format!("error: {error}"));
    }
    Ok(())
}

/// What a provider offers, else what is known of it, by `provider:name`.
fn details(
    provider: &ListedProvider,
    asked: &Asked,
) -> BTreeMap<String, Option<&'static prices::Price>> {
    let known = provider.models.iter();
    let known = known.map(|(name, price)| ((*name).to_owned(), Some(*price)));
    match asked {
        Some(Ok(names)) => {
            let named = names.iter().map(|name| format!("{}:{name}", provider.name));
            named
                .map(|name| (name.clone(), prices::find(&name)))
                .collect()
        }
        _ => known.collect(),
    }
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
