//! Responses over a WebSocket, and conversations that are compacted.

use model::Message;
use serde_json::{Value, json};

use super::{Client, TOKEN, with};

/// A request, from how those before it ended.
type Turn = Box<dyn Fn(&[Value]) -> Value + Send + Sync>;

/// Sends each request when the one before it has ended; gives the last event of each.
async fn turns(client: &Client, requests: &[Turn]) -> Vec<Value> {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let address = client.address.replace("http://", "ws://");
    let mut request = format!("{address}/v1/responses")
        .into_client_request()
        .unwrap();
    let token = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", token);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut ends: Vec<Value> = Vec::new();
    for request in requests {
        let text = request(&ends).to_string();
        socket.send(text.into()).await.unwrap();
        loop {
            let frame = socket.next().await.unwrap().unwrap();
            let event: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
            let kind = event["type"].as_str().unwrap();
            if matches!(kind, "error" | "response.completed" | "response.failed") {
                ends.push(event);
                break;
            }
        }
    }
    ends
}

#[tokio::test]
async fn a_socket_goes_on_with_its_last_response() {
    let client = Client::new().await;
    let create = |fields: Value| {
        let mut body = json!({"type": "response.create", "model": "puppet"});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        body
    };
    let after = move |fields: Value| -> Turn {
        Box::new(move |ends| {
            with(
                create(fields.clone()),
                "previous_response_id",
                ends[0]["response"]["id"].clone(),
            )
        })
    };
    let output = json!([{"type": "function_call_output", "call_id": "call_9", "output": "x"}]);
    let ends = turns(
        &client,
        &[
            Box::new(move |_| create(json!({"input": "Hello?", "instructions": "Be kind."}))),
            after(json!({"input": "And?", "instructions": "Be short."})),
            after(json!({"input": output})),
            after(json!({"input": "Still?"})),
            Box::new(move |_| create(json!({"input": "x", "stream": true}))),
            Box::new(|_| json!({"type": "response.cancel"})),
        ],
    )
    .await;
    assert_eq!(ends[1]["response"]["status"], "completed", "{}", ends[1]);
    let asked = client.puppet.asked.lock().unwrap().clone();
    assert_eq!(
        asked[1].messages,
        [
            Message::system("Be short."),
            Message::user("Hello?"),
            Message::assistant("Hello, you."),
            Message::user("And?"),
        ]
    );
    assert_eq!(asked.len(), 2);
    let codes: Vec<&str> = ends[2..]
        .iter()
        .map(|end| end["error"]["code"].as_str().unwrap())
        .collect();
    // The second response took the first one's place.
    assert_eq!(
        codes,
        [
            "previous_response_not_found",
            "previous_response_not_found",
            "invalid_request_error",
            "invalid_request_error"
        ]
    );
    assert_eq!(
        (&ends[4]["status"], &ends[4]["error"]["param"]),
        (&json!(400), &json!("stream"))
    );
}

#[tokio::test]
async fn a_turn_that_fails_is_not_gone_on_with() {
    let client = Client::new().await;
    let after = |input: Value| -> Turn {
        Box::new(move |ends| {
            let id = &ends[0]["response"]["id"];
            json!({"type": "response.create", "input": input, "previous_response_id": id})
        })
    };
    let output = json!([{"type": "function_call_output", "call_id": "call_9", "output": "x"}]);
    let first: Turn = Box::new(|_| json!({"type": "response.create", "input": "Hello?"}));
    let ends = turns(&client, &[first, after(output), after(json!("Still?"))]).await;
    assert_eq!(ends[1]["error"]["param"], "input[0]");
    assert_eq!(ends[2]["error"]["code"], "previous_response_not_found");
}

#[tokio::test]
async fn a_conversation_is_compacted_and_gone_on_with() {
    let client = Client::new().await;
    let body = json!({"model": "puppet", "input": "We launch on Tuesday."});
    let (status, compact) = client.post("/v1/responses/compact", body).await;
    assert_eq!(
        (status, compact["object"].as_str()),
        (200, Some("response.compaction"))
    );
    assert!(
        client.asked().messages[1]
            .text()
            .contains("Sum up this conversation")
    );
    let input = json!([compact["output"][0], {"role": "user", "content": "When?"}]);
    let (status, _) = client.post("/v1/responses", json!({"input": input})).await;
    assert_eq!(status, 200);
    assert_eq!(
        client.asked().messages,
        [
            Message::user("Summary of the conversation so far:\nHello, you."),
            Message::user("When?")
        ]
    );
    let (status, error) = client
        .post("/v1/responses/compact", json!({"input": "x"}))
        .await;
    assert_eq!(
        (status, error["error"]["param"].as_str()),
        (400, Some("model"))
    );
}
