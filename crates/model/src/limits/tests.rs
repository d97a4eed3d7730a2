#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn limits(concurrent: u32, requests: u32, tokens: u32) -> Limits {
    let some = |limit| (limit > 0).then_some(limit);
    Limits {
        concurrent: some(concurrent),
        requests_per_minute: some(requests),
        tokens_per_minute: some(tokens),
    }
}

/// Starts a request for each `(tokens, seconds)`, in order; gives number, start and end of each as it
/// started.
async fn run(limits: Limits, requests: &[(u64, u64)]) -> Vec<(usize, Instant, Instant)> {
    let gate = Arc::new(Gate::new("here", limits));
    let done = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (number, (tokens, seconds)) in requests.iter().copied().enumerate() {
        let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let place = gate.enter(tokens).await.unwrap();
            let start = Instant::now();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            gate.leave(place, Outcome::Took(tokens));
            done.lock().unwrap().push((number, start, Instant::now()));
        }));
        // In order: each has asked before the next one does.
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut done = done.lock().unwrap().clone();
    done.sort_by_key(|entry| (entry.1, entry.0));
    done
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_limit_is_passed_and_the_first_goes_first(
        concurrent in 0_u32..4, per_minute in 0_u32..5, tokens in 0_u32..300,
        requests in prop::collection::vec((1_u64..200, 0_u64..40), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let limits = limits(concurrent, per_minute, tokens);
        let done = runtime.block_on(run(limits, &requests));
        prop_assert_eq!(done.len(), requests.len());
        prop_assert!(done.windows(2).all(|pair| pair[0].0 < pair[1].0), "not in order");
        for (_, start, _) in &done {
            let at_once = done.iter().filter(|other| other.1 <= *start && *start < other.2).count();
            prop_assert!(concurrent == 0 || at_once <= concurrent as usize, "{} at once", at_once);
            let minute: Vec<_> = done.iter().filter(|other| other.1 >= *start && other.1 < *start + WINDOW).collect();
            prop_assert!(per_minute == 0 || minute.len() <= per_minute as usize, "{} in a minute", minute.len());
            let sum: u64 = minute.iter().map(|other| requests[other.0].0).sum();
            prop_assert!(tokens == 0 || sum <= u64::from(tokens) || minute.len() == 1, "{sum} tokens in a minute");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_no_trace() {
    let gate = Gate::new("here", limits(1, 2, 0));
    let first = gate.enter(1).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(1), gate.enter(1)).await;
    assert!(waiting.is_err(), "there is one place");
    gate.leave(first, Outcome::Took(1));
    let second = gate.enter(1).await.unwrap();
    gate.leave(second, Outcome::Took(1));
    assert!(
        tokio::time::timeout(Duration::from_secs(1), gate.enter(1))
            .await
            .is_err(),
        "two a minute"
    );
    let start = Instant::now();
    gate.enter(1).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 58);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_again_and_again_is_left_alone_for_a_while() {
    let gate = Gate::new("here", Limits::default());
    for _ in 0..FAILURES {
        let place = gate.enter(1).await.unwrap();
        gate.leave(place, Outcome::Failed);
    }
    assert!(matches!(
        gate.enter(1).await,
        Err(Error::Resting {
            wait_ms: 30_000,
            ..
        })
    ));
    tokio::time::sleep(REST).await;
    let place = gate.enter(1).await.unwrap();
    gate.leave(place, Outcome::Took(1));
    let place = gate.enter(1).await.unwrap();
    gate.leave(place, Outcome::Failed);
    assert!(gate.enter(1).await.is_ok(), "one failure is none");
}
