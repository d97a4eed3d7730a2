//! `plumb search`.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use knowledge::{Hit, SearchMode, SearchOptions};
use serde_json::{Value, json};

use crate::arguments::{Mode, Search};
use crate::commands::{index, models, research};
use crate::project::Project;
use crate::view;

/// Searches the library; paths that are named are brought up to date first.
pub async fn run(project: &Project, arguments: Search) -> Result<ExitCode> {
    research::check_paths(&arguments.paths)?;
    let library = project.library(models::embedding_files())?;
    if !arguments.paths.is_empty() {
        index::read(&library, &arguments.paths, &AtomicBool::new(false))?;
    }
    let options = SearchOptions {
        limit: arguments.limit,
        under: arguments.paths,
        mode: match arguments.mode {
            Mode::Fused => SearchMode::Fused,
            Mode::Keywords => SearchMode::Keywords,
            Mode::Vectors => SearchMode::Vectors,
        },
        ..SearchOptions::default()
    };
    let hits = library.search(&arguments.query, &options)?;
    if arguments.json {
        view::print_json(&hits.iter().map(hit_json).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if hits.is_empty() {
        view::say(
            "nothing found\nhint: name a path to read it first, as in plumb search \"QUERY\" PATH",
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (rank, hit) in hits.iter().enumerate() {
        text.push_str(&format!("{}. {}\n", rank + 1, place(hit)));
        text.push_str(&format!("   {}\n\n", beginning(&hit.passage.text, 300)));
    }
    view::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn place(hit: &Hit) -> String {
    let passage = &hit.passage;
    let mut place = passage.file.clone();
    if let Some(first) = passage.places.first() {
        place.push_str(&format!(", page {}", first.page));
    }
    match passage.headings.join(" › ") {
        headings if headings.is_empty() => place,
        headings => format!("{place}: {headings}"),
    }
}

/// The first characters of a text, on one line.
fn beginning(text: &str, characters: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn hit_json(hit: &Hit) -> Value {
    let mut value = json!(hit.passage);
    value["score"] = json!(hit.score);
    value["keyword_rank"] = json!(hit.keyword_rank);
    value["vector_rank"] = json!(hit.vector_rank);
    value
}
