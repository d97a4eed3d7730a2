//! Programs in the interpreter `monty`: a Python of its own, in Rust, that can reach nothing but its functions.

use std::time::Duration;

use monty::{MontyRun, RunProgress};
use monty_types::{
    CompileOptions, ExcType, ExtFunctionResult, MontyException, MontyObject, NameLookupResult,
    PrintWriter, ResourceLimits, ResourceTracker,
};
use num_bigint::BigInt;
use serde_json::{Map, Number, Value};

use super::interpreter::{Call, Ended, Program, Reply, Trouble};

/// What a program is called in its own errors.
const FILE: &str = "program.py";

/// Runs a program to its end. `host` carries its calls out; it gives nothing when nobody is there any more.
pub(super) fn run(program: &Program, host: &mut dyn FnMut(Call) -> Option<Reply>) -> Ended {
    let mut printed = String::new();
    let came = steps(program, &mut printed, host);
    let (value, trouble) = match came {
        Ok(value) => (json(value), None),
        Err(error) => (Value::Null, Some(trouble(&error))),
    };
    Ended {
        printed,
        value,
        trouble,
    }
}

fn steps(
    program: &Program,
    printed: &mut String,
    host: &mut dyn FnMut(Call) -> Option<Reply>,
) -> Result<MontyObject, MontyException> {
    let bounds = &program.bounds;
    let limits = ResourceLimits::default()
        .max_duration(Duration::from_millis(bounds.time_ms))
        .max_recursion_depth(usize::try_from(bounds.recursion).unwrap_or(usize::MAX));
    let most = Some(bounds.printed_bytes);
    let run = MontyRun::new(
        program.text.clone(),
        FILE,
        Vec::new(),
        CompileOptions::default(),
    )?;
    let tracker = ResourceTracker::new(limits);
    let mut progress = run.start(
        Vec::new(),
        tracker,
        PrintWriter::CollectString(printed, most),
    )?;
    loop {
        let print = PrintWriter::CollectString(printed, most);
        progress = match progress {
            RunProgress::Complete(value) => return Ok(value),
            RunProgress::NameLookup(lookup) => {
                let is_function = program.functions.contains(&lookup.name);
                let found = match is_function {
                    true => NameLookupResult::Value(MontyObject::Function {
                        name: lookup.name.clone(),
                        docstring: None,
                    }),
                    false => NameLookupResult::Undefined,
                };
                lookup.resume(found, print)?
            }
            RunProgress::FunctionCall(call) if !program.functions.contains(&call.function_name) => {
                let nobody = ExtFunctionResult::NotFound(call.function_name.clone());
                call.resume(nobody, print)?
            }
            RunProgress::FunctionCall(call) => {
                let told = Call {
                    name: call.function_name.clone(),
                    arguments: call.args.iter().cloned().map(json).collect(),
                    named: named(&call.kwargs),
                };
                match host(told) {
                    None => {
                        let gone = raised("nobody waits for the program any more");
                        call.abort(gone, print)?
                    }
                    Some(Reply::Answer(value)) => call.resume(object(value), print)?,
                    Some(Reply::Raise(wrong)) => call.resume(raised(&wrong), print)?,
                }
            }
            RunProgress::OsCall(call) => {
                let wrong = "a program has no files, no environment and no clock; call a function";
                call.resume(ExtFunctionResult::Error(raised(wrong)), print)?
            }
            RunProgress::ResolveFutures(futures) => {
                let wrong = "functions answer at once; call them without await";
                futures.abort(raised(wrong), print)?
            }
        };
    }
}

fn raised(wrong: &str) -> MontyException {
    MontyException::new(ExcType::RuntimeError, Some(wrong.to_owned()))
}

fn trouble(error: &MontyException) -> Trouble {
    let frames = error.traceback().iter().rev();
    let line = frames.clone().find(|frame| frame.filename == FILE);
    Trouble {
        message: error.summary(),
        line: line.map(|frame| frame.start.line),
    }
}

fn named(pairs: &[(MontyObject, MontyObject)]) -> Map<String, Value> {
    let pairs = pairs.iter().cloned();
    pairs
        .map(|(name, value)| (key(name), json(value)))
        .collect()
}

fn key(key: MontyObject) -> String {
    match key {
        MontyObject::String(text) => text,
        other => other.to_string(),
    }
}

/// A value of Python as JSON; what has no form there, as Python writes it.
fn json(value: MontyObject) -> Value {
    match value {
        MontyObject::None => Value::Null,
        MontyObject::Bool(is) => is.into(),
        MontyObject::Int(number) => number.into(),
        MontyObject::BigInt(number) => match u64::try_from(&number) {
            Ok(number) => number.into(),
            Err(_) => number.to_string().into(),
        },
        MontyObject::Float(number) => match Number::from_f64(number) {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        MontyObject::String(text) | MontyObject::Path(text) => text.into(),
        MontyObject::List(items)
        | MontyObject::Tuple(items)
        | MontyObject::Set(items)
        | MontyObject::FrozenSet(items)
        | MontyObject::NamedTuple { values: items, .. } => items.into_iter().map(json).collect(),
        MontyObject::Dict(pairs) => pairs
            .into_iter()
            .map(|(name, value)| (key(name), json(value)))
            .collect::<Map<String, Value>>()
            .into(),
        other => other.to_string().into(),
    }
}

/// JSON as a value of Python.
fn object(value: Value) -> MontyObject {
    match value {
        Value::Null => MontyObject::None,
        Value::Bool(is) => MontyObject::Bool(is),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => MontyObject::Int(number),
            (None, Some(number)) => MontyObject::BigInt(BigInt::from(number)),
            (None, None) => MontyObject::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => MontyObject::String(text),
        Value::Array(items) => MontyObject::List(items.into_iter().map(object).collect()),
        Value::Object(fields) => {
            let pairs = fields
                .into_iter()
                .map(|(name, value)| (MontyObject::String(name), object(value)));
            MontyObject::dict(pairs.collect::<Vec<_>>())
        }
    }
}
