//! Speed of the local engine: `cargo bench --profile dev -p plumb-model --bench local [-- MODEL.gguf]`.
//!
//! Prints tokens/s of prefill and decode, of decode in batches of 1, 2, 4 and 8, the time to the first
//! token of a prompt whose beginning is cached, the cost of constraints, the time a constraint takes to
//! build, and with an adapter beside the model what it costs that calls of it take turns with others. Without
//! a path it takes the default model; names of parts after it (`prefill`, `decode`, `prefixes`,
//! `constraints`, `quotes`, `adapters`) leave out the rest. The machine should be idle.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = words.into_iter().filter(|word| !word.starts_with("--"));
    let path = words.next().map_or_else(default_path, PathBuf::from);
    let parts: Vec<String> = words.collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
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
    if wanted("prefill") {
        prefill(&model).await;
    }
    if wanted("decode") {
        decode(&model).await;
    }
    if wanted("prefixes") {
        prefixes(&model).await;
    }
    if wanted("constraints") {
        constraints(&model).await;
    }
    if wanted("quotes") {
        quotes(&model).await;
    }
    if wanted("adapters") {
        adapters(&model, &path).await;
    }
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
        let speed = side_by_side(&vec![model; parallel]).await;
        println!("decode   {parallel} at once: {speed:6.1} tokens/s");
    }
}

/// Tokens a second of long answers, one of each of `models`.
async fn side_by_side(models: &[&Local]) -> f64 {
    let prompt = |n| format!("Write a long story about the number {n}.");
    let requests: Vec<Request> = (0..models.len())
        .map(|n| request(&prompt(n), Output::Text, 64))
        .collect();
    // The prompts are computed first, so that only decoding is timed.
    let first = requests.iter().map(|r| Request {
        max_tokens: 1,
        ..r.clone()
    });
    let first: Vec<Request> = first.collect();
    let all = |requests: Vec<Request>| async move {
        let calls = models.iter().zip(&requests);
        join_all(calls.map(|(model, request)| model.generate(request, None))).await
    };
    all(first).await;
    let started = clock();
    let answers = all(requests).await;
    let seconds = (clock() - started).max(1e-6);
    let tokens: u32 = answers
        .iter()
        .map(|a| a.as_ref().expect("an answer").usage.output_tokens)
        .sum();
    f64::from(tokens) / seconds
}

/// Answers of one adapter side by side, and of two that take turns.
async fn adapters(model: &Local, path: &std::path::Path) {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let files = std::fs::read_dir(path.parent().expect("a folder")).expect("it is read");
    let name = files.flatten().find_map(|file| {
        let name = file.file_name().into_string().ok()?;
        let name = name.strip_prefix(stem)?.strip_prefix('+')?;
        name.strip_suffix(".gguf").map(str::to_owned)
    });
    let Some(name) = name else {
        println!("adapters none beside {}", path.display());
        return;
    };
    let with = model.with_adapter(&name).expect("it is loaded");
    for (what, models) in [
        ("4 of the base", [model; 4]),
        ("4 of the adapter", [&with; 4]),
        ("2 of each", [model, &with, model, &with]),
    ] {
        println!(
            "adapters {what:16}: {:6.1} tokens/s",
            side_by_side(&models).await
        );
    }
}

async fn prefixes(model: &Local) {
    let system = text(2000, 7);
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
    // In turns, so that what else the machine does falls on both alike.
    let mut seconds = [0.0; 2];
    let mut tokens = [0; 2];
    for _ in 0..4 {
        for (index, output) in [Output::Text, Output::Json(schema.clone())]
            .into_iter()
            .enumerate()
        {
            let request = request(prompt, output, 96);
            let warm = Request {
                max_tokens: 1,
                ..request.clone()
            };
            timed(model, &warm).await;
            let (response, took) = timed(model, &request).await;
            seconds[index] += took;
            tokens[index] += response.usage.output_tokens;
        }
    }
    let [free, held] = [0, 1].map(|index| f64::from(tokens[index]) / seconds[index]);
    println!(
        "decode   free {free:.1}, under a schema {held:.1} tokens/s: {:+.1} %",
        100.0 * (held / free - 1.0)
    );
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
