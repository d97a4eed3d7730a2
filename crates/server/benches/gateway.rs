//! What a gateway adds to a request: latency and CPU, against an upstream on loopback that answers at once.
//!
//! `cargo build` first, then
//! `cargo bench --profile dev -p plumb-server --bench gateway -- PLUMB [--litellm PROGRAM] [--requests N]`
//!
//! PLUMB is the built binary. With `--litellm` the proxy of that name is measured in the same run, in turn;
//! it is to be had in a virtual environment of its own:
//! `python3 -m venv V && V/bin/pip install 'litellm[proxy]'`, and then `--litellm "$PWD/V/bin/litellm"`.
//! Linux only: CPU times are read from `/proc`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measure may fail loudly, and prints"
)]

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Pieces of a streamed answer.
const PIECES: usize = 20;
/// Rounds, each of every program in turn.
const ROUNDS: usize = 3;
/// Clock ticks a second in `/proc` (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

struct Options {
    plumb: String,
    litellm: Option<String>,
    requests: usize,
}

fn options() -> Options {
    let mut options = Options {
        plumb: String::new(),
        litellm: None,
        requests: 1000,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--litellm" => options.litellm = arguments.next(),
            "--requests" => options.requests = arguments.next().unwrap().parse().unwrap(),
            path => path.clone_into(&mut options.plumb),
        }
    }
    assert!(
        !options.plumb.is_empty(),
        "the path of the binary is missing; see the top of this file"
    );
    options
}

/// An upstream that answers at once, whole or in pieces, on a thread of its own.
fn upstream() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(answer_all(listener));
    });
    port
}

async fn answer_all(listener: std::net::TcpListener) {
    async fn answer(Json(body): Json<Value>) -> Response {
        let usage =
            json!({"prompt_tokens": 20, "completion_tokens": PIECES, "total_tokens": 20 + PIECES});
        if body["stream"] != true {
            let message = json!({"role": "assistant", "content": "word ".repeat(PIECES)});
            return Json(json!({"id": "x", "object": "chat.completion", "created": 1, "model": "up", "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
            .into_response();
        }
        let chunk = |delta: Value, end: Value| {
            let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up",
                "choices": [{"index": 0, "delta": delta, "finish_reason": end}]});
            format!("data: {chunk}\n\n")
        };
        let mut pieces = vec![chunk(
            json!({"role": "assistant", "content": "word "}),
            Value::Null,
        )];
        pieces.extend((1..PIECES).map(|_| chunk(json!({"content": "word "}), Value::Null)));
        pieces.push(chunk(json!({}), json!("stop")));
        let last = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [], "usage": usage});
        pieces.push(format!("data: {last}\n\ndata: [DONE]\n\n"));
        let stream = futures::stream::iter(pieces.into_iter().map(Ok::<String, Infallible>));
        let headers = [("content-type", "text/event-stream")];
        (headers, axum::body::Body::from_stream(stream)).into_response()
    }
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let listener =
        axum::serve::ListenerExt::tap_io(listener, |socket| drop(socket.set_nodelay(true)));
    let router = Router::new().route("/v1/chat/completions", post(answer));
    axum::serve(listener, router).await.unwrap();
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that is asked; it ends with the measure.
struct Asked {
    name: &'static str,
    address: String,
    model: &'static str,
    /// What it wants to be shown.
    token: String,
    process: Option<Child>,
    _folder: tempfile::TempDir,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Asked {
    fn direct(port: u16) -> Asked {
        Asked {
            name: "upstream alone",
            address: format!("http://127.0.0.1:{port}/v1"),
            model: "up",
            token: String::new(),
            process: None,
            _folder: tempfile::tempdir().unwrap(),
        }
    }

    fn plumb(binary: &str, upstream: u16) -> Asked {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("[servers.lab]\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n");
        std::fs::write(folder.path().join("plumb.toml"), file).unwrap();
        let port = free_port();
        let mut command = Command::new(binary);
        command
            .args(["serve", "--models", "--model", "lab:up", "--listen"])
            .arg(format!("127.0.0.1:{port}"))
            .env("PLUMB_MODELS", folder.path().join("none"));
        Asked::start("plumb serve", "PLUMB_TOKEN", command, folder, port)
    }

    fn litellm(program: &str, upstream: u16) -> Asked {
        let folder = tempfile::tempdir().unwrap();
        let file = format!(
            "model_list:\n  - model_name: up\n    litellm_params:\n      model: openai/up\n      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n"
        );
        std::fs::write(folder.path().join("config.yaml"), file).unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        command
            .args([
                "--config",
                "config.yaml",
                "--host",
                "127.0.0.1",
                "--num_workers",
                "1",
            ])
            .args(["--telemetry", "False", "--port", &port.to_string()])
            // Without it the program fetches its table of prices.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        Asked::start("LiteLLM", "LITELLM_MASTER_KEY", command, folder, port)
    }

    fn start(
        name: &'static str,
        variable: &str,
        mut command: Command,
        folder: tempfile::TempDir,
        port: u16,
    ) -> Asked {
        let token = format!("sk-{}", plumb_server::Token::fresh());
        let process = command
            .current_dir(folder.path())
            .env(variable, &token)
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Asked {
            name,
            address: format!("http://127.0.0.1:{port}/v1"),
            model: if name == "LiteLLM" { "up" } else { "lab:up" },
            token,
            process: Some(process),
            _folder: folder,
        }
    }

    /// One request to its end; how long it took.
    async fn ask(&self, http: &reqwest::Client, stream: bool) -> Result<Duration, String> {
        let body = json!({"model": self.model, "stream": stream, "max_tokens": 100, "temperature": 0,
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Say twenty words."}]});
        let start = Instant::now();
        let asked = http
            .post(format!("{}/chat/completions", self.address))
            .bearer_auth(&self.token)
            .json(&body)
            .send();
        let response = asked.await.map_err(|error| error.to_string())?;
        let good = response.status().is_success();
        let body = response.bytes().await.map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&body);
        match good && body.matches("word ").count() == PIECES {
            true => Ok(start.elapsed()),
            false => Err(body.into_owned()),
        }
    }

    async fn wait_until_ready(&self, http: &reqwest::Client) {
        let start = Instant::now();
        while let Err(error) = self.ask(http, false).await {
            assert!(
                start.elapsed() < Duration::from_secs(180),
                "{} does not answer: {error}",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// CPU seconds of the program and what it started; 0 for the upstream, which is this process.
    fn cpu(&self) -> f64 {
        let Some(process) = &self.process else {
            return 0.0;
        };
        let mut ticks = 0.0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(text) = std::fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            // After the name: state, parent, group; user and system time are the 12th and 13th.
            let Some((_, fields)) = text.rsplit_once(')') else {
                continue;
            };
            let fields: Vec<&str> = fields.split_whitespace().collect();
            if fields[2] == process.id().to_string() {
                ticks += fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
            }
        }
        ticks / TICKS
    }
}

/// Latencies in milliseconds, and CPU milliseconds a request.
#[derive(Default)]
struct Measured {
    latencies: Vec<f64>,
    cpu: Vec<f64>,
    seconds: f64,
}

impl Measured {
    fn percentile(&mut self, percent: f64) -> f64 {
        self.latencies.sort_by(f64::total_cmp);
        self.latencies[((self.latencies.len() - 1) as f64 * percent / 100.0) as usize]
    }

    fn cpu(&self) -> f64 {
        self.cpu.iter().sum::<f64>() / self.cpu.len() as f64
    }
}

/// How a program is asked.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    stream: bool,
    callers: usize,
    /// The longest that a caller waits between an answer and its next request; it is anything up to that.
    pause: Duration,
}

const CASES: [Case; 4] = [
    Case::new("whole, one caller", false, 1, 0),
    Case::new("streamed, one caller", true, 1, 0),
    // The machine has time left: what a gateway adds to requests that meet by chance.
    Case::new("streamed, eight callers with pauses", true, 8, 200),
    // It has none: callers, upstream and gateway wait for each other's processors.
    Case::new("whole, eight callers without", false, 8, 0),
];

impl Case {
    const fn new(name: &'static str, stream: bool, callers: usize, pause_ms: u64) -> Case {
        Case {
            name,
            stream,
            callers,
            pause: Duration::from_millis(pause_ms),
        }
    }
}

async fn measure(
    asked: &Asked,
    http: &reqwest::Client,
    case: Case,
    requests: usize,
    into: &mut Measured,
) {
    for _ in 0..50 {
        asked.ask(http, case.stream).await.unwrap();
    }
    let (cpu, start) = (asked.cpu(), Instant::now());
    let callers = (0..case.callers).map(|_| async {
        let mut latencies = Vec::new();
        for _ in 0..requests / case.callers {
            if !case.pause.is_zero() {
                let chance: f64 = rand::random();
                tokio::time::sleep(case.pause.mul_f64(chance)).await;
            }
            let took = asked.ask(http, case.stream).await.unwrap();
            latencies.push(took.as_secs_f64() * 1000.0);
        }
        latencies
    });
    let latencies = futures::future::join_all(callers).await.concat();
    into.seconds += start.elapsed().as_secs_f64();
    into.cpu
        .push((asked.cpu() - cpu) * 1000.0 / latencies.len() as f64);
    into.latencies.extend(latencies);
}

// The callers are on one thread, so that what they measure is not how long it takes to wake others of theirs.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = options();
    let upstream = upstream();
    let mut all = vec![
        Asked::direct(upstream),
        Asked::plumb(&options.plumb, upstream),
    ];
    all.extend(
        options
            .litellm
            .iter()
            .map(|program| Asked::litellm(program, upstream)),
    );
    let http = reqwest::Client::new();
    for asked in &all {
        asked.wait_until_ready(&http).await;
    }
    println!("| | p50 ms | p99 ms | added p50 | added p99 | CPU ms a request | requests/s |");
    println!("|---|---|---|---|---|---|---|");
    for case in CASES {
        let mut measured: Vec<Measured> = all.iter().map(|_| Measured::default()).collect();
        for _ in 0..ROUNDS {
            for (asked, into) in all.iter().zip(&mut measured) {
                measure(asked, &http, case, options.requests, into).await;
            }
        }
        let (p50, p99) = (measured[0].percentile(50.0), measured[0].percentile(99.0));
        for (asked, measured) in all.iter().zip(&mut measured) {
            let (half, most) = (measured.percentile(50.0), measured.percentile(99.0));
            println!(
                "| {}: {} | {half:.2} | {most:.2} | {:.2} | {:.2} | {:.3} | {:.0} |",
                case.name,
                asked.name,
                half - p50,
                most - p99,
                measured.cpu(),
                measured.latencies.len() as f64 / measured.seconds,
            );
        }
    }
}
