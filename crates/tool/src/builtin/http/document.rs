//! An OpenAPI file: its operations, and what they take.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::schema::Schemas;

/// The longest file, in bytes.
const MOST_BYTES: usize = 10_000_000;
/// The methods of operations, as the file has them.
const METHODS: &[&str] = &["get", "head", "put", "delete", "post", "patch"];
/// Headers that are not an operation's to set.
const NOT_PARAMETERS: &[&str] = &[
    "accept",
    "content-type",
    "authorization",
    "host",
    "content-length",
    "cookie",
];

/// An OpenAPI file, 3.0 or 3.1.
#[derive(Debug)]
pub(super) struct Document(Value);

/// One operation.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) id: String,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) summary: &'a str,
    pub(super) description: &'a str,
    item: &'a Value,
    operation: &'a Value,
}

/// What an operation takes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) arguments: Vec<Argument>,
}

/// One thing that a model gives.
#[derive(Debug)]
pub(super) struct Argument {
    /// Its name in the tool's schema.
    pub(super) shown: String,
    /// Its name in the request.
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) schema: Value,
}

/// Where an argument goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    /// A list is several parameters, or one with this between its items; an object is `name[key]=value` or
    /// its own fields.
    Query(Style),
    Header,
    JsonBody,
    FormBody,
}

/// How a list or an object is written in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Exploded,
    Between(&'static str),
    Deep,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("it is longer than {MOST_BYTES} bytes"));
        }
        let value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(json_error) => {
                let yaml: serde_yaml_ng::Value =
                    serde_yaml_ng::from_str(text).map_err(|error| {
                        match text.trim_start().starts_with('{') {
                            true => format!("it is no JSON: {json_error}"),
                            false => format!("it is no YAML: {error}"),
                        }
                    })?;
                from_yaml(yaml)?
            }
        };
        let version = value["openapi"].as_str().unwrap_or_default();
        if !version.starts_with("3.0") && !version.starts_with("3.1") {
            let swagger = if value["swagger"].is_null() {
                ""
            } else {
                "; Swagger 2.0 has to be converted"
            };
            return Err(format!(
                "it is no OpenAPI 3.0 or 3.1: openapi is {}{swagger}",
                value["openapi"]
            ));
        }
        Ok(Document(value))
    }

    /// The address of the first server.
    pub(super) fn server(&self) -> Result<Url, String> {
        let server = &self.0["servers"][0];
        let mut url = server["url"].as_str().unwrap_or_default().to_owned();
        for (name, variable) in server["variables"].as_object().into_iter().flatten() {
            let value = variable["default"].as_str().unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), value);
        }
        Url::parse(&url)
            .map_err(|_| format!("it names no server (servers: {url:?}); give base_url"))
    }

    /// All operations, in the file's order.
    pub(super) fn operations(&self) -> Result<Vec<Operation<'_>>, String> {
        let mut operations = Vec::new();
        for (path, item) in self.0["paths"].as_object().into_iter().flatten() {
            let item = self.resolve(item)?;
            for name in METHODS {
                let operation = &item[*name];
                if !operation.is_object() {
                    continue;
                }
                let text = |field: &str| operation[field].as_str().unwrap_or_default();
                let id = match text("operationId") {
                    "" => unnamed(name, path),
                    id => id.to_owned(),
                };
                operations.push(Operation {
                    id,
                    method: Method::from_bytes(name.to_uppercase().as_bytes())
                        .map_err(|error| error.to_string())?,
                    path,
                    summary: text("summary"),
                    description: text("description"),
                    item,
                    operation,
                });
            }
        }
        match operations.is_empty() {
            true => Err("it has no operations".to_owned()),
            false => Ok(operations),
        }
    }

    /// What a value is, or what it refers to.
    pub(super) fn resolve<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value, String> {
        for _ in 0..20 {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Ok(value);
            };
            let found = reference
                .strip_prefix('#')
                .and_then(|pointer| self.0.pointer(pointer));
            value = found.ok_or_else(|| {
                format!("`{reference}` is not in the file; references to other files are not read")
            })?;
        }
        Err("a reference leads round in a circle".to_owned())
    }
}

/// An id for an operation that has none: the method and the words of its path.
fn unnamed(method: &str, path: &str) -> String {
    let words = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = [method].into_iter().chain(words).collect();
    words.join("_")
}

impl Operation<'_> {
    /// What it takes.
    pub(super) fn plan(&self, document: &Document) -> Result<Plan, String> {
        let about = |message: String| format!("{} {}: {message}", self.method, self.path);
        let mut plan = Plan {
            arguments: Vec::new(),
        };
        for parameter in self.parameters(document).map_err(about)? {
            let argument = argument(document, parameter).map_err(about)?;
            plan.arguments.extend(argument);
        }
        plan.arguments.extend(self.body(document).map_err(about)?);
        plan.name();
        let in_path = |name: &str| {
            let mut arguments = plan.arguments.iter();
            arguments.any(|argument| argument.place == Place::Path && argument.name == name)
        };
        for name in self
            .path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next())
        {
            if !in_path(name) {
                return Err(about(format!(
                    "the path's parameter `{name}` is not described"
                )));
            }
        }
        Ok(plan)
    }

    /// Those of the path, and those of the operation, which win.
    fn parameters<'a>(&'a self, document: &'a Document) -> Result<Vec<&'a Value>, String> {
        let mut parameters: Vec<&Value> = Vec::new();
        for of in [self.item, self.operation] {
            for parameter in of["parameters"].as_array().into_iter().flatten() {
                let parameter = document.resolve(parameter)?;
                let same = |other: &&Value| {
                    (&other["name"], &other["in"]) == (&parameter["name"], &parameter["in"])
                };
                parameters.retain(|other| !same(other));
                parameters.push(parameter);
            }
        }
        Ok(parameters)
    }

    fn body(&self, document: &Document) -> Result<Option<Argument>, String> {
        let body = document.resolve(&self.operation["requestBody"])?;
        let Some(content) = body["content"].as_object() else {
            return Ok(None);
        };
        let required = body["required"].as_bool().unwrap_or(false);
        let of = |fits: fn(&str) -> bool| {
            let mut content = content.iter();
            let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_owned();
            content
                .find(|(kind, _)| fits(&essence(kind)))
                .map(|(_, media)| media)
        };
        let json = of(|kind| kind == "application/json" || kind.ends_with("+json"));
        let form = of(|kind| kind == "application/x-www-form-urlencoded");
        let (place, media) = match (json, form) {
            (Some(media), _) => (Place::JsonBody, media),
            (None, Some(media)) => (Place::FormBody, media),
            (None, None) if required => {
                let kinds: Vec<&str> = content.keys().map(String::as_str).collect();
                return Err(format!(
                    "its body is {}, and only JSON and forms can be sent; leave it out by operations",
                    kinds.join(", ")
                ));
            }
            (None, None) => return Ok(None),
        };
        let mut schema = Schemas::new(document).read(&media["schema"])?;
        describe(&mut schema, body["description"].as_str());
        Ok(Some(Argument {
            shown: "body".to_owned(),
            name: "body".to_owned(),
            place,
            required,
            schema,
        }))
    }
}

impl Plan {
    /// Gives arguments that have the same name others in the tool's schema.
    fn name(&mut self) {
        let mut taken = BTreeSet::new();
        for argument in &mut self.arguments {
            if taken.contains(&argument.shown) {
                let place = match argument.place {
                    Place::Path => "path",
                    Place::Query(_) => "query",
                    Place::Header => "header",
                    Place::JsonBody | Place::FormBody => "content",
                };
                argument.shown = format!("{}_{place}", argument.shown);
            }
            taken.insert(argument.shown.clone());
        }
    }
}

/// A parameter; `None` when it is not the operation's to set.
fn argument(document: &Document, parameter: &Value) -> Result<Option<Argument>, String> {
    let name = parameter["name"].as_str().unwrap_or_default().to_owned();
    let required = parameter["required"].as_bool().unwrap_or(false);
    let style = parameter["style"].as_str();
    let explode = parameter["explode"].as_bool();
    let place = match (parameter["in"].as_str().unwrap_or_default(), style) {
        ("path", None | Some("simple")) => Place::Path,
        ("header", _) if NOT_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) => {
            return Ok(None);
        }
        ("header", None | Some("simple")) => Place::Header,
        ("query", None | Some("form")) => Place::Query(match explode {
            Some(false) => Style::Between(","),
            None | Some(true) => Style::Exploded,
        }),
        ("query", Some("spaceDelimited")) => Place::Query(Style::Between(" ")),
        ("query", Some("pipeDelimited")) => Place::Query(Style::Between("|")),
        ("query", Some("deepObject")) => Place::Query(Style::Deep),
        (_, _) if !required => return Ok(None),
        (place, _) => {
            return Err(format!(
                "the parameter `{name}` ({place}, {}) cannot be sent; leave the operation out by operations",
                style.unwrap_or("usual style")
            ));
        }
    };
    // A parameter of a media type of its own is JSON in practice, and is written as such.
    let described = match parameter["schema"].is_null() {
        false => &parameter["schema"],
        true => &parameter["content"]["application/json"]["schema"],
    };
    let mut schema = match described.is_null() {
        true => json!({"type": "string"}),
        false => Schemas::new(document).read(described)?,
    };
    describe(&mut schema, parameter["description"].as_str());
    Ok(Some(Argument {
        shown: name.clone(),
        name,
        place,
        required: required || place == Place::Path,
        schema,
    }))
}

fn describe(schema: &mut Value, description: Option<&str>) {
    if let (Some(schema), Some(description)) = (schema.as_object_mut(), description) {
        let more = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let said = format!("{} {more}", description.trim());
        schema.insert("description".to_owned(), said.trim().into());
    }
}

/// YAML as JSON: numbers and the like as keys (`200:`) are texts there.
fn from_yaml(value: serde_yaml_ng::Value) -> Result<Value, String> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(on) => on.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => whole.into(),
            (None, Some(whole), _) => whole.into(),
            (None, None, real) => real.map_or(Value::Null, |real| json!(real)),
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => {
            let items: Result<Vec<Value>, String> = items.into_iter().map(from_yaml).collect();
            items?.into()
        }
        Yaml::Mapping(members) => {
            let mut object = Map::new();
            for (key, value) in members {
                let key = match from_yaml(key)? {
                    Value::String(key) => key,
                    key @ (Value::Number(_) | Value::Bool(_) | Value::Null) => key.to_string(),
                    Value::Array(_) | Value::Object(_) => return Err("a key is no text".to_owned()),
                };
                object.insert(key, from_yaml(value)?);
            }
            object.into()
        }
        Yaml::Tagged(tagged) => from_yaml(tagged.value)?,
    })
}
