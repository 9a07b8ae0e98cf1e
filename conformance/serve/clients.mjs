// Lets the JavaScript clients of OpenAI, Anthropic, Ollama and Vercel's AI SDK use a running `bantam serve`.
//
//     node clients.mjs URL MODEL
//
// Prints a line for each check, as clients.py does, and exits with 1 if one fails. `suites.py` installs the clients.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { embedMany, generateText, streamText } from "ai";
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

check("vercel-ai", "text, its stream, embeddings", async () => {
  const provider = createOpenAICompatible({ name: "bantam", baseURL: `${url}/v1`, includeUsage: true });
  const said = { model: provider(model), prompt: "What is the capital of France?", temperature: 0, maxOutputTokens: 24 };
  const whole = await generateText({ ...said, maxRetries: 0 });
  assert.match(whole.text, /Paris/);
  const stream = streamText({ ...said, maxRetries: 0 });
  assert.equal(await stream.text, whole.text);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
  assert.equal(await stream.finishReason, whole.finishReason);
  const embedder = provider.embeddingModel ?? provider.textEmbeddingModel;
  const { embeddings } = await embedMany({ model: embedder(model), values: ["A cat.", "A dog."], maxRetries: 0 });
  assert.equal(embeddings.length, 2);
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
