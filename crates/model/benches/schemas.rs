//! How many constrained answers of a local model fit their schema, by another validator's word.
//!
//! ```text
//! cargo bench --profile dev -p plumb-model --bench schemas
//! cargo bench --profile dev -p plumb-model --bench schemas -- smollm2-135m 16
//! ```
//!
//! The schemas are those of `tests/schemas/`; each is answered so many times, at temperature 1, so that the
//! model goes off its way. Of the valid ones it is said how many the engine had to bring to an end before
//! the token limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use futures::stream::{self, StreamExt as _};
use plumb_model::local::{Local, Options};
use plumb_model::{Message, Model as _, Output, Request, Stop, catalogue};
use serde::Deserialize;
use serde_json::Value;

const MODEL: &str = "qwen2.5-coder-0.5b";
const TIMES: u64 = 12;
const PARALLEL: usize = 8;
const MOST_TOKENS: u32 = 400;

#[derive(Deserialize)]
struct Form {
    name: String,
    ask: String,
    schema: Value,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let name = arguments.first().map_or(MODEL, String::as_str);
    let times = arguments
        .get(1)
        .map_or(TIMES, |times| times.parse().expect("a number"));
    let entry = catalogue::find(name).unwrap();
    let mut options = Options::default();
    if let Ok(threads) = std::env::var("PLUMB_THREADS") {
        options.threads = threads.parse().expect("PLUMB_THREADS is a number");
    }
    let model = Local::load(name, &entry.path().unwrap(), options).expect("it loads");
    let text = include_str!("../tests/schemas/schemas.json");
    let forms: Vec<Form> = serde_json::from_str(text).unwrap();
    let started = std::time::Instant::now();
    let asked = forms
        .iter()
        .flat_map(|form| (0..times).map(move |seed| (form, seed)));
    let answers = stream::iter(asked).map(|(form, seed)| answer(&model, form, seed));
    let answers: Vec<Answered> = answers.buffer_unordered(PARALLEL).collect().await;
    let count =
        |wanted: fn(&Answered) -> bool| answers.iter().filter(|answered| wanted(answered)).count();
    let valid = count(|answered| answered.is_valid);
    let ended = count(|answered| answered.is_valid && answered.stop == Stop::Length);
    let wrong = answers.len() - valid;
    println!(
        "{name}: {} schemas, {} answers in {:.0} s: {valid} valid ({ended} of them brought to an end at {MOST_TOKENS} tokens), {wrong} wrong",
        forms.len(),
        answers.len(),
        started.elapsed().as_secs_f64()
    );
    assert_eq!(wrong, 0);
}

struct Answered {
    is_valid: bool,
    stop: Stop,
}

async fn answer(model: &Local, form: &Form, seed: u64) -> Answered {
    let request = Request {
        messages: vec![Message::user(format!(
            "{} Answer with JSON alone.",
            form.ask
        ))],
        output: Output::Json(form.schema.clone()),
        max_tokens: MOST_TOKENS,
        temperature: 1.0,
        seed,
        ..Request::default()
    };
    let response = model.generate(&request, None).await;
    let response = response.unwrap_or_else(|error| panic!("{}: {error}", form.name));
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&form.schema).expect("a schema");
    let is_valid =
        serde_json::from_str::<Value>(&response.text).is_ok_and(|value| validator.is_valid(&value));
    if !is_valid || response.stop == Stop::Length {
        println!(
            "{}, seed {seed}, {:?}: {}",
            form.name, response.stop, response.text
        );
    }
    Answered {
        is_valid,
        stop: response.stop,
    }
}
