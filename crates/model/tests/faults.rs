//! A provider that fails in every way that is known, and what a caller sees of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plumb_model::{
    Error, Hedging, Keeping, Message, Models, Output, Patience, Request, Settings, Tool, tools,
};
use serde_json::{Value, json};
use wire::{Provider, Reply};

fn piece(delta: Value) -> String {
    format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": delta}]})
    )
}

fn text(text: &str) -> String {
    piece(json!({"content": text}))
}

const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn answer(said: &str) -> Reply {
    Reply::events(format!("{}{END}", text(said)))
}

fn call(arguments: &str) -> Reply {
    let call =
        json!({"index": 0, "id": "call_1", "function": {"name": "pay", "arguments": arguments}});
    Reply::events(format!("{}{END}", piece(json!({"tool_calls": [call]}))))
}

fn ask() -> Request {
    Request {
        messages: vec![Message::user("Hello?")],
        ..Request::default()
    }
}

/// A provider with these replies, and its settings changed.
async fn lab(replies: Vec<Reply>, change: impl FnOnce(&mut Settings)) -> (Provider, Models) {
    let provider = Provider::new(replies).await;
    let mut settings = provider.settings("openai");
    change(&mut settings);
    (provider, Models::new(settings))
}

fn patience(first: u64, between: u64) -> BTreeMap<String, Patience> {
    let patience = Patience {
        first: Duration::from_millis(first),
        between: Duration::from_millis(between),
    };
    BTreeMap::from([("lab".to_owned(), patience)])
}

#[tokio::test]
async fn too_many_requests_are_waited_for_as_long_as_asked() {
    let busy = Reply::new(
        429,
        "retry-after: 0.2\r\n",
        "{\"error\":{\"message\":\"slow down\"}}",
    );
    let (provider, models) = lab(vec![busy, answer("Hi.")], |_| ()).await;
    let start = Instant::now();
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), provider.asked().len()), ("Hi.", 2));
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_said_instead() {
    let busy = Reply::new(
        429,
        "retry-after: 3600\r\n",
        "{\"error\":{\"message\":\"slow down\"}}",
    );
    let (provider, models) = lab(vec![busy], |_| ()).await;
    let error = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Busy {
                wait_ms: Some(3_600_000),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_and_at_last_given_up() {
    let failing = || Reply::new(500, "", "oh");
    let (provider, models) = lab(vec![failing(), failing(), answer("Hi.")], |_| ()).await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), provider.asked().len()), ("Hi.", 3));
    let (provider, models) = lab(vec![failing(); 4], |_| ()).await;
    let error = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(provider.asked().len(), 4);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_asked_for_again_unless_it_was_seen() {
    let cut = || Reply::cut(&text("Ha"));
    let ended_early = Reply::events(text("Ha"));
    let (provider, models) = lab(vec![cut(), ended_early, answer("Hi.")], |_| ()).await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), provider.asked().len()), ("Hi.", 3));
    let (provider, models) = lab(vec![cut()], |_| ()).await;
    let (sink, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let model = models.open("lab:a").unwrap();
    let error = model.generate(&ask(), Some(sink)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(seen.recv().await.is_some());
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn silence_before_and_within_an_answer_has_an_end() {
    let once = |settings: &mut Settings| {
        settings.retry.tries = 1;
        settings.timeouts = patience(80, 80);
    };
    for (reply, begun) in [
        (Reply::silent_after(""), false),
        (Reply::silent_after(&text("Ha")), true),
    ] {
        let (_provider, models) = lab(vec![reply], once).await;
        let error = models
            .open("lab:a")
            .unwrap()
            .generate(&ask(), None)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::TimedOut { started, after_ms: 80, .. } if started == begun),
            "{error}"
        );
    }
    // It is tried again, and another model is asked when that does not help.
    let (provider, models) = lab(vec![Reply::silent_after(""), answer("Hi.")], |settings| {
        settings.timeouts = patience(80, 80);
    })
    .await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), provider.asked().len()), ("Hi.", 2));
}

#[tokio::test]
async fn a_first_token_that_is_slow_is_hedged() {
    let replies = vec![Reply::silent_after(""), answer("Hi.")];
    let (provider, models) = lab(replies, |settings| {
        let after = Duration::from_millis(50);
        settings.hedging.insert("lab".to_owned(), Hedging { after });
    })
    .await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), response.dropped_calls), ("Hi.", 1));
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn a_stream_of_no_json_is_a_failure() {
    let broken = || Reply::events("data: {\"choices\": [oh\n\n");
    let (provider, models) = lab(vec![broken(), answer("Hi.")], |_| ()).await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((response.text.as_str(), provider.asked().len()), ("Hi.", 2));
}

#[tokio::test]
async fn json_of_the_wrong_form_goes_back_with_the_reason() {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let request = Request {
        output: Output::Json(schema),
        ..ask()
    };
    let replies = vec![
        answer("{\"n\": \"three\"}"),
        answer("{\"n\": 3"),
        answer("{\"n\": 3}"),
    ];
    let (provider, models) = lab(replies, |_| ()).await;
    let response = models
        .open("lab:a")
        .unwrap()
        .generate(&request, None)
        .await
        .unwrap();
    assert_eq!(response.text, "{\"n\": 3}");
    let asked = provider.asked();
    let said = asked[1].body["messages"][2]["content"].as_str().unwrap();
    assert!(
        said.contains("n") && said.contains("That is not right"),
        "{said}"
    );
    let (_provider, models) = lab(vec![answer("no"); 3], |_| ()).await;
    let error = models
        .open("lab:a")
        .unwrap()
        .generate(&request, None)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_the_arguments_of_a_tool_is_said() {
    let pay = Tool {
        name: "pay".to_owned(),
        description: String::new(),
        parameters: json!({"type": "object", "properties": {"amount": {"type": "integer", "minimum": 1}}, "required": ["amount"]}),
    };
    let request = Request {
        tools: vec![pay],
        ..ask()
    };
    let replies = vec![
        call("{\"amount\": 0}"),
        call("{\"amount\": "),
        call("{\"amount\": 2}"),
    ];
    let (_provider, models) = lab(replies, |_| ()).await;
    let model = models.open("lab:a").unwrap();
    let mut problems = Vec::new();
    for _ in 0..3 {
        let response = model.generate(&request, None).await.unwrap();
        problems.extend(tools::problems(&response.tool_calls, &request.tools).unwrap());
    }
    assert_eq!(problems.len(), 3);
    let says = |number: usize, words: &str| {
        let problem = problems[number].as_deref();
        problem.is_some_and(|problem: &str| problem.contains(words))
    };
    assert!(
        says(0, "/amount: 0 is less than the minimum of 1"),
        "{problems:?}"
    );
    assert!(says(1, "are no JSON object"), "{problems:?}");
    assert_eq!(problems[2], None);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_goes_to_the_next_model() {
    let long = json!({"error": {"message": "maximum context length is 8000 tokens, however you requested 9000 tokens", "code": "context_length_exceeded"}});
    let replies = vec![Reply::new(400, "", long.to_string()), answer("Hi.")];
    let (provider, models) = lab(replies, |_| ()).await;
    let model = models.open("lab:small,lab:large").unwrap();
    let response = model.generate(&ask(), None).await.unwrap();
    assert_eq!(
        (response.text.as_str(), response.model.as_deref()),
        ("Hi.", Some("lab:large"))
    );
    let asked: Vec<Value> = provider
        .asked()
        .iter()
        .map(|asked| asked.body["model"].clone())
        .collect();
    assert_eq!(asked, ["small", "large"]);
}

#[tokio::test]
async fn an_answer_that_is_kept_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = Reply::new(400, "", "{\"error\":{\"message\":\"no\"}}");
    let (provider, models) = lab(vec![refusal, answer("Hi.")], |settings| {
        settings.keeping = Some(Keeping {
            folder: Some(folder.path().to_owned()),
            ..Keeping::default()
        });
    })
    .await;
    let model = models.open("lab:a").unwrap();
    model.generate(&ask(), None).await.unwrap_err();
    assert!(
        !model.generate(&ask(), None).await.unwrap().kept,
        "an error is not kept"
    );
    let again = models
        .open("lab:a")
        .unwrap()
        .generate(&ask(), None)
        .await
        .unwrap();
    assert_eq!((again.text.as_str(), again.kept), ("Hi.", true));
    assert_eq!(provider.asked().len(), 2);
}
