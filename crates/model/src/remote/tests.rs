#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{Delta, Fallback, Limits, Message, Scripted, Usage};

/// What a wire does at a call.
#[derive(Clone)]
enum Act {
    Say(&'static str),
    Wait(u64),
    Fail(fn() -> Error),
}

/// A wire that does the next of its acts at each call.
struct Wire {
    name: &'static str,
    acts: Mutex<Vec<Vec<Act>>>,
    calls: Mutex<Vec<Instant>>,
}

impl Wire {
    fn new(name: &'static str, mut acts: Vec<Vec<Act>>) -> Arc<Wire> {
        acts.reverse();
        Arc::new(Wire {
            name,
            acts: Mutex::new(acts),
            calls: Mutex::default(),
        })
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }
}

impl Model for Wire {
    fn name(&self) -> &str {
        self.name
    }

    fn context_tokens(&self) -> Option<u32> {
        None
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn generate<'a>(
        &'a self,
        _: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            self.calls.lock().unwrap().push(Instant::now());
            let acts = self.acts.lock().unwrap().pop().unwrap();
            let mut response = Response::default();
            for act in acts {
                match act {
                    Act::Say(text) => {
                        response.text.push_str(text);
                        let text = text.to_owned();
                        sink.as_ref().unwrap().send(Delta::Text { text }).unwrap();
                    }
                    Act::Wait(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                    Act::Fail(error) => return Err(error()),
                }
            }
            response.usage = Usage {
                prompt_tokens: 1000,
                output_tokens: 100,
                ..Usage::default()
            };
            Ok(response)
        })
    }
}

impl super::Wire for Wire {
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(vec!["claude-sonnet-4-5".to_owned(), "other".to_owned()]) })
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Embedded>> {
        Box::pin(async {
            self.calls.lock().unwrap().push(Instant::now());
            for act in self.acts.lock().unwrap().pop().unwrap() {
                if let Act::Fail(error) = act {
                    return Err(error());
                }
            }
            Ok(Embedded {
                vectors: vec![vec![1.0]; texts.len()],
                tokens: Some(1_000_000),
                cost_micros: None,
            })
        })
    }
}

fn down() -> Error {
    Error::Unreachable {
        provider: "here".to_owned(),
        message: "down".to_owned(),
    }
}

fn busy(wait_ms: Option<u64>) -> Error {
    Error::Busy {
        provider: "here".to_owned(),
        status: 429,
        wait_ms,
        message: String::new(),
    }
}

fn refused() -> Error {
    Error::Refused {
        provider: "here".to_owned(),
        status: 401,
        message: String::new(),
    }
}

fn overflow() -> Error {
    Error::Overflow {
        provider: "here".to_owned(),
        over: Some(7),
        message: "long".to_owned(),
    }
}

fn withheld() -> Error {
    Error::Withheld {
        provider: "here".to_owned(),
        message: String::new(),
    }
}

fn remote(wire: &Arc<Wire>) -> Remote {
    let gate = Arc::new(Gate::new("here", Limits::default()));
    let wire: Arc<Wire> = Arc::clone(wire);
    Remote::new(wire, gate, Manner::default())
}

fn ask() -> Request {
    Request {
        messages: vec![Message::user("Hello?")],
        ..Request::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_is_asked_again_and_the_price_is_told() {
    let acts = vec![
        vec![Act::Fail(down)],
        vec![Act::Say("Ha"), Act::Fail(down)],
        vec![Act::Say("Hello.")],
    ];
    let wire = Wire::new("anthropic:claude-sonnet-4-5", acts);
    let response = remote(&wire).generate(&ask(), None).await.unwrap();
    assert_eq!((response.text.as_str(), wire.calls()), ("Hello.", 3));
    assert_eq!(response.cost_micros, Some(4_500));
    let wire = Wire::new("here:unheard-of", vec![vec![Act::Say("Hello.")]]);
    assert_eq!(
        remote(&wire)
            .generate(&ask(), None)
            .await
            .unwrap()
            .cost_micros,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_provider_asks_for_is_waited_and_a_long_one_is_not() {
    let wire = Wire::new(
        "here:a",
        vec![
            vec![Act::Fail(|| busy(Some(20_000)))],
            vec![Act::Say("Hi.")],
        ],
    );
    let start = Instant::now();
    remote(&wire).generate(&ask(), None).await.unwrap();
    assert!(
        (20_000..=20_250).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
    let wire = Wire::new("here:a", vec![vec![Act::Fail(|| busy(Some(3_600_000)))]]);
    let start = Instant::now();
    let error = remote(&wire).generate(&ask(), None).await.unwrap_err();
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
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn where_another_model_can_be_asked_no_long_wait_is_waited() {
    fn resting() -> Error {
        Error::Resting {
            provider: "here".to_owned(),
            wait_ms: 30_000,
        }
    }
    fn silent() -> Error {
        crate::watch::timed_out("here:a", false, Duration::from_secs(300))
    }
    let acts = [
        (Act::Fail(resting), true),
        (Act::Fail(|| busy(Some(20_000))), true),
        (Act::Fail(silent), true),
        (Act::Fail(|| busy(Some(5_000))), false),
    ];
    for (fails, at_once) in acts {
        for others in [false, true] {
            let wire = Wire::new("here:a", vec![vec![fails.clone()], vec![Act::Say("Hi.")]]);
            let mut remote = remote(&wire);
            remote.manner.others = others;
            let start = Instant::now();
            let answer = remote.generate(&ask(), None).await;
            let gives_up = others && at_once;
            assert_eq!(wire.calls(), if gives_up { 1 } else { 2 });
            assert_eq!(answer.is_err(), gives_up);
            assert!(!gives_up || start.elapsed().is_zero());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_is_asked_twice_at_most() {
    let silent = vec![vec![Act::Wait(1000)], vec![Act::Wait(1000)]];
    let wire = Wire::new("here:a", silent);
    let error = remote(&wire).generate(&ask(), None).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert_eq!(wire.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_succeed_and_what_was_seen_is_not_tried_again() {
    let wire = Wire::new("here:a", vec![vec![Act::Fail(refused)]]);
    assert!(matches!(
        remote(&wire).generate(&ask(), None).await,
        Err(Error::Refused { .. })
    ));
    let wire = Wire::new("here:a", vec![vec![Act::Say("Ha"), Act::Fail(down)]]);
    let (sink, _stream) = tokio::sync::mpsc::unbounded_channel();
    let error = remote(&wire)
        .generate(&ask(), Some(sink))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(wire.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_before_and_within_an_answer_has_an_end() {
    let once = |wire: &Arc<Wire>| {
        let mut remote = remote(wire);
        remote.manner.retry.tries = 1;
        remote
    };
    let wire = Wire::new("here:a", vec![vec![Act::Wait(301), Act::Say("late")]]);
    let error = once(&wire).generate(&ask(), None).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TimedOut {
                started: false,
                after_ms: 300_000,
                ..
            }
        ),
        "{error}"
    );
    let wire = Wire::new(
        "here:a",
        vec![vec![
            Act::Wait(299),
            Act::Say("a"),
            Act::Wait(121),
            Act::Say("b"),
        ]],
    );
    let error = once(&wire).generate(&ask(), None).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TimedOut {
                started: true,
                after_ms: 120_000,
                ..
            }
        ),
        "{error}"
    );
    let wire = Wire::new(
        "here:a",
        vec![vec![
            Act::Wait(299),
            Act::Say("a"),
            Act::Wait(119),
            Act::Say("b"),
        ]],
    );
    assert_eq!(once(&wire).generate(&ask(), None).await.unwrap().text, "ab");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_there_is_not_has_its_nearest_names() {
    let unknown = || Error::Unknown {
        name: "anthropic:claude-sonet-4-5".to_owned(),
        hint: "the provider says: no".to_owned(),
    };
    let wire = Wire::new("anthropic:claude-sonet-4-5", vec![vec![Act::Fail(unknown)]]);
    let error = remote(&wire).generate(&ask(), None).await.unwrap_err();
    assert!(
        error.to_string().contains(
            "did you mean anthropic:claude-sonnet-4-5? plumb models --provider anthropic lists all"
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn vectors_are_asked_for_again_and_priced() {
    let wire = Wire::new(
        "openai:text-embedding-3-small",
        vec![vec![Act::Fail(down)], vec![]],
    );
    let embedded = remote(&wire).embed(vec!["a".to_owned()]).await.unwrap();
    assert_eq!((embedded.vectors.len(), wire.calls()), (1, 2));
    assert_eq!(embedded.cost_micros, Some(20_000));
}

/// A model of which a second call is made after two seconds.
fn hedged(acts: Vec<Vec<Act>>) -> (Arc<Wire>, Remote) {
    let wire = Wire::new("anthropic:claude-sonnet-4-5", acts);
    let mut remote = remote(&wire);
    remote.manner.hedging = Some(Hedging {
        after: Duration::from_secs(2),
    });
    (wire, remote)
}

#[tokio::test(start_paused = true)]
async fn the_faster_of_two_calls_answers_and_both_are_paid() {
    let (wire, remote) = hedged(vec![
        vec![Act::Wait(60), Act::Say("slow")],
        vec![Act::Wait(1), Act::Say("fa"), Act::Say("st")],
    ]);
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let start = Instant::now();
    let response = remote.generate(&ask(), Some(sink)).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(
        (response.text.as_str(), response.dropped_calls, wire.calls()),
        ("fast", 1, 2)
    );
    // 1,000 × 3 + 100 × 15 for the answer, 1,000 × 3 for the prompt of the other call.
    assert_eq!(response.cost_micros, Some(7_500));
    let mut streamed = Vec::new();
    while let Some(Delta::Text { text }) = stream.recv().await {
        streamed.push(text);
    }
    assert_eq!(streamed, ["fa", "st"], "nothing of the slower one");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_begun_or_failed_is_not_hedged() {
    let (wire, remote) = hedged(vec![vec![
        Act::Wait(1),
        Act::Say("a"),
        Act::Wait(60),
        Act::Say("b"),
    ]]);
    let response = remote.generate(&ask(), None).await.unwrap();
    assert_eq!(
        (response.text.as_str(), response.dropped_calls, wire.calls()),
        ("ab", 0, 1)
    );
    // What is left when one of both fails goes on alone.
    let (wire, remote) = hedged(vec![
        vec![Act::Wait(5), Act::Fail(down)],
        vec![Act::Wait(30), Act::Say("late")],
    ]);
    let response = remote.generate(&ask(), None).await.unwrap();
    assert_eq!(
        (response.text.as_str(), response.dropped_calls, wire.calls()),
        ("late", 0, 2)
    );
    // Both fail: that is one failed try.
    let failing = || vec![Act::Wait(5), Act::Fail(refused)];
    let (wire, remote) = hedged(vec![failing(), failing()]);
    assert!(matches!(
        remote.generate(&ask(), None).await,
        Err(Error::Refused { .. })
    ));
    assert_eq!(wire.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_next_model_answers_and_is_named() {
    let next =
        || -> Arc<dyn Model> { Arc::new(Scripted::new("local:c", |_| Ok("Mine.".to_owned()))) };
    for error in [down as fn() -> Error, refused, overflow, || busy(None)] {
        let acts = vec![vec![Act::Fail(error)]; 4];
        let chain = Fallback::new(Arc::new(remote(&Wire::new("here:a", acts))), vec![next()]);
        assert_eq!(chain.name(), "here:a,local:c");
        let response = chain.generate(&ask(), None).await.unwrap();
        assert_eq!(
            (response.text.as_str(), response.model.as_deref()),
            ("Mine.", Some("local:c"))
        );
    }
    let chain = Fallback::new(
        Wire::new("here:a", vec![vec![Act::Fail(withheld)]]),
        vec![next()],
    );
    let error = chain.generate(&ask(), None).await.unwrap_err();
    assert!(
        matches!(error, Error::Withheld { .. }),
        "a refusal is not carried elsewhere: {error}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_other_model_goes_on_with_an_answer_that_was_seen() {
    let next = Scripted::new("local:c", |_| Ok("Mine.".to_owned()));
    let first = Wire::new("here:a", vec![vec![Act::Say("Ha"), Act::Fail(down)]; 2]);
    let chain = Fallback::new(first, vec![Arc::new(next)]);
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let error = chain.generate(&ask(), Some(sink)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(
        stream.recv().await,
        Some(Delta::Text {
            text: "Ha".to_owned()
        })
    );
    assert_eq!(stream.recv().await, None);
    // Unseen, it does.
    assert_eq!(chain.generate(&ask(), None).await.unwrap().text, "Mine.");
}

proptest! {
    #[test]
    fn waits_grow_are_bounded_and_never_shorter_than_asked(attempt in 1_u32..100, chance: u64, asked in prop::option::of(0_u64..200_000)) {
        let retry = Retry { tries: 50, ..Retry::default() };
        let wait = retry.wait(attempt, &busy(asked), chance, false);
        if attempt >= 50 {
            prop_assert_eq!(wait, None);
        } else if let Some(asked) = asked {
            prop_assert_eq!(wait.is_some(), asked <= 60_000);
            prop_assert!(wait.is_none_or(|wait| wait >= Duration::from_millis(asked)));
        } else {
            let most = Duration::from_secs(1 << (attempt - 1).min(6)).min(Duration::from_secs(60));
            prop_assert!(wait.unwrap() <= most);
        }
        prop_assert_eq!(retry.wait(attempt, &refused(), chance, false), None);
    }
}
