// Lets the JavaScript clients of OpenAI, Anthropic, Ollama and Vercel's AI SDK use a running `bantam serve`.
//
//     node clients.mjs URL MODEL
//
// Prints a line for each check, as clients.py does, and exits with 1 if one fails. `suites.py` installs the clients.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { createOpenResponses } from "@ai-sdk/open-responses";
import Anthropic from "@anthropic-ai/sdk";
import { Output, embedMany, generateText, jsonSchema, streamText, tool } from "ai";
import { Ollama } from "ollama";
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
const ollama = new Ollama({ host: url });
const greedy = { temperature: 0, max_tokens: 24 };
const checks = [];
const check = (client, title, run) => checks.push({ client, title, run });
const ask = (text, more = {}) => ({ model, messages: [{ role: "user", content: text }], ...more });

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

check("openai-js", "chat: the stream is the answer", async () => {
  const whole = await openai.chat.completions.create(ask("What is the capital of France?", greedy));
  const text = whole.choices[0].message.content;
  assert.match(text, /Paris/);
  const more = { stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await openai.chat.completions.create(ask("What is the capital of France?", { ...greedy, ...more })));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""), text);
  assert.equal(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
});

check("openai-js", "chat: the helper that assembles a stream", async () => {
  const stream = openai.chat.completions.stream(ask("Say hello.", greedy));
  const final = await stream.finalChatCompletion();
  const whole = await openai.chat.completions.create(ask("Say hello.", greedy));
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
});

check("openai-js", "completions, and embeddings in base64", async () => {
  const reply = await openai.completions.create({ model, prompt: "One, two, three,", ...greedy });
  assert.match(reply.choices[0].text, /four/);
  const input = ["A cat.", "A dog."];
  const plain = await openai.embeddings.create({ model, input, encoding_format: "float" });
  const coded = await openai.embeddings.create({ model, input });
  const difference = coded.data[1].embedding.map((x, at) => Math.abs(x - plain.data[1].embedding[at]));
  assert.ok(Math.max(...difference) < 1e-7 && coded.data[1].index === 1);
});

check("openai-js", "responses: whole, streamed, a conversation that goes on", async () => {
  const said = { model, input: "What is the capital of France?", temperature: 0, max_output_tokens: 24 };
  const whole = await openai.responses.create(said);
  assert.match(whole.output_text, /Paris/);
  const stream = openai.responses.stream(said);
  const names = (await all(stream)).map((event) => event.type);
  const final = await stream.finalResponse();
  assert.equal(final.output_text, whole.output_text);
  assert.deepEqual(names.slice(0, 2), ["response.created", "response.in_progress"]);
  const next = await openai.responses.create({ ...said, input: "And of Italy?", previous_response_id: whole.id });
  assert.ok(next.usage.input_tokens > whole.usage.total_tokens);
  assert.equal((await openai.responses.retrieve(whole.id)).output_text, whole.output_text);
  await openai.responses.delete(whole.id);
  await assert.rejects(openai.responses.retrieve(whole.id), OpenAI.NotFoundError);
});

check("openai-js", "errors have their classes and name the field", async () => {
  await assert.rejects(openai.chat.completions.create(ask("x", { temperature: -1 })), (error) => {
    return error instanceof OpenAI.BadRequestError && error.param === "temperature";
  });
  await assert.rejects(openai.chat.completions.create({ ...ask("x"), model: "none" }), OpenAI.NotFoundError);
  assert.deepEqual((await all(await openai.models.list())).map((entry) => entry.id), [model]);
});

check("anthropic-js", "messages: the helper that asserts the order of a stream", async () => {
  const said = ask("Name three colours.", { max_tokens: 24, temperature: 0 });
  const whole = await anthropic.messages.create(said);
  const final = await anthropic.messages.stream(said).finalMessage();
  assert.equal(final.content[0].text, whole.content[0].text);
  assert.equal(final.stop_reason, whole.stop_reason);
  const count = await anthropic.messages.countTokens(ask("Hello there."));
  assert.ok(count.input_tokens > 2);
  await assert.rejects(anthropic.messages.create({ ...said, model: "none" }), Anthropic.NotFoundError);
});

check("ollama-js", "chat, generate, embed, list, show", async () => {
  const options = { temperature: 0, num_predict: 24 };
  const whole = await ollama.chat(ask("What is the capital of France?", { options }));
  assert.match(whole.message.content, /Paris/);
  const parts = await all(await ollama.chat(ask("What is the capital of France?", { options, stream: true })));
  assert.equal(parts.map((part) => part.message.content).join(""), whole.message.content);
  const raw = await ollama.generate({ model, prompt: "One, two, three,", raw: true, options });
  assert.match(raw.response, /four/);
  const { embeddings } = await ollama.embed({ model, input: ["a", "b"] });
  assert.equal(embeddings.length, 2);
  assert.deepEqual((await ollama.list()).models.map((entry) => entry.model), [model]);
  assert.ok((await ollama.show({ model })).capabilities.includes("completion"));
});

// Vercel's AI SDK by each of its ways to a server of one's own.
const compatible = createOpenAICompatible({ name: "bantam", baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true });
const likeOpenai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const likeResponses = createOpenResponses({ name: "bantam", url: `${url}/v1/responses` });
const ways = {
  "openai-compatible": compatible(model),
  "openai, chat": likeOpenai.chat(model),
  "openai, responses": likeOpenai.responses(model),
  "open-responses": likeResponses(model),
};
const paris = { prompt: "What is the capital of France?", temperature: 0, maxOutputTokens: 24, maxRetries: 0 };
const city = jsonSchema({
  type: "object",
  properties: { city: { type: "string", maxLength: 40 }, big: { type: "boolean" } },
  required: ["city", "big"],
  additionalProperties: false,
});

for (const [way, languageModel] of Object.entries(ways)) {
  check("vercel-ai", `${way}: text, and its stream`, async () => {
    const whole = await generateText({ model: languageModel, ...paris });
    assert.match(whole.text, /Paris/);
    const stream = streamText({ model: languageModel, ...paris });
    const parts = await all(stream.fullStream);
    assert.ok(!parts.some((part) => part.type === "error"), JSON.stringify(parts.find((part) => part.type === "error")));
    assert.equal(await stream.text, whole.text);
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
    assert.equal(await stream.finishReason, whole.finishReason);
    assert.ok(whole.usage.inputTokens > 10 && whole.finishReason === "stop");
  });

  check("vercel-ai", `${way}: several turns, a system prompt, an end by length`, async () => {
    const messages = [
      { role: "user", content: [{ type: "text", text: "My name is Ada." }] },
      { role: "assistant", content: [{ type: "text", text: "Hello, Ada." }] },
      { role: "user", content: "What is my name?" },
    ];
    const reply = await generateText({ model: languageModel, instructions: "You are brief.", messages, temperature: 0, maxOutputTokens: 3, maxRetries: 0 });
    assert.equal(reply.finishReason, "length");
    assert.equal(reply.usage.outputTokens, 3);
  });

  check("vercel-ai", `${way}: an object that holds to its schema, whole and streamed`, async () => {
    const said = { model: languageModel, ...paris, maxOutputTokens: 200, output: Output.object({ schema: city }) };
    const { output } = await generateText(said);
    assert.deepEqual(Object.keys(output).sort(), ["big", "city"]);
    const stream = streamText(said);
    assert.ok((await all(stream.partialOutputStream)).length > 0);
    assert.deepEqual(await stream.output, output);
  });

  check("vercel-ai", `${way}: a tool that must be called`, async () => {
    const tools = { weather: tool({ description: "The weather of a place", inputSchema: city }) };
    const said = { model: languageModel, ...paris, maxOutputTokens: 200, tools, toolChoice: "required" };
    const { toolCalls, finishReason } = await generateText(said);
    assert.equal(toolCalls[0].toolName, "weather");
    assert.deepEqual(Object.keys(toolCalls[0].input).sort(), ["big", "city"]);
    assert.equal(finishReason, "tool-calls");
    const streamed = await streamText(said).toolCalls;
    assert.deepEqual(streamed.map((call) => call.input), toolCalls.map((call) => call.input));
  });

  check("vercel-ai", `${way}: a failure has its status, and names the field`, async () => {
    await assert.rejects(generateText({ model: languageModel, ...paris, temperature: -1 }), (error) => {
      return error.statusCode === 400 && /temperature/.test(error.message + error.responseBody);
    });
  });
}

check("vercel-ai", "openai-compatible: completions, and their stream", async () => {
  const said = { model: compatible.completionModel(model), ...paris, prompt: "One, two, three," };
  const whole = await generateText(said);
  assert.equal(await streamText(said).text, whole.text);
  assert.ok(whole.text);
});

check("vercel-ai", "openai-compatible and openai: embeddings", async () => {
  const values = ["A cat.", "A dog."];
  const [one, other] = await Promise.all(
    [compatible.embeddingModel(model), likeOpenai.embeddingModel(model)].map((embedder) => embedMany({ model: embedder, values, maxRetries: 0 })),
  );
  assert.equal(one.embeddings.length, 2);
  const difference = one.embeddings[1].map((x, at) => Math.abs(x - other.embeddings[1][at]));
  assert.ok(Math.max(...difference) < 1e-6 && one.usage.tokens > 2);
});

let failed = 0;
for (const { client, title, run } of checks) {
  try {
    await run();
    console.log(`pass  ${client.padEnd(12)} ${title}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${client.padEnd(12)} ${title}: ${String(error).split("\n").join(" ").slice(0, 400)}`);
  }
}
process.exit(failed ? 1 : 0);
