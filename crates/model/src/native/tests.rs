//! The protocols against traffic written from the providers' descriptions; see `tests/traffic/README.md`.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use serde_json::json;

use super::*;
use crate::loopback::{body_of, reply, server};
use crate::{Delta, Media, MediaSource, Message, Part, Role, Stop, Tool, ToolChoice, ToolResult};

const EVENTS: &str = "content-type: text/event-stream\r\n";

fn weather() -> Tool {
    Tool {
        name: "weather".to_owned(),
        description: "The weather of a city.".to_owned(),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    }
}

fn ask() -> Request {
    Request {
        messages: vec![
            Message::system("Be short."),
            Message::user("Weather in Bern?"),
        ],
        tools: vec![weather()],
        ..Request::default()
    }
}

fn native(provider: &str, model: &str, kind: AdapterKind, address: &str) -> Native {
    Native::new(
        provider,
        model,
        kind,
        address,
        Some(Key::new("HERE_KEY", "sk-test")),
    )
    .unwrap()
}

/// Asks a provider that answers with `traffic`; then again, with its answer and a result of the tool.
/// Gives the first answer, what was streamed, and what was asked the second time.
async fn two_turns(kind: AdapterKind, traffic: &str, head: &str) -> (Response, Vec<Delta>, Value) {
    let replies = vec![reply("200 OK", head, traffic); 2];
    let (address, requests) = server(replies).await;
    let model = native("here", "some-model", kind, &address);
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let mut request = ask();
    let response = model.generate(&request, Some(sink)).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.recv().await {
        pieces.push(piece);
    }
    request.messages.push(response.message());
    request.messages.push(Message::results([ToolResult {
        id: response.tool_calls[0].id.clone(),
        name: "weather".to_owned(),
        content: "no such city".to_owned(),
        is_error: true,
    }]));
    model.generate(&request, None).await.unwrap();
    let requests = requests.lock().unwrap();
    (response, pieces, body_of(&requests[1]))
}

fn joined_arguments(pieces: &[Delta]) -> String {
    let arguments = pieces.iter().filter_map(|piece| match piece {
        Delta::ToolCall {
            index: 0,
            arguments,
            ..
        } => Some(arguments.as_str()),
        _ => None,
    });
    arguments.collect()
}

fn called_bern(response: &Response) {
    assert_eq!(response.stop, Stop::ToolCalls);
    assert_eq!(response.tool_calls.len(), 1);
    assert_eq!(response.tool_calls[0].name, "weather");
    assert_eq!(response.tool_calls[0].arguments, json!({"city": "Bern"}));
}

#[tokio::test]
async fn anthropic_thinks_calls_and_gets_its_signatures_back() {
    let traffic = include_str!("../../tests/traffic/anthropic/tools.sse");
    let (response, pieces, asked) = two_turns(AdapterKind::Anthropic, traffic, EVENTS).await;
    called_bern(&response);
    assert_eq!(response.text, "I look.");
    assert_eq!(response.reasoning[0].text, "The user wants the weather.");
    assert_eq!(response.reasoning[0].signature.as_deref(), Some("c2lnbmVk"));
    assert!(response.reasoning[1].sealed.is_some());
    assert_eq!(response.tool_calls[0].signature, None);
    let usage = response.usage;
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens
        ),
        (1320, 1000, 300)
    );
    assert_eq!(usage.output_tokens, 50);
    assert_eq!(joined_arguments(&pieces), "{\"city\": \"Bern\"}");
    assert_eq!(
        pieces[0],
        Delta::Reasoning {
            text: "The user wants ".to_owned()
        }
    );
    // The second request: marks on what stays the same, and everything handed back.
    let mark = json!({"type": "ephemeral"});
    assert_eq!(asked["system"][0]["cache_control"], mark, "{asked:#}");
    assert_eq!(asked["tools"][0]["input_schema"], weather().parameters);
    let assistant = &asked["messages"][1]["content"];
    assert_eq!(
        assistant[0],
        json!({"type": "thinking", "thinking": "The user wants the weather.", "signature": "c2lnbmVk"})
    );
    assert_eq!(
        assistant[1],
        json!({"type": "redacted_thinking", "data": "c2VhbGVk"})
    );
    assert_eq!(
        assistant[3],
        json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}})
    );
    assert_eq!(
        asked["messages"][2]["content"][0],
        json!({"type": "tool_result", "tool_use_id": "toolu_1",
        "content": "no such city", "is_error": true, "cache_control": mark})
    );
}

#[tokio::test]
async fn gemini_signs_its_calls_and_gets_them_back() {
    let traffic = include_str!("../../tests/traffic/gemini/tools.sse");
    let (response, pieces, asked) = two_turns(AdapterKind::Gemini, traffic, EVENTS).await;
    called_bern(&response);
    assert_eq!(response.reasoning[0].text, "Bern, then.");
    let usage = response.usage;
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            usage.reasoning_tokens
        ),
        (40, 32, 15, 5)
    );
    assert_eq!(joined_arguments(&pieces), "{\"city\":\"Bern\"}");
    assert_eq!(asked["systemInstruction"]["parts"][0]["text"], "Be short.");
    let parts = asked["contents"][1]["parts"].as_array().unwrap();
    let call = parts
        .iter()
        .find(|part| part.get("functionCall").is_some())
        .unwrap();
    assert_eq!(call["functionCall"]["args"], json!({"city": "Bern"}));
    assert_eq!(call["thoughtSignature"], "c2lnbmVk", "{asked:#}");
    assert_eq!(
        asked["contents"][2]["parts"][0]["functionResponse"]["name"],
        "weather"
    );
}

#[tokio::test]
async fn responses_call_and_are_not_stored() {
    let traffic = include_str!("../../tests/traffic/openai-responses/tools.sse");
    let (response, pieces, asked) = two_turns(AdapterKind::OpenAIResp, traffic, EVENTS).await;
    called_bern(&response);
    let usage = response.usage;
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.output_tokens,
            usage.reasoning_tokens
        ),
        (60, 48, 20, 8)
    );
    assert_eq!(joined_arguments(&pieces), "{\"city\":\"Bern\"}");
    assert_eq!(asked["store"], false);
    let input = asked["input"].as_array().unwrap();
    let of = |kind: &str| input.iter().find(|item| item["type"] == kind).unwrap();
    assert_eq!(of("function_call")["call_id"], "call_1");
    assert_eq!(of("function_call_output")["output"], "Error: no such city");
}

#[tokio::test]
async fn ollama_thinks_and_calls() {
    let traffic = include_str!("../../tests/traffic/ollama/tools.ndjson");
    let head = "content-type: application/x-ndjson\r\n";
    let (response, pieces, asked) = two_turns(AdapterKind::Ollama, traffic, head).await;
    called_bern(&response);
    assert_eq!(
        (response.text.as_str(), response.reasoning[0].text.as_str()),
        ("I look.", "Bern, then.")
    );
    assert_eq!(
        (response.usage.prompt_tokens, response.usage.output_tokens),
        (26, 14)
    );
    assert_eq!(joined_arguments(&pieces), "{\"city\":\"Bern\"}");
    assert_eq!(
        asked["messages"][2]["tool_calls"][0]["function"]["name"],
        "weather"
    );
    assert_eq!(asked["messages"][3]["content"], "Error: no such city");
}

#[tokio::test]
async fn a_schema_goes_to_the_providers_own_mode_and_else_into_words() {
    let refusal = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "output_format: not for this model"}});
    let answer = reply(
        "200 OK",
        EVENTS,
        include_str!("../../tests/traffic/anthropic/json.sse"),
    );
    let replies = vec![
        reply("400 Bad Request", "", &refusal.to_string()),
        answer.clone(),
        answer,
    ];
    let (address, requests) = server(replies).await;
    let model = native(
        "anthropic",
        "claude-sonnet-4-5",
        AdapterKind::Anthropic,
        &address,
    );
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let request = Request {
        messages: vec![Message::user("Count.")],
        output: Output::Json(schema),
        tool_choice: ToolChoice::Auto,
        ..Request::default()
    };
    for _ in 0..2 {
        let response = model.generate(&request, None).await.unwrap();
        assert_eq!(response.text, "{\"n\": 3}");
    }
    let requests = requests.lock().unwrap();
    let words = "Answer with JSON alone that fits this JSON schema";
    assert!(
        requests[0].contains("json_schema") && !requests[0].contains(words),
        "{}",
        requests[0]
    );
    for request in &requests[1..] {
        assert!(
            request.contains(words) && !request.contains("json_schema"),
            "remembered: {request}"
        );
    }
}

#[tokio::test]
async fn pictures_go_where_they_are_taken_and_nothing_is_left_out_in_silence() {
    let media = |media_type: &str, source| {
        let name = None;
        Part::Media(Media {
            media_type: media_type.to_owned(),
            source,
            name,
        })
    };
    let data = || MediaSource::Data("aGk=".to_owned());
    let url = || MediaSource::Url("https://example.com/a.png".to_owned());
    let answer = reply(
        "200 OK",
        EVENTS,
        include_str!("../../tests/traffic/anthropic/json.sse"),
    );
    let (address, requests) = server(vec![answer]).await;
    let model = native(
        "anthropic",
        "claude-sonnet-4-5",
        AdapterKind::Anthropic,
        &address,
    );
    let asked = |parts| Request {
        messages: vec![Message::of(Role::User, parts)],
        ..Request::default()
    };
    let parts = vec![
        media("image/png", data()),
        media("image/png", url()),
        media("application/pdf", data()),
    ];
    model.generate(&asked(parts), None).await.unwrap();
    let body = body_of(&requests.lock().unwrap()[0]);
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}},
        ])
    );
    let error = model
        .generate(&asked(vec![media("audio/wav", data())]), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.without_hint(),
        "anthropic does not take audio/wav as an input"
    );
    let model = native("ollama", "llava", AdapterKind::Ollama, &address);
    let error = model
        .generate(&asked(vec![media("image/png", url())]), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.without_hint(),
        "ollama does not take image/png as an address"
    );
}

/// Everything that can go wrong, in the order of the test.
fn failures() -> Vec<String> {
    let error = |kind: &str, message: &str| {
        json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
    };
    let long = error(
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
    );
    let cut = include_str!("../../tests/traffic/anthropic/tools.sse")
        .split("event: message_delta")
        .next()
        .unwrap();
    vec![
        reply(
            "429 Too Many Requests",
            "retry-after: 7\r\n",
            &error("rate_limit_error", "slow down"),
        ),
        reply(
            "401 Unauthorized",
            "",
            &error("authentication_error", "bad key sk-test"),
        ),
        reply("400 Bad Request", "", &long),
        reply("500 Internal Server Error", "", "oh"),
        reply(
            "200 OK",
            EVENTS,
            include_str!("../../tests/traffic/anthropic/overloaded.sse"),
        ),
        reply("200 OK", EVENTS, cut),
        reply("200 OK", EVENTS, "event: message_start\ndata: {oh\n\n"),
    ]
}

#[tokio::test]
async fn failures_are_told_apart_and_hide_the_key() {
    let (address, _) = server(failures()).await;
    let model = native(
        "anthropic",
        "claude-sonnet-4-5",
        AdapterKind::Anthropic,
        &address,
    );
    let mut said = Vec::new();
    for _ in 0..7 {
        let error = model.generate(&ask(), None).await.unwrap_err();
        assert!(!error.to_string().contains("sk-test"), "{error}");
        said.push(error);
    }
    assert!(
        matches!(
            said[0],
            Error::Busy {
                status: 429,
                wait_ms: Some(7_000),
                ..
            }
        ),
        "{}",
        said[0]
    );
    assert!(
        matches!(said[1], Error::Denied { status: 401, .. }),
        "{}",
        said[1]
    );
    assert!(
        matches!(
            said[2],
            Error::Overflow {
                over: Some(10_000),
                ..
            }
        ),
        "{}",
        said[2]
    );
    assert!(matches!(said[3], Error::Unreachable { .. }), "{}", said[3]);
    assert!(
        matches!(said[4], Error::Busy { status: 529, .. }),
        "{}",
        said[4]
    );
    assert!(matches!(said[5], Error::Unreachable { .. }), "{}", said[5]);
    assert!(matches!(said[6], Error::Unreachable { .. }), "{}", said[6]);
}
