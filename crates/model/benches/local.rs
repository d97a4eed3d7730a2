//! Speed of the local engine: `cargo bench --profile dev -p plumb-model --bench local [-- MODEL.gguf]`.
//!
//! Prints tokens/s of prefill and decode, of decode in batches of 1, 2, 4 and 8, the time to the first
//! token of a prompt whose beginning is cached, the cost of constraints, and the time a constraint takes
//! to build. Without a path it takes the default model. The machine should be idle.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool for the terminal"
)]

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use futures::future::join_all;
use plumb_model::local::{Local, Options};
use plumb_model::{Message, Model, Models, Output, Request, Response, Role, Settings, catalogue};
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let path = path.map_or_else(default_path, PathBuf::from);
    let started = Instant::now();
    let mut options = Options::default();
    if let Ok(threads) = std::env::var("PLUMB_THREADS") {
        options.threads = threads.parse().expect("PLUMB_THREADS is a number");
    }
    let model = Local::load("local:bench", &path, options).expect("it loads");
    println!(
        "{}: loaded in {:.1} s",
        path.display(),
        started.elapsed().as_secs_f64()
    );
    prefill(&model).await;
    decode(&model).await;
    prefixes(&model).await;
    constraints(&model).await;
    quotes(&model).await;
}

fn default_path() -> PathBuf {
    let name = Models::new(Settings::default())
        .default_name()
        .expect("a default");
    let entry = catalogue::find(&name).expect("it is catalogued");
    entry.path().expect("a models folder")
}

async fn prefill(model: &Local) {
    for words in [200, 600, 1500] {
        let request = request(&text(words, words), Output::Text, 1);
        let (response, seconds) = timed(model, &request).await;
        let tokens = response.usage.prompt_tokens - response.usage.cached_tokens;
        println!(
            "prefill  {tokens:5} tokens: {:6.1} tokens/s",
            f64::from(tokens) / seconds
        );
    }
}

async fn decode(model: &Local) {
    for parallel in [1, 2, 4, 8] {
        let requests: Vec<Request> = (0..parallel)
            .map(|n| {
                request(
                    &format!("Write a long story about the number {n}."),
                    Output::Text,
                    64,
                )
            })
            .collect();
        // The prompts are computed first, so that only decoding is timed.
        let first: Vec<Request> = requests
            .iter()
            .map(|r| Request {
                max_tokens: 1,
                ..r.clone()
            })
            .collect();
        join_all(first.iter().map(|request| model.generate(request, None))).await;
        let started = clock();
        let answers = join_all(requests.iter().map(|request| model.generate(request, None))).await;
        let seconds = clock() - started;
        let tokens: u32 = answers
            .iter()
            .map(|a| a.as_ref().expect("an answer").usage.output_tokens)
            .sum();
        println!(
            "decode   {parallel} at once: {:6.1} tokens/s",
            f64::from(tokens) / seconds
        );
    }
}

async fn prefixes(model: &Local) {
    let system = text(1100, 7);
    let ask = |question: &str| Request {
        messages: vec![
            message(Role::System, &system),
            message(Role::User, question),
        ],
        ..request("", Output::Text, 1)
    };
    let (cold, cold_seconds) = timed(model, &ask("What is the first sentence about?")).await;
    let (warm, warm_seconds) = timed(model, &ask("And which words does the last one have?")).await;
    println!(
        "prefix   {} tokens: first token after {cold_seconds:.2} s cold, {warm_seconds:.2} s with {} cached",
        cold.usage.prompt_tokens, warm.usage.cached_tokens,
    );
}

async fn constraints(model: &Local) {
    let schema = json!({"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"], "additionalProperties": false});
    let prompt = "Write a long story about a ship as JSON.";
    for (name, output) in [("free", Output::Text), ("schema", Output::Json(schema))] {
        let request = request(prompt, output, 64);
        let warm = Request {
            max_tokens: 1,
            ..request.clone()
        };
        timed(model, &warm).await;
        let (response, seconds) = timed(model, &request).await;
        println!(
            "decode   {name:6}: {:6.1} tokens/s",
            f64::from(response.usage.output_tokens) / seconds
        );
    }
}

/// Six passages of ten sentences of about 150 characters, as a research branch shows them.
async fn quotes(model: &Local) {
    let passages: Vec<Vec<String>> = (0..6)
        .map(|passage| {
            (0..10)
                .map(|n| format!("{}.", text(25, passage * 10 + n)))
                .collect()
        })
        .collect();
    let shown: Vec<String> = passages
        .iter()
        .map(|sentences| sentences.join(" "))
        .collect();
    let build = Instant::now();
    model
        .check_schema(&quote_schema(&passages))
        .expect("a schema");
    println!(
        "quotes   constraint built in {:.0} ms",
        build.elapsed().as_secs_f64() * 1000.0
    );
    let request = request(
        &format!("Quote what is said about rivers.\n\n{}", shown.join("\n\n")),
        Output::Json(quote_schema(&passages)),
        400,
    );
    timed(
        model,
        &Request {
            output: Output::Text,
            max_tokens: 1,
            ..request.clone()
        },
    )
    .await;
    let (response, seconds) = timed(model, &request).await;
    println!(
        "quotes   {} tokens quoted in {seconds:.2} s: {:.1} tokens/s",
        response.usage.output_tokens,
        f64::from(response.usage.output_tokens) / seconds
    );
}

fn quote_schema(passages: &[Vec<String>]) -> Value {
    json!({"type": "object", "properties": {"quote": {"type": "string", "x-quote-from": passages}}, "required": ["quote"], "additionalProperties": false})
}

async fn timed(model: &Local, request: &Request) -> (Response, f64) {
    let started = clock();
    let response = model.generate(request, None).await.expect("an answer");
    (response, (clock() - started).max(1e-6))
}

/// Seconds of the wall clock, or with `PLUMB_BENCH=cpu` of this process's processor time: with
/// `PLUMB_THREADS=1` too, ratios then hold on a busy machine.
fn clock() -> f64 {
    if std::env::var_os("PLUMB_BENCH").is_none_or(|clock| clock != "cpu") {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        return now.expect("a clock").as_secs_f64();
    }
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let after_name = stat.rsplit(')').next().expect("its form");
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / 100.0
}

fn request(prompt: &str, output: Output, max_tokens: u32) -> Request {
    Request {
        messages: vec![message(Role::User, prompt)],
        output,
        max_tokens,
        ..Request::default()
    }
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

/// `words` words of prose that no two seeds share.
fn text(words: usize, seed: usize) -> String {
    const WORDS: [&str; 16] = [
        "river", "the", "old", "runs", "a", "stone", "under", "of", "bridge", "water", "and",
        "slow", "light", "from", "hill", "north",
    ];
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        WORDS.get((state >> 60) as usize).copied().unwrap_or("the")
    };
    (0..words).map(|_| next()).collect::<Vec<_>>().join(" ")
}
