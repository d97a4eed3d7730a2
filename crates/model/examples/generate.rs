//! Answers requests, one JSON object a line on standard input, all at once, and prints the answers.
//!
//! `cargo run -p plumb-model --example generate -- MODEL.gguf < requests.jsonl`
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool for the terminal"
)]

use std::path::Path;
use std::time::Instant;

use plumb_model::local::{Local, Options};
use plumb_model::{Model as _, Request};

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).expect("name a .gguf file");
    let model =
        Local::load("local:example", Path::new(&path), Options::default()).expect("it loads");
    let requests: Vec<Request> = std::io::stdin()
        .lines()
        .map(|line| serde_json::from_str(&line.expect("a line")).expect("a request"))
        .collect();
    let started = Instant::now();
    let answers =
        futures::future::join_all(requests.iter().map(|request| model.generate(request, None)))
            .await;
    for answer in &answers {
        match answer {
            Ok(answer) => println!("{}", serde_json::to_string(answer).expect("JSON")),
            Err(error) => println!("error: {error}"),
        }
    }
    println!("{:.2} s", started.elapsed().as_secs_f64());
}
