#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use journal::StepError;

use super::*;
use crate::builtin::net::stand_in::{StandIn, ok, reply};
use crate::{Answer, Secrets, carry_out};

async fn search(server: &StandIn, engine: Engine, query: &str) -> Result<Answer, StepError> {
    let mut search = WebSearch::new(engine, Url::parse(&server.url).unwrap());
    search.results = 2;
    let keys = ["BRAVE_API_KEY", "TAVILY_API_KEY"].map(|name| (name.to_owned(), "hush".to_owned()));
    let context = Context::new("k", &Secrets::new(keys));
    let tool = search.tool();
    assert!(tool.spec().is_outgoing() && tool.spec().effect == Effect::Read);
    assert_eq!(
        tool.spec().secrets.first().map(String::as_str),
        engine.usual_key()
    );
    carry_out(&*tool, json!({"query": query}), context).await
}

/// What each server answers, as its description of the API has it.
fn answer(request: &str) -> Vec<u8> {
    let findings = |text: &str| {
        json!([
            {"title": "Chairs &\n more", "url": "https://shop.test/chairs", text: "Four  chairs.", "score": 0.9},
            {"title": "A trap", "url": "javascript:alert(1)", text: ""},
            {"title": "Tables", "url": "http://shop.test/tables", text: "t".repeat(900)},
            {"title": "One too many", "url": "https://shop.test/", text: ""},
        ])
    };
    let body = match request.lines().next().unwrap_or_default() {
        line if line.starts_with("GET /search?q=four+chairs&format=json ") => {
            json!({"query": "four chairs", "number_of_results": 0, "results": findings("content")})
        }
        line if line.starts_with(
            "GET /res/v1/web/search?q=four+chairs&count=2&text_decorations=false ",
        ) =>
        {
            json!({"type": "search", "web": {"type": "search", "results": findings("description")}})
        }
        line if line.starts_with("POST /search ") => {
            json!({"query": "four chairs", "answer": null, "results": findings("content"), "response_time": 1.2})
        }
        _ => json!({"results": []}),
    };
    ok("application/json", body.to_string())
}

#[tokio::test]
async fn each_engine_is_asked_in_its_own_way() {
    for (engine, header, body) in [
        (Engine::Searxng, None, None),
        (Engine::Brave, Some("x-subscription-token: hush"), None),
        (
            Engine::Tavily,
            Some("authorization: Bearer hush"),
            Some(r#"{"query":"four chairs","max_results":2}"#),
        ),
    ] {
        let server = StandIn::start(answer).await;
        let found = search(&server, engine, " four chairs ").await.unwrap();
        let Answer::Value(found) = found else {
            unreachable!("{found:?}")
        };
        assert_eq!(
            found[0],
            json!({"title": "Chairs & more", "url": "https://shop.test/chairs", "text": "Four chairs."})
        );
        assert_eq!(found[1]["url"], "http://shop.test/tables");
        assert_eq!(
            found[1]["text"].as_str().unwrap().chars().count(),
            SHOWN_CHARACTERS + 1
        );
        assert_eq!(found.as_array().unwrap().len(), 2);
        let requests = server.requests().join("\n");
        assert!(
            header.is_none_or(|header| requests.contains(header)),
            "{requests}"
        );
        assert!(
            body.is_none_or(|body| requests.ends_with(body)),
            "{requests}"
        );
        let none = search(&server, engine, "").await.unwrap();
        assert_eq!(none.text(), "the query is empty");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_key() {
    for (status, body, engine, told) in [
        (
            "429 Too Many Requests",
            "",
            Engine::Brave,
            "there were too many searches; wait a while",
        ),
        (
            "500 Oops",
            "",
            Engine::Tavily,
            "the search answered 500 Internal Server Error",
        ),
        (
            "200 OK",
            "<html>",
            Engine::Searxng,
            "the search answered no JSON: expected value at line 1 column 1",
        ),
        (
            "200 OK",
            "{}",
            Engine::Brave,
            "nothing was found; search with other words",
        ),
    ] {
        let server = StandIn::start(move |_| reply(status, &[], body.as_bytes())).await;
        let answer = search(&server, engine, "chairs").await.unwrap();
        assert_eq!((answer.is_error(), answer.text().as_str()), (true, told));
    }
    for (engine, told) in [
        (
            Engine::Searxng,
            "web.search: the search: it does not answer in JSON; add json to search.formats in its settings.yml",
        ),
        (
            Engine::Brave,
            "web.search: the search: it refused the key (403 Forbidden)",
        ),
    ] {
        let server = StandIn::start(|_| reply("403 Forbidden", &[], b"hush")).await;
        let down = search(&server, engine, "chairs").await;
        assert_eq!(down, Err(StepError::Fault(told.to_owned())));
    }
}
