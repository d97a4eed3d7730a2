//! How good retrieval is: recall@10 and nDCG@10 on collections with known relevant documents, beside the
//! plain BM25 of tantivy.
//!
//! ```text
//! cargo bench --profile dev -p plumb-knowledge --bench retrieval -- banking FOLDER   # documents.json.gz, tasks.json
//! cargo bench --profile dev -p plumb-knowledge --bench retrieval -- cranfield FOLDER # cran.all.1400, cran.qry, cranqrel
//! ```
//!
//! `docs/concepts/search.md` says where the collections come from, how queries are formed and what was
//! measured. The embedding model is taken from `$PLUMB_MODELS` or `~/.cache/plumb/models`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a program for developers"
)]

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use plumb_knowledge::{EmbeddingFiles, Library, LibraryOptions, SearchMode, SearchOptions};
use serde_json::Value;

/// A set of documents with queries whose relevant documents are known.
struct Collection {
    /// Name, title, text.
    documents: Vec<(String, String, String)>,
    /// The query and the names of its relevant documents.
    queries: Vec<(String, HashSet<String>)>,
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let collection = match arguments.as_slice() {
        [kind, folder] if kind == "banking" => banking(Path::new(folder)),
        [kind, folder] if kind == "cranfield" => cranfield(Path::new(folder)),
        _ => {
            println!(
                "name a collection: banking FOLDER or cranfield FOLDER (see the head of this file)"
            );
            return;
        }
    };
    println!(
        "{} documents, {} queries",
        collection.documents.len(),
        collection.queries.len()
    );
    for tokenizer in ["default", "en_stem"] {
        let name = format!("plain BM25, tantivy, tokenizer {tokenizer}");
        report(&name, &collection, plain_bm25(&collection, tokenizer));
    }
    ours(&collection);
}

/// Our rankings, before and after every passage has a vector.
fn ours(collection: &Collection) {
    let folder = tempfile::tempdir().unwrap();
    let documents = folder.path().join("documents");
    std::fs::create_dir(&documents).unwrap();
    for (name, title, text) in &collection.documents {
        std::fs::write(
            documents.join(format!("{name}.md")),
            format!("# {title}\n\n{text}\n"),
        )
        .unwrap();
    }
    let models = models();
    let options = LibraryOptions {
        embedding_model: Some(models),
        ..LibraryOptions::default()
    };
    let library = Library::open(&folder.path().join(".plumb"), options).unwrap();
    println!(
        "{}",
        library
            .index(&[documents], &AtomicBool::new(false), &|_| ())
            .unwrap()
    );

    let search = |mode, embed_within| {
        let options = SearchOptions {
            limit: 100,
            mode,
            embed_within,
            ..SearchOptions::default()
        };
        collection
            .queries
            .iter()
            .map(|(query, _)| ranking(&library, query, &options))
            .collect::<Vec<_>>()
    };
    let timed = |name: &str, mode, embed_within| {
        let started = Instant::now();
        let rankings = search(mode, embed_within);
        let each = started.elapsed().as_secs_f64() * 1000.0 / collection.queries.len() as f64;
        report(
            &format!("{name} ({each:.0} ms a query)"),
            collection,
            rankings,
        );
    };
    timed("ours, keywords", SearchMode::Keywords, Duration::ZERO);
    timed(
        "ours, fused, candidates embedded on demand",
        SearchMode::Fused,
        Duration::from_secs(2),
    );
    let started = Instant::now();
    let filled = library
        .fill_vectors(&AtomicBool::new(false), &|_, _| ())
        .unwrap();
    println!(
        "{filled} passages embedded, {:.1} a second",
        filled as f64 / started.elapsed().as_secs_f64()
    );
    timed("ours, vectors", SearchMode::Vectors, Duration::ZERO);
    timed(
        "ours, fused, all passages embedded",
        SearchMode::Fused,
        Duration::ZERO,
    );
}

/// Documents in the order of their best passages.
fn ranking(library: &Library, query: &str, options: &SearchOptions) -> Vec<String> {
    let mut seen = HashSet::new();
    let hits = library.search(query, options).unwrap();
    hits.into_iter()
        .map(|hit| {
            Path::new(&hit.passage.file)
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

fn report(name: &str, collection: &Collection, rankings: Vec<Vec<String>>) {
    let (mut recall, mut gain) = (0.0, 0.0);
    for (ranking, (_, relevant)) in rankings.iter().zip(&collection.queries) {
        let found: Vec<usize> = (0..10)
            .filter(|rank| {
                ranking
                    .get(*rank)
                    .is_some_and(|name| relevant.contains(name))
            })
            .collect();
        let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
        let ideal: f64 = (0..relevant.len().min(10)).map(discount).sum();
        recall += found.len() as f64 / relevant.len() as f64;
        gain += found.into_iter().map(discount).sum::<f64>() / ideal;
    }
    let queries = collection.queries.len() as f64;
    println!(
        "recall@10 {:.3}  nDCG@10 {:.3}  {name}",
        recall / queries,
        gain / queries
    );
}

/// What tantivy finds with its defaults: one field of title and text, any of the query's words.
fn plain_bm25(collection: &Collection, tokenizer: &str) -> Vec<Vec<String>> {
    use tantivy::schema::{
        IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value as _,
    };
    let mut schema = Schema::builder();
    let name = schema.add_text_field("name", STRING | STORED);
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(tokenizer)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = schema.add_text_field(
        "text",
        TextOptions::default().set_indexing_options(indexing),
    );
    let index = tantivy::Index::create_in_ram(schema.build());
    let mut writer: tantivy::IndexWriter = index.writer_with_num_threads(1, 50_000_000).unwrap();
    for (document, title, content) in &collection.documents {
        let entry = tantivy::doc!(name => document.as_str(), text => format!("{title}\n{content}"));
        writer.add_document(entry).unwrap();
    }
    writer.commit().unwrap();
    let searcher = index.reader().unwrap().searcher();
    let mut analyzer = index.tokenizer_for_field(text).unwrap();
    let mut rankings = Vec::new();
    for (query, _) in &collection.queries {
        let mut terms: Vec<Box<dyn tantivy::query::Query>> = Vec::new();
        analyzer.token_stream(query).process(&mut |token| {
            let term = tantivy::Term::from_field_text(text, &token.text);
            terms.push(Box::new(tantivy::query::TermQuery::new(
                term,
                IndexRecordOption::WithFreqs,
            )));
        });
        let query = tantivy::query::BooleanQuery::union(terms);
        let top = tantivy::collector::TopDocs::with_limit(100).order_by_score();
        let found = searcher.search(&query, &top).unwrap();
        let names = found.into_iter().map(|(_, address)| {
            let document: tantivy::TantivyDocument = searcher.doc(address).unwrap();
            document
                .get_first(name)
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        });
        rankings.push(names.collect());
    }
    rankings
}

/// Banking: the query is the whole instruction that tells the customer's story, unedited.
fn banking(folder: &Path) -> Collection {
    let mut text = String::new();
    let file = std::fs::File::open(folder.join("documents.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let documents: Vec<Value> = serde_json::from_str(&text).unwrap();
    let string = |value: &Value| value.as_str().unwrap().to_owned();
    let tasks = std::fs::read_to_string(folder.join("tasks.json")).unwrap();
    let tasks: Vec<Value> = serde_json::from_str(&tasks).unwrap();
    let relevant = |task: &Value| {
        task["required_documents"]
            .as_array()
            .unwrap()
            .iter()
            .map(string)
            .collect()
    };
    let queries: Vec<(String, HashSet<String>)> = tasks
        .iter()
        .map(|task| {
            (
                string(&task["user_scenario"]["instructions"]),
                relevant(task),
            )
        })
        .collect();
    Collection {
        documents: documents
            .iter()
            .map(|document| {
                (
                    string(&document["id"]),
                    string(&document["title"]),
                    string(&document["content"]),
                )
            })
            .collect(),
        queries: queries
            .into_iter()
            .filter(|(_, relevant)| !relevant.is_empty())
            .collect(),
    }
}

/// Cranfield: abstracts on aerodynamics and questions of researchers, with the usual reading of its files:
/// the judgements number the questions by their order, and grade -1 means not relevant.
fn cranfield(folder: &Path) -> Collection {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let documents = records(&read("cran.all.1400"))
        .into_iter()
        .map(|(name, mut fields)| {
            let title = fields.remove(".T").unwrap_or_default();
            (name, title, fields.remove(".W").unwrap_or_default())
        })
        .collect();
    let mut relevant: HashMap<usize, HashSet<String>> = HashMap::new();
    for line in read("cranqrel").lines() {
        let parts: Vec<&str> = line.split_whitespace().collect();
        let [query, document, grade] = parts[..] else {
            continue;
        };
        if grade.parse::<i32>().unwrap() > 0 {
            relevant
                .entry(query.parse().unwrap())
                .or_default()
                .insert(document.to_owned());
        }
    }
    let questions = records(&read("cran.qry")).into_iter().zip(1..);
    let queries = questions
        .filter_map(|((_, mut fields), number)| {
            Some((fields.remove(".W")?, relevant.remove(&number)?))
        })
        .collect();
    Collection { documents, queries }
}

/// The records of a file in SMART format, each with its number and its fields.
fn records(text: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut records: Vec<(String, HashMap<String, String>)> = Vec::new();
    let mut field = String::new();
    for line in text.lines() {
        if let Some(number) = line.strip_prefix(".I ") {
            records.push((number.trim().to_owned(), HashMap::new()));
        } else if line.starts_with('.') && line.trim_end().len() == 2 {
            field = line.trim_end().to_owned();
        } else if let Some((_, fields)) = records.last_mut() {
            let content = fields.entry(field.clone()).or_default();
            content.push_str(line.trim());
            content.push(' ');
        }
    }
    records
}

fn models() -> EmbeddingFiles {
    let folder = std::env::var_os("PLUMB_MODELS").map(PathBuf::from);
    let folder =
        folder.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cache/plumb/models"));
    EmbeddingFiles {
        model: folder.join("minilm-int8.onnx"),
        tokenizer: folder.join("minilm-tokenizer.json"),
    }
}
