//! What is counted for one question.

use std::path::{Path, PathBuf};

use anyhow::Result;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::questions::{Kind, Question, expression};
use super::text::{Texts, stands_in};

/// The part of `plumb research --json` that is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Report {
    answered: bool,
    answer: String,
    citations: Vec<Citation>,
    unsupported: u64,
    usage: Usage,
}

#[derive(Clone, Debug, Deserialize)]
struct Citation {
    file: String,
    quote: String,
    verified: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Usage {
    /// Tokens shown to the model.
    pub(crate) prompt_tokens: u64,
    /// Those of them that the prefix cache had.
    pub(crate) cached_tokens: u64,
    /// Tokens written by the model.
    pub(crate) output_tokens: u64,
    /// Calls of the model.
    pub(crate) model_calls: u64,
}

/// The part of `plumb search --json` that is looked at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Hit {
    file: String,
}

/// What was found out about one question.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The question's id.
    pub(crate) id: String,
    /// Fact, comparison, explanation or unanswerable.
    pub(crate) kind: &'static str,
    /// Which half it belongs to.
    pub(crate) split: &'static str,
    /// In whose words it is asked: everyday, terms or natural.
    pub(crate) wording: &'static str,
    /// Facts that a right answer has.
    pub(crate) facts: usize,
    /// The place of the first right file among the hits of a search, from 1.
    pub(crate) file_rank: Option<usize>,
    /// Seconds of the search.
    pub(crate) search_seconds: f64,
    /// What the answer was worth, unless only retrieval was measured.
    pub(crate) answer: Option<Answer>,
    /// Why there is no answer, when the program failed.
    pub(crate) error: Option<String>,
}

/// What an answer was worth.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answer {
    /// Whether the report says that the documents answer the question.
    pub(crate) answered: bool,
    /// All facts are there, or it was rightly said that there is no answer.
    pub(crate) right: bool,
    /// Facts in the answer.
    pub(crate) facts_found: usize,
    /// Those of them that a quote shown as verified states in words that a right answer may have.
    pub(crate) facts_quoted: usize,
    /// Citations of the report.
    pub(crate) citations: usize,
    /// Citations that the report shows as verified.
    pub(crate) shown_verified: usize,
    /// Those of them whose words do stand in the file.
    pub(crate) really_verbatim: usize,
    /// Quotes shown as verified whose words do not stand in the file.
    pub(crate) not_verbatim: Vec<String>,
    /// Claims that the report itself marks as unsupported.
    pub(crate) unsupported: u64,
    /// Wall-clock time of the whole program.
    pub(crate) seconds: f64,
    /// Model calls and tokens.
    pub(crate) usage: Usage,
    /// The answer's text.
    pub(crate) text: String,
}

/// The place of the first right file among the hits.
pub(crate) fn rank(question: &Question, hits: &[Hit]) -> Option<usize> {
    let right = |hit: &Hit| {
        question
            .sources
            .iter()
            .any(|source| is_file(&hit.file, &source.file))
    };
    hits.iter().position(right).map(|position| position + 1)
}

/// Whether a path as the program prints it is the file `wanted` of a corpus.
fn is_file(printed: &str, wanted: &str) -> bool {
    Path::new(printed).ends_with(wanted)
}

/// Judges a report.
pub(crate) fn judge(
    question: &Question,
    report: &Report,
    seconds: f64,
    corpora: &Path,
    texts: &mut Texts,
) -> Result<Answer> {
    let text = plain(&report.answer);
    let shown: Vec<&Citation> = report
        .citations
        .iter()
        .filter(|citation| citation.verified)
        .collect();
    let quotes: Vec<String> = shown
        .iter()
        .map(|citation| plain(&citation.quote))
        .collect();
    let (mut facts_found, mut facts_quoted) = (0, 0);
    for wordings in &question.facts {
        if report.answered && is_stated(wordings, [&text])? {
            facts_found += 1;
            facts_quoted += usize::from(is_stated(wordings, &quotes)?);
        }
    }
    let mut not_verbatim = Vec::new();
    for citation in &shown {
        let file = locate(&citation.file, corpora);
        if !texts
            .of(&file)
            .is_ok_and(|texts| stands_in(&citation.quote, texts))
        {
            not_verbatim.push(format!("{}: {}", citation.file, citation.quote));
        }
    }
    let right = match question.kind {
        Kind::Unanswerable => !report.answered,
        Kind::Fact | Kind::Comparison => facts_found == question.facts.len(),
        // Which of the details matter is for who wrote the question to say: half of them make an explanation.
        Kind::Explanation => 2 * facts_found >= question.facts.len(),
    };
    Ok(Answer {
        answered: report.answered,
        right,
        facts_found,
        facts_quoted,
        citations: report.citations.len(),
        shown_verified: shown.len(),
        really_verbatim: shown.len() - not_verbatim.len(),
        not_verbatim,
        unsupported: report.unsupported,
        seconds,
        usage: report.usage,
        text: report.answer.clone(),
    })
}

/// Whether one of `texts` has one of the wordings of a fact.
fn is_stated<'a>(wordings: &[String], texts: impl IntoIterator<Item = &'a String>) -> Result<bool> {
    let wordings: Vec<Regex> = wordings
        .iter()
        .map(|wording| expression(wording))
        .collect::<Result<_>>()?;
    let mut texts = texts.into_iter();
    Ok(texts.any(|text| wordings.iter().any(|wording| wording.is_match(text))))
}

/// The file that a citation names; the program runs in the folder of the corpora.
fn locate(printed: &str, corpora: &Path) -> PathBuf {
    corpora.join(printed)
}

/// An answer without what could hide or feign a fact: citation numbers, Markdown's marks, the
/// backslashes that keep a character from being one, and the commas in long numbers.
fn plain(answer: &str) -> String {
    let mut text = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = citation_number(rest) {
            rest = after;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        let in_number = c == ','
            && text.ends_with(|c: char| c.is_ascii_digit())
            && rest.len() >= 3
            && rest.bytes().take(3).all(|byte| byte.is_ascii_digit());
        let escapes = c == '\\' && rest.starts_with(|c: char| c.is_ascii_punctuation());
        if !in_number && !escapes && !matches!(c, '*' | '`') {
            text.push(c);
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows a leading `[12]`.
fn citation_number(text: &str) -> Option<&str> {
    let (number, after) = text.strip_prefix('[')?.split_once(']')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citation_numbers_and_commas_do_not_count_as_facts() {
        assert_eq!(
            plain("It has `1,600` columns,[10] not **2,000** [3]."),
            "It has 1600 columns, not 2000 ."
        );
        assert_eq!(plain("items 1,2 and [a] [10"), "items 1,2 and [a] [10");
        assert_eq!(plain(r"\_A\_B\_ in C:\d, \[1\]"), r"_A_B_ in C:\d, [1]");
    }

    #[test]
    fn files_are_told_apart_by_whole_names() {
        assert!(is_file("corpora/git/git-gc.html", "git/git-gc.html"));
        assert!(is_file("git/git-gc.html", "git/git-gc.html"));
        assert!(!is_file("other-git/git-gc.html", "git/git-gc.html"));
    }
}
