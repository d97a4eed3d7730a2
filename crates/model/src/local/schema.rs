//! What of JSON Schema the engine enforces, and what it refuses.
//!
//! [`prepare`] reads a schema before anything is decoded. Each keyword is enforced, is a note that says
//! nothing about values, or is refused with its place: none is passed over in silence, because an answer
//! that breaks a rule nobody looked at is worse than an error. What is left is written in the few forms that
//! the constraint engine knows: references point to `$defs` of the root, formats are patterns, and numbers
//! have bounds that every reader of JSON can hold.
//!
//! It does not know whether a pattern can be compiled or the branches of a `oneOf` exclude each other; the
//! constraint engine does, and [`super::grammar`] finds the place.

use serde_json::{Map, Value, json};

use super::{formats, pattern};

/// Keywords that are enforced wherever they stand.
#[cfg(test)]
pub(super) const ENFORCED: &[&str] = &[
    "type",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// Keywords that say something about values and cannot be enforced while an answer is written.
pub(super) const REFUSED: &[&str] = &[
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
];

/// Keywords that say nothing about values; names that begin with `x-` are notes as well.
pub(super) const NOTES: &[&str] = &[
    "$schema",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "example",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    "discriminator",
    "externalDocs",
];

const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// The largest integer that every reader of JSON can hold, 2^53 - 1.
const LARGEST_INTEGER: i64 = 9_007_199_254_740_991;
/// Within this a number needs no exponent.
const LARGEST_NUMBER: i64 = 1_000_000_000_000_000;

/// How deep schemas may nest; references do not count.
const DEEPEST: usize = 64;

/// Why a schema is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The place, as a JSON pointer in the schema, such as `#/properties/name`.
    pub pointer: String,
    /// What about it.
    pub message: String,
}

/// A schema in the forms that the constraint engine knows.
#[derive(Debug)]
pub(super) struct Prepared {
    /// It; what is referred to stands in its `$defs`.
    pub schema: Value,
    /// The pointers of its definitions in the schema as it was given.
    pub places: Vec<String>,
}

impl Prepared {
    /// The place in the schema as it was given.
    pub(super) fn original(&self, pointer: &str) -> String {
        let inside = pointer.strip_prefix("#/$defs/d").and_then(|rest| {
            rest.find('/')
                .map(|end| rest.split_at(end))
                .or(Some((rest, "")))
        });
        let found = inside.and_then(|(number, rest)| {
            let place = self.places.get(number.parse::<usize>().ok()?)?;
            Some(format!("{place}{rest}"))
        });
        found.unwrap_or_else(|| pointer.to_owned())
    }
}

/// Brings `schema` into the forms that can be enforced.
///
/// # Errors
/// The first place that cannot.
pub(super) fn prepare(schema: &Value) -> Result<Prepared, Refusal> {
    let mut walk = Walk {
        root: schema,
        places: Vec::new(),
    };
    let mut prepared = walk.schema(schema, "#", 0)?;
    let mut definitions = Map::new();
    // Preparing a definition may find more of them.
    let mut next = 0;
    while let Some(place) = walk.places.get(next).cloned() {
        let target = walk.at(&place, &place)?;
        if has_quotes(target) {
            return Err(refusal(&place, "x-quote-from cannot stand behind a $ref"));
        }
        let definition = walk.schema(target, &place, 0)?;
        definitions.insert(format!("d{next}"), definition);
        next += 1;
    }
    if let (false, Some(object)) = (definitions.is_empty(), prepared.as_object_mut()) {
        object.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(Prepared {
        schema: prepared,
        places: walk.places,
    })
}

/// Whether a quote is asked for somewhere inside.
pub(super) fn has_quotes(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            object.contains_key("x-quote-from") || object.values().any(has_quotes)
        }
        Value::Array(items) => items.iter().any(has_quotes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn refusal(pointer: &str, message: impl Into<String>) -> Refusal {
    Refusal {
        pointer: pointer.to_owned(),
        message: message.into(),
    }
}

/// `name` as a step of a JSON pointer.
pub(super) fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

struct Walk<'a> {
    root: &'a Value,
    /// The pointers that were referred to, in the order of their definitions.
    places: Vec<String>,
}

type Found = Result<Value, Refusal>;

impl<'a> Walk<'a> {
    fn schema(&mut self, schema: &'a Value, path: &str, depth: usize) -> Found {
        if depth > DEEPEST {
            return Err(refusal(path, format!("it nests more than {DEEPEST} deep")));
        }
        let object = match schema {
            Value::Bool(any) => return Ok(Value::Bool(*any)),
            Value::Object(object) => object,
            _ => return Err(refusal(path, "a schema is an object or a boolean")),
        };
        let mut prepared = Map::new();
        for (keyword, value) in object {
            let place = format!("{path}/{}", step(keyword));
            if let Some(value) = self.keyword(keyword, value, path, &place, depth)? {
                prepared.insert(keyword.clone(), value);
            }
        }
        settle_items(&mut prepared, path)?;
        settle_format(&mut prepared, path)?;
        settle_bounds(&mut prepared);
        Ok(Value::Object(prepared))
    }

    /// What becomes of a keyword; none where it says nothing about values.
    fn keyword(
        &mut self,
        keyword: &str,
        value: &'a Value,
        path: &str,
        place: &str,
        depth: usize,
    ) -> Result<Option<Value>, Refusal> {
        let kept = match keyword {
            "type" => types(value, place)?,
            "enum" => constants(value, place)?,
            "const" => constant(value, place)?,
            "anyOf" | "allOf" => self.list(value, place, depth)?,
            "oneOf" => self.branches(value, place, depth)?,
            "$ref" => self.reference(value, place)?,
            "properties" => self.named(value, place, depth)?,
            "patternProperties" => self.patterns(value, place, depth)?,
            "items" if value.is_array() => self.list(value, place, depth)?,
            "prefixItems" => self.list(value, place, depth)?,
            "additionalProperties" | "items" | "additionalItems" => {
                self.schema(value, place, depth + 1)?
            }
            "required" => names(value, place)?,
            "minProperties" | "maxProperties" | "minItems" | "maxItems" | "minLength"
            | "maxLength" => count(value, place)?,
            "minimum" | "maximum" => number(value, place)?,
            "exclusiveMinimum" | "exclusiveMaximum" if value.is_boolean() => value.clone(),
            "exclusiveMinimum" | "exclusiveMaximum" => number(value, place)?,
            "multipleOf" => match number(value, place)?.as_f64() {
                Some(above) if above > 0.0 => value.clone(),
                _ => return Err(refusal(place, "it has to be above 0")),
            },
            "pattern" => expression(value, place)?,
            "format" => match value.is_string() {
                true => value.clone(),
                false => return Err(refusal(place, "it has to be a string")),
            },
            // The rules of quotes refuse those that there are not.
            quotes if quotes.starts_with("x-quote-") => value.clone(),
            // These leave everything open.
            "uniqueItems" | "nullable" if *value == json!(false) => return Ok(None),
            "unevaluatedItems" | "unevaluatedProperties" if *value == json!(true) => {
                return Ok(None);
            }
            "$id" | "id" if path == "#" => return Ok(None),
            other if NOTES.contains(&other) || other.starts_with("x-") => return Ok(None),
            other => return Err(refusal(place, why_not(other))),
        };
        Ok(Some(kept))
    }

    fn list(&mut self, value: &'a Value, place: &str, depth: usize) -> Found {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            return Err(refusal(place, "it has to be a list of schemas"));
        };
        let items = items.iter().enumerate();
        let items =
            items.map(|(index, item)| self.schema(item, &format!("{place}/{index}"), depth + 1));
        items.collect()
    }

    fn named(&mut self, value: &'a Value, place: &str, depth: usize) -> Found {
        let Some(named) = value.as_object() else {
            return Err(refusal(place, "it has to be an object of schemas"));
        };
        let named = named.iter().map(|(name, part)| {
            let part = self.schema(part, &format!("{place}/{}", step(name)), depth + 1)?;
            Ok((name.clone(), part))
        });
        named.collect::<Result<Map<_, _>, _>>().map(Value::Object)
    }

    fn patterns(&mut self, value: &'a Value, place: &str, depth: usize) -> Found {
        let Value::Object(named) = self.named(value, place, depth)? else {
            return Ok(json!({}));
        };
        let translated = named.into_iter().map(|(name, part)| {
            let place = format!("{place}/{}", step(&name));
            let name = pattern::translated(&name).map_err(|message| refusal(&place, message))?;
            Ok((name, part))
        });
        translated
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object)
    }

    /// The branches of a `oneOf`. References are followed, because whether branches exclude each other
    /// is seen in what they refer to.
    fn branches(&mut self, value: &'a Value, place: &str, depth: usize) -> Found {
        let Some(branches) = value.as_array().filter(|branches| !branches.is_empty()) else {
            return Err(refusal(place, "it has to be a list of schemas"));
        };
        let mut prepared = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let (mut branch, mut path) = (branch, format!("{place}/{index}"));
            let mut left = DEEPEST;
            while let Some(reference) = only_reference(branch) {
                path = pointer(reference, &path)?;
                branch = self.at(&path, place)?;
                left -= 1;
                if left == 0 {
                    return Err(refusal(place, "it refers to itself"));
                }
            }
            prepared.push(self.schema(branch, &path, depth + 1)?);
        }
        Ok(Value::Array(prepared))
    }

    fn reference(&mut self, value: &Value, place: &str) -> Found {
        let Some(reference) = value.as_str() else {
            return Err(refusal(place, "it has to be a string"));
        };
        let target = pointer(reference, place)?;
        self.at(&target, place)?;
        let known = self.places.iter().position(|known| *known == target);
        let index = known.unwrap_or_else(|| {
            self.places.push(target);
            self.places.len() - 1
        });
        Ok(json!(format!("#/$defs/d{index}")))
    }

    /// The part of the schema at `target`; `place` is where it is referred to.
    fn at(&self, target: &str, place: &str) -> Result<&'a Value, Refusal> {
        let found = target
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| refusal(place, format!("there is no {target} in the schema")))
    }
}

/// The reference of a schema that is nothing else.
fn only_reference(schema: &Value) -> Option<&str> {
    let object = schema.as_object()?;
    let says = |keyword: &&String| *keyword != "$ref" && !NOTES.contains(&keyword.as_str());
    match object.keys().any(|keyword| says(&keyword)) {
        true => None,
        false => object.get("$ref")?.as_str(),
    }
}

/// A reference as a pointer into the same schema.
fn pointer(reference: &str, place: &str) -> Result<String, Refusal> {
    let inside = reference.strip_prefix('#');
    match inside.map(|pointer| (pointer.is_empty() || pointer.starts_with('/'), pointer)) {
        Some((true, pointer)) => Ok(format!(
            "#{}",
            percent_decoded(pointer.trim_end_matches('/'))
        )),
        _ => Err(refusal(
            place,
            format!("{reference} is not in the schema; a reference is written #/$defs/NAME"),
        )),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn why_not(keyword: &str) -> String {
    let known = REFUSED.contains(&keyword);
    match keyword {
        "nullable" => "nullable is not enforced; write \"type\": [..., \"null\"]".to_owned(),
        "$id" | "id" => "only the root may have an identifier".to_owned(),
        _ if known => format!("{keyword} is not enforced"),
        _ => format!("{keyword} is no keyword of JSON Schema; notes of your own begin with x-"),
    }
}

fn types(value: &Value, place: &str) -> Found {
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let fine = match value {
        Value::Array(types) => !types.is_empty() && types.iter().all(known),
        one => known(one),
    };
    match fine {
        true => Ok(value.clone()),
        false => Err(refusal(
            place,
            format!("a type is one of {}", TYPES.join(", ")),
        )),
    }
}

fn constants(value: &Value, place: &str) -> Found {
    let Some(values) = value.as_array().filter(|values| !values.is_empty()) else {
        return Err(refusal(place, "it has to be a list of values"));
    };
    for (index, value) in values.iter().enumerate() {
        constant(value, &format!("{place}/{index}"))?;
    }
    Ok(value.clone())
}

/// A value that is written as it stands. Large integers would be rounded on the way.
fn constant(value: &Value, place: &str) -> Found {
    let safe = match value {
        Value::Number(number) => {
            let integer = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            integer.is_none_or(|integer| integer <= LARGEST_INTEGER.unsigned_abs())
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                constant(value, &format!("{place}/{index}"))?;
            }
            true
        }
        Value::Object(values) => {
            for (name, value) in values {
                constant(value, &format!("{place}/{}", step(name)))?;
            }
            true
        }
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    };
    match safe {
        true => Ok(value.clone()),
        false => Err(refusal(
            place,
            "an integer above 2^53 - 1 is not exact in JSON",
        )),
    }
}

fn expression(value: &Value, place: &str) -> Found {
    let Some(text) = value.as_str() else {
        return Err(refusal(place, "it has to be a string"));
    };
    let translated = pattern::translated(text);
    translated
        .map(Value::from)
        .map_err(|message| refusal(place, message))
}

fn names(value: &Value, place: &str) -> Found {
    let names = value.as_array();
    match names.is_some_and(|names| names.iter().all(Value::is_string)) {
        true => Ok(value.clone()),
        false => Err(refusal(place, "it has to be a list of names")),
    }
}

fn count(value: &Value, place: &str) -> Found {
    // 3.0 is a whole number in JSON Schema.
    let whole = value.as_u64().or_else(|| {
        let float = value
            .as_f64()
            .filter(|float| float.fract() == 0.0 && *float >= 0.0)?;
        format!("{float:.0}").parse().ok()
    });
    whole
        .map(Value::from)
        .ok_or_else(|| refusal(place, "it has to be a whole number, 0 or more"))
}

fn number(value: &Value, place: &str) -> Found {
    match value.is_number() {
        true => Ok(value.clone()),
        false => Err(refusal(place, "it has to be a number")),
    }
}

/// `items` as a list is the older way to write `prefixItems`, with `additionalItems` for the rest.
fn settle_items(schema: &mut Map<String, Value>, path: &str) -> Result<(), Refusal> {
    let additional = schema.remove("additionalItems");
    if schema.get("items").is_none_or(|items| !items.is_array()) {
        // Beside a single schema it says nothing.
        return Ok(());
    }
    if schema.contains_key("prefixItems") {
        let place = format!("{path}/items");
        return Err(refusal(
            &place,
            "beside prefixItems it has to be one schema",
        ));
    }
    if let Some(items) = schema.remove("items") {
        schema.insert("prefixItems".to_owned(), items);
    }
    if let Some(additional) = additional {
        schema.insert("items".to_owned(), additional);
    }
    Ok(())
}

/// A format of strings becomes a pattern, a format of numbers becomes bounds.
fn settle_format(schema: &mut Map<String, Value>, path: &str) -> Result<(), Refusal> {
    let Some(format) = schema.remove("format") else {
        return Ok(());
    };
    let format = format.as_str().unwrap_or_default();
    if formats::is_note(format) {
        return Ok(());
    }
    if let Some((least, most)) = formats::integer_bounds(format) {
        hold_within(schema, least, most, true);
        return Ok(());
    }
    let Some(pattern) = formats::pattern(format) else {
        let place = format!("{path}/format");
        let known = formats::names().join(", ");
        return Err(refusal(
            &place,
            format!("{format} is not enforced; formats are {known}"),
        ));
    };
    let pattern = json!(format!("^(?:{pattern})$"));
    match schema.get("pattern") {
        None => drop(schema.insert("pattern".to_owned(), pattern)),
        Some(_) => {
            let also = json!({ "pattern": pattern });
            match schema.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.push(also),
                None => drop(schema.insert("allOf".to_owned(), json!([also]))),
            }
        }
    }
    Ok(())
}

/// Numbers get bounds where the schema has none, so that an answer is a number that readers can hold.
fn settle_bounds(schema: &mut Map<String, Value>) {
    for (exclusive, inclusive) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        // The older way: whether the other keyword is meant without its value.
        let Some(Value::Bool(is_exclusive)) = schema.get(exclusive) else {
            continue;
        };
        let is_exclusive = *is_exclusive;
        schema.remove(exclusive);
        if is_exclusive && let Some(bound) = schema.remove(inclusive) {
            schema.insert(exclusive.to_owned(), bound);
        }
    }
    let has_type = |name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == name),
        Some(kind) => kind == name,
        None => false,
    };
    let most = match (has_type("integer"), has_type("number")) {
        (_, true) => LARGEST_NUMBER,
        (true, false) => LARGEST_INTEGER,
        (false, false) => return,
    };
    let is_closed = |keyword: &&str| schema.contains_key(*keyword);
    if !["const", "enum"].iter().any(is_closed) {
        hold_within(schema, -most, most, false);
    }
}

/// Bounds a side that is open, and with `tighten` one that is wider; not a side that would leave nothing.
fn hold_within(schema: &mut Map<String, Value>, least: i64, most: i64, tighten: bool) {
    let bound = |names: [&str; 2]| names.iter().find_map(|name| schema.get(*name)?.as_f64());
    let lower = bound(["minimum", "exclusiveMinimum"]);
    let upper = bound(["maximum", "exclusiveMaximum"]);
    #[expect(clippy::cast_precision_loss, reason = "bounds are exact as floats")]
    let (low, high) = (least as f64, most as f64);
    let wants_lower = lower.is_none_or(|lower| tighten && lower < low);
    if wants_lower && upper.is_none_or(|upper| upper > low) {
        schema.remove("exclusiveMinimum");
        schema.insert("minimum".to_owned(), json!(least));
    }
    let wants_upper = upper.is_none_or(|upper| tighten && upper > high);
    if wants_upper && lower.is_none_or(|lower| lower < high) {
        schema.remove("exclusiveMaximum");
        schema.insert("maximum".to_owned(), json!(most));
    }
}

#[cfg(test)]
mod tests;
