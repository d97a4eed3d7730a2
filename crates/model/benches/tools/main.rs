//! How well local models call tools, on data of the Berkeley Function-Calling Leaderboard.
//!
//! ```text
//! cargo xtask bfcl                               # fetches the data, measures both models
//! cargo bench --profile dev -p plumb-model --bench tools -- FOLDER qwen2.5-coder-0.5b 50
//! ```
//!
//! Of each subset so many cases are taken at even distances. Each is answered without temperature in three
//! ways: free, held to the tools' schemas once it begins a call, and with a call required. `--only SUBSET` leaves
//! out the others; with `--out FILE` every answer and verdict is written down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

mod checker;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt as _};
use plumb_model::local::{Local, Options};
use plumb_model::{Message, Model as _, Request, Response, Tool, ToolChoice, catalogue};
use serde_json::{Value, json};

const SUBSETS: [&str; 4] = ["simple_python", "multiple", "parallel", "irrelevance"];
const WAYS: [&str; 3] = ["free", "held", "required"];
const PARALLEL: usize = 6;
const MOST_TOKENS: u32 = 300;
/// Where no call is right, an answer that began with words may end in the middle of them.
const MOST_TOKENS_OF_TEXT: u32 = 80;

struct Case {
    id: String,
    question: String,
    functions: Vec<Value>,
    /// The right calls; none where none is right.
    possible: Vec<Value>,
}

#[tokio::main]
async fn main() {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut plain, mut out, mut only) = (Vec::new(), None, None);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => only = words.next(),
            "--out" => {
                out = words
                    .next()
                    .map(|path| std::fs::File::create(path).expect("a file"))
            }
            _ => plain.push(word),
        }
    }
    let [folder, name, count] = plain.as_slice() else {
        println!("usage: FOLDER MODEL CASES [--only SUBSET] [--out FILE]");
        return;
    };
    let count: usize = count.parse().expect("a number of cases");
    let mut options = Options::default();
    if let Ok(threads) = std::env::var("PLUMB_THREADS") {
        options.threads = threads.parse().expect("PLUMB_THREADS is a number");
    }
    let path = catalogue::find(name).unwrap().path().unwrap();
    let model = Local::load(name, &path, options).expect("it loads");
    let started = std::time::Instant::now();
    let mut rows = BTreeMap::new();
    let wanted = |subset: &&str| only.as_ref().is_none_or(|only| only == subset);
    for (order, subset) in SUBSETS.into_iter().filter(wanted).enumerate() {
        let cases = cases(Path::new(folder), subset, count);
        let answers = stream::iter(&cases).map(|case| in_all_ways(&model, case));
        let answers: Vec<[Response; 3]> = answers.buffered(PARALLEL).collect().await;
        let mut right = [0; 3];
        for (case, answers) in cases.iter().zip(&answers) {
            for (way, answer) in answers.iter().enumerate() {
                let verdict = judge(case, answer);
                right[way] += usize::from(verdict.is_ok());
                if let Some(file) = &mut out {
                    writeln!(file, "{}", record(case, WAYS[way], answer, &verdict))
                        .expect("it is written");
                }
            }
        }
        println!("{name} {subset}: of {}: {WAYS:?} {right:?}", cases.len());
        rows.insert(order, (subset, cases.len(), right));
    }
    println!(
        "\n{name}, {:.0} s\n\n| | cases | free | held to the schemas | call required |\n|---|---|---|---|---|",
        started.elapsed().as_secs_f64()
    );
    for (subset, cases, right) in rows.values() {
        let [free, held, required] =
            right.map(|right| format!("{:.0} %", 100.0 * right as f64 / *cases as f64));
        let required = if *subset == "irrelevance" {
            "-".to_owned()
        } else {
            required
        };
        println!("| {subset} | {cases} | {free} | {held} | {required} |");
    }
}

/// The cases of a subset, so many at even distances.
fn cases(folder: &Path, subset: &str, count: usize) -> Vec<Case> {
    let lines = |path: PathBuf| -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let file = format!("BFCL_v4_{subset}.json");
    let asked = lines(folder.join(&file));
    assert!(!asked.is_empty(), "{file} is not in {}", folder.display());
    let answers = lines(folder.join("possible_answer").join(&file));
    let count = count.min(asked.len());
    let taken = (0..count).map(|index| &asked[index * asked.len() / count]);
    let case = |asked: &Value| {
        let answer = answers.iter().find(|answer| answer["id"] == asked["id"]);
        Case {
            id: asked["id"].as_str().unwrap().to_owned(),
            question: asked["question"][0][0]["content"]
                .as_str()
                .unwrap()
                .to_owned(),
            functions: asked["function"].as_array().unwrap().clone(),
            possible: answer
                .and_then(|answer| answer["ground_truth"].as_array())
                .cloned()
                .unwrap_or_default(),
        }
    };
    taken.map(case).collect()
}

/// The answers in the order of [`WAYS`]. The prompt is the same, so it is computed once.
async fn in_all_ways(model: &Local, case: &Case) -> [Response; 3] {
    let tools: Vec<Tool> = case.functions.iter().map(tool).collect();
    let request = Request {
        messages: vec![Message::user(&case.question)],
        tools,
        max_tokens: match case.possible.is_empty() {
            true => MOST_TOKENS_OF_TEXT,
            false => MOST_TOKENS,
        },
        ..Request::default()
    };
    let required = Request {
        tool_choice: ToolChoice::Required,
        ..request.clone()
    };
    let free = model.without_constraint().generate(&request, None).await;
    let held = model.generate(&request, None).await;
    let required = match case.possible.is_empty() {
        true => Ok(Response::default()),
        false => model.generate(&required, None).await,
    };
    [free, held, required].map(|answer| {
        answer.unwrap_or_else(|error| Response {
            text: format!("{}: {error}", case.id),
            ..Response::default()
        })
    })
}

/// A function of the data as a tool: its types are Python's.
fn tool(function: &Value) -> Tool {
    Tool {
        name: function["name"].as_str().unwrap().to_owned(),
        description: function["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        parameters: schema(&function["parameters"]),
    }
}

fn schema(described: &Value) -> Value {
    let Some(described) = described.as_object() else {
        return described.clone();
    };
    let mut plain = serde_json::Map::new();
    for (name, value) in described {
        let value = match (name.as_str(), value) {
            ("type", Value::String(kind)) => json!(match kind.as_str() {
                "dict" => "object",
                "float" => "number",
                "tuple" => "array",
                "any" => "string",
                other => other,
            }),
            ("properties", Value::Object(properties)) => properties
                .iter()
                .map(|(name, part)| (name.clone(), schema(part)))
                .collect(),
            ("items" | "additionalProperties", part) => schema(part),
            ("description" | "enum" | "required" | "default" | "maximum" | "minimum", value) => {
                value.clone()
            }
            // Notes that the data has, such as `optional`.
            _ => continue,
        };
        plain.insert(name.clone(), value);
    }
    Value::Object(plain)
}

fn judge(case: &Case, answer: &Response) -> Result<(), String> {
    let calls = answer.tool_calls.iter();
    let calls: Vec<_> = calls
        .map(|call| (call.name.clone(), call.arguments.clone()))
        .collect();
    checker::check(&case.functions, &calls, &case.possible)
}

fn record(case: &Case, way: &str, answer: &Response, verdict: &Result<(), String>) -> Value {
    let calls: Vec<Value> = answer
        .tool_calls
        .iter()
        .map(|call| json!({&call.name: call.arguments}))
        .collect();
    json!({"id": case.id, "way": way, "calls": calls, "text": answer.text,
        "right": verdict.is_ok(), "why": verdict.as_ref().err()})
}
