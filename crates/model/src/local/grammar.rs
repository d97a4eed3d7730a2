//! A JSON schema as a constraint on decoding.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use llama_cpp_2::model::LlamaModel;
use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::calls::described;
use super::ending::Bytes;
use super::schema::{self, Prepared, has_quotes, step};
use super::tokens;
use crate::quotes::Quotes;
use crate::{Error, Result, Tool};

mod calls;

/// Constraints kept for the next call with the same schema: agents at work alternate between a few.
const KEPT: usize = 8;

/// Builds constraints for one model's vocabulary.
pub(super) struct Grammars {
    factory: ParserFactory,
    bytes: Arc<Bytes>,
    /// The latest last.
    kept: Mutex<VecDeque<(Value, Matcher)>>,
}

impl Grammars {
    pub(super) fn new(model: Arc<LlamaModel>) -> Result<Grammars> {
        Grammars::over(Arc::new(Vocabulary::of(model)))
    }

    pub(super) fn over(environment: TokEnv) -> Result<Grammars> {
        let abilities = InferenceCapabilities {
            ff_tokens: true,
            ..InferenceCapabilities::default()
        };
        let slices = SlicedBiasComputer::json_slices();
        let mut factory =
            ParserFactory::new(&environment, abilities, &slices).map_err(|error| {
                Error::Engine {
                    message: error.to_string(),
                }
            })?;
        factory.quiet();
        Ok(Grammars {
            factory,
            bytes: Arc::new(Bytes::of(environment.tok_trie())),
            kept: Mutex::default(),
        })
    }

    /// The vocabulary's tokens of single bytes.
    pub(super) fn bytes(&self) -> Arc<Bytes> {
        Arc::clone(&self.bytes)
    }

    /// A fresh constraint for `schema`.
    ///
    /// # Errors
    /// [`Error::Schema`] with the place in it that cannot be enforced.
    pub(super) fn matcher(&self, schema: &Value) -> Result<Matcher> {
        self.kept_or(schema, || {
            let prepared = prepare(schema)?;
            self.build(&prepared.schema, "#")
                .map_err(|message| Error::Schema {
                    message: self.blame(&prepared, &prepared.schema, "#", message),
                })
        })
    }

    /// A fresh constraint for calls of `tools`: with `required` at least one and nothing else, else free
    /// text or calls. Arguments are held to the tools' schemas.
    ///
    /// # Errors
    /// [`Error::Schema`] with the tool and the place in its schema that cannot be enforced.
    pub(super) fn calls(&self, tools: &[&Tool], required: bool) -> Result<Matcher> {
        let described: Vec<Value> = tools.iter().map(|tool| described(tool)).collect();
        let key = json!({"tools": described, "required": required});
        self.kept_or(&key, || {
            let mut rules = Vec::new();
            for tool in tools {
                let arguments = self.arguments(tool).map_err(|error| match error {
                    Error::Schema { message } => Error::Schema {
                        message: format!("of the tool {}: {message}", tool.name),
                    },
                    other => other,
                })?;
                rules.push((tool.name.clone(), arguments));
            }
            let grammar = TopLevelGrammar::from_lark(calls::grammar(&rules, required));
            let matcher = Matcher::new(self.factory.create_parser(grammar));
            match matcher.get_error() {
                Some(message) => Err(Error::Schema { message }),
                None => Ok(matcher),
            }
        })
    }

    /// The schema of a tool's arguments, once it is known to be enforceable.
    fn arguments(&self, tool: &Tool) -> Result<Value> {
        let prepared = prepare(&calls::arguments(&tool.parameters))?;
        match self.build(&prepared.schema, "#") {
            Ok(_) => Ok(prepared.schema),
            Err(message) => Err(Error::Schema {
                message: self.blame(&prepared, &prepared.schema, "#", message),
            }),
        }
    }

    /// The constraint that is kept for `key`, or the one that `build` makes.
    fn kept_or(&self, key: &Value, build: impl FnOnce() -> Result<Matcher>) -> Result<Matcher> {
        let same = |kept: &VecDeque<(Value, Matcher)>| {
            let same = kept.iter().find(|(known, _)| known == key);
            same.map(|(_, matcher)| matcher.deep_clone())
        };
        if let Some(matcher) = same(&self.kept()) {
            return Ok(matcher);
        }
        // Built without the lock, so that calls with other schemas do not wait.
        let matcher = build()?;
        let mut kept = self.kept();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((key.clone(), matcher.deep_clone()));
        Ok(matcher)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Value, Matcher)>> {
        self.kept
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn build(&self, schema: &Value, path: &str) -> std::result::Result<Matcher, String> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar(schema, path)?));
        let message = matcher.get_error();
        match message.or_else(|| matcher.grammar_warnings().into_iter().next()) {
            Some(message) => Err(message),
            None => Ok(matcher),
        }
    }

    /// Finds the innermost part of `schema` that cannot be enforced by itself, because the constraint
    /// engine does not say where it stumbled.
    fn blame(&self, whole: &Prepared, schema: &Value, path: &str, message: String) -> String {
        // By itself first, so that a definition is to blame and not who refers to it.
        let alone = |part: &Value| opaque(part);
        let inside = self.first_wrong(schema, path, alone).or_else(|| {
            let definitions = whole.schema.get("$defs");
            self.first_wrong(schema, path, |part| with_definitions(part, definitions))
        });
        if let Some((part, path, message)) = inside {
            return self.blame(whole, part, &path, message);
        }
        let message = message
            .strip_prefix(&format!("{path}: "))
            .unwrap_or(&message);
        let first = message.lines().next().unwrap_or_default();
        let said = match first.starts_with("oneOf constraints are not supported") {
            true => {
                "the branches of oneOf have to exclude each other, by their types or a constant; \
                 use anyOf where either will do"
            }
            false => first,
        };
        format!("{}: {said}", whole.original(path))
    }

    /// The first part of `schema` that cannot be built in the form that `alone` gives it, its place, and why.
    fn first_wrong<'a>(
        &self,
        schema: &'a Value,
        path: &str,
        alone: impl Fn(&Value) -> Value,
    ) -> Option<(&'a Value, String, String)> {
        parts(schema).into_iter().find_map(|(name, part)| {
            let path = format!("{path}/{name}");
            let message = self.build(&alone(part), &path).err()?;
            Some((part, path, message))
        })
    }
}

/// A part of a schema in which whatever it refers to is left open.
fn opaque(part: &Value) -> Value {
    match part {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter(|(name, _)| *name != "$ref" && *name != "$defs");
            Value::Object(
                fields
                    .map(|(name, part)| (name.clone(), opaque(part)))
                    .collect(),
            )
        }
        Value::Array(parts) => parts.iter().map(opaque).collect(),
        other => other.clone(),
    }
}

/// What of `schema` can be enforced as it stands.
fn prepare(schema: &Value) -> Result<Prepared> {
    schema::prepare(schema).map_err(|refusal| Error::Schema {
        message: format!("{}: {}", refusal.pointer, refusal.message),
    })
}

/// A part of a schema by itself, with what it may refer to.
fn with_definitions(part: &Value, definitions: Option<&Value>) -> Value {
    let mut alone = part.clone();
    if let (Some(object), Some(definitions)) = (alone.as_object_mut(), definitions) {
        object.insert("$defs".to_owned(), definitions.clone());
    }
    alone
}

/// The schemas directly inside `schema`, with their places.
fn parts(schema: &Value) -> Vec<(String, &Value)> {
    let mut parts = Vec::new();
    for keyword in ["$defs", "properties", "patternProperties"] {
        let named = schema.get(keyword).and_then(Value::as_object);
        let named = named.into_iter().flatten();
        parts.extend(named.map(|(name, part)| (format!("{keyword}/{}", step(name)), part)));
    }
    for keyword in ["items", "additionalProperties"] {
        let part = schema.get(keyword).filter(|part| part.is_object());
        parts.extend(part.map(|part| (keyword.to_owned(), part)));
    }
    for keyword in ["anyOf", "oneOf", "allOf", "prefixItems"] {
        let listed = schema.get(keyword).and_then(Value::as_array);
        let listed = listed.into_iter().flatten().enumerate();
        parts.extend(listed.map(|(index, part)| (format!("{keyword}/{index}"), part)));
    }
    parts
}

/// JSON without white space, so that no token is spent on it.
fn compact(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        let guidance =
            json!({"whitespace_flexible": false, "item_separator": ",", "key_separator": ":"});
        object.insert("x-guidance".to_owned(), guidance);
    }
    schema
}

fn grammar(schema: &Value, path: &str) -> std::result::Result<TopLevelGrammar, String> {
    if !has_quotes(schema) {
        return Ok(TopLevelGrammar::from_json_schema(compact(schema)));
    }
    let mut rules = Rules {
        definitions: schema.get("$defs"),
        text: String::new(),
        count: 0,
    };
    let start = rules.of(schema, path)?;
    let text = format!("start: {start}\n{}", rules.text);
    Ok(TopLevelGrammar::from_lark(text))
}

/// Lark rules for the parts of a schema that lead to a quote; all other parts stay JSON schema.
struct Rules<'a> {
    definitions: Option<&'a Value>,
    text: String,
    count: usize,
}

impl Rules<'_> {
    /// The expression for `schema`, which stands at `path`.
    fn of(&mut self, schema: &Value, path: &str) -> std::result::Result<String, String> {
        if let Some(quotes) = Quotes::of(schema) {
            only(
                schema,
                path,
                &["type", "x-quote-from", "x-quote-max", "x-quote-first"],
            )?;
            if quotes.passages.iter().all(Vec::is_empty) {
                return Err(format!("{path}: x-quote-from has no sentence"));
            }
            return Ok(self.add("QUOTE", format!("/{}/", quotes.json_regex())));
        }
        if !has_quotes(schema) {
            let part = compact(&with_definitions(schema, self.definitions));
            return Ok(self.add("part", format!("%json {part}")));
        }
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            only(schema, path, &["anyOf", "$defs"])?;
            let mut expressions = Vec::new();
            for (index, branch) in branches.iter().enumerate() {
                expressions.push(self.of(branch, &format!("{path}/anyOf/{index}"))?);
            }
            return Ok(format!("({})", expressions.join(" | ")));
        }
        if let Some(items) = schema.get("items") {
            only(
                schema,
                path,
                &["type", "items", "minItems", "maxItems", "$defs"],
            )?;
            return self.array(schema, items, path);
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Err(format!(
                "{path}: x-quote-from works in objects, arrays and anyOf"
            ));
        };
        only(
            schema,
            path,
            &[
                "type",
                "properties",
                "required",
                "additionalProperties",
                "$defs",
            ],
        )?;
        // Around a quote every property is required; that keeps the rules a plain sequence.
        let mut parts = Vec::new();
        for (name, property) in properties {
            let expression = self.of(property, &format!("{path}/properties/{name}"))?;
            let key = format!(
                "{}{}:",
                if parts.is_empty() { "{" } else { "," },
                json!(name)
            );
            parts.push(format!("{} {expression}", json!(key)));
        }
        Ok(format!("({} \"}}\")", parts.join(" ")))
    }

    fn array(
        &mut self,
        schema: &Value,
        items: &Value,
        path: &str,
    ) -> std::result::Result<String, String> {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        let item = self.of(items, &format!("{path}/items"))?;
        let item = self.add("item", item);
        let least = bound("minItems").unwrap_or(0);
        let most = bound("maxItems").unwrap_or(16).max(least).max(1);
        let more = format!("(\",\" {item}){{{},{}}}", least.saturating_sub(1), most - 1);
        let some = format!("{item} {more}");
        Ok(if least == 0 {
            format!("\"[\" ({some})? \"]\"")
        } else {
            format!("\"[\" {some} \"]\"")
        })
    }

    fn add(&mut self, kind: &str, definition: String) -> String {
        self.count += 1;
        let name = format!("{kind}{}", self.count);
        self.text.push_str(&format!("{name}: {definition}\n"));
        name
    }
}

/// Refuses what the rules around a quote do not look at.
fn only(schema: &Value, path: &str, known: &[&str]) -> std::result::Result<(), String> {
    let mut keywords = schema.as_object().into_iter().flatten();
    match keywords.find(|(keyword, _)| !known.contains(&keyword.as_str())) {
        Some((keyword, _)) => Err(format!(
            "{path}: {keyword} is not enforced around x-quote-from"
        )),
        None => Ok(()),
    }
}

/// The model's vocabulary as the constraint engine sees it.
struct Vocabulary {
    trie: TokTrie,
    model: Arc<LlamaModel>,
}

impl Vocabulary {
    fn of(model: Arc<LlamaModel>) -> Vocabulary {
        let vocabulary = model.vocab();
        let end = match vocabulary.eot().0 {
            -1 => vocabulary.eos(),
            _ => vocabulary.eot(),
        };
        let mut words = Vec::new();
        let mut ends = vec![end.0.cast_unsigned()];
        for token in vocabulary.tokens() {
            if vocabulary.is_eog(token) && token != end {
                ends.push(token.0.cast_unsigned());
            }
            let mut bytes = tokens::bytes(&model, token);
            if bytes.is_empty() {
                // The mark of a control token, which no constraint takes for text.
                bytes = model.vocab().token_to_piece(token, true, None);
                if !bytes.is_empty() {
                    bytes.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
                }
            }
            words.push(bytes);
        }
        let size = u32::try_from(words.len()).unwrap_or(u32::MAX);
        let info = TokRxInfo::new(size, end.0.cast_unsigned());
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        drop(words);
        Vocabulary { trie, model }
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let tokenise = |text: &str| {
            let tokens = tokens::plain(&self.model, text);
            tokens
                .into_iter()
                .map(|token| token.0.cast_unsigned())
                .collect::<Vec<TokenId>>()
        };
        match std::str::from_utf8(bytes) {
            Ok(text) => tokenise(text),
            // Bytes that end in the middle of a character.
            Err(_) => self.trie.greedy_tokenize(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
