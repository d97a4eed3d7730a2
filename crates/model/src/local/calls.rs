//! Calls of tools in the words of a model: how they are written, how they are told from text.
//!
//! The form is the one in which most open models are trained and that their templates ask for: an object
//! with `name` and `arguments` between `<tool_call>` and `</tool_call>`, one after the other for several.
//! Small models often write the object in a Markdown code fence instead, or bare; that counts only where
//! it is the whole answer. Prose is never guessed at.

use serde_json::Value;

use crate::{Delta, DeltaSink, Tool, ToolCall};

/// Where a call begins.
pub(super) const OPEN: &str = "<tool_call>";
/// Where it ends.
pub(super) const CLOSE: &str = "</tool_call>";

/// What is said to a model whose template knows no tools; the words are those of the templates that do.
pub(super) fn instructions(tools: &[Tool]) -> String {
    let mut text = String::from(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
         You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    );
    for tool in tools {
        text.push_str(&format!("\n{}", described(tool)));
    }
    text.push_str(
        "\n</tools>\n\nFor each function call, return a json object with function name and arguments \
         within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \
         \"arguments\": <args-json-object>}\n</tool_call>",
    );
    text
}

/// A tool as templates want it.
pub(super) fn described(tool: &Tool) -> Value {
    serde_json::json!({"type": "function", "function": {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }})
}

/// A call as a model has written it or is to read it.
pub(super) fn written(call: &ToolCall) -> String {
    let call = serde_json::json!({"name": call.name, "arguments": call.arguments});
    format!("{OPEN}\n{call}\n{CLOSE}")
}

/// The text of an answer, and the calls in it. `number` is of this answer, and makes the calls' names.
pub(super) fn parse(answer: &str, number: u64) -> (String, Vec<ToolCall>) {
    let found = between_marks(answer);
    let (text, found) = match found {
        Some(found) => found,
        None => match whole(answer) {
            Some(found) => (String::new(), found),
            None => return (answer.to_owned(), Vec::new()),
        },
    };
    let calls = found.into_iter().enumerate();
    let calls = calls.map(|(index, (name, arguments))| ToolCall {
        id: format!("call_{number:016x}_{index}"),
        name,
        arguments,
        signature: None,
    });
    (text, calls.collect())
}

type Found = Vec<(String, Value)>;

/// Calls between marks, and the text around them. `None` where there are none that can be read.
fn between_marks(answer: &str) -> Option<(String, Found)> {
    let (mut text, mut found) = (String::new(), Vec::new());
    let mut rest = answer;
    while let Some((before, after)) = rest.split_once(OPEN) {
        text.push_str(before);
        // An answer that was cut off, or that forgot its last mark.
        let (inside, after) = after.split_once(CLOSE).unwrap_or((after, ""));
        rest = after;
        match read(inside).as_deref() {
            Some([call]) => found.push(call.clone()),
            // The calls before the one that was cut off count.
            _ if after.is_empty() && !found.is_empty() => break,
            _ => return None,
        }
    }
    text.push_str(rest);
    (!found.is_empty()).then(|| (text.trim().to_owned(), found))
}

/// An answer that is nothing but calls: objects, an array of them, each bare or in a code fence.
fn whole(answer: &str) -> Option<Found> {
    let mut found = Vec::new();
    let mut rest = answer.trim();
    while !rest.is_empty() {
        let inside = match rest.strip_prefix("```") {
            Some(fenced) => {
                let (language, fenced) = fenced.split_once('\n')?;
                if !["", "json", "tool_call", "xml"].contains(&language.trim()) {
                    return None;
                }
                let (inside, after) = fenced.split_once("```")?;
                rest = after.trim_start();
                inside
            }
            None => {
                let (_, after) = first(rest)?;
                let (inside, after) = rest.split_at(rest.len() - after.len());
                rest = after.trim_start();
                inside
            }
        };
        found.extend(read(inside)?);
    }
    (!found.is_empty()).then_some(found)
}

/// A text that is nothing but objects that call, or arrays of them.
fn read(mut text: &str) -> Option<Found> {
    let mut found = Vec::new();
    while !text.trim().is_empty() {
        let (value, after) = first(text)?;
        text = after;
        match value {
            Value::Array(values) => {
                for value in values {
                    found.push(call(value)?);
                }
            }
            value => found.push(call(value)?),
        }
    }
    Some(found)
}

/// The first value of a text, and what follows. The template of Qwen2.5-Coder shows a call with its outer braces
/// twice, and the models go by it.
fn first(text: &str) -> Option<(Value, &str)> {
    let text = text.trim_start();
    let inner = text
        .strip_prefix('{')
        .filter(|inner| inner.trim_start().starts_with('{'));
    let mut values = serde_json::Deserializer::from_str(inner.unwrap_or(text)).into_iter();
    let value = values.next()?.ok()?;
    let after = inner.unwrap_or(text).get(values.byte_offset()..)?;
    match inner {
        Some(_) => Some((value, after.trim_start().strip_prefix('}')?)),
        None => Some((value, after)),
    }
}

/// An object that names a tool, with arguments. It need not be one that there is: who carries the calls out says so
/// to the model, which a user could not do.
fn call(value: Value) -> Option<(String, Value)> {
    let Value::Object(mut fields) = value else {
        return None;
    };
    let name = fields.remove("name")?.as_str()?.to_owned();
    let arguments = fields.remove("arguments")?;
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    let is_call = fields.is_empty() && arguments.is_object() && is_name;
    is_call.then_some((name, arguments))
}

/// Passes the text of an answer on as it arrives, and keeps back what may be a call.
pub(super) struct Sieve {
    text: String,
    sent: usize,
}

impl Sieve {
    pub(super) fn new() -> Sieve {
        Sieve {
            text: String::new(),
            sent: 0,
        }
    }

    /// Takes more of the answer.
    pub(super) fn take(&mut self, more: &str, sink: &DeltaSink) {
        self.text.push_str(more);
        let end = self.certain();
        self.send(end, sink);
    }

    /// How much is certainly no call.
    fn certain(&self) -> usize {
        // It may turn out to be a call as a whole.
        if self.text.trim_start().starts_with(['`', '{', '[']) {
            return 0;
        }
        if let Some(place) = self.text.find(OPEN) {
            return place;
        }
        let begun = (1..OPEN.len())
            .rev()
            .find(|length| self.text.ends_with(&OPEN[..*length]));
        self.text.len() - begun.unwrap_or(0)
    }

    fn send(&mut self, end: usize, sink: &DeltaSink) {
        if let Some(text) = self
            .text
            .get(self.sent..end)
            .filter(|text| !text.is_empty())
        {
            let text = text.to_owned();
            // Whoever reads the stream may have gone.
            let _ = sink.send(Delta::Text { text });
            self.sent = end;
        }
    }

    /// The end: what was kept back goes out as what it is.
    pub(super) fn end(mut self, calls: &[ToolCall], sink: &DeltaSink) {
        if calls.is_empty() {
            let end = self.text.len();
            self.send(end, sink);
        }
        for (index, call) in calls.iter().enumerate() {
            let _ = sink.send(Delta::ToolCall {
                index,
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.to_string(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> (String, Vec<String>) {
        let (text, calls) = parse(answer, 1);
        let calls = calls
            .iter()
            .map(|call| format!("{} {}", call.name, call.arguments));
        (text, calls.collect())
    }

    #[test]
    fn calls_are_told_from_text() {
        let bern = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}";
        let time = "{\"name\": \"time\", \"arguments\": {}}";
        let call = "weather {\"city\":\"Bern\"}";
        for (answer, text, calls) in [
            (format!("<tool_call>\n{bern}\n</tool_call>"), "", vec![call]),
            (
                format!("I look.\n<tool_call>{bern}</tool_call>"),
                "I look.",
                vec![call],
            ),
            (
                format!("<tool_call>\n{bern}\n</tool_call>\n<tool_call>\n{time}\n</tool_call>"),
                "",
                vec![call, "time {}"],
            ),
            (format!("<tool_call>\n{bern}"), "", vec![call]),
            (
                format!("<tool_call>\n{bern}\n</tool_call>\n<tool_call>\n{{\"na"),
                "",
                vec![call],
            ),
            (format!("```json\n{bern}\n```"), "", vec![call]),
            (
                format!("```json\n{bern}\n{time}\n```"),
                "",
                vec![call, "time {}"],
            ),
            (
                format!("```json\n{bern}\n```\n```\n{time}\n```"),
                "",
                vec![call, "time {}"],
            ),
            (format!("[{bern}, {time}]"), "", vec![call, "time {}"]),
            (bern.to_owned(), "", vec![call]),
            (
                "```json\n{\"name\": \"mkdir\", \"arguments\": {}}\n```".to_owned(),
                "",
                vec!["mkdir {}"],
            ),
            (format!("{{{bern}}}"), "", vec![call]),
            (format!("{{{bern}}}\n{{{time}}}"), "", vec![call, "time {}"]),
            (
                format!("<tool_call>\n{{{bern}}}\n</tool_call>"),
                "",
                vec![call],
            ),
        ] {
            let calls: Vec<String> = calls.into_iter().map(str::to_owned).collect();
            assert_eq!(read(&answer), (text.to_owned(), calls), "{answer}");
        }
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for answer in [
            "The weather is fine.",
            "Call it with {\"name\": \"weather\", \"arguments\": {}}",
            "```json\n{\"name\": \"weather\", \"arguments\": {}}\n```\nThat is how it is called.",
            "{\"name\": \"Ada Keller\", \"arguments\": {}}",
            "{\"name\": \"weather\", \"arguments\": \"Bern\"}",
            "{\"name\": \"weather\"}",
            "{{\"name\": \"weather\", \"arguments\": {}}",
            "{{\"name\": \"weather\", \"arguments\": {}}} is how it is called.",
            "{\"name\": \"weather\", \"arguments\": {}, \"more\": 1}",
            "<tool_call>weather(Bern)</tool_call>",
            "```python\nweather()\n```",
            "",
        ] {
            assert_eq!(read(answer), (answer.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn text_flows_and_calls_do_not() {
        for (pieces, said, calls) in [
            (vec!["I lo", "ok <", "b> it up."], "I look <b> it up.", 0),
            (
                vec![
                    "Wait. <tool",
                    "_call>\n{\"name\": \"time\", \"argum",
                    "ents\": {}}",
                ],
                "Wait. ",
                1,
            ),
            (
                vec!["```json\n{\"name\": \"time\", \"arguments\": {}}", "\n```"],
                "",
                1,
            ),
            (
                vec!["```rust\nfn", " main() {}\n```"],
                "```rust\nfn main() {}\n```",
                0,
            ),
        ] {
            let (sink, mut stream) = tokio::sync::mpsc::unbounded_channel();
            let mut sieve = Sieve::new();
            pieces.iter().for_each(|piece| sieve.take(piece, &sink));
            let (_, found) = parse(&pieces.concat(), 1);
            sieve.end(&found, &sink);
            drop(sink);
            let (mut text, mut told) = (String::new(), 0);
            while let Ok(delta) = stream.try_recv() {
                match delta {
                    Delta::Text { text: more } => text.push_str(&more),
                    _ => told += 1,
                }
            }
            assert_eq!((text.as_str(), told), (said, calls), "{pieces:?}");
        }
    }
}
