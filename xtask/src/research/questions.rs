//! The evaluation set: its format, and the check that holds it against the documents.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use serde::Deserialize;

use super::text::{Texts, one_line};
use crate::workspace;

/// One question of the set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// Names the question; never changes.
    pub(crate) id: String,
    /// What is asked for.
    pub(crate) kind: Kind,
    /// Which half it belongs to.
    pub(crate) split: Split,
    /// The question, as a person asks it.
    pub(crate) question: String,
    /// The corpora that are searched.
    pub(crate) paths: Vec<String>,
    /// What a right answer must contain: each fact in one of several wordings, as regular expressions.
    #[serde(default)]
    pub(crate) facts: Vec<Vec<String>>,
    /// The files that state the facts; any of them is a right one to find.
    #[serde(default)]
    pub(crate) sources: Vec<Source>,
    /// What the documents would say somewhere if they answered the question.
    #[serde(default)]
    absent: Vec<String>,
    /// In whose words it is asked; told by the file that it stands in.
    #[serde(skip)]
    pub(crate) wording: Wording,
}

/// A file that states a fact, and its words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Corpus and file.
    pub(crate) file: String,
    /// A regular expression that the file's text matches, white space normalised.
    says: String,
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One thing that one place of the documents states.
    Fact,
    /// Several things from several places.
    Comparison,
    /// How something works or is done: several facts, mostly from one place.
    Explanation,
    /// Something that the documents do not say.
    Unanswerable,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Kind; 4] = [
        Kind::Fact,
        Kind::Comparison,
        Kind::Explanation,
        Kind::Unanswerable,
    ];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Fact => "fact",
            Kind::Comparison => "comparison",
            Kind::Explanation => "explanation",
            Kind::Unanswerable => "unanswerable",
        }
    }
}

/// The halves of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Split {
    /// To work with: prompts and settings may be tuned on it.
    Dev,
    /// Held out: only to report figures.
    Test,
}

impl Split {
    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Split::Dev => "dev",
            Split::Test => "test",
        }
    }
}

/// In whose words a question is asked. Each wording has a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wording {
    /// In everyday words, not those of the documents.
    #[default]
    Everyday,
    /// In the terms of the product, as somebody asks who uses it.
    Terms,
    /// As an ordinary user types it: short and in plain words, many for yes or no.
    Natural,
}

impl Wording {
    /// All wordings.
    pub(crate) const ALL: [Wording; 3] = [Wording::Everyday, Wording::Terms, Wording::Natural];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Wording::Everyday => "everyday",
            Wording::Terms => "terms",
            Wording::Natural => "natural",
        }
    }

    /// The file of the questions, in `evals/research`.
    fn file(self) -> &'static str {
        match self {
            Wording::Everyday => "questions.toml",
            Wording::Terms => "terms.toml",
            Wording::Natural => "natural.toml",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    question: Vec<Question>,
}

/// Reads the set.
pub(crate) fn read(root: &Path) -> Result<Vec<Question>> {
    let mut questions: Vec<Question> = Vec::new();
    for wording in Wording::ALL {
        let path = root.join("evals/research").join(wording.file());
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file: File =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        let of_file = |question| Question {
            wording,
            ..question
        };
        questions.extend(file.question.into_iter().map(of_file));
    }
    let mut ids = BTreeSet::new();
    for question in &questions {
        if !ids.insert(&question.id) {
            bail!("two questions are called {}", question.id);
        }
    }
    Ok(questions)
}

/// A case-insensitive expression in which `.` spans lines.
pub(crate) fn expression(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("(?is){pattern}"))
        .with_context(|| format!("{pattern} is no regular expression"))
}

/// Holds every question against the documents and prints what is wrong with the set.
pub(crate) fn check(questions: &[Question], corpora: &Path) -> Result<()> {
    let mut texts = Texts::default();
    let mut wrong = Vec::new();
    for question in questions {
        match question.kind {
            Kind::Unanswerable => check_absent(question, corpora, &mut texts, &mut wrong)?,
            Kind::Fact | Kind::Comparison | Kind::Explanation => {
                check_sources(question, corpora, &mut texts, &mut wrong)?
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} questions agree with the documents", questions.len());
    Ok(())
}

fn check_sources(
    question: &Question,
    corpora: &Path,
    texts: &mut Texts,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let id = &question.id;
    if question.facts.is_empty() || question.sources.is_empty() || !question.absent.is_empty() {
        wrong.push(format!(
            "{id}: needs facts and sources, and nothing that is absent"
        ));
    }
    for wording in question.facts.iter().flatten() {
        if expression(wording)?.is_match(&question.question) {
            wrong.push(format!(
                "{id}: the question itself matches the fact {wording}"
            ));
        }
    }
    for source in &question.sources {
        let says = expression(&source.says)?;
        let readings = texts.of(&corpora.join(&source.file))?;
        if !readings.iter().any(|text| says.is_match(&one_line(text))) {
            wrong.push(format!(
                "{id}: {} does not say {}",
                source.file, source.says
            ));
        }
        if !question
            .paths
            .iter()
            .any(|path| source.file.starts_with(&format!("{path}/")))
        {
            wrong.push(format!("{id}: {} is not among its paths", source.file));
        }
    }
    Ok(())
}

fn check_absent(
    question: &Question,
    corpora: &Path,
    texts: &mut Texts,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let id = &question.id;
    if question.absent.is_empty() || !question.facts.is_empty() || !question.sources.is_empty() {
        wrong.push(format!(
            "{id}: needs something that is absent, and neither facts nor sources"
        ));
    }
    for pattern in &question.absent {
        let pattern = expression(pattern)?;
        for path in &question.paths {
            for file in workspace::files(&corpora.join(path))? {
                if texts
                    .of(&file)?
                    .iter()
                    .any(|text| pattern.is_match(&one_line(text)))
                {
                    wrong.push(format!("{id}: {} does say {pattern}", file.display()));
                }
            }
        }
    }
    Ok(())
}
