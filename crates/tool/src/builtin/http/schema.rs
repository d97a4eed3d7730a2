//! Schemas of OpenAPI as JSON Schemas that models are shown: in one piece, and with what all of them know.

use serde_json::{Map, Value, json};

use super::document::Document;

/// How deep a schema is read.
const MOST_DEPTH: usize = 16;
/// How many parts a schema may come to, with its references written out.
const MOST_PARTS: usize = 4_000;

/// Keywords that are taken as they are.
const KEPT: &[&str] = &[
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "default",
];
/// Formats that are taken.
const FORMATS: &[&str] = &[
    "date",
    "time",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];

/// Reads schemas of a document.
pub(super) struct Schemas<'a> {
    document: &'a Document,
    parts: usize,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(document: &'a Document) -> Schemas<'a> {
        Schemas { document, parts: 0 }
    }

    /// A schema with its references written out; where they go round or too deep, anything is taken.
    pub(super) fn read(&mut self, schema: &'a Value) -> Result<Value, String> {
        self.at(schema, &mut Vec::new())
    }

    fn at(&mut self, schema: &'a Value, above: &mut Vec<&'a str>) -> Result<Value, String> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(format!("its schema has more than {MOST_PARTS} parts"));
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if above.contains(&reference) || above.len() >= MOST_DEPTH {
                return Ok(json!({}));
            }
            let to = self.document.resolve(schema)?;
            above.push(reference);
            let read = self.at(to, above);
            above.pop();
            return read;
        }
        let Some(given) = schema.as_object() else {
            // `true`, or nothing said.
            return Ok(json!({}));
        };
        if above.len() >= MOST_DEPTH {
            return Ok(json!({}));
        }
        above.push("");
        let read = self.object(given, above);
        above.pop();
        read
    }

    fn object(
        &mut self,
        given: &'a Map<String, Value>,
        above: &mut Vec<&'a str>,
    ) -> Result<Value, String> {
        let mut schema = Map::new();
        for (keyword, value) in given {
            match keyword.as_str() {
                kept if KEPT.contains(&kept) => {
                    schema.insert(keyword.clone(), value.clone());
                }
                "format"
                    if value
                        .as_str()
                        .is_some_and(|format| FORMATS.contains(&format)) =>
                {
                    schema.insert(keyword.clone(), value.clone());
                }
                "items" => {
                    schema.insert(keyword.clone(), self.at(value, above)?);
                }
                "additionalProperties" => {
                    let read = match value {
                        Value::Object(_) => self.at(value, above)?,
                        other => other.clone(),
                    };
                    schema.insert(keyword.clone(), read);
                }
                "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                    let parts = value.as_array().into_iter().flatten();
                    let parts: Result<Vec<Value>, String> =
                        parts.map(|part| self.at(part, above)).collect();
                    schema.insert(keyword.clone(), parts?.into());
                }
                _ => {}
            }
        }
        self.properties(given, &mut schema, above)?;
        bounds(given, &mut schema);
        nullable(given, &mut schema);
        notes(given, &mut schema);
        Ok(schema.into())
    }

    /// The properties, without those that only the server writes.
    fn properties(
        &mut self,
        given: &'a Map<String, Value>,
        schema: &mut Map<String, Value>,
        above: &mut Vec<&'a str>,
    ) -> Result<(), String> {
        let Some(properties) = given.get("properties").and_then(Value::as_object) else {
            if let Some(required) = given.get("required").filter(|required| required.is_array()) {
                schema.insert("required".to_owned(), required.clone());
            }
            return Ok(());
        };
        let mut kept = Map::new();
        let mut hidden = Vec::new();
        for (name, property) in properties {
            match self.document.resolve(property)?["readOnly"] == true {
                true => hidden.push(name.as_str()),
                false => {
                    kept.insert(name.clone(), self.at(property, above)?);
                }
            }
        }
        let required = given.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten();
        let required: Vec<Value> = required
            .filter(|name| name.as_str().is_some_and(|name| !hidden.contains(&name)))
            .cloned()
            .collect();
        schema.entry("type").or_insert_with(|| "object".into());
        schema.insert("properties".to_owned(), kept.into());
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        Ok(())
    }
}

/// `exclusiveMinimum` is a bound in 3.1, and says of `minimum` in 3.0 that it is one.
fn bounds(given: &Map<String, Value>, schema: &mut Map<String, Value>) {
    for (exclusive, inclusive) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        match given.get(exclusive) {
            Some(Value::Bool(true)) => {
                if let Some(bound) = schema.remove(inclusive) {
                    schema.insert(exclusive.to_owned(), bound);
                }
            }
            Some(bound @ Value::Number(_)) => {
                schema.insert(exclusive.to_owned(), bound.clone());
            }
            _ => {}
        }
    }
}

/// `nullable` of 3.0 is a type of 3.1.
fn nullable(given: &Map<String, Value>, schema: &mut Map<String, Value>) {
    if given.get("nullable") != Some(&Value::Bool(true)) {
        return;
    }
    if let Some(Value::String(kind)) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), json!([kind, "null"]));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

/// What is said in words: the description, and the pattern, which not every model's engine reads the same.
fn notes(given: &Map<String, Value>, schema: &mut Map<String, Value>) {
    let text = |keyword: &str| given.get(keyword).and_then(Value::as_str);
    let mut said = text("description")
        .or(text("title"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    if let Some(pattern) = text("pattern") {
        said = format!("{said} (pattern: {pattern})")
            .trim_start()
            .to_owned();
    }
    if !said.is_empty() {
        schema.insert("description".to_owned(), said.into());
    }
}
