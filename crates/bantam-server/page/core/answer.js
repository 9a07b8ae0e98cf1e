/**
 * An answer as it comes: the chunks of a chat completion, folded into a message.
 *
 * An assistant's message holds beside its text: `thinking`, `calls` (`{ id, name, arguments }`), `tokens`
 * (`{ text, logprob, bytes, top }`), `usage` (`{ prompt, cached, answer }`), `finish` (what ended it), `model`, `failure`, and
 * `times` in milliseconds since 1970 (`asked`, `first`, `thought`, `last`) with `pieces`, the count of chunks that held
 * something.
 */

import { Failure } from "./failures.js";

/** The fields of an answer that nothing has come of yet. */
export function unanswered(model, now) {
  return {
    model,
    thinking: "",
    calls: [],
    tokens: null,
    usage: null,
    finish: null,
    failure: null,
    times: times(now),
  };
}

function times(now) {
  return { asked: now, first: null, thought: null, last: null, pieces: 0 };
}

/**
 * Puts a chunk's content into a message.
 * @throws {Failure} where the server says that it failed in the middle
 */
export function fold(message, chunk, now) {
  if (chunk.error) throw Failure.ofReply(chunk.error.code === 503 ? 503 : 500, chunk);
  if (chunk.usage) message.usage = usageOf(chunk.usage);
  if (chunk.timings) message.timings = timingsOf(chunk.timings);
  const choice = chunk.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  const thinking = delta.reasoning_content ?? delta.reasoning ?? "";
  const text = delta.content ?? "";
  if (thinking !== "" || text !== "" || delta.tool_calls)
    stamp(message.times, text !== "" || delta.tool_calls, now);
  message.thinking += thinking;
  message.text += text;
  for (const call of delta.tool_calls ?? []) foldCall(message.calls, call);
  if (choice.logprobs?.content) {
    message.tokens ??= [];
    message.tokens.push(...choice.logprobs.content.map(tokenOf));
  }
  if (choice.finish_reason) message.finish = choice.finish_reason;
}

function stamp(times, isAnswer, now) {
  times.first ??= now;
  if (isAnswer) times.thought ??= now;
  times.last = now;
  times.pieces += 1;
}

function foldCall(calls, delta) {
  const at =
    Number.isInteger(delta.index) && delta.index >= 0 ? Math.min(delta.index, calls.length) : calls.length;
  calls[at] ??= { id: "", name: "", arguments: "" };
  const call = calls[at];
  if (delta.id) call.id = delta.id;
  call.name += delta.function?.name ?? "";
  call.arguments += delta.function?.arguments ?? "";
}

function tokenOf(entry) {
  const top = (entry.top_logprobs ?? []).map(({ token, logprob, bytes }) => ({
    text: token,
    logprob,
    bytes: bytes ?? null,
  }));
  return { text: entry.token, logprob: entry.logprob, bytes: entry.bytes ?? null, top };
}

function usageOf(usage) {
  return {
    prompt: usage.prompt_tokens ?? 0,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    answer: usage.completion_tokens ?? 0,
  };
}

/** The server's own clock, where it tells it as llama.cpp's does. */
function timingsOf(timings) {
  return {
    prefillPerSecond: timings.prompt_per_second ?? null,
    perSecond: timings.predicted_per_second ?? null,
  };
}

/** Tokens of the answer so far: as the server counts them when it has, else the chunks, which are mostly one each. */
export function tokenCount(message) {
  return message.usage?.answer ?? message.tokens?.length ?? message.times?.pieces ?? 0;
}

/** Tokens per second, or `null` before there are enough to tell. */
export function rate(message) {
  if (message.timings?.perSecond) return message.timings.perSecond;
  const { first, last } = message.times ?? {};
  const count = (message.usage?.answer ?? message.times?.pieces ?? 0) - 1;
  return first && last > first && count > 2 ? (count * 1000) / (last - first) : null;
}

/** Tokens of the whole conversation behind a message, or `null` if the server never told. */
export function contextTokens(message) {
  return message?.usage ? message.usage.prompt + message.usage.answer : null;
}
