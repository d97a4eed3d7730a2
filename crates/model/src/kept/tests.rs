#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{Error, Message, Scripted};

/// A model that numbers its answers, errs at `err` and refuses nothing; and how often it was asked.
fn counting() -> (Arc<dyn Model>, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let model = Scripted::new("here:a", move |request| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        match request.messages[0].text().as_ref() {
            "err" => Err(Error::Malformed {
                message: "no".to_owned(),
            }),
            _ => Ok(format!("answer {number}")),
        }
    });
    (Arc::new(model), asked)
}

fn kept(model: &Arc<dyn Model>, folder: &Path, megabytes: u64, address: &str) -> Kept {
    let keeping = Keeping {
        folder: Some(folder.to_owned()),
        megabytes,
    };
    let answers = Arc::new(Answers::new(&keeping).unwrap());
    Kept::new(Arc::clone(model), address.to_owned(), answers)
}

fn ask(text: &str) -> Request {
    Request {
        messages: vec![Message::user(text)],
        ..Request::default()
    }
}

#[tokio::test]
async fn the_same_request_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let (model, asked) = counting();
    let first = kept(&model, folder.path(), 1, "x");
    let answer = first.generate(&ask("a"), None).await.unwrap();
    assert!(!answer.kept);
    // Another process finds it too; the seed changes nothing without a temperature.
    let second = kept(&model, folder.path(), 1, "x");
    let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
    let again = Request {
        seed: 7,
        ..ask("a")
    };
    let found = second.generate(&again, Some(sink)).await.unwrap();
    assert_eq!((found.kept, found.cost_micros), (true, Some(0)));
    assert_eq!(
        (found.text.as_str(), found.usage),
        ("answer 1", answer.usage)
    );
    assert_eq!(
        stream.recv().await,
        Some(Delta::Text {
            text: "answer 1".to_owned()
        })
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // Anything else is another request: the words, the limit, the chances, the place.
    let other_place = kept(&model, folder.path(), 1, "y");
    other_place.generate(&ask("a"), None).await.unwrap();
    for request in [
        ask("b"),
        Request {
            max_tokens: 7,
            ..ask("a")
        },
        Request {
            temperature: 1.0,
            seed: 1,
            ..ask("a")
        },
        Request {
            temperature: 1.0,
            seed: 2,
            ..ask("a")
        },
    ] {
        assert!(!first.generate(&request, None).await.unwrap().kept);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn errors_are_not_kept_and_a_broken_file_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (model, asked) = counting();
    let kept = kept(&model, folder.path(), 1, "x");
    for _ in 0..2 {
        kept.generate(&ask("err"), None).await.unwrap_err();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    kept.generate(&ask("a"), None).await.unwrap();
    let files = files(folder.path()).unwrap();
    assert_eq!(files.len(), 1);
    std::fs::write(&files[0].2, "{").unwrap();
    assert!(!kept.generate(&ask("a"), None).await.unwrap().kept);
    assert!(kept.generate(&ask("a"), None).await.unwrap().kept);
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = Keeping {
        folder: Some(folder.path().to_owned()),
        megabytes: 1,
    };
    let answers = Answers::new(&keeping).unwrap();
    let response = Response {
        text: "x".repeat(200_000),
        ..Response::default()
    };
    let day = std::time::Duration::from_secs(86_400);
    for number in 0..4_u32 {
        answers.keep(&number.to_string(), &response).unwrap();
        let file = std::fs::File::open(answers.path(&number.to_string())).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + day * number)
            .unwrap();
    }
    // Used just now, it stays; the next oldest go.
    assert!(answers.find("0").is_some());
    answers.keep("4", &response).unwrap();
    let left: Vec<bool> = (0..5)
        .map(|number| answers.find(&number.to_string()).is_some())
        .collect();
    assert_eq!(left, [true, false, true, true, true]);
    let huge = Response {
        text: "x".repeat(300_000),
        ..Response::default()
    };
    answers.keep("5", &huge).unwrap();
    assert!(
        answers.find("5").is_none(),
        "one must not drive out all the others"
    );
}
