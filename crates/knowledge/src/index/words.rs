//! Cuts text into the words that are indexed and searched for.
//!
//! Plain words are lowercased and stemmed (Snowball English). What looks like an identifier
//! (`max_connections`, `maxConnections`, `pg_hba.conf`, `src/main.rs`, `write-ahead`, `--jobs`) is kept
//! whole and also cut into its parts, so that it is found by its exact name as well as by a question
//! that spells the parts out.

use tantivy::tokenizer::{Language, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};

/// The name under which the tokenizer is registered in an index; its number rises when it cuts differently,
/// which makes older indexes be rebuilt.
pub(crate) const TOKENIZER: &str = "plumb-words-1";

/// Longer words (encoded data, mostly) are cut off here, in bytes.
const LONGEST_WORD: usize = 64;

/// How a word came out of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A plain word.
    Plain,
    /// An identifier as it stands, in lower case.
    Whole,
    /// A part of an identifier.
    Part,
}

/// One word of a text, lowercased and stemmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// As it is indexed.
    pub(crate) text: String,
    /// How it came out of the text.
    pub(crate) form: Form,
    /// As it stands in the text, in lower case, not stemmed.
    pub(crate) plain: String,
}

/// The words of `text`, in order; an identifier comes before its parts.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut raw = Vec::new();
    for chunk in chunks(text) {
        cut_chunk(chunk, &mut raw);
    }
    let mut stemmer = TextAnalyzer::builder(OneWord)
        .filter(Stemmer::new(Language::English))
        .build();
    raw.into_iter()
        .map(|(plain, form)| {
            let text = match form {
                Form::Whole => plain.clone(),
                Form::Plain | Form::Part => stemmed(&mut stemmer, &plain),
            };
            Word { text, form, plain }
        })
        .collect()
}

fn stemmed(stemmer: &mut TextAnalyzer, word: &str) -> String {
    let mut stream = stemmer.token_stream(word);
    if stream.advance() {
        stream.token().text.clone()
    } else {
        word.to_owned()
    }
}

/// Runs of word characters with the connectors between them.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c) && !is_connector(c))
        .filter(|chunk| chunk.chars().any(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_connector(c: char) -> bool {
    matches!(c, '-' | '.' | '/' | ':' | '+' | '#' | '@' | '\'' | '’')
}

/// One chunk: a plain word, or an identifier and its parts.
fn cut_chunk(chunk: &str, words: &mut Vec<(String, Form)>) {
    let bare = chunk.trim_matches(|c: char| !c.is_alphanumeric());
    if bare.is_empty() {
        return;
    }
    // `it's`, `the kernel's`: the ending carries no meaning.
    if let Some((stem, ending)) = bare.split_once(['\'', '’'])
        && ending.len() <= 2
        && stem.chars().all(char::is_alphanumeric)
    {
        return push(words, stem, Form::Plain);
    }
    if is_option(chunk, bare) {
        let dashes = if chunk.starts_with("--") { "--" } else { "-" };
        push(words, &format!("{dashes}{bare}"), Form::Whole);
    }
    let parts = parts(bare);
    if parts.len() == 1 {
        return push(words, bare, Form::Plain);
    }
    // Long chains (paths, addresses) are also found by their pieces: `main.rs` of `src/main.rs`.
    if bare.contains('/') {
        for piece in bare
            .split('/')
            .filter(|piece| piece.contains(['.', '_', '-']))
        {
            push(
                words,
                piece.trim_matches(|c: char| !c.is_alphanumeric()),
                Form::Whole,
            );
        }
    }
    push(words, bare, Form::Whole);
    for part in parts {
        push(words, part, Form::Part);
    }
}

/// A command line option: dashes before a name, as in `-j` or `--enable-debug`.
fn is_option(chunk: &str, bare: &str) -> bool {
    let name = chunk.strip_prefix("--").or_else(|| chunk.strip_prefix('-'));
    name.is_some_and(|name| name.starts_with(bare) && bare.starts_with(char::is_alphabetic))
}

fn push(words: &mut Vec<(String, Form)>, word: &str, form: Form) {
    let mut lower = word.to_lowercase();
    if lower.len() > LONGEST_WORD {
        let end = (0..=LONGEST_WORD)
            .rev()
            .find(|end| lower.is_char_boundary(*end))
            .unwrap_or(0);
        lower.truncate(end);
    }
    if !lower.is_empty() {
        words.push((lower, form));
    }
}

/// Cuts at connectors, underscores and the humps of camel case.
fn parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in word
        .split(|c: char| !c.is_alphanumeric())
        .filter(|piece| !piece.is_empty())
    {
        let mut start = 0;
        let characters: Vec<(usize, char)> = piece.char_indices().collect();
        for window in characters.windows(2).enumerate() {
            let (position, [(_, before), (at, here)]) = window else {
                continue;
            };
            let after = characters.get(position + 2).map(|(_, c)| *c);
            let hump = before.is_lowercase() && here.is_uppercase();
            // `HTTPServer`: the last capital belongs to what follows.
            let after_capitals = before.is_uppercase()
                && here.is_uppercase()
                && after.is_some_and(char::is_lowercase);
            if hump || after_capitals {
                parts.extend(piece.get(start..*at));
                start = *at;
            }
        }
        parts.extend(piece.get(start..));
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The words of a text as tokens for the search index.
#[derive(Clone, Default)]
pub(crate) struct WordTokenizer;

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        WordStream {
            words: words(text).into_iter(),
            token: Token::default(),
            position: 0,
        }
    }
}

/// See [`WordTokenizer`].
pub(crate) struct WordStream {
    words: std::vec::IntoIter<Word>,
    token: Token,
    position: usize,
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else {
            return false;
        };
        self.token.text = word.text;
        self.token.position = self.position;
        self.position += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Hands one word to the stemmer, which only works inside an analyzer.
#[derive(Clone, Default)]
struct OneWord;

struct OneWordStream {
    token: Token,
    done: bool,
}

impl Tokenizer for OneWord {
    type TokenStream<'a> = OneWordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> OneWordStream {
        OneWordStream {
            token: Token {
                text: text.to_owned(),
                ..Token::default()
            },
            done: false,
        }
    }
}

impl TokenStream for OneWordStream {
    fn advance(&mut self) -> bool {
        !std::mem::replace(&mut self.done, true)
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = words(text).into_iter().map(|word| word.text).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn plain_words_are_lowercased_and_stemmed() {
        check(
            "The connections were dropped.",
            &["the", "connect", "were", "drop"],
        );
        check(
            "It's PostgreSQL's kernel’s",
            &["it", "postgresql", "kernel"],
        );
        check("...", &[]);
        check("Ünder 東京", &["ünder", "東京"]);
    }

    #[test]
    fn identifiers_are_kept_whole_and_cut() {
        check("max_connections", &["max_connections", "max", "connect"]);
        check("maxConnections", &["maxconnections", "max", "connect"]);
        check("HTTPServer", &["httpserver", "http", "server"]);
        check(
            "edit pg_hba.conf.",
            &["edit", "pg_hba.conf", "pg", "hba", "conf"],
        );
        check(
            "src/main.rs",
            &["main.rs", "src/main.rs", "src", "main", "rs"],
        );
        check("write-ahead", &["write-ahead", "write", "ahead"]);
        check("std::fs", &["std::fs", "std", "fs"]);
        check("int8 2.5", &["int8", "2.5", "2", "5"]);
    }

    #[test]
    fn options_are_found_with_and_without_dashes() {
        check("--jobs", &["--jobs", "job"]);
        check(
            "use -j or --enable-debug=yes",
            &[
                "use",
                "-j",
                "j",
                "or",
                "--enable-debug",
                "enable-debug",
                "enabl",
                "debug",
                "yes",
            ],
        );
        check("a -5 and - dash", &["a", "5", "and", "dash"]);
    }

    #[test]
    fn very_long_words_are_cut_off() {
        let found = words(&"ß".repeat(500));
        assert_eq!(found.len(), 1);
        assert!(found[0].plain.len() <= LONGEST_WORD);
    }
}
