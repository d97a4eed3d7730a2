"""An MCP server over standard input and output that `plumb mcp --server` passes on in the conformance suite and in the
tests: the tools, resources and prompts that the suite asks for by name and that no agent has, in version 2026-07-28.
"""

import json
import sys

VERSION = "2026-07-28"
# A red dot, and an eighth of a second of silence.
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQIAAACAgA=="
FRESH = {"ttlMs": 0, "cacheScope": "private"}


def text(said):
    return {"type": "text", "text": said}


def picture():
    return {"type": "image", "data": PICTURE, "mimeType": "image/png"}


def resource(uri, kind, said):
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": said}}


def form(**fields):
    return {"type": "object", "properties": fields, "required": list(fields)}


STRING, BOOLEAN = {"type": "string"}, {"type": "boolean"}
DEFAULTS = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
}
TITLED = [{"const": f"value{n}", "title": title} for n, title in ((1, "First"), (2, "Second"), (3, "Third"))]
CHOICES = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": TITLED},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
    },
}

# Tools that answer at once.
SAID = {
    "test_image_content": [picture()],
    "test_audio_content": [{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}],
    "test_embedded_resource": [resource("test://embedded-resource", "text/plain", "An embedded resource.")],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        picture(),
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
# Tools that ask first, in rounds: the name of each question, what is asked, and the form of the answer.
ASKING = {
    "test_elicitation": [("answer", "Who are you?", form(username=STRING, email=STRING))],
    "test_elicitation_sep1034_defaults": [("answer", "Is this right?", DEFAULTS)],
    "test_elicitation_sep1330_enums": [("answer", "Which?", CHOICES)],
    "test_streaming_elicitation": [("confirm", "Go on?", form(ok=BOOLEAN))],
    "test_input_required_result_elicitation": [("user_name", "What is your name?", form(name=STRING))],
    "test_input_required_result_request_state": [("confirm", "Please confirm", form(ok=BOOLEAN))],
    "test_input_required_result_tampered_state": [("confirm", "Please confirm", form(ok=BOOLEAN))],
    "test_input_required_result_multi_round": [
        ("step1", "Step 1: What is your name?", form(name=STRING)),
        ("step2", "Step 2: What is your favorite color?", form(color=STRING)),
    ],
}
RESOURCES = {
    "test://static-text": ("text/plain", {"text": "This is the content of the static text resource."}),
    "test://static-binary": ("image/png", {"blob": PICTURE}),
}
TEMPLATE = ("test://template/", "{id}", "/data")
PROMPTS = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


def error(code, message, **more):
    return {"error": {"code": code, "message": message, **more}}


def result(**fields):
    return {"result": {"resultType": "complete", **fields}}


def question(name, message, schema, state):
    asked = {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}
    return {"result": {"resultType": "input_required", "inputRequests": {name: asked}, "requestState": state}}


def tools():
    names = [*SAID, *ASKING, "test_missing_capability"]
    schema = {"type": "object", "properties": {}}
    hints = {"readOnlyHint": True}
    return [{"name": name, "description": f"{name}, for tests.", "inputSchema": schema, "annotations": hints}
            for name in names]


def call(params):
    name = params["name"]
    if name in SAID:
        return result(content=SAID[name])
    if name in ASKING:
        # The state is the number of the round, and after it what has been answered.
        done, *answers = json.loads(params.get("requestState") or "[0]")
        told = params.get("inputResponses") or {}
        rounds = ASKING[name]
        if done and rounds[done - 1][0] in told:
            answers.append(told[rounds[done - 1][0]])
        if len(answers) < len(rounds):
            asked = rounds[len(answers)]
            return question(*asked, json.dumps([len(answers) + 1, *answers]))
        return result(content=[text(f"state-ok, answers: {json.dumps(answers)}")])
    # It wants a model of the client's, which who calls here does not have.
    return error(-32021, "sampling is needed", data={"requiredCapabilities": {"sampling": {}}})


def read(uri):
    if uri in RESOURCES:
        kind, held = RESOURCES[uri]
        return result(contents=[{"uri": uri, "mimeType": kind, **held}], **FRESH)
    before, _, after = TEMPLATE
    if uri.startswith(before) and uri.endswith(after):
        held = json.dumps({"id": uri[len(before):-len(after)], "templateTest": True})
        return result(contents=[{"uri": uri, "mimeType": "application/json", "text": held}], **FRESH)
    return error(-32602, "Resource not found", data={"uri": uri})


def prompt(params):
    name, arguments = params["name"], params.get("arguments") or {}
    said = {
        "test_simple_prompt": [text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": [text(f"Prompt with arguments: {json.dumps(arguments)}")],
        "test_prompt_with_embedded_resource": [
            resource(arguments.get("resourceUri", ""), "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": [picture(), text("Please analyze the image above.")],
    }.get(name)
    if said is None:
        told = params.get("inputResponses") or {}
        if "user_context" not in told:
            asked = form(context=STRING)
            return question("user_context", "What context should the prompt use?", asked, "prompt-1")
        said = [text(f"In the context of {json.dumps(told['user_context'])}.")]
    return result(messages=[{"role": "user", "content": part} for part in said])


def answer(method, params):
    if method == "server/discover":
        own = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        return result(supportedVersions=[VERSION], capabilities=own, serverInfo={"name": "suite", "version": "1"}, **FRESH)
    if method == "tools/list":
        return result(tools=tools(), **FRESH)
    if method == "tools/call":
        return call(params)
    if method == "resources/list":
        listed = [{"uri": uri, "name": uri, "description": uri, "mimeType": kind} for uri, (kind, _) in RESOURCES.items()]
        return result(resources=listed, **FRESH)
    if method == "resources/templates/list":
        return result(resourceTemplates=[{"uriTemplate": "".join(TEMPLATE), "name": "data", "description": "Data."}], **FRESH)
    if method == "resources/read":
        return read(params["uri"])
    if method == "prompts/list":
        listed = [{"name": name, "description": name, "arguments": [{"name": n, "required": True} for n in names]}
                  for name, names in PROMPTS.items()]
        return result(prompts=listed, **FRESH)
    if method == "prompts/get":
        return prompt(params)
    if method == "completion/complete":
        begun = params["argument"]["value"]
        values = [value for value in ("testing", "tested", "paris") if value.startswith(begun)]
        return result(completion={"values": values, "total": len(values), "hasMore": False})
    return error(-32601, "Method not found")


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        made = answer(request["method"], request.get("params") or {})
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **made}), flush=True)
