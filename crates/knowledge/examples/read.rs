//! Shows how a file is read, or measures reading and splitting the files of folders:
//! `cargo run -p plumb-knowledge --example read -- FILE` and `... -- --time FOLDER...`;
//! `--blocks FILE` shows blocks instead of passages.

#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plumb_knowledge::passages::{SplitOptions, split};
use plumb_knowledge::read::{WalkOptions, read_file, walk};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((mode, rest)) if mode == "--time" => {
            time(&rest.iter().map(PathBuf::from).collect::<Vec<_>>());
            Ok(())
        }
        Some((mode, rest)) if mode == "--blocks" => {
            blocks(Path::new(rest.first().ok_or("which file?")?))
        }
        Some((file, _)) => passages(Path::new(file)),
        None => Err("which file?".into()),
    }
}

fn blocks(file: &Path) -> Outcome {
    let document = read_file(file, &std::fs::read(file)?)?;
    println!("# {}", document.title);
    for block in &document.blocks {
        println!("-- {:?} {:?}", block.kind, block.place);
        println!(
            "{}",
            document.text.get(block.range.clone()).unwrap_or_default()
        );
    }
    Ok(())
}

fn passages(file: &Path) -> Outcome {
    let document = read_file(file, &std::fs::read(file)?)?;
    println!("# {}", document.title);
    for draft in split(&document, &SplitOptions::default()) {
        let text = document.text.get(draft.range.clone()).unwrap_or_default();
        let pages: Vec<u32> = draft.places.iter().map(|place| place.page).collect();
        println!(
            "\n=== {} words, pages {pages:?}, {}",
            text.split_whitespace().count(),
            draft.headings.join(" > ")
        );
        println!("{text}");
    }
    Ok(())
}

/// Reads everything on one thread.
fn time(paths: &[PathBuf]) {
    let (mut files, mut bytes, mut count, mut words) = (0_u32, 0_u64, 0, 0);
    let (mut reading, mut splitting) = (Duration::ZERO, Duration::ZERO);
    let mut sizes: Vec<usize> = Vec::new();
    for entry in walk(paths, WalkOptions::default()) {
        let Ok(entry) = entry.inspect_err(|obstacle| println!("{obstacle}")) else {
            continue;
        };
        let Ok(content) = std::fs::read(&entry.path) else {
            continue;
        };
        let start = Instant::now();
        let read = read_file(&entry.path, &content);
        let took = start.elapsed();
        if took > Duration::from_millis(500) {
            println!("{} took {took:?}", entry.path.display());
        }
        reading += took;
        let Ok(document) = read.inspect_err(|error| println!("{error}")) else {
            continue;
        };
        let start = Instant::now();
        let drafts = split(&document, &SplitOptions::default());
        splitting += start.elapsed();
        files += 1;
        bytes += content.len() as u64;
        count += drafts.len();
        let size = |text: &str| text.split_whitespace().count();
        words += size(&document.text);
        sizes.extend(
            drafts
                .iter()
                .filter_map(|draft| document.text.get(draft.range.clone()))
                .map(size),
        );
    }
    sizes.sort_unstable();
    let part = |percent: usize| {
        sizes
            .get(sizes.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    let seconds = (reading + splitting).as_secs_f64();
    println!(
        "{files} files, {:.1} MB, {words} words, {count} passages",
        bytes as f64 / 1e6
    );
    println!(
        "words of a passage: 5 % {}, 25 % {}, median {}, 75 % {}, 95 % {}, most {}",
        part(5),
        part(25),
        part(50),
        part(75),
        part(95),
        sizes.last().copied().unwrap_or_default()
    );
    println!(
        "read in {reading:.2?}, split in {splitting:.2?}: {:.0} files/s, {:.1} MB/s",
        f64::from(files) / seconds,
        bytes as f64 / 1e6 / seconds
    );
}
