//! The documents as steps of a run: reading them, searching them, reading around a hit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Effect, Run, StepError};
use knowledge::{Passage, SearchOptions};
use serde::Serialize;

use super::{Input, Progress, Tools};
use crate::Result;

/// Reads what has changed below the run's paths. A run that is resumed searches what was read then.
pub(super) async fn bring_up_to_date(run: &Run, tools: &Tools, input: &Input) -> Result<()> {
    let library = tools.library.clone();
    let progress = Arc::clone(&tools.progress);
    let paths = input.paths.clone();
    let cancel = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&cancel.0);
    let _report: serde_json::Value = run
        .step(
            "read_documents",
            Effect::Read,
            &input.paths,
            |context| async move {
                context.attribute("title", "the documents");
                let report = blocking(move || {
                    library.index(&paths, &stop, &|state| {
                        progress(Progress::Indexing {
                            done: state.done,
                            total: state.total,
                        });
                    })
                })
                .await?;
                // The work was cut off: that is no result.
                drop(cancel);
                serde_json::to_value(&report).map_err(|error| StepError::Fault(error.to_string()))
            },
        )
        .await?;
    Ok(())
}

/// Tells a thread that its work is not wanted any more when the step it belongs to is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Serialize)]
struct Searched<'a> {
    query: &'a str,
    paths: &'a [std::path::PathBuf],
    limit: usize,
}

/// Searches the documents of the run.
pub(super) async fn search(
    run: &Run,
    tools: &Tools,
    input: &Input,
    query: &str,
    limit: usize,
) -> Result<Vec<Passage>> {
    let asked = Searched {
        query,
        paths: &input.paths,
        limit,
    };
    let library = tools.library.clone();
    let options = SearchOptions {
        limit,
        under: input.paths.clone(),
        ..SearchOptions::default()
    };
    let passages = run
        .step("search", Effect::Read, &asked, |context| async move {
            context.attribute("title", query);
            let query = query.to_owned();
            let hits = blocking(move || library.search(&query, &options)).await?;
            Ok(hits.into_iter().map(|hit| hit.passage).collect::<Vec<_>>())
        })
        .await?;
    Ok(passages)
}

/// One order out of what several searches found, best first; `queries` is what it is held against.
pub(super) async fn rerank(
    run: &Run,
    tools: &Tools,
    queries: &[String],
    lists: Vec<Vec<Passage>>,
) -> Result<Vec<Passage>> {
    let ids = |list: &Vec<Passage>| list.iter().map(|p| p.id.clone()).collect::<Vec<_>>();
    let asked = (queries, lists.iter().map(ids).collect::<Vec<_>>());
    let found: HashMap<String, Passage> = lists
        .iter()
        .flatten()
        .map(|passage| (passage.id.clone(), passage.clone()))
        .collect();
    let library = tools.library.clone();
    let queries = queries.to_vec();
    let order: Vec<String> = run
        .step("rerank", Effect::Read, &asked, |context| async move {
            context.attribute("title", "what was found, by its nearest sentence");
            let ranked = blocking(move || library.rerank(&queries, &lists)).await?;
            Ok(ranked.into_iter().map(|passage| passage.id).collect())
        })
        .await?;
    let passages = order.iter().filter_map(|id| found.get(id).cloned());
    Ok(passages.collect())
}

/// The neighbours of the passages that came nearest to an answer.
pub(super) async fn around(run: &Run, tools: &Tools, nearest: &[Passage]) -> Result<Vec<Passage>> {
    let ids: Vec<String> = nearest
        .iter()
        .take(2)
        .map(|passage| passage.id.clone())
        .collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let library = tools.library.clone();
    let asked = ids.clone();
    let passages = run
        .step("read_around", Effect::Read, &asked, |context| async move {
            context.attribute("title", "the neighbours of the nearest passages");
            blocking(move || {
                let mut passages = Vec::new();
                for id in &ids {
                    passages.extend(library.around(id, 1, 1)?);
                }
                Ok(passages)
            })
            .await
        })
        .await?;
    Ok(passages)
}

/// Runs work that blocks beside the async tasks; a search that fails is the operator's to mend, so
/// the step stays open and a resume tries again.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> knowledge::Result<T> + Send + 'static,
) -> std::result::Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StepError::Fault(error.to_string())),
        Err(error) => Err(StepError::Fault(error.to_string())),
    }
}
