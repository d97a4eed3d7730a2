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
    /// Whether a quote begins with the first sentence of its passage.
    pub first: bool,
}

impl Quotes {
    /// The quotes that `schema` asks for, if it does.
    pub fn of(schema: &Value) -> Option<Quotes> {
        let passages: Vec<Vec<String>> =
            serde_json::from_value(schema.get("x-quote-from")?.clone()).ok()?;
        let max = schema
            .get("x-quote-max")
            .and_then(Value::as_u64)
            .unwrap_or(3);
        let max = usize::try_from(max).unwrap_or(3).max(1);
        let first = schema.get("x-quote-first") == Some(&Value::Bool(true));
        Some(Quotes {
            passages,
            max,
            first,
        })
    }

    /// Whether `text` is such a quote; the marks that it ends with may be left out, as people do.
    pub fn allow(&self, text: &str) -> bool {
        const MARKS: [char; 4] = ['.', ',', ';', ':'];
        let same = |run: String| run == text || run.trim_end_matches(MARKS) == text;
        let empty = text.trim().is_empty();
        self.passages.iter().any(|sentences| {
            let runs = |length| sentences.windows(length).take(self.starts(sentences));
            (1..=self.max).any(|length| !empty && runs(length).any(|run| same(run.join(" "))))
        })
    }

    /// A regular expression for the JSON strings, quotation marks included, of all such quotes.
    pub fn json_regex(&self) -> String {
        let mut starts = Vec::new();
        for sentences in &self.passages {
            for first in 0..self.starts(sentences) {
                starts.push(self.from(sentences.get(first..).unwrap_or_default(), self.max));
            }
        }
        format!("\"({})\"", starts.join("|"))
    }

    /// How many sentences of a passage a quote can begin with.
    fn starts(&self, sentences: &[String]) -> usize {
        match self.first {
            true => sentences.len().min(1),
            false => sentences.len(),
        }
    }

    /// The quotes that begin with the first of `sentences`: `a( b( c)?)?`.
    fn from(&self, sentences: &[String], left: usize) -> String {
        let Some((first, rest)) = sentences.split_first() else {
            return String::new();
        };
        let first = escape(first);
        if left <= 1 || rest.is_empty() {
            return first;
        }
        format!("{first}( {})?", self.from(rest, left - 1))
    }
}

/// The schema as providers know it: without this module's keywords.
pub fn without_extensions(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let known = object
                .iter()
                .filter(|(name, _)| !name.starts_with("x-quote-"));
            Value::Object(
                known
                    .map(|(name, value)| (name.clone(), without_extensions(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(without_extensions).collect()),
        other => other.clone(),
    }
}

/// Holds `text` against `schema`, quotes included.
///
/// # Errors
/// What is wrong, in words that a model can act on.
pub fn check(schema: &Value, text: &str) -> Result<(), String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("it is not JSON ({error})"))?;
    if let Err(error) = jsonschema::validate(&without_extensions(schema), &value) {
        let path = error.instance_path().to_string();
        return Err(if path.is_empty() {
            error.to_string()
        } else {
            format!("at {path}: {error}")
        });
    }
    check_quotes(schema, schema, &value)
}

/// Whether a value fits a branch of `root`, whose definitions the branch may refer to. A branch that refers to anything
/// else of it cannot be told by itself, and may fit.
fn fits(root: &Value, branch: &Value, value: &Value) -> bool {
    let mut branch = without_extensions(branch);
    if let Some(fields) = branch.as_object_mut() {
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = root.get(name) {
                let definitions = without_extensions(definitions);
                fields.entry(name).or_insert(definitions);
            }
        }
    }
    jsonschema::validator_for(&branch).map_or(true, |validator| validator.is_valid(value))
}

fn check_quotes(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let (Some(quotes), Some(text)) = (Quotes::of(schema), value.as_str()) {
        return match quotes.allow(text) {
            true => Ok(()),
            false => Err(format!(
                "\"{text}\" is not copied word for word: it has to be 1 to {} consecutive ones of the pieces that the passage is made of, and begin where one begins",
                quotes.max
            )),
        };
    }
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        let fitting = branches.iter().filter(|branch| fits(root, branch, value));
        let outcomes: Vec<_> = fitting
            .map(|branch| check_quotes(root, branch, value))
            .collect();
        return match outcomes.iter().any(Result::is_ok) {
            true => Ok(()),
            false => outcomes.into_iter().next().unwrap_or(Ok(())),
        };
    }
    if let (Some(properties), Some(object)) = (schema.get("properties"), value.as_object()) {
        for (name, value) in object {
            check_quotes(root, properties.get(name).unwrap_or(&Value::Null), value)?;
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for value in values {
            check_quotes(root, items, value)?;
        }
    }
    Ok(())
}

/// The text inside a JSON string, with what means something in a regular expression escaped.
pub(crate) fn escape(text: &str) -> String {
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
        for yes in ["A.", "B.", "A. B.", "B. C.", "D.", "D", "A. B"] {
            assert!(quotes.allow(yes), "{yes}");
        }
        for no in ["", "A. B. C.", "A. C.", "C. D.", "a."] {
            assert!(!quotes.allow(no), "{no}");
        }
        let object =
            json!({"type": "object", "properties": {"quote": schema}, "required": ["quote"]});
        assert_eq!(check(&object, r#"{"quote":"A. B."}"#), Ok(()));
        for wrong in [r#"{"quote":"A. C."}"#, r#"{"quote":1}"#, "{}", "quote"] {
            assert!(check(&object, wrong).is_err(), "{wrong}");
        }
        assert_eq!(quotes.json_regex(), r#""(A\.( B\.)?|B\.( C\.)?|C\.|D\.)""#);
        // A branch may refer to what the whole schema defines, or to the whole.
        let either = json!({"type": "object", "$defs": {"colour": {"enum": ["red", "blue"]}}, "properties": {"car": {"anyOf": [
            {"type": "object", "properties": {"colour": {"$ref": "#/$defs/colour"}}, "required": ["colour"]},
            {"type": "object", "properties": {"in": {"$ref": "#"}}, "required": ["in"]}]}}});
        for (text, is_right) in [
            (r#"{"car":{"colour":"red"}}"#, true),
            (r#"{"car":{"in":{"car":{"colour":"blue"}}}}"#, true),
            (r#"{"car":{"colour":"new"}}"#, false),
        ] {
            assert_eq!(check(&either, text).is_ok(), is_right, "{text}");
        }
        let first = Quotes {
            first: true,
            ..quotes
        };
        assert!(first.allow("A. B.") && first.allow("D.") && !first.allow("B."));
        assert_eq!(first.json_regex(), r#""(A\.( B\.)?|D\.)""#);
    }
}
