//! What providers are asked and how their answers are read, against traffic written from their public
//! descriptions (`traffic/README.md`): the whole request bodies and answers are in the snapshots.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod wire;

use std::fmt::Write as _;
use std::path::Path;

use plumb_model::{
    Delta, Effort, Media, MediaSource, Message, Part, Request, Response, Role, Tool, ToolChoice,
    ToolResult,
};
use serde_json::{Value, json};
use wire::{Provider, Reply};

/// A protocol, the model's name in it, and the ending of its files.
#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    model: &'static str,
    ending: &'static str,
}

const fn protocol(name: &'static str, model: &'static str, ending: &'static str) -> Protocol {
    Protocol {
        name,
        model,
        ending,
    }
}

const PROTOCOLS: [Protocol; 6] = [
    protocol("openai", "some-model", "sse"),
    protocol("openai-responses", "some-model", "sse"),
    protocol("anthropic", "some-model", "sse"),
    protocol("gemini", "some-model", "sse"),
    protocol("ollama", "some-model", "ndjson"),
    protocol("bedrock", "anthropic.some-model", "jsonl"),
];

impl Protocol {
    fn file(self, name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traffic");
        std::fs::read_to_string(folder.join(self.name).join(name)).unwrap()
    }

    fn reply(self, case: &str) -> Reply {
        let text = self.file(&format!("{case}.{}", self.ending));
        match self.ending {
            "jsonl" => Reply::new(
                200,
                "content-type: application/vnd.amazon.eventstream\r\n",
                frames(&text),
            ),
            "ndjson" => Reply::new(200, "content-type: application/x-ndjson\r\n", text),
            _ => Reply::events(text),
        }
    }
}

/// Lines of events as the frames of Amazon's stream.
fn frames(lines: &str) -> Vec<u8> {
    let mut frames = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let mut head = Vec::new();
        let headers = [
            (":event-type", line["event"].as_str().unwrap()),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        for (name, value) in headers {
            head.push(u8::try_from(name.len()).unwrap());
            head.extend(name.as_bytes());
            head.push(7);
            head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            head.extend(value.as_bytes());
        }
        let payload = line["payload"].to_string();
        let length = u32::try_from(16 + head.len() + payload.len()).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(u32::try_from(head.len()).unwrap().to_be_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        frame.extend(head);
        frame.extend(payload.as_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        frames.extend(frame);
    }
    frames
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 * (sum & 1));
        }
    }
    !sum
}

fn media(media_type: &str, data: &str) -> Part {
    Part::Media(Media {
        media_type: media_type.to_owned(),
        source: MediaSource::Data(data.to_owned()),
        name: None,
    })
}

fn ask(text: &str) -> Request {
    Request {
        messages: vec![Message::system("Be short."), Message::user(text)],
        max_tokens: 100,
        ..Request::default()
    }
}

fn request(protocol: Protocol, case: &str) -> Request {
    match case {
        "text" => Request {
            top_p: Some(0.5),
            // The Responses have no place for it.
            stop: match protocol.name {
                "openai-responses" => Vec::new(),
                _ => vec!["END".to_owned()],
            },
            ..ask("Weather?")
        },
        "media" => {
            let mut parts = vec![
                Part::Text {
                    text: "Look and listen:".to_owned(),
                },
                media("image/png", "cG5n"),
            ];
            if protocol.name != "ollama" {
                parts.push(media("application/pdf", "cGRm"));
            }
            if matches!(protocol.name, "openai" | "gemini") {
                parts.push(media("audio/wav", "d2F2"));
            }
            Request {
                messages: vec![Message::of(Role::User, parts)],
                max_tokens: 100,
                ..Request::default()
            }
        }
        "tools" => Request {
            tools: vec![Tool {
                name: "weather".to_owned(),
                description: "The weather of a city.".to_owned(),
                parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
            }],
            // Ollama's protocol has no word for it.
            tool_choice: match protocol.name {
                "ollama" => ToolChoice::Auto,
                _ => ToolChoice::Required,
            },
            ..ask("Weather in Bern and Rome?")
        },
        _ => Request {
            effort: Some(Effort::Low),
            ..ask("Will it rain?")
        },
    }
}

/// Asks with `request`, and shows what was asked, what came in pieces, and the answer.
async fn turn(protocol: Protocol, request: &Request, reply: Reply) -> (String, Response) {
    let provider = Provider::new(vec![reply]).await;
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let model = provider.model(protocol.name, protocol.model);
    let response = model.generate(request, Some(sink)).await.unwrap();
    let asked = &provider.asked()[0];
    let line = asked.head.lines().next().unwrap();
    let mut shown = format!("{line}\n{:#}\n--- pieces\n", asked.body);
    while let Some(piece) = stream.recv().await {
        shown.push_str(&match piece {
            Delta::Text { text } => format!("text {text:?}\n"),
            Delta::Reasoning { text } => format!("thought {text:?}\n"),
            Delta::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                format!("call {index} {id} {name} {arguments:?}\n")
            }
        });
    }
    write!(shown, "--- answer\n{:#}\n", json!(response)).unwrap();
    (shown, response)
}

#[tokio::test]
async fn text_and_media() {
    for protocol in PROTOCOLS {
        for case in ["text", "media"] {
            let request = request(protocol, case);
            let (shown, response) = turn(protocol, &request, protocol.reply("text")).await;
            assert_eq!(response.text, "It rains.", "{}", protocol.name);
            insta::assert_snapshot!(format!("{}-{case}", protocol.name), shown);
        }
    }
}

#[tokio::test]
async fn tools_and_thoughts_and_what_is_handed_back() {
    for protocol in PROTOCOLS {
        for case in ["tools", "thinking"] {
            let mut request = request(protocol, case);
            let (mut shown, response) = turn(protocol, &request, protocol.reply(case)).await;
            request.messages.push(response.message());
            if case == "tools" {
                assert_eq!(response.tool_calls[0].arguments, json!({"city": "Bern"}));
                let results = response.tool_calls.iter().map(|call| ToolResult {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    content: "rain".to_owned(),
                    is_error: false,
                });
                request.messages.push(Message::results(results));
                request.tool_choice = ToolChoice::Auto;
            } else {
                assert_eq!(
                    response.reasoning[0].text, "Clouds, so rain.",
                    "{}",
                    protocol.name
                );
                request.messages.push(Message::user("Sure?"));
            }
            let (next, _) = turn(protocol, &request, protocol.reply("text")).await;
            let asked = next.split("--- pieces").next().unwrap();
            write!(shown, "--- asked next\n{asked}").unwrap();
            let mut settings = insta::Settings::clone_current();
            // Ollama numbers no calls; they get a random name.
            settings.add_filter("call_[0-9a-f]{8}", "[call]");
            settings.bind(|| insta::assert_snapshot!(format!("{}-{case}", protocol.name), shown));
        }
    }
}

#[tokio::test]
async fn refusals_say_who_must_act() {
    for protocol in PROTOCOLS {
        let mut shown = String::new();
        let refusals: Vec<Value> = serde_json::from_str(&protocol.file("refusals.json")).unwrap();
        for refusal in refusals {
            let headers = refusal["headers"].as_object().into_iter().flatten();
            let headers: String = headers
                .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap()))
                .collect();
            let status = u16::try_from(refusal["status"].as_u64().unwrap()).unwrap();
            let headers = format!("content-type: application/json\r\n{headers}");
            let reply = Reply::new(status, &headers, refusal["body"].to_string());
            // The second answers the question for the provider's models, where it is asked.
            let provider = Provider::new(vec![reply, Reply::new(404, "", "")]).await;
            let mut settings = provider.settings(protocol.name);
            settings.retry.tries = 1;
            let model = plumb_model::Models::new(settings)
                .open(&format!("lab:{}", protocol.model))
                .unwrap();
            let error = model.generate(&ask("Weather?"), None).await.unwrap_err();
            let error = error.to_string().replace(&provider.address, "[address]");
            write!(shown, "{status}\nerror: {error}\n\n").unwrap();
        }
        insta::assert_snapshot!(format!("{}-refusals", protocol.name), shown);
    }
}

#[tokio::test]
async fn texts_become_vectors() {
    for (protocol, body) in [
        (
            "openai",
            json!({"data": [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}],
            "model": "small", "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
        ),
        (
            "openai-responses",
            json!({"data": [{"index": 0, "embedding": [1.0, 0.0]}, {"index": 1, "embedding": [0.0, 1.0]}],
            "model": "small", "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
        ),
        (
            "gemini",
            json!({"embeddings": [{"values": [1.0, 0.0]}, {"values": [0.0, 1.0]}]}),
        ),
        (
            "ollama",
            json!({"model": "small", "embeddings": [[1.0, 0.0], [0.0, 1.0]], "prompt_eval_count": 3}),
        ),
    ] {
        let reply = Reply::new(200, "content-type: application/json\r\n", body.to_string());
        let provider = Provider::new(vec![reply]).await;
        let embedder = provider.embedder(protocol, "small");
        let embedded = embedder
            .embed(vec!["a".to_owned(), "b".to_owned()])
            .await
            .unwrap();
        assert_eq!(embedded.vectors, [[1.0, 0.0], [0.0, 1.0]], "{protocol}");
        assert_eq!(
            embedded.tokens,
            (protocol != "gemini").then_some(3),
            "{protocol}"
        );
        assert_eq!(
            embedded.cost_micros, None,
            "a price that is not known is not 0"
        );
        let asked = provider.asked();
        let shown = format!(
            "{}\n{:#}",
            asked[0].head.lines().next().unwrap(),
            asked[0].body
        );
        insta::assert_snapshot!(format!("{protocol}-embeddings"), shown);
    }
    let provider = Provider::new(Vec::new()).await;
    for protocol in ["anthropic", "bedrock"] {
        let error = provider
            .embedder(protocol, "small")
            .embed(vec!["a".to_owned()])
            .await;
        let error = error.unwrap_err().without_hint();
        assert_eq!(error, "lab does not take texts to turn into vectors");
    }
}
