//! The macro and the builder, and calls within their limits.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{
    Answer, Context, Effect, Error, Function, Limits, Reconciled, Result, Secrets, Spec, Tool,
    Toolbox, carry_out, tool,
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Speed {
    Slow,
    Fast,
}

#[derive(Deserialize, JsonSchema)]
struct Address {
    street: String,
    /// As it is written in the country itself.
    city: String,
}

#[derive(Serialize)]
struct Shipment {
    to: String,
    days: u32,
    card: &'static str,
}

/// Ships an order.
///
/// Only orders that have been
/// paid can be shipped.
#[tool(
    name = "orders.ship",
    effect = "idempotent",
    time_s = 5,
    secret_fields = ["card"],
    reconcile = find_shipment
)]
async fn ship(
    /// The order's number.
    #[schemars(length(min = 2))]
    order: String,
    to: Address,
    /// How fast it has to be.
    speed: Option<Speed>,
    context: &Context,
) -> Result<Shipment, std::io::Error> {
    if order == "A-0" {
        return Err(std::io::Error::other("A-0 is not paid"));
    }
    Ok(Shipment {
        to: format!("{} {} by {}", to.street, to.city, context.key()),
        days: if let Some(Speed::Slow) = speed { 9 } else { 2 },
        card: "4111 1111",
    })
}

async fn find_shipment(arguments: Value, context: Context) -> Result<Reconciled> {
    Ok(Reconciled::Done(json!([arguments["order"], context.key()])))
}

/// Says hello.
#[tool]
async fn hello() -> &'static str {
    "Hello"
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn a_function_becomes_a_tool() {
    let tool = ship::tool();
    let spec = tool.spec();
    assert_eq!(
        (spec.name.as_str(), spec.effect),
        ("orders.ship", Effect::Idempotent)
    );
    assert_eq!(
        (spec.limits.time, spec.limits.answer_bytes),
        (Duration::from_secs(5), 20_000)
    );
    assert_eq!(
        spec.description,
        "Ships an order.\n\nOnly orders that have been paid can be shipped."
    );
    insta::assert_snapshot!(pretty(&spec.parameters), @r#"
    {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "order": {
          "type": "string",
          "description": "The order's number.",
          "minLength": 2
        },
        "to": {
          "type": "object",
          "properties": {
            "street": {
              "type": "string"
            },
            "city": {
              "type": "string",
              "description": "As it is written in the country itself."
            }
          },
          "required": [
            "street",
            "city"
          ]
        },
        "speed": {
          "type": [
            "string",
            "null"
          ],
          "enum": [
            "slow",
            "fast",
            null
          ],
          "description": "How fast it has to be."
        }
      },
      "required": [
        "order",
        "to"
      ]
    }
    "#);
}

#[test]
fn the_worst_is_supposed_of_a_function_that_says_nothing() {
    let tool = hello::tool();
    assert_eq!(tool.spec().effect, Effect::Irreversible);
    insta::assert_snapshot!(pretty(&tool.spec().parameters), @r#"
    {
      "type": "object",
      "additionalProperties": false,
      "properties": {}
    }
    "#);
}

fn context(key: &str) -> Context {
    Context::new(key, &Secrets::default())
}

#[tokio::test]
async fn it_is_called_with_what_the_model_gave() {
    let arguments =
        json!({"order": "A-17", "to": {"street": "Gasse 1", "city": "Bern"}, "speed": "slow"});
    let answer = carry_out(&*ship::tool(), arguments, context("k1"))
        .await
        .unwrap();
    let expected = json!({"to": "Gasse 1 Bern by k1", "days": 9, "card": "[secret]"});
    assert_eq!(answer, Answer::Value(expected));
    // The function itself, for a test without any of this.
    let to = Address {
        street: "a".to_owned(),
        city: "b".to_owned(),
    };
    assert_eq!(
        ship("A-1".to_owned(), to, None, &context("k"))
            .await
            .unwrap()
            .days,
        2
    );
    assert_eq!(
        hello::tool().call(json!({}), context("")).await,
        Ok(json!("Hello"))
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_to_the_model() {
    let to = json!({"street": "a", "city": "b"});
    let unpaid = json!({"order": "A-0", "to": to});
    let answer = carry_out(&*ship::tool(), unpaid, context(""))
        .await
        .unwrap();
    assert_eq!(answer, Answer::Error("A-0 is not paid".to_owned()));
    for wrong in [
        json!({"order": "A-1"}),
        json!({"order": "A-1", "to": to, "by": 1}),
    ] {
        let answer = carry_out(&*ship::tool(), wrong, context("")).await.unwrap();
        assert!(
            answer.text().starts_with("the arguments do not fit: "),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_cut_off_call_can_be_found_again() {
    let found = ship::tool()
        .reconcile(json!({"order": "A-17"}), context("k1"))
        .await
        .unwrap();
    assert_eq!(found, Reconciled::Done(json!(["A-17", "k1"])));
    assert_eq!(
        hello::tool().reconcile(json!({}), context("")).await,
        Ok(Reconciled::Unknown)
    );
}

/// A tool that never comes to an end, and says when its answer is no longer wanted.
fn endless(effect: Effect, told: &Arc<AtomicBool>) -> Function {
    let told = Arc::clone(told);
    let mut function = Function::new("wait", "Waits.", move |_: Value, context: Context| {
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            context.cancelled().await;
            told.store(true, Ordering::SeqCst);
        });
        std::future::pending::<Result<()>>()
    });
    function.spec.limits.time = Duration::from_millis(5);
    function.effect(effect)
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_an_answer_only_where_nothing_is_written() {
    let told = Arc::default();
    let read = carry_out(&endless(Effect::Read, &told), json!({}), context("")).await;
    assert_eq!(
        read,
        Ok(Answer::Error("wait took longer than 0.005 s".to_owned()))
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !told.load(Ordering::SeqCst) && tokio::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    assert!(told.load(Ordering::SeqCst), "work elsewhere was not told");
    for effect in [Effect::Idempotent, Effect::Irreversible] {
        let wrote = carry_out(&endless(effect, &told), json!({}), context("")).await;
        assert!(matches!(wrote, Err(StepError::Fault(_))), "{wrote:?}");
    }
}

/// Reads the till.
#[tool(effect = "read", secrets = ["PLUMB_TEST_TILL_TOKEN"], answer_bytes = 12)]
async fn till(context: Context) -> Result<String> {
    let length = context.secret("PLUMB_TEST_TILL_TOKEN")?.len();
    Ok("€".repeat(length))
}

#[tokio::test]
async fn secrets_come_from_the_environment_and_are_not_shown() {
    let mut toolbox = Toolbox::new();
    toolbox.add(till::tool()).unwrap();
    let missing = Secrets::from_environment(&toolbox).unwrap_err();
    insta::assert_snapshot!(missing, @r"
    the tool `till` needs the secret PLUMB_TEST_TILL_TOKEN
    hint: set the environment variable PLUMB_TEST_TILL_TOKEN
    ");
    let absent = carry_out(&*till::tool(), json!({}), context("")).await;
    assert!(matches!(absent, Err(StepError::Fault(_))), "{absent:?}");

    let secret = ("PLUMB_TEST_TILL_TOKEN".to_owned(), "open sesame".to_owned());
    let with = Context::new("key", &Secrets::new([secret]));
    assert!(!format!("{with:?}").contains("sesame"));
    let answer = carry_out(&*till::tool(), json!({}), with).await.unwrap();
    assert_eq!(answer.text(), "€".repeat(11));
    assert!(toolbox.find("output_read").is_none());
    let shown = toolbox.shown("till", &answer);
    assert!(
        shown.starts_with("[A long answer: 33 bytes, kept as out-"),
        "{shown}"
    );
    // From now on there is something to read.
    let names: Vec<&str> = toolbox
        .iter()
        .map(|tool| tool.spec().name.as_str())
        .collect();
    assert_eq!(names, ["till", "output.read", "output.search"]);
    let (_, after) = shown.split_once("out-").unwrap();
    let handle = format!("out-{}", after.split('.').next().unwrap());
    let read = toolbox.find("output_read").unwrap();
    let read = read
        .call(json!({"handle": handle, "from": 4}), context(""))
        .await
        .unwrap();
    assert_eq!(read, "€€€€€€€€€€\n[bytes 3 to 33 of 33; that is its end]");
}

#[tokio::test]
async fn a_tool_can_be_made_without_the_macro() {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let double = Function::new(
        "double",
        "Doubles a number.",
        |arguments: Value, _| async move {
            match arguments["n"].as_i64() {
                Some(n) => Ok(n * 2),
                None => Err(Error::Unavailable("the number is out".to_owned())),
            }
        },
    )
    .parameters(schema.clone())
    .effect(Effect::Pure);
    assert_eq!(
        *double.spec(),
        Spec {
            parameters: schema,
            effect: Effect::Pure,
            limits: Limits::default(),
            ..Spec::new("double", "Doubles a number.")
        }
    );
    assert_eq!(
        double.call(json!({"n": 21}), context("")).await,
        Ok(json!(42))
    );
}
