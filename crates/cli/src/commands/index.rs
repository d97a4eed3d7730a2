//! `plumb index`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use knowledge::{IndexReport, Library};
use serde_json::json;

use crate::arguments::Index;
use crate::commands::{models, research};
use crate::project::Project;
use crate::view;

/// Reads documents, then computes the embeddings behind; both go on where they were stopped.
pub async fn run(project: &Project, arguments: Index) -> Result<ExitCode> {
    research::check_paths(&arguments.paths)?;
    let embedding = models::embedding_files();
    let has_embedding = embedding.is_some();
    let library = project.library(embedding)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let interrupted = tokio::spawn({
        let cancel = Arc::clone(&cancel);
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                cancel.store(true, Ordering::Relaxed);
            }
        }
    });
    let report = read(&library, &arguments.paths, &cancel)?;
    for skipped in &report.skipped {
        view::say(&format!("skipped {skipped}"));
    }
    let vectors = !arguments.no_vectors && has_embedding && !cancel.load(Ordering::Relaxed);
    if vectors {
        fill(&library, &cancel)?;
    }
    interrupted.abort();
    let status = library.status()?;
    if arguments.json {
        view::print_json(&json!({"read": report, "library": status}))?;
    } else {
        view::print(&format!("{report}\n{status}"))?;
    }
    if !has_embedding {
        view::say(
            "hint: search is by keywords alone; plumb models pull fetches the embedding model",
        );
    }
    if cancel.load(Ordering::Relaxed) {
        view::say("stopped; the same command goes on where it was");
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings the library up to date with `paths`, with a progress bar.
pub fn read(library: &Library, paths: &[PathBuf], cancel: &AtomicBool) -> Result<IndexReport> {
    let bar = view::bar(0, "reading {bar:30} {pos}/{len} files  {wide_msg}");
    let report = library.index(paths, cancel, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.file.clone());
    })?;
    bar.finish_and_clear();
    Ok(report)
}

fn fill(library: &Library, cancel: &AtomicBool) -> Result<()> {
    let bar = view::bar(
        0,
        "embedding {bar:30} {pos}/{len} passages, {eta} left; searchable already",
    );
    library.fill_vectors(cancel, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    Ok(())
}
