//! The schema extension that makes a string a verbatim quote.
//!
//! A string schema with `"x-quote-from": [["First sentence.", "Second."], ["Another passage."]]` takes
//! one to `"x-quote-max"` (3 by default) consecutive sentences of one inner list, joined by single
//! spaces. The local engine decodes under it, so that a quote is verbatim by construction; other
//! providers are held against it afterwards.

use serde_json::Value;

/// The passages that a string may quote: each a list of sentences, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotes {
    /// The passages.
    pub passages: Vec<Vec<String>>,
    /// The most consecutive sentences of a quote.
    pub max: usize,
}

impl Quotes {
    /// The quotes that `schema` asks for, if it does.
    pub fn of(schema: &Value) -> Option<Quotes> {
        let passages: Vec<Vec<String>> = serde_json::from_value(schema.get("x-quote-from")?.clone()).ok()?;
        let max = schema.get("x-quote-max").and_then(Value::as_u64).unwrap_or(3);
        let max = usize::try_from(max).unwrap_or(3).max(1);
        Some(Quotes { passages, max })
    }

    /// Whether `text` is such a quote.
    pub fn allow(&self, text: &str) -> bool {
        self.passages.iter().any(|sentences| {
            (1..=self.max).any(|length| sentences.windows(length).any(|run| run.join(" ") == text))
        })
    }

    /// A regular expression for the JSON strings, quotation marks included, of all such quotes.
    pub fn json_regex(&self) -> String {
        let mut starts = Vec::new();
        for sentences in &self.passages {
            for first in 0..sentences.len() {
                starts.push(self.from(sentences.get(first..).unwrap_or_default(), self.max));
            }
        }
        format!("\"({})\"", starts.join("|"))
    }

    /// The quotes that begin with the first of `sentences`: `a( b( c)?)?`.
    fn from(&self, sentences: &[String], left: usize) -> String {
        let Some((first, rest)) = sentences.split_first() else { return String::new() };
        let first = escape(first);
        if left <= 1 || rest.is_empty() {
            return first;
        }
        format!("{first}( {})?", self.from(rest, left - 1))
    }
}

/// The text inside a JSON string, with what means something in a regular expression escaped.
fn escape(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let inner = json.get(1..json.len() - 1).unwrap_or_default();
    let mut out = String::with_capacity(inner.len());
    for character in inner.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotes_are_consecutive_sentences_of_one_passage() {
        let schema = json!({"type": "string", "x-quote-from": [["A.", "B.", "C."], ["D."]], "x-quote-max": 2});
        let quotes = Quotes::of(&schema).unwrap();
        for yes in ["A.", "B.", "A. B.", "B. C.", "D."] {
            assert!(quotes.allow(yes), "{yes}");
        }
        for no in ["", "A. B. C.", "A. C.", "C. D.", "a."] {
            assert!(!quotes.allow(no), "{no}");
        }
        assert_eq!(quotes.json_regex(), r#""(A\.( B\.)?|B\.( C\.)?|C\.|D\.)""#);
    }
}
