//! What a program may call: how a model reads it, and what a call says.

use model::{Message, Output, Tool, ToolCall};
use serde_json::{Map, Value, json};

use super::Limits;
use super::interpreter::{Call, Trouble};

/// The manual of the functions, for a model.
pub(super) fn manual(tools: &[Tool], limits: &Limits) -> String {
    let mut text = "You answer by programs in Python, written line by line. Write a program that finds out or does what is asked, and \
                    prints what you need to know; you are told what it printed, and then answer in words. The \
                    program has Python's builtins and the modules math, json, re and datetime: no files, no \
                    network, no clock, no chance."
        .to_owned();
    if tools.is_empty() {
        return text;
    }
    let seconds = limits.time.as_secs();
    text.push_str(&format!(
        " It takes {seconds} s at most. These functions are there; call them as they are, without import or await, and do not define them. \
         What one gives may be a dict, of which you take a part: f(x)['key']:\n"
    ));
    for tool in tools {
        text.push_str(&format!("\n{}\n", signature(tool)));
    }
    text
}

/// An exchange that shows how to work: a program, what went wrong with it, and how it is mended. Small models write
/// programs for functions of their own otherwise, and the same one again where it has failed.
pub(super) fn example(output: &Output) -> Vec<Message> {
    let program = |mistake: Option<&str>, key: &str| {
        let last = format!("print(oak['{key}'] + elm['{key}'])");
        let lines = ["oak = tree(name='oak')", "elm = tree(name='elm')", &last];
        let written = match mistake {
            None => json!({"next": "program", "program": lines}),
            Some(mistake) => json!({"next": "program", "mistake": mistake, "program": lines}),
        };
        Message::assistant(written.to_string())
    };
    let failed = "The program failed in line 3, `print(oak['height'] + elm['height'])`: KeyError: 'height'\n\
                  It had called tree(name=\"oak\") -> {\"planted\":1950,\"height_m\":21}\n\
                  It had called tree(name=\"elm\") -> {\"planted\":1972,\"height_m\":16}\n\n\
                  Write the whole program again, mended.";
    let mut messages = vec![
        Message::user(
            "How high are the oak and the elm together?\n\nYour functions: tree(name=...)",
        ),
        program(None, "height"),
        Message::user(failed),
        program(
            Some("What tree gives has no 'height', it has 'height_m'."),
            "height_m",
        ),
    ];
    if *output == Output::Text {
        let printed =
            "The program printed:\n37\n\nAnswer, or write another program for what is missing.";
        let answer = json!({"next": "answer", "answer": "Together they are 37 m high."});
        messages.push(Message::user(printed));
        messages.push(Message::assistant(answer.to_string()));
    }
    messages
}

/// How the functions are called with what they need, in a line: to be read beside a task or a mistake.
pub(super) fn listed(tools: &[Tool]) -> String {
    let calls = tools.iter().map(|tool| {
        let needed = parameters(&tool.parameters).map(|(name, _)| name);
        let needed = needed.filter(|name| is_required(&tool.parameters, name));
        let needed: Vec<String> = needed.map(|name| format!("{name}=...")).collect();
        format!("{}({})", tool.name, needed.join(", "))
    });
    calls.collect::<Vec<_>>().join(", ")
}

/// Where a program makes a function of its own in place of one that it may call: what that gives is made up.
pub(super) fn redefined(program: &str, tools: &[Tool]) -> Option<Trouble> {
    program.lines().zip(1..).find_map(|(written, line)| {
        let written = written.trim_start();
        let name = written.strip_prefix("def ").unwrap_or(written);
        let tool = tools.iter().find(|tool| {
            let rest = name.strip_prefix(tool.name.as_str());
            let rest = rest.map(str::trim_start).unwrap_or_default();
            let is_set = rest.starts_with('=') && !rest.starts_with("==");
            is_set || name.len() < written.len() && rest.starts_with('(')
        })?;
        Some(Trouble {
            message: format!(
                "the function {} is there: call it, and do not define it",
                tool.name
            ),
            line: Some(line),
        })
    })
}

/// A function as Python writes it.
fn signature(tool: &Tool) -> String {
    let mut taken = Vec::new();
    let mut about = Vec::new();
    for (name, schema) in parameters(&tool.parameters) {
        let kind = kind(schema);
        taken.push(match is_required(&tool.parameters, name) {
            true => format!("{name}: {kind}"),
            false => format!("{name}: {kind} = None"),
        });
        if let Some(text) = schema["description"].as_str() {
            about.push(format!("    {name}: {text}"));
        }
    }
    // As Python wants it: what may be left out comes last.
    taken.sort_by_key(|one| one.ends_with(" = None"));
    let mut lines = vec![format!("def {}({}):", tool.name, taken.join(", "))];
    lines.push(format!("    \"\"\"{}", tool.description.trim()));
    if !about.is_empty() {
        lines.push(String::new());
        lines.append(&mut about);
    }
    format!("{}\"\"\"", lines.join("\n"))
}

fn parameters(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema["properties"].as_object();
    properties.into_iter().flatten()
}

fn is_required(schema: &Value, name: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|required| required.iter().any(|other| other == name))
}

/// The type of a parameter as Python writes it.
fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        return format!("Literal[{}]", values.join(", "));
    }
    let one = |name: &str| match name {
        "string" => "str",
        "integer" => "int",
        "number" => "float",
        "boolean" => "bool",
        "array" => "list",
        "object" => "dict",
        "null" => "None",
        _ => "object",
    };
    match &schema["type"] {
        Value::String(name) => one(name).to_owned(),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).map(one).collect();
            names.join(" | ")
        }
        _ => "object".to_owned(),
    }
}

/// The arguments of a call by name. What is not there is `None` in Python, and left out here.
pub(super) fn arguments(call: &Call, tools: &[Tool]) -> Result<Value, String> {
    let Some(tool) = tools.iter().find(|tool| tool.name == call.name) else {
        return Err(format!("there is no function {}", call.name));
    };
    let mut names: Vec<&String> = parameters(&tool.parameters).map(|(name, _)| name).collect();
    names.sort_by_key(|name| !is_required(&tool.parameters, name));
    if call.arguments.len() > names.len() {
        let (most, given) = (names.len(), call.arguments.len());
        return Err(format!(
            "{} takes {most} arguments and got {given}",
            call.name
        ));
    }
    let mut arguments = Map::new();
    let given = names.into_iter().zip(&call.arguments);
    let given = given.map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in given.chain(call.named.clone()) {
        if arguments.contains_key(&name) {
            return Err(format!("{} got {name} twice", call.name));
        }
        if !value.is_null() || is_required(&tool.parameters, &name) {
            arguments.insert(name, value);
        }
    }
    Ok(arguments.into())
}

/// A call as Python writes it.
pub(super) fn shown(call: &ToolCall) -> String {
    let arguments = call.arguments.as_object().into_iter().flatten();
    let arguments = arguments.map(|(name, value)| format!("{name}={value}"));
    format!(
        "{}({})",
        call.name,
        arguments.collect::<Vec<_>>().join(", ")
    )
}
