//! The grammar of answers that call tools.
//!
//! A call is written between marks, as templates ask for it, or as JSON in a code fence, as small models do
//! who were not trained on the marks; a model that is held to the other form than its own writes worse calls,
//! and does not know where to stop. In both forms the arguments are held to the tool's schema.

use serde_json::{Value, json};

use super::super::calls::{CLOSE, OPEN};
use crate::quotes::escape;

/// The most calls in one answer.
const MOST_CALLS: usize = 8;

/// Space that models put between the parts of JSON.
const SPACE: &str = "[ \\n]{0,9}";

/// The rules for calls of tools, each with its name and the schema of its arguments; with `required` nothing
/// else, otherwise text as well.
pub(super) fn grammar(tools: &[(String, Value)], required: bool) -> String {
    let mut text = String::new();
    for (index, (name, arguments)) in tools.iter().enumerate() {
        let marked = json!(format!(
            "{OPEN}\n{{\"name\": {}, \"arguments\": ",
            json!(name)
        ));
        let tight =
            json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
        let loose = json!({"whitespace_pattern": "[ \\n]{1,40}"});
        let (tight, loose) = (styled(arguments, tight), styled(arguments, loose));
        let begun = begun(&escape(name));
        text.push_str(&format!(
            "tight{index}: {marked} %json {tight}\n\
             loose{index}: %json {loose}\n\
             FIRST{index}: /```json\\n{begun}/\n\
             MORE{index}: /{SPACE}\\}}\\n{begun}/\n\
             LIST{index}: /```json\\n\\[{SPACE}{begun}/\n\
             NEXT{index}: /{SPACE}\\}},{SPACE}{begun}/\n",
        ));
    }
    let each = |form: &str| {
        let forms = (0..tools.len()).map(|index| form.replace('#', &index.to_string()));
        format!("({})", forms.collect::<Vec<_>>().join(" | "))
    };
    let more = MOST_CALLS - 1;
    let close = json!(format!("}}\n{CLOSE}"));
    text.push_str(&format!("call: {} {close}\n", each("tight#")));
    text.push_str(&format!("marked: call (\"\\n\" call){{0,{more}}}\n"));
    text.push_str(&format!(
        "lines: {} {}{{0,{more}}} END\nEND: /{SPACE}\\}}\\n```/\n",
        each("FIRST# loose#"),
        each("MORE# loose#")
    ));
    text.push_str(&format!(
        "list: {} {}{{0,{more}}} LAST\nLAST: /{SPACE}\\}}{SPACE}\\]\\n```/\n",
        each("LIST# loose#"),
        each("NEXT# loose#")
    ));
    if required {
        text.push_str("start: marked | lines | list\n");
        return text;
    }
    // An answer that begins as a call does is one; anything else is text to its end.
    let names: Vec<String> = tools.iter().map(|(name, _)| escape(name)).collect();
    let begun = begun(&format!("({})", names.join("|")));
    text.push_str(&format!(
        "TEXT: /(.|\\n)+/ & ~/({OPEN}|```json\\n(\\[{SPACE})?{begun})(.|\\n)*/\n\
         TAIL: /(.|\\n)+/\n\
         start: TEXT? | marked | (lines | list) TAIL?\n"
    ));
    text
}

/// The beginning of an object that calls a tool, up to its arguments, as a regular expression.
fn begun(name: &str) -> String {
    format!("\\{{{SPACE}\"name\": \"{name}\",{SPACE}\"arguments\": ")
}

fn styled(schema: &Value, guidance: Value) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        object.insert("x-guidance".to_owned(), guidance);
    }
    schema
}

/// The schema of a tool's arguments: an object that has what is described and nothing else, unless the schema
/// says that more may come. Small models make up arguments where they may.
pub(super) fn arguments(parameters: &Value) -> Value {
    let mut parameters = parameters.clone();
    if let Some(object) = parameters.as_object_mut() {
        object.entry("type").or_insert_with(|| "object".into());
        let says_more = ["patternProperties", "allOf", "anyOf", "oneOf", "$ref"];
        if object.contains_key("properties")
            && !says_more.iter().any(|name| object.contains_key(*name))
        {
            object
                .entry("additionalProperties")
                .or_insert(Value::Bool(false));
        }
    }
    parameters
}
