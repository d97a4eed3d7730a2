//! The API over real HTTP, with a model that answers as it is told.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod sockets;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use model::{
    Content, Delta, DeltaSink, Effort, Embed, Embedded, Error, Message, Model, Output, Part,
    Reasoning, Request, Response, Role, Stop, ToolCall, ToolChoice, Usage,
};
use plumb_server::{Pool, Server, Token, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const TOKEN: &str = "the-token";

/// What it was asked, and how it answers.
#[derive(Clone, Default)]
struct Puppet {
    asked: Arc<Mutex<Vec<Request>>>,
    /// Set when an answer was dropped before its end.
    dropped: Arc<Mutex<bool>>,
}

struct OnDrop(Arc<Mutex<bool>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

impl Model for Puppet {
    fn name(&self) -> &str {
        "local:puppet"
    }

    fn context_tokens(&self) -> Option<u32> {
        Some(1000)
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, model::Result<Response>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(request.clone());
            let said = request.messages.last().unwrap().text().into_owned();
            let tell = |delta: Delta| sink.iter().for_each(|sink| drop(sink.send(delta.clone())));
            match said.as_str() {
                "too long" => {
                    return Err(Error::TooLong {
                        prompt: 900,
                        answer: 200,
                        context: 1000,
                    });
                }
                "break" => {
                    tell(Delta::Text {
                        text: "half".into(),
                    });
                    return Err(Error::Unreachable {
                        provider: "upstream".into(),
                        message: "it went away".into(),
                    });
                }
                "rest" => {
                    return Err(Error::Resting {
                        provider: "upstream".into(),
                        wait_ms: 1500,
                    });
                }
                "think" => return Ok(thinking(tell)),
                "for ever" => {
                    let _guard = OnDrop(Arc::clone(&self.dropped));
                    tell(Delta::Text { text: "one".into() });
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
            let usage = Usage {
                prompt_tokens: 7,
                cached_tokens: 3,
                output_tokens: 5,
                ..Usage::default()
            };
            if !request.tools.is_empty() && request.tool_choice != ToolChoice::None {
                return Ok(Response {
                    tool_calls: calls(tell),
                    usage,
                    stop: Stop::ToolCalls,
                    ..Response::default()
                });
            }
            for text in ["Hello", ", ", "you."] {
                tell(Delta::Text { text: text.into() });
            }
            Ok(Response {
                text: "Hello, you.".into(),
                usage,
                stop: if request.max_tokens == 1 {
                    Stop::Length
                } else {
                    Stop::End
                },
                ..Response::default()
            })
        })
    }
}

/// An answer with a signed thought, one that the provider keeps to itself, and a signed call.
fn thinking(tell: impl Fn(Delta)) -> Response {
    tell(Delta::Reasoning { text: "Hm.".into() });
    let shown = Reasoning {
        text: "Hm.".into(),
        signature: Some("c2lnbmVk".into()),
        sealed: None,
    };
    let sealed = Reasoning {
        sealed: Some(json!({"type": "redacted_thinking", "data": "c2VhbGVk"})),
        ..Reasoning::default()
    };
    let call = ToolCall {
        id: "call_0".into(),
        name: "weather".into(),
        arguments: json!({}),
        signature: Some("Z2VtaW5p".into()),
    };
    Response {
        reasoning: vec![shown, sealed],
        tool_calls: vec![call],
        stop: Stop::ToolCalls,
        ..Response::default()
    }
}

/// Two calls of a tool, told in pieces.
fn calls(tell: impl Fn(Delta)) -> Vec<ToolCall> {
    let calls = ["Bern", "Rome"].iter().enumerate().map(|(index, city)| {
        for arguments in ["{\"city\":".to_owned(), format!("\"{city}\"}}")] {
            tell(Delta::ToolCall {
                index,
                id: format!("call_{index}"),
                name: "weather".into(),
                arguments,
            });
        }
        ToolCall {
            id: format!("call_{index}"),
            name: "weather".into(),
            arguments: json!({"city": city}),
            signature: None,
        }
    });
    calls.collect()
}

struct Lengths;

impl Embed for Lengths {
    fn name(&self) -> &str {
        "local:lengths"
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, model::Result<Embedded>> {
        Box::pin(async move {
            #[expect(clippy::cast_precision_loss, reason = "short texts")]
            let vectors = texts.iter().map(|text| vec![text.len() as f32, 1.0]);
            Ok(Embedded {
                vectors: vectors.collect(),
                tokens: Some(4),
                cost_micros: None,
            })
        })
    }
}

struct Client {
    address: String,
    puppet: Puppet,
    http: reqwest::Client,
}

impl Client {
    async fn new() -> Client {
        let puppet = Puppet::default();
        let model = puppet.clone();
        let pool = Pool::new(vec!["local:puppet".into()], false, move |name| match name {
            "local:puppet" => Ok(Arc::new(model.clone())),
            _ => panic!("{name} is not served"),
        });
        let server = Server {
            pool,
            embedders: vec![Arc::new(Lengths)],
            token: Some(Token::new(TOKEN)),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, server, std::future::pending()));
        Client {
            address,
            puppet,
            http: reqwest::Client::new(),
        }
    }

    fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}{path}", self.address));
        request.bearer_auth(TOKEN).json(body)
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.request(path, &body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The data of the events of a stream.
    async fn events(&self, path: &str, body: Value) -> Vec<Value> {
        let response = self.request(path, &body).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = response.text().await.unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut data: Vec<&str> = data.collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        data.into_iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    fn asked(&self) -> Request {
        self.puppet.asked.lock().unwrap().last().unwrap().clone()
    }
}

fn ask(text: &str) -> Value {
    json!({"model": "puppet", "messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

#[tokio::test]
async fn without_the_token_there_is_nothing() {
    let client = Client::new().await;
    for (path, token) in [
        ("/v1/models", None),
        ("/v1/models", Some("other")),
        ("/nowhere", None),
    ] {
        let mut request = client.http.get(format!("{}{path}", client.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_api_key");
    }
    let (status, body) = client.post("/v1/nowhere", json!({})).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (404, Some("unknown_url"))
    );
    let request = client
        .http
        .get(format!("{}/v1/chat/completions", client.address));
    let response = request.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(response.status(), 405);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "method_not_allowed", "{body}");
}

#[tokio::test]
async fn a_chat_is_completed() {
    let client = Client::new().await;
    let (status, body) = client.post("/v1/chat/completions", ask("Hello?")).await;
    assert_eq!(status, 200);
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "local:puppet");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello, you.");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["total_tokens"], 12);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
    let asked = client.asked();
    assert_eq!(asked.messages, [Message::user("Hello?")]);
    // What the context leaves after the prompt.
    assert!(
        (900..1000).contains(&asked.max_tokens),
        "{}",
        asked.max_tokens
    );
    let (_, body) = client
        .post(
            "/v1/chat/completions",
            with(ask("Hello?"), "max_tokens", 1.into()),
        )
        .await;
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn a_chat_is_streamed() {
    let client = Client::new().await;
    let body = with(ask("Hello?"), "stream", true.into());
    let body = with(body, "stream_options", json!({"include_usage": true}));
    let chunks = client.events("/v1/chat/completions", body).await;
    let said = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/content"));
    let said: String = said.filter_map(Value::as_str).collect();
    assert_eq!(said, "Hello, you.");
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &json!(12))
    );
    assert_eq!(
        before.last().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
    assert!(
        before
            .iter()
            .all(|chunk| chunk["usage"].is_null() && chunk["id"] == last["id"])
    );
}

fn weather(nested: bool) -> Value {
    let function = json!({"name": "weather", "description": "Now.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}});
    match nested {
        true => json!([{"type": "function", "function": function}]),
        false => json!([with(function, "type", "function".into())]),
    }
}

#[tokio::test]
async fn tools_are_called_and_their_results_handed_back() {
    let client = Client::new().await;
    let body = with(ask("Weather?"), "tools", weather(true));
    let (_, answer) = client.post("/v1/chat/completions", body.clone()).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(message["content"], Value::Null);
    assert_eq!(
        message["tool_calls"][1]["function"]["arguments"],
        "{\"city\":\"Rome\"}"
    );
    let chunks = client
        .events(
            "/v1/chat/completions",
            with(body.clone(), "stream", true.into()),
        )
        .await;
    let calls: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"))
        .collect();
    assert_eq!(
        (&calls[0]["id"], &calls[0]["function"]["name"]),
        (&json!("call_0"), &json!("weather"))
    );
    assert_eq!((calls[1].get("id"), &calls[2]["index"]), (None, &json!(1)));
    assert_eq!(calls.len(), 4);
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "rain"});
    let mut goes_on = with(body, "tool_choice", "none".into());
    let conversation = goes_on["messages"].as_array_mut().unwrap();
    conversation.extend([message.clone(), result("call_0"), result("call_1")]);
    let (status, _) = client.post("/v1/chat/completions", goes_on.clone()).await;
    assert_eq!(status, 200);
    let asked = client.asked();
    assert_eq!(
        asked.messages.len(),
        3,
        "results of several tools are one message"
    );
    let Content::Parts(parts) = &asked.messages[2].content else {
        panic!("{asked:?}")
    };
    assert!(
        matches!(&parts[1], Part::ToolResult(result) if result.name == "weather" && result.id == "call_1")
    );
    assert_eq!(
        (asked.messages[1].role, asked.tool_choice),
        (Role::Assistant, ToolChoice::None)
    );
    goes_on["messages"][2]["tool_call_id"] = "call_9".into();
    let (status, error) = client.post("/v1/chat/completions", goes_on).await;
    assert_eq!(
        (status, error["error"]["param"].as_str()),
        (400, Some("messages[2]"))
    );
}

#[tokio::test]
async fn the_form_of_an_answer_reaches_the_model() {
    let client = Client::new().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    client
        .post(
            "/v1/chat/completions",
            with(ask("x"), "response_format", format),
        )
        .await;
    assert_eq!(client.asked().output, Output::Json(schema.clone()));
    let format = json!({"format": {"type": "json_schema", "name": "x", "schema": schema}});
    client
        .post("/v1/responses", json!({"input": "x", "text": format}))
        .await;
    assert_eq!(client.asked().output, Output::Json(schema));
}

#[tokio::test]
async fn where_to_stop_and_how_hard_to_think_reach_the_model() {
    let client = Client::new().await;
    let mut body = with(ask("x"), "stop", json!("END"));
    body = with(body, "top_p", json!(0.5));
    body = with(body, "reasoning_effort", json!("low"));
    let (status, _) = client.post("/v1/chat/completions", body).await;
    let asked = client.asked();
    assert_eq!(
        (status, asked.stop, asked.top_p),
        (200, vec!["END".to_owned()], Some(0.5))
    );
    assert_eq!(asked.effort, Some(Effort::Low));
    let body = json!({"input": "x", "top_p": 1, "reasoning": {"effort": "high"}});
    let (status, response) = client.post("/v1/responses", body).await;
    assert_eq!(
        (status, &response["reasoning"]["effort"]),
        (200, &json!("high"))
    );
    let asked = client.asked();
    assert_eq!((asked.effort, asked.top_p), (Some(Effort::High), None));
}

#[tokio::test]
async fn a_response_is_given_and_streamed() {
    let client = Client::new().await;
    let body = json!({"input": "Hello?", "instructions": "Be kind.", "metadata": {"a": "b"}});
    let (status, response) = client.post("/v1/responses", body.clone()).await;
    assert_eq!(
        (status, response["status"].as_str()),
        (200, Some("completed"))
    );
    assert_eq!(response["output"][0]["content"][0]["text"], "Hello, you.");
    assert_eq!(response["metadata"]["a"], "b");
    assert_eq!(
        response["usage"]["input_tokens_details"]["cached_tokens"],
        3
    );
    assert_eq!(client.asked().messages[0], Message::system("Be kind."));
    let events = client
        .events("/v1/responses", with(body, "stream", true.into()))
        .await;
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let delta = "response.output_text.delta";
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            delta,
            delta,
            delta,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let numbers = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap());
    assert!(numbers.eq(0..events.len() as u64));
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["output"][0], events[9]["item"]);
    assert_eq!(last["usage"]["total_tokens"], 12);
}

#[tokio::test]
async fn a_response_calls_tools_and_takes_their_results() {
    let client = Client::new().await;
    let body = json!({"input": "Weather?", "tools": weather(false), "stream": true});
    let events = client.events("/v1/responses", body).await;
    let done = |event: &&Value| event["type"] == "response.function_call_arguments.done";
    assert_eq!(events.iter().filter(done).count(), 2);
    let calls = events.last().unwrap()["response"]["output"].clone();
    assert_eq!(calls[1]["arguments"], "{\"city\":\"Rome\"}");
    let mut input = vec![json!({"role": "user", "content": "Weather?"})];
    for call in calls.as_array().unwrap() {
        input.push(call.clone());
    }
    for call in calls.as_array().unwrap() {
        input.push(
            json!({"type": "function_call_output", "call_id": call["call_id"], "output": "rain"}),
        );
    }
    let (status, response) = client.post("/v1/responses", json!({"input": input})).await;
    assert_eq!(status, 200, "{response}");
    let roles: Vec<Role> = client
        .asked()
        .messages
        .iter()
        .map(|message| message.role)
        .collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
}

#[tokio::test]
async fn signatures_come_back_as_they_went() {
    let client = Client::new().await;
    let whole = client
        .post("/v1/responses", json!({"input": "think"}))
        .await
        .1;
    let body = json!({"input": "think", "stream": true});
    let events = client.events("/v1/responses", body).await;
    let streamed = events.last().unwrap()["response"].clone();
    for response in [whole, streamed] {
        let mut input = vec![json!({"role": "user", "content": "think"})];
        input.extend(response["output"].as_array().unwrap().clone());
        input.push(json!({"type": "function_call_output", "call_id": "call_0", "output": "rain"}));
        let (status, error) = client.post("/v1/responses", json!({"input": input})).await;
        assert_eq!(status, 200, "{error}");
        let said = client.asked().messages[1].parts();
        let expected = thinking(|_| ()).message().parts();
        assert_eq!(said, expected, "{response:#}");
    }
    // Chat completions have a place for those of calls.
    let (_, answer) = client.post("/v1/chat/completions", ask("think")).await;
    let mut body = ask("think");
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(answer["choices"][0]["message"].clone());
    messages.push(json!({"role": "tool", "tool_call_id": "call_0", "content": "rain"}));
    client.post("/v1/chat/completions", body).await;
    let said = client.asked().messages[1].parts();
    assert!(
        matches!(&said[..], [Part::ToolCall(call)] if call.signature.as_deref() == Some("Z2VtaW5p")),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_with_its_name() {
    let client = Client::new().await;
    for (name, value, parameter) in [
        ("n", json!(2), "n"),
        ("stop", json!(["x", ""]), "stop"),
        ("top_p", json!(0), "top_p"),
        ("logprobs", json!(true), "logprobs"),
        ("reasoning_effort", json!("very"), "reasoning_effort"),
        ("temperature", json!(3), "temperature"),
        ("max_tokens", json!(0), "max_tokens"),
        ("model", json!("puppet2"), "model"),
        ("frequency", json!(1), "frequency"),
        ("messages", json!([]), "messages"),
        ("messages", json!([{"role": "user"}]), "messages[0]"),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "video"}]}]),
            "messages[0].content[0]",
        ),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "image_url",
                "image_url": {"url": "data:image/png;base64,iVBOR w0="}}]}]),
            "messages[0].content[0]",
        ),
        ("tools", json!([{"type": "web_search"}]), "tools[0]"),
        ("tool_choice", json!("maybe"), "tool_choice"),
        ("tool_choice", json!("required"), "tool_choice"),
        (
            "tool_choice",
            json!({"type": "function", "function": {"name": "none"}}),
            "tool_choice",
        ),
        ("response_format", json!({"type": "xml"}), "response_format"),
    ] {
        let (status, body) = client
            .post("/v1/chat/completions", with(ask("x"), name, value))
            .await;
        assert!(matches!(status, 400 | 404), "{name}: {status}");
        assert_eq!(body["error"]["param"], parameter, "{body}");
    }
    let (status, body) = client
        .post(
            "/v1/responses",
            json!({"input": "x", "previous_response_id": "r"}),
        )
        .await;
    assert_eq!(
        (status, body["error"]["param"].as_str()),
        (400, Some("previous_response_id"))
    );
    let request = client.http.post(format!("{}/v1/responses", client.address));
    let response = request
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body("{");
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 400);
    let said: Value = response.json().await.unwrap();
    assert!(said["error"]["message"].is_string());
    let request = client.http.post(format!("{}/v1/responses", client.address));
    let deep = request
        .bearer_auth(TOKEN)
        .header("content-type", "application/json");
    let deep = deep.body("[".repeat(100_000)).send().await.unwrap();
    assert_eq!(deep.status(), 400);
    assert!(deep.text().await.unwrap().len() < 500);
}

#[tokio::test]
async fn what_goes_wrong_is_said_whole_and_in_the_stream() {
    let client = Client::new().await;
    let (status, body) = client.post("/v1/chat/completions", ask("too long")).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (400, Some("context_length_exceeded"))
    );
    let (status, _) = client.post("/v1/chat/completions", ask("break")).await;
    assert_eq!(status, 502);
    let resting = client.request("/v1/chat/completions", &ask("rest"));
    let resting = resting.send().await.unwrap();
    assert_eq!(
        (resting.status().as_u16(), &resting.headers()["retry-after"]),
        (503, &"2".parse().unwrap())
    );
    // Before anything of the answer has come, a client may go by the status here too.
    for (path, body) in [
        ("/v1/chat/completions", ask("too long")),
        ("/v1/responses", json!({"input": "too long"})),
    ] {
        let (status, body) = client.post(path, with(body, "stream", true.into())).await;
        let code = body["error"]["code"].as_str();
        assert_eq!(
            (status, code),
            (400, Some("context_length_exceeded")),
            "{path}"
        );
    }
    let chunks = client
        .events(
            "/v1/chat/completions",
            with(ask("break"), "stream", true.into()),
        )
        .await;
    assert_eq!(chunks[1]["choices"][0]["delta"]["content"], "half");
    assert_eq!(chunks.last().unwrap()["error"]["type"], "upstream_error");
    let events = client
        .events("/v1/responses", json!({"input": "break", "stream": true}))
        .await;
    let last = events.last().unwrap();
    assert_eq!(
        (last["type"].as_str(), &last["response"]["status"]),
        (Some("response.failed"), &json!("failed"))
    );
}

#[tokio::test]
async fn work_ends_when_the_caller_goes() {
    let client = Client::new().await;
    let body = with(ask("for ever"), "stream", true.into());
    let mut response = client
        .request("/v1/chat/completions", &body)
        .send()
        .await
        .unwrap();
    response.chunk().await.unwrap().unwrap();
    assert!(!*client.puppet.dropped.lock().unwrap());
    drop(response);
    for _ in 0..500 {
        if *client.puppet.dropped.lock().unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it works on for nobody");
}

#[tokio::test]
async fn texts_become_vectors() {
    let client = Client::new().await;
    let (_, body) = client
        .post(
            "/v1/embeddings",
            json!({"model": "local:lengths", "input": ["a", "bcd"]}),
        )
        .await;
    assert_eq!(body["data"][1]["embedding"], json!([3.0, 1.0]));
    let packed = json!({"input": "a", "encoding_format": "base64"});
    let (_, body) = client.post("/v1/embeddings", packed).await;
    assert_eq!(body["data"][0]["embedding"], "AACAPwAAgD8=");
    let (status, _) = client
        .post("/v1/embeddings", json!({"input": [1, 2]}))
        .await;
    assert_eq!(status, 400);
    let models = client
        .http
        .get(format!("{}/v1/models", client.address))
        .bearer_auth(TOKEN);
    let models: Value = models.send().await.unwrap().json().await.unwrap();
    assert_eq!(models["data"][1]["id"], "local:lengths");
}
