#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::checked::Checked;
use crate::limits::Gate;
use crate::loopback::{body_of, reply, server};
use crate::remote::{Manner, Remote};
use crate::{
    Content, Delta, Error, Limits, Media, MediaSource, Message, Output, Part, Retry, Role,
};
use crate::{Stop, Tool, ToolCall, ToolChoice, ToolResult};

const TRIES: u32 = 4;

fn stream_of(pieces: &[&str]) -> String {
    let mut body = String::new();
    for piece in pieces {
        body.push_str(&format!(
            "data: {}\n\n",
            json!({"choices": [{"delta": {"content": piece}}]})
        ));
    }
    body.push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    body.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n");
    reply("200 OK", "content-type: text/event-stream\r\n", &body)
}

fn request(output: Output) -> Request {
    let messages = vec![Message::user("Hello?")];
    Request {
        messages,
        output,
        max_tokens: 20,
        seed: 1,
        ..Request::default()
    }
}

/// The wire alone.
fn wire(address: &str) -> OpenAi {
    OpenAi::new(
        "here",
        "small",
        address,
        Some(Key::new("HERE_KEY", "sk-secret-key")),
    )
    .unwrap()
}

/// The model as it is opened, that does not wait long before it tries again.
fn model(address: &str) -> Checked {
    let gate = Arc::new(Gate::new("here", Limits::default()));
    let retry = Retry {
        first_wait: std::time::Duration::from_millis(1),
        ..Retry::default()
    };
    let manner = Manner {
        retry,
        ..Manner::default()
    };
    let remote = Remote::new(Arc::new(wire(address)), gate, manner);
    Checked::new(Arc::new(remote))
}

#[tokio::test]
async fn text_is_streamed_and_counted() {
    let (address, requests) = server(vec![stream_of(&["Hel", "lo."])]).await;
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let response = model(&address)
        .generate(&request(Output::Text), Some(sink))
        .await
        .unwrap();
    assert_eq!(response.text, "Hello.");
    assert_eq!(
        (response.usage.prompt_tokens, response.usage.output_tokens),
        (7, 2)
    );
    let mut streamed = String::new();
    while let Some(piece) = stream.recv().await {
        assert!(matches!(piece, Delta::Text { .. }), "{piece:?}");
        if let Delta::Text { text } = piece {
            streamed.push_str(&text);
        }
    }
    assert_eq!(streamed, "Hello.");
    let sent = requests.lock().unwrap().join("");
    assert!(sent.starts_with("POST /v1/chat/completions"), "{sent}");
    assert!(
        sent.contains("authorization: Bearer sk-secret-key"),
        "{sent}"
    );
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_when_it_says() {
    let busy = reply(
        "429 Too Many Requests",
        "retry-after: 0\r\n",
        "{\"error\":{\"message\":\"slow down\"}}",
    );
    let down = reply("503 Service Unavailable", "retry-after: 0\r\n", "");
    let (address, requests) = server(vec![busy, down, stream_of(&["Yes."])]).await;
    let response = model(&address)
        .generate(&request(Output::Text), None)
        .await
        .unwrap();
    assert_eq!(response.text, "Yes.");
    assert_eq!(requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_succeed_is_not_tried_again_and_hides_the_key() {
    let refusal = reply(
        "401 Unauthorized",
        "",
        "{\"error\":{\"message\":\"bad key sk-secret-key\"}}",
    );
    let (address, requests) = server(vec![refusal]).await;
    let error = model(&address)
        .generate(&request(Output::Text), None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 401, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("sk-secret-key"), "{error}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

fn cut() -> String {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"Hal\"}}]}\n\n";
    reply("200 OK", "content-type: text/event-stream\r\n", body)
}

#[tokio::test]
async fn a_cut_stream_that_was_seen_is_no_answer() {
    let (address, requests) = server(vec![cut()]).await;
    let (sink, _stream) = tokio::sync::mpsc::unbounded_channel();
    let error = model(&address)
        .generate(&request(Output::Text), Some(sink))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. }) && !error.is_answer(),
        "{error}"
    );
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cut_stream_that_nobody_saw_is_asked_for_again() {
    let (address, _) = server(vec![cut(), stream_of(&["Hallo."])]).await;
    let response = model(&address)
        .generate(&request(Output::Text), None)
        .await
        .unwrap();
    assert_eq!(response.text, "Hallo.");
}

#[tokio::test]
async fn a_stream_that_is_no_json_is_the_servers_fault() {
    let broken = "data: {\"choices\":[{\"del\n\n";
    let head = "content-type: text/event-stream\r\n";
    let replies = (0..TRIES).map(|_| reply("200 OK", head, broken)).collect();
    let (address, _) = server(replies).await;
    let error = model(&address)
        .generate(&request(Output::Text), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn parameters_that_a_model_does_not_know_are_left_out_from_then_on() {
    let refusal = |parameter: &str| {
        let body = json!({"error": {"message": "unsupported", "param": parameter}});
        reply("400 Bad Request", "", &body.to_string())
    };
    let replies = vec![
        refusal("max_tokens"),
        refusal("temperature"),
        stream_of(&["One."]),
        stream_of(&["Two."]),
    ];
    let (address, requests) = server(replies).await;
    let model = model(&address);
    for expected in ["One.", "Two."] {
        let response = model.generate(&request(Output::Text), None).await.unwrap();
        assert_eq!(response.text, expected);
    }
    let requests = requests.lock().unwrap();
    assert!(requests[0].contains("\"max_tokens\":20"), "{}", requests[0]);
    for request in &requests[2..] {
        assert!(
            request.contains("\"max_completion_tokens\":20"),
            "{request}"
        );
        assert!(!request.contains("temperature"), "{request}");
    }
}

#[tokio::test]
async fn what_authenticates_in_an_address_is_not_shown() {
    // The connection is closed without a word.
    let (address, _) = server(vec![String::new()]).await;
    let address = address.replace("http://", "http://ada:hunter2@");
    let model = OpenAi::new("here", "small", &address, None).unwrap();
    let error = model.models().await.unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    assert!(error.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn json_that_does_not_fit_is_asked_for_again() {
    let schema = json!({"type": "object", "properties": {"quote": {"type": "string", "x-quote-from": [["It is 7."]]}},
        "required": ["quote"], "additionalProperties": false});
    let wrong = stream_of(&["{\"quote\":\"It is 8.\"}"]);
    let right = stream_of(&["```json\n{\"quote\":\"It is 7.\"}\n```"]);
    let (address, requests) = server(vec![wrong, right]).await;
    let response = model(&address)
        .generate(&request(Output::Json(schema)), None)
        .await
        .unwrap();
    assert_eq!(response.text, "{\"quote\":\"It is 7.\"}");
    assert_eq!(response.usage.output_tokens, 4, "both calls count");
    let requests = requests.lock().unwrap();
    assert!(
        requests
            .iter()
            .all(|r| r.contains("json_schema") && !r.contains("x-quote-from"))
    );
    assert!(
        requests[1].contains("not copied word for word"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_server_without_schema_mode_is_asked_in_words() {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let refusal = reply(
        "400 Bad Request",
        "",
        "{\"error\":{\"message\":\"unknown field response_format\"}}",
    );
    let mut replies = vec![refusal; 3];
    replies.push(stream_of(&["{\"n\":3}"]));
    let (address, requests) = server(replies).await;
    let response = model(&address)
        .generate(&request(Output::Json(schema)), None)
        .await
        .unwrap();
    assert_eq!(response.text, "{\"n\":3}");
    let requests = requests.lock().unwrap();
    let asked = [
        "\"strict\":true",
        "\"strict\":false",
        "json_object",
        "Answer with JSON alone",
    ];
    for (request, asked) in requests.iter().zip(asked) {
        assert!(request.contains(asked), "{asked}: {request}");
    }
    assert!(!requests[3].contains("response_format"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let error = wire(&address).models().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

fn events(events: &[Value]) -> String {
    let mut body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    body.push_str("data: [DONE]\n\n");
    reply("200 OK", "content-type: text/event-stream\r\n", &body)
}

fn weather() -> Tool {
    Tool {
        name: "weather".to_owned(),
        description: "The weather of a city.".to_owned(),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}}),
    }
}

#[tokio::test]
async fn calls_of_tools_and_thoughts_are_streamed_and_kept() {
    let piece = |delta: Value| json!({"choices": [{"delta": delta}]});
    let traffic = events(&[
        piece(json!({"reasoning_content": "Two cities."})),
        piece(
            json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ""}}]}),
        ),
        piece(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]})),
        piece(
            json!({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{oh"}}]}),
        ),
        piece(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Bern\"}"}}]})),
        json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 90, "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 12}}}),
    ]);
    let (address, requests) = server(vec![traffic]).await;
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let mut asked = request(Output::Text);
    asked.tools = vec![weather()];
    asked.tool_choice = ToolChoice::Named("weather".to_owned());
    let response = model(&address).generate(&asked, Some(sink)).await.unwrap();
    assert_eq!(response.stop, Stop::ToolCalls);
    assert_eq!(response.reasoning[0].text, "Two cities.");
    let calls: Vec<_> = response
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), &call.arguments))
        .collect();
    assert_eq!(
        calls,
        [("a", &json!({"city": "Bern"})), ("b", &json!("{oh"))],
        "what is no JSON stays text"
    );
    assert_eq!(
        (
            response.usage.cached_tokens,
            response.usage.reasoning_tokens
        ),
        (64, 12)
    );
    let mut first = String::new();
    while let Some(piece) = stream.recv().await {
        if let Delta::ToolCall {
            index: 0,
            id,
            name,
            arguments,
        } = piece
        {
            assert_eq!((id.as_str(), name.as_str()), ("a", "weather"));
            first.push_str(&arguments);
        }
    }
    assert_eq!(first, "{\"city\":\"Bern\"}");
    let body = body_of(&requests.lock().unwrap()[0]);
    assert_eq!(
        body["tools"][0]["function"]["parameters"],
        weather().parameters
    );
    assert_eq!(body["tool_choice"]["function"]["name"], "weather");
}

#[tokio::test]
async fn parts_are_said_in_the_protocols_words() {
    let media = |media_type: &str, source| {
        Part::Media(Media {
            media_type: media_type.to_owned(),
            source,
            name: None,
        })
    };
    let data = || MediaSource::Data("aGk=".to_owned());
    let call = ToolCall {
        id: "a".to_owned(),
        name: "weather".to_owned(),
        arguments: json!({"city": "Bern"}),
        signature: None,
    };
    let result = ToolResult {
        id: "a".to_owned(),
        name: "weather".to_owned(),
        content: "no such city".to_owned(),
        is_error: true,
    };
    let question = vec![
        Part::Text {
            text: "See:".to_owned(),
        },
        media("image/png", data()),
        media(
            "image/png",
            MediaSource::Url("https://example.com/a.png".to_owned()),
        ),
        media("application/pdf", data()),
        media("audio/wav", data()),
    ];
    let mut asked = request(Output::Text);
    asked.messages = vec![
        Message::of(Role::User, question),
        Message::of(Role::Assistant, vec![Part::ToolCall(call)]),
        Message::results([result]),
    ];
    let (address, requests) = server(vec![stream_of(&["Ok."])]).await;
    model(&address).generate(&asked, None).await.unwrap();
    let body = body_of(&requests.lock().unwrap()[0]);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "See:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            ]},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "Error: no such city"},
        ])
    );
    asked.messages[0].content = Content::Parts(vec![media("video/mp4", data())]);
    let error = model(&address).generate(&asked, None).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("video/mp4"), "{error}");
}

#[tokio::test]
async fn a_filtered_answer_is_a_refusal() {
    let filtered =
        json!({"choices": [{"delta": {"refusal": "I can't."}, "finish_reason": "content_filter"}]});
    let (address, _) = server(vec![
        events(std::slice::from_ref(&filtered)),
        events(&[filtered]),
    ])
    .await;
    let response = model(&address)
        .generate(&request(Output::Text), None)
        .await
        .unwrap();
    assert_eq!(
        (response.stop, response.text.as_str()),
        (Stop::Refused, "I can't.")
    );
    let error = model(&address)
        .generate(&request(Output::Json(json!({}))), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Withheld { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_knows_no_streams_answers_whole() {
    let json = |body: &Value| {
        reply(
            "200 OK",
            "content-type: application/json\r\n",
            &body.to_string(),
        )
    };
    let call = json!({"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}});
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 2});
    let whole = json!({"usage": usage, "choices": [{"finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "Hm.", "tool_calls": [call]}}]});
    let replies = vec![
        json(&whole),
        json(&json!({"error": {"message": "no memory left"}})),
        json(&json!({"hello": 1})),
        json(&json!([{"choices": "none"}])),
        reply(
            "200 OK",
            "content-type: text/html\r\n",
            "<html>hello</html>",
        ),
    ];
    let (address, _) = server(replies).await;
    let wire = wire(&address);
    let request = request(Output::Text);
    let (sink, mut pieces) = tokio::sync::mpsc::unbounded_channel();
    let answer = wire.generate(&request, Some(sink)).await.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.usage.output_tokens),
        ("Hm.", 2)
    );
    assert_eq!(answer.tool_calls[0].arguments, json!({"city": "Bern"}));
    assert_eq!(
        pieces.recv().await,
        Some(Delta::Text {
            text: "Hm.".to_owned()
        })
    );
    for expected in [
        "no memory left",
        "the answer is no chat completion",
        "the answer is no chat completion",
        "with a stream of events",
    ] {
        let error = wire.generate(&request, None).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
