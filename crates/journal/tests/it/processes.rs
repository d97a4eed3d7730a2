//! Several processes and one run: one works on it, and a dead one does not keep it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout};

use journal::{Error, Journal};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, child, new_run, recorded, role, say};

/// As a child: wait for a word, try to take the run up, say how that went, keep it until told.
fn act(path: &Path) {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let journal = Journal::open(path).unwrap();
    block_on(async {
        let run = journal.resume("one").await;
        let word = match &run {
            Ok(_) => "WON".to_string(),
            Err(Error::Held { .. }) => "HELD".to_string(),
            Err(error) => format!("ERROR {error}"),
        };
        println!("\n{word}");
        std::io::stdin().read_to_string(&mut String::new()).unwrap();
    });
}

fn word(output: &mut BufReader<ChildStdout>) -> String {
    let words = ["WON", "HELD", "ERROR"];
    let mut lines = output.lines().map(Result::unwrap);
    lines
        .find(|line| words.iter().any(|word| line.starts_with(word)))
        .unwrap()
}

fn spawn(bench: &Bench) -> (Child, BufReader<ChildStdout>) {
    let mut child = child(
        "processes::of_several_processes_one_gets_the_run",
        &bench.path(),
        &json!({}),
    );
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

#[test]
fn of_several_processes_one_gets_the_run() {
    if let Some((_, path)) = role() {
        return act(&path);
    }
    let bench = Bench::new();
    block_on(async {
        let run = bench.open().start(new_run("one")).await.unwrap();
        say(&run, "a").await.unwrap();
        run.park("for the children").await.unwrap();
    });
    let mut children: Vec<_> = (0..5).map(|_| spawn(&bench)).collect();
    for (child, _) in &mut children {
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }
    let words: Vec<String> = children
        .iter_mut()
        .map(|(_, output)| word(output))
        .collect();
    assert_eq!(
        words.iter().filter(|word| *word == "WON").count(),
        1,
        "{words:?}"
    );
    assert_eq!(
        words.iter().filter(|word| *word == "HELD").count(),
        4,
        "{words:?}"
    );
    let winner = words.iter().position(|word| word == "WON").unwrap();
    block_on(async {
        let journal = bench.open();
        let pid = children[winner].0.id();
        let error = journal.resume("one").await.unwrap_err();
        assert!(
            matches!(&error, Error::Held { by, .. } if *by == format!("process {pid}")),
            "{error}"
        );
        assert_eq!(
            journal.run("one").await.unwrap().held_by,
            Some(format!("process {pid}"))
        );
        // Killed, it cannot let go of the run; its lease falls at once, not after half a minute.
        children[winner].0.kill().unwrap();
        children[winner].0.wait().unwrap();
        assert_eq!(journal.run("one").await.unwrap().held_by, None);
        let run = journal.resume("one").await.unwrap();
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        run.finish(&Value::Null).await.unwrap();
    });
    for (mut child, _) in children {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
