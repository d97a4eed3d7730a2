// The official `openai` package for Node against a server of ours, with a real model.
//
//     node openai_client.mjs http://127.0.0.1:8420/v1 TOKEN MODEL
//
// Prints a line for each check and `all N checks passed` at the end; ends with status 1 at the first that
// fails. `cargo xtask clients` runs it.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 120_000 });
let passed = 0;

function check(name, holds, seen) {
  if (!holds) {
    console.log(`FAILED ${name}: ${JSON.stringify(seen)}`);
    process.exit(1);
  }
  passed += 1;
  console.log(`ok ${name}`);
}

const City = z.object({ name: z.string(), country: z.string(), inhabitants: z.number() });
const weather = {
  name: "get_weather",
  description: "The weather of a city, now.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};
const ask = [{ role: "user", content: "What is the weather in Bern? Use the tool." }];

const said = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Say hello." }],
  max_tokens: 20,
});
check("chat: text", said.choices[0].message.content.length > 0, said);

let text = "";
let usage;
const stream = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Count to five." }],
  max_tokens: 30,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check("stream: text", text.length > 0, text);
check("stream: usage", usage.completion_tokens > 0, usage);

const parsed = await client.chat.completions.parse({
  model,
  messages: [{ role: "user", content: "The city of Paris as JSON with name, country and inhabitants." }],
  response_format: zodResponseFormat(City, "city"),
  max_tokens: 100,
  temperature: 0,
});
check("parse: a typed answer", typeof parsed.choices[0].message.parsed.inhabitants === "number", parsed);

const names = (await client.models.list()).data.map((listed) => listed.id);
check("models: listed", names.includes(model), names);

const embedding = names.find((name) => name.includes("minilm"));
if (embedding) {
  const found = await client.embeddings.create({ model: embedding, input: "a cat" });
  check("embeddings", found.data[0].embedding.length === 384, found.data[0].embedding.length);
}

try {
  await client.chat.completions.create({ model: "local:none", messages: [{ role: "user", content: "x" }] });
  check("errors: unknown model", false);
} catch (error) {
  check("errors: unknown model", error instanceof OpenAI.NotFoundError, String(error));
}

const tool = { type: "function", function: weather };
const called = await client.chat.completions.create({
  model,
  messages: ask,
  tools: [tool],
  tool_choice: "required",
  max_tokens: 100,
  temperature: 0,
});
const call = called.choices[0].message.tool_calls[0];
check("tools: arguments", typeof JSON.parse(call.function.arguments).city === "string", called);
const used = await client.chat.completions.create({
  model,
  messages: [...ask, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: '{"celsius": 21}' }],
  tools: [tool],
  tool_choice: "none",
  max_tokens: 60,
  temperature: 0,
});
check("tools: the answer uses the result", used.choices[0].message.content.includes("21"), used);

const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 20 });
check("responses: text", response.output_text.length > 0, response);
const kinds = [];
for await (const event of await client.responses.create({ model, input: "Count to three.", max_output_tokens: 20, stream: true })) {
  kinds.push(event.type);
}
check("responses: events", kinds[0] === "response.created" && kinds.includes("response.output_text.delta"), kinds);
const typed = await client.responses.parse({
  model,
  input: "The city of Rome as JSON with name, country and inhabitants.",
  text: { format: zodTextFormat(City, "city") },
  max_output_tokens: 100,
  temperature: 0,
});
check("responses: parse", typeof typed.output_parsed.inhabitants === "number", typed);

console.log(`all ${passed} checks passed`);
