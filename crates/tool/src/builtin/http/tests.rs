#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use journal::StepError;
use serde_json::json;

use super::*;
use crate::builtin::net::stand_in::{StandIn, ok, reply};
use crate::{Answer, Context, Secrets, carry_out};

/// An API as people write it: references, parameters of a path item, a recursive schema, and a status as a number.
const PETS: &str = r##"
openapi: 3.0.3
info: {title: Pets, version: "1"}
servers:
  - url: https://{where}.pets.test/v1
    variables: {where: {default: eu}}
paths:
  /pets:
    get:
      operationId: listPets
      summary: Lists pets
      description: Those that are for sale.
      parameters:
        - {name: tag, in: query, schema: {type: array, items: {type: string}}}
        - {name: sort, in: query, explode: false, schema: {type: array, items: {type: string, enum: [name, age]}}}
        - {name: where, in: query, style: deepObject, schema: {type: object, properties: {city: {type: string}}}}
        - {name: Authorization, in: header, schema: {type: string}}
        - {name: session, in: cookie, schema: {type: string}}
      responses: {200: {description: All of them}}
    post:
      operationId: createPet
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/Pet"}}}
      responses: {201: {description: Done}}
  /pets/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, pattern: "^[A-Z]"}, description: Its number.}
    get:
      operationId: getPet
      responses: {200: {description: One}}
    put:
      operationId: replacePet
      parameters:
        - {name: id, in: query, schema: {type: integer, minimum: 0, exclusiveMinimum: true}}
        - {name: X-Reason, in: header, required: true, schema: {type: string, nullable: true}}
      requestBody:
        content: {application/x-www-form-urlencoded: {schema: {type: object, properties: {name: {type: string}}}}}
      responses: {204: {description: Done}}
    delete: {responses: {204: {description: Gone}}}
components:
  schemas:
    Pet:
      type: object
      required: [name, id]
      properties:
        id: {type: string, readOnly: true}
        name: {type: string, maxLength: 20, x-shown: true}
        tag: {type: string, nullable: true, enum: [cat, dog]}
        parent: {$ref: "#/components/schemas/Pet"}
"##;

fn pets(server: Option<&StandIn>) -> Http {
    let mut http = Http {
        name: "pets".to_owned(),
        ..Http::default()
    };
    if let Some(server) = server {
        http.base_url = Some(Url::parse(&format!("{}/v1/", server.url)).unwrap());
        http.reach.private.push(server.host());
    }
    http
}

async fn call(http: &Http, tool: &str, arguments: Value) -> Result<Answer, StepError> {
    let tools = http.tools(PETS).unwrap();
    let name = format!("pets.{tool}");
    let tool = tools.iter().find(|one| one.spec().name == name).unwrap();
    let secrets = Secrets::new([("PETS_TOKEN".to_owned(), "hush hush".to_owned())]);
    carry_out(&**tool, arguments, Context::new("key-1", &secrets)).await
}

#[test]
fn each_operation_is_a_tool_with_a_schema_in_one_piece() {
    let tools = pets(None).tools(PETS).unwrap();
    let shown: Vec<Value> = tools
        .iter()
        .map(|tool| {
            let spec = tool.spec();
            assert!(spec.is_outgoing());
            json!([
                spec.name,
                spec.description,
                format!("{:?}", spec.effect),
                spec.parameters
            ])
        })
        .collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
}

#[tokio::test]
async fn arguments_go_where_the_file_says() {
    let server = StandIn::start(|request| match request.split(' ').next() {
        Some("DELETE" | "PUT") => reply("204 No Content", &[], b""),
        _ => ok("application/json", r#"{"ok": true}"#),
    })
    .await;
    let mut http = pets(Some(&server));
    let list = json!({"tag": ["a b", "c&d"], "sort": ["name", "age"], "where": {"city": "Bern"}});
    assert_eq!(
        call(&http, "listPets", list).await.unwrap().text(),
        r#"{"ok":true}"#
    );
    http.auth = Some(Auth {
        secret: "PETS_TOKEN".to_owned(),
        place: AuthPlace::Bearer,
    });
    call(&http, "getPet", json!({"id": "A/../7?x#y"}))
        .await
        .unwrap();
    http.auth = Some(Auth {
        secret: "PETS_TOKEN".to_owned(),
        place: AuthPlace::Basic,
    });
    call(&http, "createPet", json!({"body": {"name": "Rex"}}))
        .await
        .unwrap();
    http.auth = Some(Auth {
        secret: "PETS_TOKEN".to_owned(),
        place: AuthPlace::Header("X-Key".to_owned()),
    });
    let put = json!({"id_query": 4, "id": "A7", "X-Reason": "sold", "body": {"name": "R & x"}});
    assert_eq!(
        call(&http, "replacePet", put).await.unwrap().text(),
        "Done (204 No Content)."
    );
    http.auth = Some(Auth {
        secret: "PETS_TOKEN".to_owned(),
        place: AuthPlace::Query("key".to_owned()),
    });
    call(&http, "delete_pets_id", json!({"id": "A7"}))
        .await
        .unwrap();
    let requests: Vec<String> = server
        .requests()
        .iter()
        .map(|request| {
            request
                .replace(&server.host(), "[server]")
                .replace("\r\n", "\n")
        })
        // What the client adds of itself.
        .map(|request| {
            let lines = request.lines().filter(|line| {
                !line.starts_with("accept-encoding") && !line.starts_with("user-agent")
            });
            lines.collect::<Vec<&str>>().join("\n")
        })
        .collect();
    insta::assert_snapshot!(requests.join("\n----\n"));
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_words() {
    let server = StandIn::start(|request| match request.split(' ').nth(1) {
        Some("/v1/pets/A1") => reply("404 Not Found", &[], b"no pet A1, dear hush hush"),
        Some("/v1/pets/A2") => reply("429 Slow", &[("retry-after", "30")], b""),
        Some("/v1/pets/A3") => reply("302 Found", &[("location", "http://169.254.169.254/")], b""),
        Some("/v1/pets/A4") => ok("application/json", r#"{"token": ["hush hush"]}"#),
        Some("/v1/pets/A5") => ok("image/png", b"\x89PNG\xff"),
        Some("/v1/pets") if request.starts_with("POST") => b"HTTP/1.1 20".to_vec(),
        _ => reply("500 Oops", &[], b"later"),
    })
    .await;
    let mut http = pets(Some(&server));
    http.auth = Some(Auth {
        secret: "PETS_TOKEN".to_owned(),
        place: AuthPlace::Bearer,
    });
    for (id, told) in [
        (
            "A1",
            "GET /pets/{id} answered 404 Not Found: no pet A1, dear [secret]",
        ),
        (
            "A2",
            "GET /pets/{id} answered 429 Too Many Requests; it asks to wait: 30",
        ),
        ("A3", "GET /pets/{id} answered 302 Found"),
        ("A4", r#"{"token":["[secret]"]}"#),
        ("A5", "[5 bytes of image/png]"),
        ("..", "/pets/.. is no path"),
        ("", "id is missing"),
    ] {
        assert_eq!(
            call(&http, "getPet", json!({"id": id}))
                .await
                .unwrap()
                .text(),
            told
        );
    }
    // Nobody knows whether the pet is there now.
    let lost = call(&http, "createPet", json!({"body": {"name": "Rex"}})).await;
    assert!(matches!(lost, Err(StepError::Fault(_))), "{lost:?}");
    // An address in the file is as suspect as any.
    http.reach.private.clear();
    let refused = call(&http, "createPet", json!({"body": {"name": "Rex"}}))
        .await
        .unwrap();
    assert!(
        refused.text().contains("of a private network"),
        "{}",
        refused.text()
    );
}

#[test]
fn effects_and_operations_can_be_said() {
    let mut http = pets(None);
    http.operations = vec!["createPet".to_owned(), "getPet".to_owned()];
    http.effects
        .insert("createPet".to_owned(), Effect::Idempotent);
    let tools = http.tools(PETS).unwrap();
    let effects: Vec<Effect> = tools.iter().map(|tool| tool.spec().effect).collect();
    assert_eq!(effects, [Effect::Idempotent, Effect::Read]);
    http.operations.push("sellPet".to_owned());
    let told = "there is no operation `sellPet`; there are listPets, createPet, getPet, replacePet, delete_pets_id";
    assert_eq!(http.tools(PETS).err().as_deref(), Some(told));
}

#[test]
fn what_a_file_has_wrong_is_told() {
    let path = |operation: &str| {
        format!(
            r#"{{"openapi": "3.1.0", "servers": [{{"url": "https://a.test"}}], "paths": {{"/a/{{id}}": {{"post": {operation}}}}}}}"#
        )
    };
    for (file, told) in [
        (
            "{",
            "it is no JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("a: [", "it is no YAML: "),
        (
            "swagger: '2.0'",
            "it is no OpenAPI 3.0 or 3.1: openapi is null; Swagger 2.0 has to be converted",
        ),
        (
            "openapi: 3.1.0",
            "it names no server (servers: \"\"); give base_url",
        ),
        (
            "{openapi: 3.1.0, servers: [{url: /v1}]}",
            "it names no server (servers: \"/v1\"); give base_url",
        ),
        (
            "{openapi: 3.1.0, servers: [{url: 'https://a.test'}]}",
            "it has no operations",
        ),
        (
            &path("{}"),
            "POST /a/{id}: the path's parameter `id` is not described",
        ),
        (
            &path(r##"{"parameters": [{"$ref": "other.yaml#/x"}]}"##),
            "POST /a/{id}: `other.yaml#/x` is not in the file; references to other files are not read",
        ),
        (
            &path(
                r#"{"parameters": [{"name": "id", "in": "path", "required": true, "style": "matrix"}]}"#,
            ),
            "POST /a/{id}: the parameter `id` (path, matrix) cannot be sent; leave the operation out by operations",
        ),
        (
            &path(
                r#"{"parameters": [{"name": "id", "in": "path"}],
                    "requestBody": {"required": true, "content": {"multipart/form-data": {}}}}"#,
            ),
            "POST /a/{id}: its body is multipart/form-data, and only JSON and forms can be sent; leave it out by operations",
        ),
    ] {
        let error = Http::default().tools(file).err().unwrap();
        assert!(error.starts_with(told), "{error}\n{told}");
    }
}

#[test]
fn no_file_that_lacks_a_line_or_two_is_too_much() {
    let lines: Vec<&str> = PETS.lines().collect();
    let mut read = 0;
    for first in 0..lines.len() {
        for second in [first, (first * 7 + 3) % lines.len()] {
            let left = lines.iter().enumerate();
            let left = left.filter(|(index, _)| *index != first && *index != second);
            let left: Vec<&str> = left.map(|(_, line)| *line).collect();
            match pets(None).tools(&left.join("\n")) {
                Ok(tools) => read += tools.len(),
                Err(told) => assert!(!told.is_empty()),
            }
        }
    }
    assert!(read > 0);
}
