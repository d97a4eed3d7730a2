//! The documents as steps of a run: reading them, searching them, reading around a hit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::{Effect, Run, StepError};
use knowledge::{Candidate, Passage, SearchOptions};
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

/// Passages that a search brings: those of a round, and as many again that an earlier round has read.
const FOUND: usize = 48;

/// How long a search may take to embed passages that have no vector yet. It is a few hundred at most.
const EMBED_WITHIN: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Searched<'a> {
    queries: &'a [String],
    also: &'a [String],
    paths: &'a [std::path::PathBuf],
    limit: usize,
}

/// Searches the documents of the run in several wordings of `question`, itself the first of them; `also` is ranked
/// beside what they find.
pub(super) async fn search(
    run: &Run,
    tools: &Tools,
    input: &Input,
    question: &str,
    queries: Vec<String>,
    also: &[Passage],
) -> Result<Vec<Candidate>> {
    let also: Vec<String> = also.iter().map(|passage| passage.id.clone()).collect();
    let asked = Searched {
        queries: &queries,
        also: &also,
        paths: &input.paths,
        limit: FOUND,
    };
    let library = tools.library.clone();
    let mut options = SearchOptions {
        limit: FOUND,
        under: input.paths.clone(),
        embed_within: EMBED_WITHIN,
        ..SearchOptions::default()
    };
    options.fusion.candidates *= queries.len();
    let (queries, also) = (queries.clone(), also.clone());
    let found = run
        .step("search", Effect::Read, &asked, |context| async move {
            context.attribute("title", question);
            blocking(move || library.search_together(&queries, &also, &options)).await
        })
        .await?;
    Ok(found)
}

/// The words of the question that are no common English; most are names of programs.
pub(super) async fn uncommon_words(
    run: &Run,
    tools: &Tools,
    question: &str,
) -> Result<Vec<String>> {
    let library = tools.library.clone();
    let asked = question.to_owned();
    let words = run
        .step("names", Effect::Read, &question, |context| async move {
            context.attribute("title", question);
            blocking(move || library.uncommon_words(&asked)).await
        })
        .await?;
    Ok(words)
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
