//! Limits in money, with a model on the loopback that goes by the name of one whose price is known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

#[path = "../../agent/tests/support/reader.rs"]
mod reader;
mod support;

use serde_json::{Value, json};
use support::Project;

const FILES: &[(&str, &str)] = &[
    (
        "alder.md",
        "# Alder\n\nThe Alder server listens on port 4711 of all addresses. It speaks plain HTTP and nothing else at all.\n",
    ),
    (
        "birch.md",
        "# Birch\n\nThe Birch server listens on port 8025 of all addresses. It speaks plain SMTP and nothing else at all.\n",
    ),
];

fn answer(body: &Value) -> Value {
    let last = body["messages"].as_array().unwrap().last().unwrap();
    let schema = &body["response_format"]["json_schema"]["schema"];
    let answer = reader::answer(last["content"].as_str().unwrap(), schema);
    json!({"content": answer.to_string()})
}

/// A project and what researches in it with this model and limit.
fn research(model: &str, usd: &str) -> (Project, String, String) {
    let (project, address) = (Project::new(FILES), support::server(answer));
    let question = "How do Alder and Birch differ in the port they listen on?";
    let shown = project.shown(&[
        "research",
        question,
        "docs",
        "--model",
        model,
        "--base-url",
        &address,
        "--budget-usd",
        usd,
    ]);
    (project, address, shown)
}

#[test]
fn a_run_parks_at_its_limit_in_money_and_goes_on_when_it_is_raised() {
    // A call takes 100 tokens at 0.25 and 5 at 2 dollars for a million.
    const CALL_MICROS: u64 = 35;
    let (project, address, shown) = research("openai:gpt-5-mini", "0.0001");
    assert!(shown.starts_with("exit 1"), "{shown}");
    assert!(shown.contains("budget/money[100]"), "{shown}");
    assert!(shown.contains("of 100 millionths of a dollar"), "{shown}");
    let runs = project.json(&["runs", "--json"]);
    let run = runs[0]["id"].as_str().unwrap();
    assert_eq!(runs[0]["status"], "parked");
    let money = || project.json(&["runs", "show", run, "--json"])["budget"][0].clone();
    assert_eq!(money()["dimension"], "money");
    assert!(money()["spent"].as_u64().unwrap() <= 100, "{}", money());

    let answered = project.shown(&["answer", run, "budget/money[100]", "1000000"]);
    assert!(answered.starts_with("exit 0"), "{answered}");
    let report = project.json(&["resume", run, "--json", "--base-url", &address]);
    assert!(
        report["answer"].as_str().unwrap().contains("4711"),
        "{report:#}"
    );
    let shown = project.json(&["runs", "show", run, "--json"]);
    let steps = shown["steps"].as_array().unwrap().iter();
    let costs: Vec<u64> = steps
        .filter_map(|step| step["attributes"]["cost_micros"].as_u64())
        .collect();
    assert!(
        costs.len() > 1 && costs.iter().all(|cost| *cost == CALL_MICROS),
        "{costs:?}"
    );
    // A call whose answer could not be used is counted with what was set aside for it.
    let failed = shown["steps"].as_array().unwrap().iter();
    let failed = failed.filter(|step| !step["error"].is_null()).count() as u64;
    let (spent, answered) = (
        money()["spent"].as_u64().unwrap(),
        CALL_MICROS * costs.len() as u64,
    );
    assert!(
        spent >= answered && (failed > 0 || spent == answered),
        "{spent}, {answered}"
    );
    assert_eq!(
        (&money()["most"], &money()["reserved"]),
        (&json!(1_000_000), &json!(0))
    );
}

#[test]
fn a_model_without_a_price_is_not_asked_under_a_limit_in_money() {
    let (project, address, shown) = research("openai:unheard-of", "5");
    assert!(shown.starts_with("exit 1"), "{shown}");
    let said = "what openai:unheard-of costs is not known";
    assert!(
        shown.contains(said) && shown.contains("--budget-tokens"),
        "{shown}"
    );
    let runs = project.json(&["runs", "--json"]);
    let run = runs[0]["id"].as_str().unwrap();
    assert_eq!(runs[0]["status"], "parked");
    let unpriced = |run: &str| {
        let shown = project.json(&["runs", "show", run, "--json"]);
        let steps = shown["steps"].as_array().unwrap().iter();
        let unknown = |step: &&Value| step["attributes"]["price"] == "unknown";
        let asked = |step: &&Value| !step["attributes"]["prompt_tokens"].is_null();
        (
            steps.clone().filter(unknown).count(),
            steps.filter(asked).count(),
        )
    };
    assert_eq!(unpriced(run).1, 0, "nothing was asked");
    // A fork has limits of its own.
    let fork = [
        "fork",
        run,
        "--budget-tokens",
        "100000",
        "--json",
        "--base-url",
        &address,
    ];
    let report = project.json(&fork);
    assert!(
        report["answer"].as_str().unwrap().contains("4711"),
        "{report:#}"
    );
    let (unknown, asked) = unpriced(report["run"].as_str().unwrap());
    assert!(asked > 0 && unknown >= asked, "{unknown}, {asked}");
}
