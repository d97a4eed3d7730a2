"""The official `openai` package for Python against a server of ours, with a real model.

    python openai_client.py http://127.0.0.1:8420/v1 TOKEN MODEL

Prints a line for each check and `all N checks passed` at the end; ends with status 1 at the first that
fails. `cargo xtask clients` runs it with both majors of the package.
"""

import asyncio
import json
import sys

import openai
from pydantic import BaseModel

base_url, token, model = sys.argv[1:4]
client = openai.OpenAI(base_url=base_url, api_key=token, max_retries=0, timeout=120)
passed = 0


def check(name, holds, seen=None):
    global passed
    if not holds:
        print(f"FAILED {name}: {seen!r}")
        sys.exit(1)
    passed += 1
    print(f"ok {name}")


class City(BaseModel):
    name: str
    country: str
    inhabitants: int


WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city, now.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ASK = [{"role": "user", "content": "What is the weather in Bern? Use the tool."}]


def chat():
    said = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=20, temperature=0
    )
    check("chat: text", bool(said.choices[0].message.content), said)
    check("chat: usage adds up", said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens)
    short = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Count from 1 to 100."}], max_tokens=5, temperature=0
    )
    check("chat: a limit is a limit", short.choices[0].finish_reason == "length", short)
    parts = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "developer", "content": "Answer in one word."},
            {"role": "user", "content": [{"type": "text", "text": "Name a "}, {"type": "text", "text": "colour."}]},
        ],
        max_tokens=10,
    )
    check("chat: parts and developer", bool(parts.choices[0].message.content), parts)


def stream():
    pieces, usage, reasons = [], None, []
    for chunk in client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Count from one to five."}],
        max_tokens=30,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ):
        if chunk.usage:
            usage = chunk.usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            if choice.finish_reason:
                reasons.append(choice.finish_reason)
    check("stream: pieces", len(pieces) > 2 and "".join(pieces).strip(), pieces)
    check("stream: one end", len(reasons) == 1, reasons)
    check("stream: usage at the end", usage and usage.completion_tokens > 0, usage)
    whole = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Count from one to five."}],
        max_tokens=30,
        temperature=0,
    )
    check("stream: the same as whole", "".join(pieces) == whole.choices[0].message.content, whole)
    with client.chat.completions.stream(
        model=model, messages=[{"role": "user", "content": "Say hi."}], max_tokens=10
    ) as events:
        kinds = [event.type for event in events]
    check("stream: helper", "content.delta" in kinds and "content.done" in kinds, kinds)


def parse():
    said = client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "The city of Paris as JSON with name, country and inhabitants."}],
        response_format=City,
        max_tokens=100,
        temperature=0,
    )
    city = said.choices[0].message.parsed
    check("parse: a typed answer", isinstance(city, City), said)
    anything = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "A JSON object with a name."}],
        response_format={"type": "json_object"},
        max_tokens=100,
        temperature=0,
    )
    check("parse: any object", isinstance(json.loads(anything.choices[0].message.content), dict), anything)


def tools():
    tool = {"type": "function", "function": WEATHER}
    said = client.chat.completions.create(
        model=model, messages=ASK, tools=[tool], tool_choice="required", max_tokens=100, temperature=0
    )
    choice = said.choices[0]
    check("tools: finish reason", choice.finish_reason == "tool_calls", said)
    call = choice.message.tool_calls[0]
    check("tools: arguments", isinstance(json.loads(call.function.arguments)["city"], str), call)
    answer = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear", "celsius": 21}'}
    said = client.chat.completions.create(
        model=model,
        messages=[*ASK, choice.message, answer],
        tools=[tool],
        tool_choice="none",
        max_tokens=60,
        temperature=0,
    )
    check("tools: the answer uses the result", "21" in (said.choices[0].message.content or ""), said)
    named = {"type": "function", "function": {"name": "get_weather"}}
    arguments, name, identifier = "", None, None
    for chunk in client.chat.completions.create(
        model=model, messages=ASK, tools=[tool], tool_choice=named, max_tokens=100, temperature=0, stream=True
    ):
        for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            name = name or piece.function.name
            identifier = identifier or piece.id
            arguments += piece.function.arguments or ""
    check("tools: streamed", name == "get_weather" and identifier, name)
    check("tools: streamed arguments", isinstance(json.loads(arguments)["city"], str), arguments)


def responses():
    said = client.responses.create(model=model, input="Say hello.", max_output_tokens=20, temperature=0)
    check("responses: text", bool(said.output_text) and said.status == "completed", said)
    cut = client.responses.create(model=model, input="Count from 1 to 100.", max_output_tokens=16, temperature=0)
    check("responses: incomplete", cut.status == "incomplete", cut)
    check("responses: why", cut.incomplete_details.reason == "max_output_tokens", cut)
    kinds, text = [], ""
    for event in client.responses.create(
        model=model,
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Count to three."}]}],
        max_output_tokens=30,
        temperature=0,
        stream=True,
    ):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
    check("responses: events", kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds)
    check("responses: streamed text", bool(text), kinds)
    parsed = client.responses.parse(
        model=model, input="The city of Rome as JSON with name, country and inhabitants.", text_format=City, max_output_tokens=100, temperature=0
    )
    check("responses: parse", isinstance(parsed.output_parsed, City), parsed)
    tool = {"type": "function", "strict": True, **WEATHER}
    said = client.responses.create(
        model=model, input=ASK, tools=[tool], tool_choice="required", max_output_tokens=100, temperature=0
    )
    calls = [item for item in said.output if item.type == "function_call"]
    check("responses: a call", calls and isinstance(json.loads(calls[0].arguments)["city"], str), said)
    result = {"type": "function_call_output", "call_id": calls[0].call_id, "output": '{"celsius": 21}'}
    said = client.responses.create(
        model=model,
        input=[*ASK, calls[0].model_dump(exclude_none=True), result],
        tools=[tool],
        tool_choice="none",
        max_output_tokens=60,
        temperature=0,
    )
    check("responses: the answer uses the result", "21" in said.output_text, said)


def rest():
    names = [listed.id for listed in client.models.list()]
    check("models: listed", model in names, names)
    check("models: one", client.models.retrieve(model).id == model)
    embedding = next((name for name in names if "minilm" in name), None)
    if embedding:
        found = client.embeddings.create(model=embedding, input=["a cat", "a kitten", "tax law"])
        vectors = [item.embedding for item in found.data]
        near = sum(a * b for a, b in zip(vectors[0], vectors[1]))
        far = sum(a * b for a, b in zip(vectors[0], vectors[2]))
        check("embeddings: near and far", near > far + 0.2, (near, far))


def errors():
    for name, error, call in [
        (
            "errors: wrong token",
            openai.AuthenticationError,
            lambda: openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0).models.list(),
        ),
        (
            "errors: unknown model",
            openai.NotFoundError,
            lambda: client.chat.completions.create(model="local:none", messages=[{"role": "user", "content": "x"}]),
        ),
        (
            "errors: a parameter that is not supported",
            openai.BadRequestError,
            lambda: client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}], n=3),
        ),
        (
            "errors: no messages",
            openai.BadRequestError,
            lambda: client.chat.completions.create(model=model, messages=[]),
        ),
        (
            "errors: too long",
            openai.BadRequestError,
            lambda: client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "word " * 60_000}], max_tokens=10
            ),
        ),
    ]:
        try:
            seen = call()
        except error as seen:
            check(name, bool(seen.message), seen)
        else:
            check(name, False, seen)


async def together():
    many = openai.AsyncOpenAI(base_url=base_url, api_key=token, max_retries=0, timeout=300)
    said = await asyncio.gather(
        *(
            many.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": f"Say the number {number}."}],
                max_tokens=10,
                temperature=0,
            )
            for number in range(10)
        )
    )
    right = sum(str(number) in said[number].choices[0].message.content for number in range(10))
    check("ten at once, each its own answer", right >= 8, [one.choices[0].message.content for one in said])


chat()
stream()
parse()
rest()
errors()
asyncio.run(together())
tools()
responses()
print(f"all {passed} checks passed (openai {openai.__version__})")
