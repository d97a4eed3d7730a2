//! Which of the passages found are worth reading, and what each would answer by itself.

use journal::Run;
use knowledge::{Passage, marks};
use model::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tools;
use super::asking::{Asking, Said};
use super::belief::{belief, log_odds, yes};
use super::plausibility::can_be_affirmed;
use super::quantities::Quantity;
use super::quoting::Source;
use super::reading::{place, shown};
use crate::{Definition, Error, Result, call};

/// Words of an answer, at most: one that has so many breaks off where the passage goes on.
pub(super) const WORDS: usize = 10;
/// Words of a quantity, at most: a number, its unit, and what they are of.
const WORDS_OF_QUANTITY: usize = 6;

/// A passage, and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// It.
    pub passage: Passage,
    /// The words of it that the model takes for the answer, where it can have one.
    pub answer: Option<String>,
    /// For a question for yes or no, the sentences of it that were looked at, the one that leads best to the question
    /// first.
    pub leading: Vec<Leading>,
    /// The logarithm of the odds that the answer is yes, where that was asked.
    pub affirms: Option<f32>,
    /// How much the model believes that they answer, 0..1.
    pub belief: f32,
    /// How much likelier the model finds the question after what stands around the answer, where it tells;
    /// see [`Asking::gains`].
    pub gain: Option<f32>,
}

/// A sentence that leads to a question.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    /// It.
    pub sentence: String,
    /// How much likelier the model finds the question after it.
    pub gain: f32,
}

impl Judged {
    /// A passage of which nothing was made.
    pub(super) fn nothing(passage: Passage) -> Judged {
        Judged {
            passage,
            answer: None,
            leading: Vec::new(),
            affirms: None,
            belief: 0.0,
            gain: None,
        }
    }

    /// What of the passage, the one with this number, may answer.
    fn said(&self, index: usize) -> Said<'_> {
        let answer = self.answer.as_deref().unwrap_or_default();
        Said {
            index,
            passage: &self.passage,
            text: Source::of(&self.passage).around(answer),
        }
    }

    /// How much is to be expected of the passage: the logarithm of the odds that it answers.
    pub(super) fn promise(&self) -> f32 {
        log_odds(self.belief) + self.gain.unwrap_or(0.0)
    }
}

#[derive(Deserialize)]
struct Taken {
    answer: String,
}

/// Finds out how likely passages state the answer: the model takes from each by itself, all in one batch,
/// the words that come nearest to an answer, and says whether they are one. What counts is the probability
/// of its "yes" (pointwise ranking, as in Liang et al. 2022, "Holistic evaluation of language models"; asked after an answer, as in Kadavath et al. 2022, "Language models (mostly) know what they
/// know").
///
/// The answer can only be words that stand in the passage; one to "how long" or "how many" begins with a
/// quantity. A passage that has none is not asked about. `before` were judged before these.
pub(super) async fn judge(
    run: &Run,
    tools: &Tools,
    question: &str,
    asking: &Asking<'_>,
    passages: Vec<Passage>,
    before: usize,
) -> Result<Vec<Judged>> {
    let definition = &tools.agents.load("research/judge")?;
    let calls = passages.into_iter().enumerate().map(|(index, passage)| {
        let run = run.scope("judge", before + index);
        async move {
            let Some(answers) = answers(question, &passage) else {
                return Ok(Judged::nothing(passage));
            };
            let request = request(definition, question, &passage, answers);
            let Some(response) = ask(&run, tools, &request, &passage).await? else {
                return Ok(Judged::nothing(passage));
            };
            let taken = response.json::<Taken>().ok().map(|taken| taken.answer);
            Ok::<_, Error>(Judged {
                answer: taken.filter(|_| !can_be_affirmed(question)),
                belief: belief(&response),
                ..Judged::nothing(passage)
            })
        }
    });
    let mut judged = futures::future::try_join_all(calls).await?;
    let numbered = judged.iter().enumerate();
    let said: Vec<Said<'_>> = numbered
        .filter(|(_, judged)| judged.belief > 0.0)
        .map(|(index, judged)| judged.said(before + index))
        .collect();
    let gains = asking.gains(run, "passage", &said).await?;
    let answering = judged.iter_mut().filter(|judged| judged.belief > 0.0);
    for (judged, gain) in answering.zip(gains) {
        judged.gain = gain;
    }
    Ok(judged)
}

/// The logarithm of the odds that a passage answers yes, asked as it is judged.
pub(super) async fn affirms(
    run: &Run,
    tools: &Tools,
    question: &str,
    passage: &Passage,
) -> Result<f32> {
    let definition = tools.agents.load("research/judge")?;
    let request = request(&definition, question, passage, yes_or_no());
    let response = ask(run, tools, &request, passage).await?;
    Ok(response.map_or(0.0, |response| log_odds(yes(&response, "answer"))))
}

/// How much the model believes that a passage states `answer`, 0..1. It is asked as when the passage was judged,
/// but for the words that it takes: where it was, all before them is in the prefix cache.
pub(super) async fn states(
    run: &Run,
    tools: &Tools,
    question: &str,
    passage: &Passage,
    answer: &str,
) -> Result<f32> {
    let definition = tools.agents.load("research/judge")?;
    let answers = json!({"const": answer});
    let mut request = request(&definition, question, passage, answers);
    // No token is shorter than a byte.
    request.max_tokens += answer.len() as u32;
    let response = ask(run, tools, &request, passage).await?;
    Ok(response.map_or(0.0, |response| belief(&response)))
}

/// Asks the model. Providers are not held to the words that they may take while they write, and may never keep to
/// them: that is no answer from this passage, and not the end of the run.
async fn ask(
    run: &Run,
    tools: &Tools,
    request: &Request,
    passage: &Passage,
) -> Result<Option<Response>> {
    match call::ask(run, "model", &*tools.model, request, &place(passage)).await {
        Err(Error::Journal(journal::Error::StepFailed { .. })) => Ok(None),
        response => response.map(Some),
    }
}

/// The request for an answer that fits a schema, and whether the passage states it.
fn request(definition: &Definition, question: &str, passage: &Passage, answers: Value) -> Request {
    let schema = json!({"type": "object", "properties":
        {"answer": answers, "stated": {"enum": ["yes", "no"]}},
        "required": ["answer", "stated"], "additionalProperties": false});
    let asked = format!("Passage {}\n\nQuestion: {question}", shown(passage));
    call::request(definition, &[asked], schema)
}

/// Whether a passage can answer at all: one without a quantity that fits does not to "how many".
pub(super) fn can_answer(question: &str, passage: &Passage) -> bool {
    let text = marks::without(&super::untrusted::without_orders(passage));
    let words: Vec<&str> = text.split_whitespace().collect();
    can_be_affirmed(question)
        || runs(Quantity::asked(question).as_ref(), &words)
            .next()
            .is_some()
}

/// The schema of what a passage can answer; `None` where it can answer nothing.
fn answers(question: &str, passage: &Passage) -> Option<Value> {
    if can_be_affirmed(question) {
        return Some(yes_or_no());
    }
    let text = marks::without(&super::untrusted::without_orders(passage));
    let words: Vec<&str> = text.split_whitespace().collect();
    let quantity = Quantity::asked(question);
    let runs: Vec<Vec<&str>> = runs(quantity.as_ref(), &words).collect();
    let most = longest(quantity.as_ref());
    (!runs.is_empty()).then(|| {
        json!({"type": "string", "x-quote-from": runs, "x-quote-max": most, "x-quote-first": true})
    })
}

/// The schema of an answer that is yes or no.
pub(super) fn yes_or_no() -> Value {
    json!({"enum": ["yes", "no"]})
}

/// The words that an answer can be, from each of `words` on at which one may begin; a `quantity` begins with one.
fn runs<'a>(
    quantity: Option<&'a Quantity>,
    words: &'a [&'a str],
) -> impl Iterator<Item = Vec<&'a str>> {
    let from = move |start: usize| {
        let end = words.len().min(start + longest(quantity));
        let mut run = words.get(start..end)?.to_vec();
        // Of `skip=88` the quantity is 88.
        if let (Some(_), Some(first)) = (quantity, run.first_mut()) {
            *first = first.rsplit('=').next().unwrap_or(first);
        }
        Some(run)
    };
    let starts = (0..words.len()).filter_map(from);
    starts.filter(move |run| quantity.is_none_or(|quantity| quantity.begins(run)))
}

/// Words of an answer, at most.
fn longest(quantity: Option<&Quantity>) -> usize {
    match quantity {
        Some(_) => WORDS_OF_QUANTITY,
        None => WORDS,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    #[test]
    fn a_quantity_may_be_the_value_of_a_setting() {
        let text = passage("Run dd bs=1 skip=88 | sort, and wait.");
        let runs = |question| answers(question, &text).map(|schema| schema["x-quote-from"].clone());
        let quantities = runs("How many bytes are left out?");
        assert_eq!(
            quantities,
            Some(json!([
                ["1", "skip=88", "|", "sort,", "and", "wait."],
                ["88", "|", "sort,", "and", "wait."]
            ]))
        );
        let empty = passage("Run dd and sort.");
        assert!(can_answer("How many bytes are left out?", &text));
        assert!(!can_answer("How many bytes are left out?", &empty));
        assert!(can_answer("What is run?", &empty));
        let words = runs("What is run?").and_then(|runs| runs.as_array().map(Vec::len));
        assert_eq!(words, Some(8));
    }

    fn judged(belief: f32, gain: Option<f32>) -> Judged {
        Judged {
            belief,
            gain,
            ..Judged::nothing(passage(""))
        }
    }

    #[test]
    fn a_passage_that_the_question_follows_from_promises_more_than_one_that_is_affirmed() {
        let affirmed = judged(0.9, Some(0.0)).promise();
        let asked = judged(0.7, Some(2.0)).promise();
        let neither = judged(0.1, Some(0.0)).promise();
        assert!(asked > affirmed && affirmed > neither);
        // Where the model does not tell, the judgement decides; certainty stays finite.
        assert!(judged(1.0, None).promise() > judged(0.9, None).promise());
        assert!(judged(1.0, None).promise().is_finite());
    }
}
