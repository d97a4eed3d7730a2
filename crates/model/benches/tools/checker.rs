//! Whether calls of tools are the right ones, after the rules of the Berkeley Function-Calling Leaderboard for
//! Python: names and types as described, values among the possible ones. Texts are compared without case, spaces
//! and `,./-_*^`; an empty text among the possible values of a parameter means that it may be left out.

use serde_json::{Map, Value};

/// A kind of value, as Python tells them apart.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    List,
    Object,
}

impl Kind {
    fn of(value: &Value) -> Option<Kind> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Kind::Boolean),
            Value::Number(number) if number.is_f64() => Some(Kind::Float),
            Value::Number(_) => Some(Kind::Integer),
            Value::String(_) => Some(Kind::Text),
            Value::Array(_) => Some(Kind::List),
            Value::Object(_) => Some(Kind::Object),
        }
    }

    fn described(schema: &Value) -> Option<Kind> {
        match schema.get("type")?.as_str()? {
            "string" | "any" => Some(Kind::Text),
            "integer" => Some(Kind::Integer),
            "float" => Some(Kind::Float),
            "boolean" => Some(Kind::Boolean),
            "array" | "tuple" => Some(Kind::List),
            "dict" => Some(Kind::Object),
            _ => None,
        }
    }
}

/// A call: the function's name and its arguments.
pub(crate) type Call = (String, Value);

type Checked = Result<(), String>;

/// Holds `calls` against the possible ones, in whatever order.
pub(crate) fn check(functions: &[Value], calls: &[Call], possible: &[Value]) -> Checked {
    if calls.len() != possible.len() {
        return Err(format!("{} calls and not {}", calls.len(), possible.len()));
    }
    let mut left: Vec<&Call> = calls.iter().collect();
    for possible in possible {
        let Some((name, arguments)) = possible.as_object().and_then(|object| object.iter().next())
        else {
            return Err("the possible answer has no function".to_owned());
        };
        let described = |function: &&Value| function.get("name").is_some_and(|known| known == name);
        let function = functions.iter().find(described).unwrap_or(&Value::Null);
        let outcomes: Vec<Checked> = left
            .iter()
            .map(|call| one(function, name, call, arguments))
            .collect();
        match outcomes.iter().position(Result::is_ok) {
            Some(found) => drop(left.remove(found)),
            None => return outcomes.into_iter().next().unwrap_or(Ok(())),
        }
    }
    Ok(())
}

fn one(function: &Value, expected: &str, (name, arguments): &Call, possible: &Value) -> Checked {
    if name != expected {
        return Err(format!("{name} is called and not {expected}"));
    }
    let parameters = function.get("parameters").unwrap_or(&Value::Null);
    let required = parameters.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if arguments.get(name).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    let none = Map::new();
    let given = arguments.as_object().unwrap_or(&none);
    for (name, value) in given {
        let described = parameters
            .pointer("/properties")
            .and_then(|all| all.get(name));
        let (Some(described), Some(possible)) = (described, list(possible.get(name))) else {
            return Err(format!("{name} is not expected"));
        };
        parameter(described, value, possible).map_err(|message| format!("{name}: {message}"))?;
    }
    let left_out = possible.as_object().unwrap_or(&none).iter();
    let mut left_out = left_out.filter(|(name, _)| !given.contains_key(*name));
    match left_out.find(|(_, values)| !list(Some(values)).unwrap_or_default().contains(&"".into()))
    {
        Some((name, _)) => Err(format!("{name} is missing")),
        None => Ok(()),
    }
}

fn list(value: Option<&Value>) -> Option<&[Value]> {
    value?.as_array().map(Vec::as_slice)
}

fn parameter(described: &Value, value: &Value, possible: &[Value]) -> Checked {
    let Some(kind) = Kind::described(described) else {
        return Err("its type is not known".to_owned());
    };
    let inner = match kind {
        Kind::List => described.get("items").and_then(Kind::described),
        _ => None,
    };
    // A whole number will do where a float is wanted.
    let widened = match (kind, value.as_f64()) {
        (Kind::Float, Some(number)) => Value::from(number),
        _ => value.clone(),
    };
    let Some(is_variable) = is_typed(&widened, possible, kind, inner) else {
        return Err(format!("{value} has the wrong type"));
    };
    let fits = match (kind, inner) {
        _ if is_variable => possible.iter().any(|possible| same(&widened, possible)),
        (Kind::Object, _) => possible
            .iter()
            .any(|possible| object_fits(&widened, possible)),
        (Kind::List, Some(Kind::Object)) => possible
            .iter()
            .any(|possible| objects_fit(&widened, possible)),
        (Kind::Text | Kind::List, _) => {
            let plain = plain(&widened);
            possible
                .iter()
                .any(|possible| same(&plain, &self::plain(possible)))
        }
        (Kind::Integer | Kind::Float | Kind::Boolean, _) => {
            possible.iter().any(|possible| same(&widened, possible))
        }
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{value} is none of {possible:?}")),
    }
}

/// Whether the value is of the type; `Some(true)` where it is of that of the possible values instead, which
/// stand for a variable.
fn is_typed(value: &Value, possible: &[Value], kind: Kind, inner: Option<Kind>) -> Option<bool> {
    let of_possible = possible
        .iter()
        .find(|value| **value != "")
        .and_then(Kind::of);
    let is_variable = of_possible.is_some_and(|possible| possible != kind);
    if Kind::of(value) == Some(kind) {
        let Some(inner) = inner else {
            return Some(is_variable);
        };
        let items = list(Some(value)).unwrap_or_default();
        let all_typed = |possible: &Value| {
            let possible = list(Some(possible));
            possible.is_none_or(|possible| {
                items
                    .iter()
                    .all(|item| is_typed(item, possible, inner, None).is_some())
            })
        };
        if possible.iter().any(all_typed) {
            return Some(is_variable);
        }
    }
    (of_possible.is_some() && Kind::of(value) == of_possible).then_some(true)
}

/// Texts in the form in which they are compared, in a list too.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let text = text.chars().filter(|c| !" ,./-_*^".contains(*c));
            let text: String = text.collect();
            text.to_lowercase().replace('\'', "\"").into()
        }
        Value::Array(values) => {
            let plain = values.iter().map(|value| {
                if value.is_string() {
                    plain(value)
                } else {
                    value.clone()
                }
            });
            plain.collect()
        }
        other => other.clone(),
    }
}

/// Equality as Python has it: 5 is 5.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Bool(truth), Value::Number(number))
        | (Value::Number(number), Value::Bool(truth)) => {
            number.as_f64() == Some(f64::from(u8::from(*truth)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let has = |(name, value): (&String, &Value)| {
                b.get(name).is_some_and(|other| same(value, other))
            };
            a.len() == b.len() && a.iter().all(has)
        }
        _ => a == b,
    }
}

fn object_fits(value: &Value, possible: &Value) -> bool {
    let (Some(value), Some(possible)) = (value.as_object(), possible.as_object()) else {
        return false;
    };
    let fits = |(name, value): (&String, &Value)| {
        let value = if value.is_string() {
            plain(value)
        } else {
            value.clone()
        };
        let possible = list(possible.get(name)).unwrap_or_default();
        possible.iter().any(|possible| {
            let possible = if possible.is_string() {
                plain(possible)
            } else {
                possible.clone()
            };
            same(&value, &possible)
        })
    };
    let may_lack = |(name, values): (&String, &Value)| {
        value.contains_key(name) || list(Some(values)).unwrap_or_default().contains(&"".into())
    };
    value.iter().all(fits) && possible.iter().all(may_lack)
}

fn objects_fit(value: &Value, possible: &Value) -> bool {
    let (Some(values), Some(possible)) = (value.as_array(), possible.as_array()) else {
        return false;
    };
    values.len() == possible.len()
        && values
            .iter()
            .zip(possible)
            .all(|(value, possible)| object_fits(value, possible))
}
