import assert from "node:assert/strict";
import test from "node:test";

import { Chat } from "../chat.js";
import { Server } from "../server.js";
import { MemoryStore } from "../store.js";

globalThis.document = { baseURI: "http://localhost/" };

const chunk = (delta, finish_reason = null) => ({ choices: [{ delta, finish_reason }] });
const say = (text) => [chunk({ content: text }), chunk({}, "stop")];

/** A stream of events; without its end if it breaks off, or without an end if it hangs until it is aborted. */
function stream(chunks, { isBroken = false, signal = null } = {}) {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const each of chunks) controller.enqueue(encoder.encode(`data: ${JSON.stringify(each)}\n\n`));
      if (signal) return signal.addEventListener("abort", () => controller.error(signal.reason));
      if (!isBroken) controller.enqueue(encoder.encode("data: [DONE]\n\n"));
      return controller.close();
    },
  });
}

/** A chat over a server that gives these replies, one after the other; each is made from the request's body. */
async function talk(...replies) {
  const asked = [];
  globalThis.fetch = async (address, { body, signal }) => {
    if (String(address).endsWith("/v1/models"))
      return Response.json({ data: [{ id: "m" }, { id: "other" }] });
    asked.push(JSON.parse(body));
    const reply = replies[Math.min(asked.length, replies.length) - 1](asked.at(-1), signal);
    return reply instanceof Response ? reply : new Response(reply);
  };
  const store = new MemoryStore();
  const server = new Server(store);
  const chat = new Chat(store, server);
  await chat.start("");
  await server.start();
  return { chat, server, store, asked };
}

const texts = (chat) => chat.current.path().map((message) => message.text);
const answers = (...all) => all.map((text) => () => stream(say(text)));

test("what is said is answered and kept", async () => {
  const { chat, store, asked } = await talk(...answers("one", "two"));
  await chat.send("first question");
  await chat.send("second");
  assert.deepEqual(texts(chat), ["first question", "one", "second", "two"]);
  assert.deepEqual(
    asked[1].messages.map(({ content }) => content),
    ["first question", "one", "second"],
  );
  assert.equal(asked[0].model, "m");
  assert.equal(chat.list[0].title, "first question");
  const again = new Chat(store, new Server(store));
  await again.start(chat.current.id);
  assert.deepEqual(texts(again), texts(chat));
});

test("other words and other answers are branches", async () => {
  const { chat } = await talk(...answers("one", "two", "three"));
  await chat.send("question");
  const [question, one] = chat.current.path();
  await chat.regenerate(one.id);
  await chat.edit(question.id, "other");
  assert.deepEqual(texts(chat), ["other", "three"]);
  await chat.choose(question.id);
  assert.deepEqual(texts(chat), ["question", "two"]);
  await chat.choose(one.id);
  assert.deepEqual(texts(chat), ["question", "one"]);
});

test("an answer that is stopped stays and can be continued", async () => {
  const hang = (_, signal) => stream([chunk({ content: "half" })], { signal });
  const { chat, asked } = await talk(hang, ...answers(" and whole"));
  const sent = chat.send("question");
  await new Promise((resolve) =>
    chat.addEventListener("message", () => texts(chat)[1] === "half" && resolve()),
  );
  assert.ok(chat.isBusy());
  chat.stop();
  await sent;
  const answer = chat.current.path()[1];
  assert.deepEqual([answer.finish, answer.failure, chat.isBusy()], ["cancelled", null, false]);
  await chat.goOn(answer.id);
  assert.equal(answer.text, "half and whole");
  assert.deepEqual(asked[1].messages.at(-1), { role: "assistant", content: "half" });
});

test("a busy server is asked again, other failures stand with the answer", async () => {
  const busy = () =>
    Response.json({ error: { message: "full" } }, { status: 503, headers: { "retry-after": "0" } });
  const full = () => Response.json({ error: { code: "context_length_exceeded" } }, { status: 400 });
  const broken = () => stream([chunk({ content: "be" })], { isBroken: true });
  const failing = () => stream([chunk({ content: "x" }), { error: { message: "a bug" } }]);
  const gone = () => {
    throw new TypeError("no network");
  };
  const { chat, server } = await talk(busy, busy, ...answers("now"), full, broken, failing, gone);
  for (const text of ["a", "b", "c", "d", "e"]) await chat.send(text);
  const kinds = chat.current
    .path()
    .filter(({ role }) => role === "assistant")
    .map(({ text, failure }) => [text, failure?.kind]);
  assert.deepEqual(kinds, [
    ["now", undefined],
    ["", "context"],
    ["be", "broken"],
    ["x", "server"],
    ["", "gone"],
  ]);
  assert.equal(server.state, "gone");
  server.state = "there";
});

test("two models answer beside each other, and the first is what goes on", async () => {
  const { chat, server, asked } = await talk((body) => stream(say(`I am ${body.model}`)));
  server.chooseRival("other");
  await chat.send("who?");
  const [question, shown] = chat.current.path();
  const both = chat.current.children(question.id);
  assert.deepEqual(
    both.map(({ text }) => text),
    ["I am m", "I am other"],
  );
  assert.equal(shown, both[0]);
  assert.equal(both[0].round, both[1].round);
  assert.equal(asked[0].seed, asked[1].seed);
  await chat.choose(both[1].id);
  server.chooseRival(null);
  await chat.send("and?");
  assert.equal(asked[2].messages[1].content, "I am other");
});

test("a model goes on when all its calls have results", async () => {
  const call = (id, name) => ({
    tool_calls: [{ index: id, id: `c${id}`, function: { name, arguments: "{}" } }],
  });
  const calls = () => stream([chunk(call(0, "f")), chunk(call(1, "g")), chunk({}, "tool_calls")]);
  const { chat, asked } = await talk(calls, ...answers("done"));
  await chat.change({ usesTools: true, tools: '[{"name": "f"}, {"name": "g"}]' });
  await chat.send("do it");
  const answer = chat.current.path()[1];
  await chat.giveResult(answer.id, answer.calls[1], "two");
  assert.equal(asked.length, 1);
  await chat.giveResult(answer.id, answer.calls[0], "one");
  assert.deepEqual(
    asked[1].messages.slice(2).map((each) => [each.tool_call_id, each.content]),
    [
      ["c1", "two"],
      ["c0", "one"],
    ],
  );
  assert.equal(texts(chat).at(-1), "done");
});

test("an answer can be continued from another token", async () => {
  const entry = (token, other) => ({
    token,
    logprob: -0.1,
    bytes: [...Buffer.from(token)],
    top_logprobs: [{ token: other, logprob: -2, bytes: [...Buffer.from(other)] }],
  });
  const tokens = [entry("It", "He"), entry(" is", " was"), entry(" so", " not")];
  const reply = () =>
    stream([
      { choices: [{ delta: { content: "It is so" }, logprobs: { content: tokens } }] },
      chunk({}, "stop"),
    ]);
  const { chat, asked } = await talk(reply, ...answers(" once"));
  await chat.send("how?");
  const answer = chat.current.path()[1];
  await chat.branch(answer.id, 1, answer.tokens[1].top[0]);
  assert.equal(asked[1].messages.at(-1).content, "It was");
  assert.deepEqual(texts(chat), ["how?", "It was once"]);
  assert.equal(chat.current.versions(answer.id).length, 2);
});

test("what is deleted is gone, and can be brought back", async () => {
  const { chat, store } = await talk(...answers("one", "two"));
  await chat.send("a");
  await chat.send("b");
  const { id } = chat.current;
  const undo = await chat.remove(chat.current.path()[2].id);
  assert.deepEqual([texts(chat), (await store.messages(id)).length], [["a", "one"], 2]);
  await undo();
  assert.deepEqual([texts(chat), (await store.messages(id)).length], [["a", "one", "b", "two"], 4]);
  const bringBack = await chat.forget(id);
  assert.deepEqual([chat.list, await store.allMessages(), chat.current.isEmpty], [[], [], true]);
  await bringBack();
  await chat.open(id);
  assert.equal(texts(chat).length, 4);
});

test("an answer to a conversation that was deleted meanwhile is not kept", async () => {
  const hang = (_, signal) => stream([chunk({ content: "half" })], { signal });
  const { chat, store } = await talk(hang);
  const sent = chat.send("question");
  await new Promise((resolve) =>
    chat.addEventListener("message", () => texts(chat)[1] === "half" && resolve()),
  );
  await chat.forget(chat.current.id);
  await sent;
  assert.deepEqual([await store.conversations(), await store.allMessages(), chat.isBusy()], [[], [], false]);
});

test("search goes over all branches, import and export over all conversations", async () => {
  const { chat } = await talk(...answers("Zebras are striped", "nothing of the kind"));
  await chat.send("animals");
  await chat.regenerate(chat.current.path()[1].id);
  const found = await chat.search(["zebra"]);
  assert.deepEqual(
    found.map(({ message }) => message.text),
    ["Zebras are striped"],
  );
  await chat.show(found[0].about.id, found[0].message.id);
  assert.deepEqual(texts(chat), ["animals", "Zebras are striped"]);
  assert.equal(await chat.imported(await chat.exported()), 1);
  assert.equal(chat.list.length, 2);
  assert.deepEqual(texts(chat), ["animals", "Zebras are striped"]);
});
