#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use proptest::prelude::*;

use super::*;

fn error(status: u16, body: &str) -> Error {
    let headers = HeaderMap::new();
    let key = Key::new("HERE_KEY", "sk-secret");
    Refusal {
        provider: "here",
        model: "small",
        status,
        headers: &headers,
        body,
        key: Some(&key),
    }
    .error()
}

fn headers(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

#[test]
fn who_must_act_is_told_from_status_and_code() {
    for (status, body, expected) in [
        (
            401,
            r#"{"error":{"message":"bad key sk-secret"}}"#,
            "here does not accept the key (401): bad key [key]",
        ),
        (
            429,
            r#"{"error":{"message":"slow down"}}"#,
            "here has too much to do (429): slow down",
        ),
        (
            429,
            r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#,
            "here refused the request (429): pay",
        ),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "here has too much to do (529): Overloaded",
        ),
        (500, "oh", "here failed: oh (500)"),
        (
            404,
            r#"{"error":{"code":"model_not_found","message":"no"}}"#,
            "there is no model `here:small`",
        ),
        (
            404,
            r#"{"error":"model 'small' not found"}"#,
            "there is no model `here:small`",
        ),
        (
            404,
            "no such page",
            "here refused the request (404): no such page",
        ),
        (501, "never", "here refused the request (501): never"),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            "the prompt is too long for here by 10000 tokens: prompt is too long: 210000 tokens > 200000 maximum",
        ),
        (
            400,
            r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
            "the prompt is too long for here: too long",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (5000) exceeds the maximum number of tokens allowed (4000)."}}"#,
            "the prompt is too long for here by 1000 tokens: The input token count (5000) exceeds the maximum number of tokens allowed (4000).",
        ),
        (
            400,
            r#"{"error":{"code":"content_filter","message":"no"}}"#,
            "here does not answer this: no",
        ),
        (
            400,
            r#"{"error":"model not loaded"}"#,
            "here refused the request (400): model not loaded",
        ),
    ] {
        assert_eq!(error(status, body).without_hint(), expected);
    }
}

#[test]
fn what_stands_before_a_provider_is_understood_too() {
    for (status, body, expected) in [
        (500, " ", "here failed: it says no more (500)"),
        (
            502,
            "<html>\r\n<h1>502 Bad\n Gateway</h1><hr>nginx</html>",
            "here failed: 502 Bad Gateway nginx (502)",
        ),
        (
            403,
            "not in your country",
            "here does not allow this (403): not in your country",
        ),
    ] {
        assert_eq!(error(status, body).without_hint(), expected);
    }
}

#[test]
fn only_what_passes_by_itself_may_pass() {
    for (status, passes) in [
        (429, true),
        (503, true),
        (529, true),
        (500, true),
        (408, true),
        (400, false),
        (401, false),
        (404, false),
        (501, false),
    ] {
        assert_eq!(error(status, "").may_pass(), passes, "{status}");
    }
}

#[test]
fn the_wait_is_read_in_all_its_forms() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (name, value, expected) in [
        ("retry-after", "7", Some(7_000)),
        ("retry-after", "0.5", Some(500)),
        ("retry-after-ms", "1500", Some(1_500)),
        ("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT", Some(3_000)),
        ("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
        ("retry-after", "soon", None),
        ("retry-after", "-1", None),
        ("retry-after", "NaN", None),
        ("x-other", "1", None),
    ] {
        let wait = wait(&headers(name, value), now).map(|wait| wait.as_millis());
        assert_eq!(wait, expected, "{name}: {value}");
    }
    assert_eq!(
        http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(784_111_777)
    );
    assert_eq!(
        http_date("Thu, 29 Feb 2024 00:00:00 GMT"),
        Some(1_709_164_800)
    );
}

proptest! {
    #[test]
    fn no_body_breaks_it_or_shows_the_key(status in 400_u16..600, body in ".*") {
        let body = format!("{body} sk-secret {body}");
        prop_assert!(!error(status, &body).to_string().contains("sk-secret"));
    }

    #[test]
    fn no_header_breaks_it(value in "[ -~]{0,40}") {
        let _ = wait(&headers("retry-after", &value), UNIX_EPOCH);
    }
}
