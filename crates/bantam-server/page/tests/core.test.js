import assert from "node:assert/strict";
import test from "node:test";

import { contextTokens, fold, rate, tokenCount, unanswered } from "../core/answer.js";
import { EventReader } from "../core/events.js";
import { Failure, retryAfter } from "../core/failures.js";
import { Conversation, titleOf } from "../core/tree.js";

test("events do not depend on where the stream is cut", () => {
  const stream = ': ping\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata: one\ndata: two\n\ndata:[DONE]\n\n';
  for (let length = 1; length <= stream.length; length += 1) {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < stream.length; at += length)
      events.push(...reader.push(stream.slice(at, at + length)));
    assert.deepEqual(events, ['{"a": 1}', "one\ntwo", "[DONE]"], `pieces of ${length}`);
  }
});

function talk() {
  const conversation = Conversation.begin(0);
  const ask = conversation.add(null, "user", { text: "q" }, 1);
  const first = conversation.add(ask.id, "assistant", { text: "a1" }, 2);
  const more = conversation.add(first.id, "user", { text: "q2" }, 3);
  const second = conversation.add(ask.id, "assistant", { text: "a2" }, 4);
  return { conversation, ask, first, more, second };
}

const texts = (messages) => messages.map((message) => message.text).join(" ");

test("the path turns with the choice and comes back as it was", () => {
  const { conversation, ask, first, more, second } = talk();
  assert.equal(texts(conversation.path()), "q a2");
  assert.deepEqual(conversation.choose(first.id), [ask]);
  assert.equal(texts(conversation.path()), "q a1 q2");
  const other = conversation.add(first.id, "user", { text: "q3" }, 5);
  conversation.choose(second.id);
  conversation.choose(first.id);
  assert.equal(texts(conversation.path()), "q a1 q3");
  assert.deepEqual(
    conversation.versions(more.id).map((each) => each.id),
    [more.id, other.id],
  );
  assert.equal(texts(conversation.pathTo(more.id)), "q a1 q2");
});

test("what is removed takes along what followed it", () => {
  const { conversation, first, more, second } = talk();
  const gone = conversation.remove(first.id);
  assert.deepEqual(gone, [first, more]);
  assert.equal(conversation.message(more.id), undefined);
  assert.equal(texts(conversation.path()), "q a2");
  conversation.restore(gone);
  conversation.choose(more.id);
  assert.equal(texts(conversation.path()), "q a1 q2");
  assert.deepEqual(conversation.versions(first.id), [first, second]);
  conversation.remove(first.id);
  conversation.remove(second.id);
  assert.equal(texts(conversation.path()), "q");
});

test("a tree comes back out of its messages in any order, without what is damaged", () => {
  const { conversation, first } = talk();
  conversation.choose(first.id);
  const messages = [...conversation.messages()].reverse();
  const orphan = { id: "o", parent: "nobody", created: 9, text: "orphan" };
  const circle = [
    { id: "x", parent: "y", created: 9, text: "x" },
    { id: "y", parent: "x", created: 9, text: "y" },
  ];
  const again = new Conversation({ ...conversation.about }, [orphan, ...circle, ...messages]);
  assert.equal(texts(again.path()), "q a1 q2");
  assert.equal(again.messages().length, 4);
});

test("titles are short", () => {
  assert.equal(titleOf("\n## Why is the sky blue?\nmore"), "Why is the sky blue?");
  assert.ok(titleOf("word ".repeat(40)).length <= 61);
  assert.equal(titleOf("  \n"), "");
});

test("chunks become an answer", () => {
  const message = { text: "", ...unanswered("m", 1000) };
  const chunk = (delta, more = {}) => ({ choices: [{ delta, finish_reason: null, ...more }] });
  fold(message, chunk({ role: "assistant", content: "" }), 1100);
  assert.equal(message.times.first, null);
  fold(message, chunk({ reasoning_content: "hm" }), 1200);
  const logprobs = {
    content: [{ token: "a", logprob: -0.5, bytes: [97], top_logprobs: [{ token: "b", logprob: -1 }] }],
  };
  fold(message, chunk({ content: "a" }, { logprobs }), 1300);
  const call = (index, id, name, text) => ({
    tool_calls: [{ index, id, function: { name, arguments: text } }],
  });
  fold(message, chunk(call(0, "c1", "look", '{"x"')), 1400);
  fold(message, chunk(call(0, undefined, undefined, ": 1}")), 1500);
  fold(message, chunk(call(1, "c2", "find", "{}")), 1600);
  fold(message, chunk({}, { finish_reason: "tool_calls" }), 1700);
  fold(
    message,
    {
      choices: [],
      usage: { prompt_tokens: 10, completion_tokens: 9, prompt_tokens_details: { cached_tokens: 4 } },
    },
    1800,
  );
  assert.deepEqual([message.thinking, message.text, message.finish], ["hm", "a", "tool_calls"]);
  assert.deepEqual(
    message.calls.map((each) => [each.id, each.name, each.arguments]),
    [
      ["c1", "look", '{"x": 1}'],
      ["c2", "find", "{}"],
    ],
  );
  assert.deepEqual(message.tokens[0].top, [{ text: "b", logprob: -1, bytes: null }]);
  assert.deepEqual([message.times.first, message.times.thought, message.times.last], [1200, 1300, 1600]);
  assert.deepEqual([tokenCount(message), rate(message), contextTokens(message)], [9, 20, 19]);
  assert.throws(
    () => fold(message, { error: { message: "no" } }, 0),
    (error) => error.kind === "server",
  );
});

test("failures are sorted by what can be done", () => {
  const kind = (status, error) => Failure.ofReply(status, { error }).kind;
  assert.equal(kind(400, { code: "context_length_exceeded" }), "context");
  assert.deepEqual(
    [kind(401, {}), kind(404, {}), kind(503, {}), kind(500, {}), kind(400, {})],
    ["key", "missing", "busy", "server", "refused"],
  );
  assert.equal(Failure.ofReply(502, null).message, "The server replied with status 502.");
  assert.equal(Failure.ofReply(400, { error: "plain" }).message, "plain");
  assert.deepEqual(
    [retryAfter("7"), retryAfter("9999"), retryAfter(null), retryAfter("Tue"), retryAfter("-1")],
    [7, 120, null, null, null],
  );
});
