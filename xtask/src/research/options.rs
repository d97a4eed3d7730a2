//! What the evaluation is told on the command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::questions::{Kind, Question, Split, Wording};
use crate::workspace;

pub(super) const HELP: &str = "\
Usage: cargo xtask eval-research [OPTIONS] [-- OPTIONS OF plumb research]

Asks the built plumb the questions of evals/research and prints, per question and in total: facts found,
citations verified, unanswerable questions recognised, the right file among the first five hits, seconds
and tokens.

Options:
  --split dev|test|all   which half of the questions [default: dev]
  --wording everyday|terms|natural|all
                         the questions in everyday words (questions.toml), those in the terms of
                         the product (terms.toml), those as an ordinary user types them
                         (natural.toml), or all [default: all]
  --kind KIND            only this kind: fact, comparison, explanation or unanswerable
  --only ID              only this question; may be repeated
  --model MODEL          as in plumb research
  --retrieval-only       search, but do not answer
  --binary FILE          the plumb to test [default: the workspace's, built first]
  --project FOLDER       where it keeps its index and journal [default: ~/.cache/plumb/eval]
  --out FILE             where the results go, as JSON [default: results.json in that folder]
  --check                ask nothing; hold the questions against the documents
";

/// What to ask, of which program.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) split: Option<Split>,
    pub(super) wording: Option<Wording>,
    pub(super) kind: Option<Kind>,
    pub(super) only: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) retrieval_only: bool,
    pub(super) binary: Option<PathBuf>,
    pub(super) project: PathBuf,
    pub(super) out: PathBuf,
    pub(super) check: bool,
    pub(super) passed_on: Vec<String>,
}

impl Options {
    /// Reads the arguments; nothing when help is asked for.
    pub(super) fn parse(arguments: &[String]) -> Result<Option<Options>> {
        let mut split = None;
        let mut out = None;
        let mut options = Options {
            split: Some(Split::Dev),
            wording: None,
            kind: None,
            only: Vec::new(),
            model: None,
            retrieval_only: false,
            binary: None,
            project: workspace::cache()?.join("eval"),
            out: PathBuf::new(),
            check: false,
            passed_on: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .cloned()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--split" => split = Some(split_of(&value()?)?),
                "--wording" => options.wording = wording_of(&value()?)?,
                "--kind" => options.kind = Some(kind_of(&value()?)?),
                "--only" => options.only.push(value()?),
                "--model" => options.model = Some(value()?),
                "--retrieval-only" => options.retrieval_only = true,
                "--binary" => options.binary = Some(PathBuf::from(value()?)),
                "--project" => options.project = std::path::absolute(value()?)?,
                "--out" => out = Some(PathBuf::from(value()?)),
                "--check" => options.check = true,
                "--" => options.passed_on = rest.by_ref().cloned().collect(),
                other => bail!("unknown option {other}\n\n{HELP}"),
            }
        }
        // A question that is named is asked, and all are checked, whichever half they belong to.
        let all = options.check || !options.only.is_empty();
        options.split = split.unwrap_or(if all { None } else { Some(Split::Dev) });
        options.out = out.unwrap_or_else(|| options.project.join("results.json"));
        Ok(Some(options))
    }

    /// Whether the question is to be asked.
    pub(super) fn selects(&self, question: &Question) -> bool {
        self.split.is_none_or(|split| split == question.split)
            && self
                .wording
                .is_none_or(|wording| wording == question.wording)
            && self.kind.is_none_or(|kind| kind == question.kind)
            && (self.only.is_empty() || self.only.contains(&question.id))
    }
}

fn split_of(word: &str) -> Result<Option<Split>> {
    match word {
        "dev" => Ok(Some(Split::Dev)),
        "test" => Ok(Some(Split::Test)),
        "all" => Ok(None),
        _ => bail!("--split {word}: write dev, test or all"),
    }
}

fn wording_of(word: &str) -> Result<Option<Wording>> {
    let named = Wording::ALL
        .into_iter()
        .find(|wording| wording.name() == word);
    match (named, word) {
        (None, "all") => Ok(None),
        (None, _) => bail!("--wording {word}: write everyday, terms, natural or all"),
        (wording, _) => Ok(wording),
    }
}

fn kind_of(word: &str) -> Result<Kind> {
    match Kind::ALL.into_iter().find(|kind| kind.name() == word) {
        Some(kind) => Ok(kind),
        None => bail!("--kind {word}: write fact, comparison, explanation or unanswerable"),
    }
}
