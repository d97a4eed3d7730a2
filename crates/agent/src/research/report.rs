//! The report: claims, numbered citations that are checked, and what came near.

use journal::{Run, StepRecord};
use knowledge::Place;
use serde::{Deserialize, Serialize};

use super::Input;
use super::branch::Found;
use super::note::Note;
use super::plan::Plan;
use super::write::Written;

/// The most passages shown when the documents do not answer.
const NEAREST: usize = 3;

/// What a research run yields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run that made it.
    pub run: String,
    /// The question in the user's words.
    pub question: String,
    /// Whether the documents answer it.
    pub answered: bool,
    /// The answer as Markdown text with citation numbers, or that there is none.
    pub answer: String,
    /// The sub-questions; one, the question itself, when it took the short way.
    pub plan: Vec<String>,
    /// The sub-questions for which the documents have no answer.
    pub open: Vec<String>,
    /// The sentences of the answer.
    pub claims: Vec<Claim>,
    /// What the claims cite, by number.
    pub citations: Vec<Citation>,
    /// Passages that came near; shown when something is not answered.
    pub nearest: Vec<Nearest>,
    /// How many claims are not supported by what they cite.
    pub unsupported: usize,
    /// What the run used, calls that were answered from the journal included.
    pub usage: Usage,
    /// Time from start to end, in seconds.
    pub seconds: f64,
}

/// A sentence of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The sentence, without citation numbers.
    pub text: String,
    /// The numbers of its citations.
    pub citations: Vec<usize>,
    /// Whether every citation is verified and the sentence says no number or name that its quotes
    /// do not have.
    pub supported: bool,
    /// Why it is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A quote and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// Its number, from 1.
    pub number: usize,
    /// The file.
    pub file: String,
    /// The document's title.
    pub title: String,
    /// The headings above the passage, outermost first.
    pub headings: Vec<String>,
    /// The page, counted from 1, for paged formats.
    pub page: Option<u32>,
    /// Pages and boxes of the passage.
    pub places: Vec<Place>,
    /// The id of the passage.
    pub passage: String,
    /// The quoted words.
    pub quote: String,
    /// The text of the passage.
    pub context: String,
    /// Where the quote stands in `context`: its first byte and the byte after its last.
    pub range: Option<(usize, usize)>,
    /// Where the passage begins in the document's text, in bytes.
    pub offset: usize,
    /// Whether the quoted words stand in the passage.
    pub verified: bool,
}

/// A passage that was read and does not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// The file.
    pub file: String,
    /// The document's title.
    pub title: String,
    /// The headings above the passage, outermost first.
    pub headings: Vec<String>,
    /// The page, counted from 1, for paged formats.
    pub page: Option<u32>,
    /// The text of the passage.
    pub text: String,
}

/// Model calls and tokens of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Calls.
    pub model_calls: u64,
    /// Tokens shown, those from the prefix cache included.
    pub prompt_tokens: u64,
    /// Tokens shown that the prefix cache had.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

impl Usage {
    /// Adds up what the finished steps of a run recorded.
    pub fn of(steps: &[StepRecord]) -> Usage {
        let mut usage = Usage::default();
        for step in steps
            .iter()
            .filter(|step| step.attributes.contains_key("model"))
        {
            let count = |name: &str| {
                step.attributes
                    .get(name)
                    .and_then(|v| v.as_u64())
                    .unwrap_or(0)
            };
            usage.model_calls += 1;
            usage.prompt_tokens += count("prompt_tokens");
            usage.cached_tokens += count("cached_tokens");
            usage.output_tokens += count("output_tokens");
        }
        usage
    }
}

/// Puts the report together.
pub(super) fn assemble(
    run: &Run,
    input: &Input,
    plan: &Plan,
    found: Vec<Found>,
    written: Vec<Written>,
    elapsed_ms: i64,
) -> Report {
    let mut citations: Vec<Citation> = Vec::new();
    let claims: Vec<Claim> = written
        .into_iter()
        .map(|w| claim(w, &mut citations))
        .collect();
    let answered = !claims.is_empty();
    let open: Vec<String> = found
        .iter()
        .filter(|f| f.notes.is_empty())
        .map(|f| f.question.clone())
        .collect();
    let nearest = found
        .iter()
        .filter(|f| f.notes.is_empty())
        .flat_map(|f| f.nearest.iter().take(NEAREST));
    let mut nearest: Vec<Nearest> = nearest.map(Nearest::from).collect();
    nearest.dedup();
    let mut report = Report {
        run: run.id().to_string(),
        question: input.question.clone(),
        answered,
        answer: String::new(),
        plan: plan.questions.clone(),
        open,
        unsupported: claims.iter().filter(|claim| !claim.supported).count(),
        claims,
        citations,
        nearest,
        usage: Usage::default(),
        seconds: elapsed_ms as f64 / 1000.0,
    };
    report.answer = crate::render::answer(&report);
    report
}

fn claim(written: Written, citations: &mut Vec<Citation>) -> Claim {
    let mut numbers: Vec<usize> = written
        .notes
        .iter()
        .map(|note| number(note, citations))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let verified = numbers.iter().all(|n| {
        citations
            .get(n - 1)
            .is_some_and(|citation| citation.verified)
    });
    let reason = if !written.strange.is_empty() {
        Some(format!(
            "not in what it cites: {}",
            written.strange.join(", ")
        ))
    } else if !verified {
        Some("a quote does not stand in its passage".to_owned())
    } else {
        None
    };
    Claim {
        text: written.text,
        citations: numbers,
        supported: reason.is_none(),
        reason,
    }
}

/// The number of the note's citation, a new one unless the same words are cited already.
fn number(note: &Note, citations: &mut Vec<Citation>) -> usize {
    let same = |c: &&Citation| c.passage == note.passage.id && c.quote == note.quote;
    if let Some(citation) = citations.iter().find(same) {
        return citation.number;
    }
    let location = note.location();
    let number = citations.len() + 1;
    citations.push(Citation {
        number,
        file: note.passage.file.clone(),
        title: note.passage.title.clone(),
        headings: note.passage.headings.clone(),
        page: note.passage.places.first().map(|place| place.page),
        places: note.passage.places.clone(),
        passage: note.passage.id.clone(),
        quote: note.quote.clone(),
        context: note.passage.text.clone(),
        verified: location.is_some(),
        range: location.map(|range| (range.start, range.end)),
        offset: note.passage.range.start,
    });
    number
}

impl From<&knowledge::Passage> for Nearest {
    fn from(passage: &knowledge::Passage) -> Nearest {
        Nearest {
            file: passage.file.clone(),
            title: passage.title.clone(),
            headings: passage.headings.clone(),
            page: passage.places.first().map(|place| place.page),
            text: passage.text.clone(),
        }
    }
}
