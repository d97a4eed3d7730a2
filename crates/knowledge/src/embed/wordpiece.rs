//! Text into the tokens of a BERT-like embedding model.
//!
//! The algorithm of BERT (Devlin et al., 2018; `tokenization.py` of its release): clean, lower case, strip
//! accents, split at white space and punctuation, then cut each word greedily into the longest pieces of the
//! vocabulary. The vocabulary and the settings are read from a `tokenizer.json`. Differs from the original in
//! one thing: every symbol is a word of its own, not only those of Unicode's punctuation.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A tokenizer with its vocabulary.
pub(crate) struct WordPiece {
    vocabulary: HashMap<String, u32>,
    prefix: String,
    longest_word: usize,
    lowercase: bool,
    unknown: u32,
    start: u32,
    end: u32,
}

#[derive(Deserialize)]
struct File {
    normalizer: Option<Normalizer>,
    model: Model,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(default)]
    lowercase: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    unk_token: String,
    #[serde(default = "default_prefix")]
    continuing_subword_prefix: String,
    #[serde(default = "default_longest_word")]
    max_input_chars_per_word: usize,
}

fn default_prefix() -> String {
    "##".to_owned()
}

fn default_longest_word() -> usize {
    100
}

impl WordPiece {
    /// Reads a `tokenizer.json`; the error says what is wrong with it.
    pub(crate) fn from_json(json: &[u8]) -> Result<WordPiece, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if file
            .model
            .kind
            .as_deref()
            .is_some_and(|kind| kind != "WordPiece")
        {
            return Err("it is not a WordPiece tokenizer, the only kind that is read".to_owned());
        }
        let find = |name: &str| {
            let found = file.model.vocab.get(name).copied();
            found.ok_or_else(|| format!("its vocabulary has no {name}"))
        };
        Ok(WordPiece {
            unknown: find(&file.model.unk_token)?,
            start: find("[CLS]")?,
            end: find("[SEP]")?,
            prefix: file.model.continuing_subword_prefix,
            longest_word: file.model.max_input_chars_per_word,
            lowercase: file
                .normalizer
                .is_some_and(|normalizer| normalizer.lowercase),
            vocabulary: file.model.vocab,
        })
    }

    /// The tokens of a text without those for its start and end; at most `limit`.
    pub(crate) fn tokens(&self, text: &str, limit: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        for chunk in text.split(|c: char| c.is_whitespace() || c.is_control()) {
            if tokens.len() >= limit {
                break;
            }
            for word in self.words(chunk) {
                self.cut(&word, &mut tokens);
            }
        }
        tokens.truncate(limit);
        tokens
    }

    /// The words of the vocabulary that begin so; they are whole words, in lower case if the tokenizer is.
    pub(crate) fn beginning_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a str> {
        let words = self.vocabulary.keys().map(String::as_str);
        words.filter(move |word| word.starts_with(start))
    }

    /// Tokens between those for the start and the end of a text.
    pub(crate) fn framed(&self, tokens: &[u32]) -> Vec<u32> {
        let mut framed = Vec::with_capacity(tokens.len() + 2);
        framed.push(self.start);
        framed.extend_from_slice(tokens);
        framed.push(self.end);
        framed
    }

    fn words(&self, chunk: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut take = |c: char| {
            if c.is_alphanumeric() && !is_ideograph(c) {
                word.push(c);
                return;
            }
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            words.push(c.to_string());
        };
        let strange =
            |c: &char| *c == '\u{fffd}' || *c == '\u{ad}' || *c == '\u{200b}' || *c == '\u{feff}';
        let clean = chunk.chars().filter(|c| !strange(c));
        if self.lowercase {
            clean
                .flat_map(char::to_lowercase)
                .nfd()
                .filter(|c| !is_combining_mark(*c))
                .for_each(&mut take);
        } else {
            clean.for_each(&mut take);
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }

    /// Cuts a word into the longest pieces of the vocabulary; one that cannot be cut is unknown.
    fn cut(&self, word: &str, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        if word.chars().count() > self.longest_word {
            return tokens.push(self.unknown);
        }
        let mut rest = word;
        let mut piece = String::new();
        while !rest.is_empty() {
            let prefix = if rest.len() == word.len() {
                ""
            } else {
                self.prefix.as_str()
            };
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8()).rev();
            let found =
                ends.filter_map(|end| rest.split_at_checked(end))
                    .find_map(|(head, tail)| {
                        piece.clear();
                        piece.push_str(prefix);
                        piece.push_str(head);
                        self.vocabulary.get(&piece).map(|token| (*token, tail))
                    });
            let Some((token, tail)) = found else {
                tokens.truncate(before);
                return tokens.push(self.unknown);
            };
            tokens.push(token);
            rest = tail;
        }
    }
}

/// Chinese characters, each of which is a word.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn small() -> WordPiece {
        let words = [
            "[UNK]", "[CLS]", "[SEP]", "the", "log", "##ging", "un", "##log", ".", "_", "cafe",
            "中", "文",
        ];
        let vocabulary: HashMap<&str, usize> = words
            .iter()
            .enumerate()
            .map(|(id, word)| (*word, id))
            .collect();
        let json = serde_json::json!({
            "normalizer": {"type": "BertNormalizer", "lowercase": true},
            "model": {"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]", "max_input_chars_per_word": 20},
        });
        WordPiece::from_json(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn words_are_cut_into_the_longest_pieces() {
        let tokenizer = small();
        let check = |text: &str, expected: &[u32]| {
            assert_eq!(tokenizer.tokens(text, 100), expected, "{text}")
        };
        check("The logging.", &[3, 4, 5, 8]);
        check("unlogging", &[6, 7, 5]);
        check("log_the", &[4, 9, 3]);
        check("Café", &[10]);
        check("中文", &[11, 12]);
        check("xyz log", &[0, 4]);
        check("logx", &[0]);
        check(&"log".repeat(30), &[0]);
        check(" \u{0}\n ", &[]);
        assert_eq!(tokenizer.tokens("the the the", 2), [3, 3]);
        assert_eq!(tokenizer.framed(&[3]), [1, 3, 2]);
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |json: &str| WordPiece::from_json(json.as_bytes()).err().unwrap();
        assert!(refused("{}").contains("model"));
        assert!(
            refused(r#"{"model": {"type": "BPE", "vocab": {}, "unk_token": "x"}}"#)
                .contains("WordPiece")
        );
        assert!(refused(r#"{"model": {"vocab": {}, "unk_token": "x"}}"#).contains("no x"));
    }
}
