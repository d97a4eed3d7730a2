//! The keyword index: BM25 over title, headings and text of every passage.
//!
//! A [`tantivy`] index in a folder of its own. Title and headings are fields of their own, because a word in
//! a heading says more about a passage than the same word in its text, and because the length of a heading
//! must not count against the text.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::query::{BooleanQuery, BoostQuery, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use super::stop_words::is_stop_word;
use super::words::{Form, TOKENIZER, WordTokenizer, words};

/// What goes into the index of one passage.
pub(crate) struct Entry<'a> {
    pub(crate) id: u64,
    pub(crate) document: u64,
    pub(crate) title: &'a str,
    pub(crate) headings: &'a [String],
    pub(crate) text: &'a str,
}

/// How much a match in each field counts, and how words of the query are weighed.
///
/// Chosen by reason and checked on two collections (`docs/concepts/search.md`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) title: f32,
    pub(crate) headings: f32,
    pub(crate) text: f32,
    /// Of a word that only says how something is asked ("what", "does").
    pub(crate) stop_word: f32,
    /// Of a part of an identifier beside the whole identifier.
    pub(crate) part: f32,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            title: 0.5,
            headings: 0.5,
            text: 1.0,
            stop_word: 0.1,
            part: 0.5,
        }
    }
}

/// Most different words of a query that are searched for; a longer query (a pasted text) loses its rest.
const MOST_TERMS: usize = 256;

/// Memory of the index writer before it writes a segment, in bytes.
const WRITER_MEMORY: usize = 48 << 20;

/// The keyword index of one library.
pub(crate) struct Keywords {
    directory: PathBuf,
    opened: RwLock<Option<Arc<Opened>>>,
}

struct Opened {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    /// What the searches see; 0 before the first commit.
    generation: AtomicU64,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    document: Field,
    title: Field,
    headings: Field,
    text: Field,
}

/// The names under which passages and documents are known to tantivy.
const ID: &str = "id";
const DOCUMENT: &str = "document";

impl Keywords {
    /// The index in `directory`, not yet opened.
    pub(crate) fn at(directory: PathBuf) -> Keywords {
        Keywords {
            directory,
            opened: RwLock::new(None),
        }
    }

    /// Opens what is there, if it is whole and made by this version.
    pub(crate) fn open(&self) -> tantivy::Result<()> {
        let (schema, fields) = schema();
        let index = Index::open_in_dir(&self.directory)?;
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError(
                "made by another version".to_owned(),
            ));
        }
        let damaged = index.validate_checksum()?;
        if !damaged.is_empty() {
            return Err(tantivy::TantivyError::InternalError(format!(
                "{} damaged files",
                damaged.len()
            )));
        }
        self.set(Some(opened(index, fields)?));
        Ok(())
    }

    /// Replaces whatever is there by an empty index. Only the holder of the library's lock may do so.
    pub(crate) fn create(&self) -> tantivy::Result<()> {
        self.set(None);
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        std::fs::create_dir_all(&self.directory)?;
        let (schema, fields) = schema();
        self.set(Some(opened(
            Index::create_in_dir(&self.directory, schema)?,
            fields,
        )?));
        Ok(())
    }

    fn set(&self, opened: Option<Arc<Opened>>) {
        *self
            .opened
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = opened;
    }

    fn get(&self) -> Option<Arc<Opened>> {
        self.opened
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// The store's generation that searches see; `None` when there is no index.
    pub(crate) fn generation(&self) -> Option<u64> {
        Some(self.get()?.generation.load(Ordering::Relaxed))
    }

    /// Makes what was committed since, here or by another process, visible to searches.
    pub(crate) fn reload(&self) -> tantivy::Result<()> {
        self.get().map_or(Ok(()), |opened| opened.reload())
    }

    /// The passages in the index.
    pub(crate) fn ids(&self) -> tantivy::Result<HashSet<u64>> {
        let mut ids = HashSet::new();
        let Some(opened) = self.get() else {
            return Ok(ids);
        };
        for segment in opened.reader.searcher().segment_readers() {
            let column = segment.fast_fields().u64(ID)?;
            ids.extend(segment.doc_ids_alive().filter_map(|doc| column.first(doc)));
        }
        Ok(ids)
    }

    /// How many passages the index holds.
    pub(crate) fn len(&self) -> u64 {
        self.get()
            .map_or(0, |opened| opened.reader.searcher().num_docs())
    }

    /// Starts writing. Only the holder of the library's lock may do so.
    pub(crate) fn writer(&self) -> tantivy::Result<Writer> {
        let opened = self.get().ok_or_else(missing)?;
        let writer = opened.index.writer_with_num_threads(1, WRITER_MEMORY)?;
        Ok(Writer { writer, opened })
    }

    /// The passages that match `query` best, with their scores, best first.
    ///
    /// `documents` restricts the search to these documents.
    pub(crate) fn search(
        &self,
        query: &str,
        limit: usize,
        documents: Option<Arc<HashSet<u64>>>,
        weights: &Weights,
    ) -> tantivy::Result<Vec<(u64, f32)>> {
        let Some(opened) = self.get() else {
            return Ok(Vec::new());
        };
        let query = opened.fields.query(query, weights);
        let searcher = opened.reader.searcher();
        let top = TopDocs::with_limit(limit.max(1)).order_by_score();
        let found = match documents {
            None => searcher.search(&query, &top)?,
            Some(documents) => {
                let wanted = move |document: u64| documents.contains(&document);
                searcher.search(
                    &query,
                    &FilterCollector::new(DOCUMENT.to_owned(), wanted, top),
                )?
            }
        };
        let mut columns = HashMap::new();
        let mut hits = Vec::with_capacity(found.len());
        for (score, address) in found {
            let column = match columns.entry(address.segment_ord) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => entry.insert(
                    searcher
                        .segment_reader(address.segment_ord)
                        .fast_fields()
                        .u64(ID)?,
                ),
            };
            hits.extend(column.first(address.doc_id).map(|id| (id, score)));
        }
        Ok(hits)
    }
}

/// The words that a query searches for, each with its weight, heaviest first.
pub(crate) fn query_terms(query: &str, weights: &Weights) -> Vec<(String, f32)> {
    let mut terms: HashMap<String, f32> = HashMap::new();
    let words = words(query);
    let all_stop_words = words.iter().all(|word| is_stop_word(&word.plain));
    for word in words {
        let mut weight = match word.form {
            Form::Plain | Form::Whole => 1.0,
            Form::Part => weights.part,
        };
        if !all_stop_words && is_stop_word(&word.plain) {
            weight *= weights.stop_word;
        }
        *terms.entry(word.text).or_default() += weight;
    }
    let mut terms: Vec<(String, f32)> = terms.into_iter().collect();
    terms.sort_by(|(word_a, a), (word_b, b)| b.total_cmp(a).then_with(|| word_a.cmp(word_b)));
    terms.truncate(MOST_TERMS);
    terms
}

impl Fields {
    fn query(&self, query: &str, weights: &Weights) -> BooleanQuery {
        let fields = [
            (self.text, weights.text),
            (self.headings, weights.headings),
            (self.title, weights.title),
        ];
        let mut clauses: Vec<Box<dyn Query>> = Vec::new();
        for (word, weight) in query_terms(query, weights) {
            for (field, boost) in fields {
                let term = Term::from_field_text(field, &word);
                let term = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
                clauses.push(Box::new(BoostQuery::new(term, weight * boost)));
            }
        }
        BooleanQuery::union(clauses)
    }
}

/// Writes to the index; dropped without a commit, it leaves no trace.
pub(crate) struct Writer {
    writer: IndexWriter,
    opened: Arc<Opened>,
}

impl Writer {
    /// Adds a passage that is not yet in the index.
    pub(crate) fn add(&self, entry: &Entry<'_>) -> tantivy::Result<()> {
        let fields = self.opened.fields;
        let mut document = TantivyDocument::default();
        document.add_u64(fields.id, entry.id);
        document.add_u64(fields.document, entry.document);
        document.add_text(fields.title, entry.title);
        document.add_text(fields.headings, entry.headings.join("\n"));
        document.add_text(fields.text, entry.text);
        self.writer.add_document(document).map(drop)
    }

    /// Removes a passage.
    pub(crate) fn remove(&self, id: u64) {
        self.writer
            .delete_term(Term::from_field_u64(self.opened.fields.id, id));
    }

    /// Makes everything since the last commit durable and visible, as the store's `generation`.
    pub(crate) fn commit(&mut self, generation: u64) -> tantivy::Result<()> {
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&generation.to_string());
        prepared.commit()?;
        self.opened.reload()
    }

    /// Waits for the merges under way, so that none is cut off by the end of the process.
    pub(crate) fn finish(self) -> tantivy::Result<()> {
        self.writer.wait_merging_threads()?;
        self.opened.reload()
    }
}

fn missing() -> tantivy::TantivyError {
    tantivy::TantivyError::InternalError("the index is not open".to_owned())
}

fn opened(index: Index, fields: Fields) -> tantivy::Result<Arc<Opened>> {
    index.tokenizers().register(TOKENIZER, WordTokenizer);
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()?;
    let opened = Opened {
        index,
        reader,
        fields,
        generation: AtomicU64::new(0),
    };
    opened.reload()?;
    Ok(Arc::new(opened))
}

impl Opened {
    fn reload(&self) -> tantivy::Result<()> {
        // Read before the reload, so that it is never ahead of what searches see.
        let generation = self
            .index
            .load_metas()?
            .payload
            .and_then(|payload| payload.parse().ok());
        self.reader.reload()?;
        self.generation
            .store(generation.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs);
    let words = TextOptions::default().set_indexing_options(indexing);
    let fields = Fields {
        id: schema.add_u64_field(ID, INDEXED | FAST),
        document: schema.add_u64_field(DOCUMENT, FAST),
        title: schema.add_text_field("title", words.clone()),
        headings: schema.add_text_field("headings", words.clone()),
        text: schema.add_text_field("text", words),
    };
    (schema.build(), fields)
}
