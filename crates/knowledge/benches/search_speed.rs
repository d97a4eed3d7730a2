//! How fast a large library is: indexing, search at 100,000 passages, embedding, memory.
//!
//! ```text
//! cargo bench --profile dev -p plumb-knowledge --bench search_speed -- FOLDER [PASSAGES]
//! ```
//!
//! FOLDER holds real documents (for instance `/usr/share/doc/postgresql-doc-15/html`). It is indexed as it
//! is; then a library of PASSAGES (default 100,000) is made of their paragraphs: each paragraph of the large
//! library is put together from sentences of three real ones, so that words occur as often and as near
//! to each other as they really do, and yet no two passages are the same. Queries are made of words of such
//! a passage, and of questions that are headings of the real documents.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use plumb_knowledge::{EmbeddingFiles, Library, LibraryOptions, SearchMode, SearchOptions};

/// Paragraphs in each file of the large library.
const FILE: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        println!("name a folder with real documents (see the head of this file)");
        return;
    };
    let passages: usize = arguments
        .get(1)
        .map_or(100_000, |number| number.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let small = real_documents(&folder, &scratch.path().join("small"));
    let documents = scratch.path().join("large/documents");
    let queries = write_documents(&small, &documents, passages);
    drop(small);

    let library = open(&scratch.path().join("large/.plumb"));
    let report = library
        .index(&[documents], &AtomicBool::new(false), &|_| ())
        .unwrap();
    println!(
        "large library: {report} = {:.1} MB/s",
        report.bytes as f64 / 1e6 / report.seconds
    );
    println!("on disk: {}", disk(&scratch.path().join("large/.plumb")));
    memory("after indexing");
    measure_all(
        &library,
        &scratch.path().join("large/.plumb/library.db"),
        &queries,
    );
    let status = library.status().unwrap();
    drop(library);
    let started = Instant::now();
    let library = open(&scratch.path().join("large/.plumb"));
    let options = SearchOptions {
        mode: SearchMode::Keywords,
        ..SearchOptions::default()
    };
    library.search(&queries[0], &options).unwrap();
    println!(
        "opening and first search by keywords: {:.0} ms ({status})",
        started.elapsed().as_secs_f64() * 1e3
    );
}

/// Measures searches of all kinds, and embedding.
fn measure_all(library: &Library, database: &Path, queries: &[String]) {
    measure(
        "keywords",
        library,
        queries,
        SearchMode::Keywords,
        Duration::ZERO,
    );
    let half = queries.len() / 2;
    measure(
        "keywords, short queries",
        library,
        &queries[..half],
        SearchMode::Keywords,
        Duration::ZERO,
    );
    measure(
        "fused, no embedding on demand",
        library,
        queries,
        SearchMode::Fused,
        Duration::ZERO,
    );
    let started = Instant::now();
    let time = Duration::from_secs(20);
    let filled = library
        .fill_vectors_within(time, &AtomicBool::new(false), &|_, _| ())
        .unwrap();
    println!(
        "embedding: {:.1} passages/s",
        filled as f64 / started.elapsed().as_secs_f64()
    );
    measure(
        "fused, embedding on demand",
        library,
        &queries[..20],
        SearchMode::Fused,
        Duration::from_secs(2),
    );
    memory("at the end");
    put_vectors(database);
    measure(
        "fused, every passage with a vector",
        library,
        queries,
        SearchMode::Fused,
        Duration::ZERO,
    );
    memory("with all vectors");
}

/// Gives every passage a vector that points anywhere: embedding them all would take an hour, and how long a
/// search takes does not depend on where they point.
fn put_vectors(database: &Path) {
    let mut connection = rusqlite::Connection::open(database).unwrap();
    let transaction = connection.transaction().unwrap();
    let scale = (1.0_f32 / 127.0 / 11.3).to_le_bytes();
    let mut random = blake3::Hasher::new().finalize_xof();
    {
        let mut select = transaction
            .prepare("SELECT DISTINCT content FROM passages")
            .unwrap();
        let mut insert = transaction
            .prepare("INSERT OR IGNORE INTO vectors VALUES (?1, ?2)")
            .unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let mut vector = vec![0; 388];
            random.fill(&mut vector);
            vector[..4].copy_from_slice(&scale);
            insert
                .execute((row.get::<_, i64>(0).unwrap(), vector))
                .unwrap();
        }
    }
    let version =
        "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'vectors_version'";
    transaction.execute(version, []).unwrap();
    transaction.commit().unwrap();
}

/// Indexes the folder and measures the time from nothing to the first result.
fn real_documents(folder: &Path, scratch: &Path) -> Library {
    let library = open(&scratch.join(".plumb"));
    let started = Instant::now();
    let report = library
        .index(&[folder.to_owned()], &AtomicBool::new(false), &|_| ())
        .unwrap();
    println!(
        "{}: {report} = {:.1} MB/s",
        folder.display(),
        report.bytes as f64 / 1e6 / report.seconds
    );
    let options = SearchOptions {
        embed_within: Duration::ZERO,
        ..SearchOptions::default()
    };
    let hits = library.search("how does it work", &options).unwrap();
    let first = started.elapsed().as_secs_f64();
    println!(
        "from a cold folder to the first result: {first:.1} s ({} hits)",
        hits.len()
    );
    memory("after the real documents");
    library
}

/// Writes the large library's documents and returns queries for them, short ones first.
fn write_documents(small: &Library, folder: &Path, passages: usize) -> Vec<String> {
    let mut sentences: Vec<Vec<String>> = Vec::new();
    let mut headings = Vec::new();
    for record in small.documents().unwrap() {
        let document = small.document_text(&record.file).unwrap();
        headings.push(document.title);
        for paragraph in document
            .text
            .split("\n\n")
            .filter(|paragraph| paragraph.len() > 200)
        {
            sentences.push(paragraph.split_inclusive(". ").map(str::to_owned).collect());
        }
    }
    let mut state = 42_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    std::fs::create_dir_all(folder).unwrap();
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for file in 0..passages.div_ceil(FILE) {
        let mut text = format!("# {}\n\n", headings[random(headings.len())]);
        for _ in 0..FILE {
            let mut paragraph = String::new();
            while paragraph.len() < 700 {
                let real = &sentences[random(sentences.len())];
                let first = random(real.len());
                real[first..]
                    .iter()
                    .take(3)
                    .for_each(|sentence| paragraph.push_str(sentence));
                paragraph.push(' ');
            }
            text.push_str(&paragraph);
            text.push_str("\n\n");
        }
        if short.len() < 250 {
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut pick = |count: usize| {
                let first = random(words.len() - count);
                words[first..first + count].join(" ")
            };
            short.push(pick(4));
            long.push(format!("How does {} work when {}?", pick(3), pick(5)));
        }
        std::fs::write(folder.join(format!("{file}.md")), text).unwrap();
    }
    short.extend(long);
    short
}

fn measure(
    name: &str,
    library: &Library,
    queries: &[String],
    mode: SearchMode,
    embed_within: Duration,
) {
    let options = SearchOptions {
        mode,
        embed_within,
        ..SearchOptions::default()
    };
    library.search(&queries[0], &options).unwrap();
    let mut times: Vec<f64> = Vec::new();
    for query in queries {
        let started = Instant::now();
        library.search(query, &options).unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "search, {name}: p50 {:.2} ms, p99 {:.2} ms ({} queries)",
        at(0.5),
        at(0.99),
        times.len()
    );
}

fn open(folder: &Path) -> Library {
    let models = std::env::var_os("PLUMB_MODELS").map(PathBuf::from);
    let models =
        models.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cache/plumb/models"));
    let files = EmbeddingFiles {
        model: models.join("minilm-int8.onnx"),
        tokenizer: models.join("minilm-tokenizer.json"),
    };
    let options = LibraryOptions {
        embedding_model: Some(files),
        ..LibraryOptions::default()
    };
    Library::open(folder, options).unwrap()
}

fn disk(folder: &Path) -> String {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let bytes = if entry.path().is_dir() {
            let files = std::fs::read_dir(entry.path()).unwrap().flatten();
            files
                .filter_map(|file| Some(file.metadata().ok()?.len()))
                .sum()
        } else {
            entry.metadata().unwrap().len()
        };
        parts.push(format!(
            "{} {:.1} MB",
            entry.file_name().display(),
            bytes as f64 / 1e6
        ));
    }
    parts.sort();
    parts.join(", ")
}

/// The process's memory, now and at its peak (Linux).
fn memory(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .map_or(0.0, |kib| kib / 1024.0)
    };
    println!(
        "memory {when}: {:.0} MiB, peak {:.0} MiB",
        value("VmRSS:"),
        value("VmHWM:")
    );
}
