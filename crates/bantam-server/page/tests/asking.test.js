import assert from "node:assert/strict";
import test from "node:test";

import * as figures from "../core/figures.js";
import { readJson } from "../core/json.js";
import { groupModels, requestBody } from "../core/request.js";
import { problems, schemaProblem } from "../core/schema.js";
import { excerpt, hasAll, wordsOf } from "../core/search.js";
import { defaults, readSchema, readSettings, readTools } from "../core/settings.js";
import { fromFile, toFile } from "../core/transfer.js";
import { Conversation } from "../core/tree.js";

test("whole JSON is read as JSON.parse reads it, and every beginning of it has begun", () => {
  const texts = [
    '{"a": [1, 2.5e-3, -0], "b": {"c": "x\\n\\u00e9\\"", "d": null}, "e": true, "__proto__": {"x": []}}',
    " [ ] ",
    '"text"',
    "false",
    "[[[{}]]]",
    '["\\\\"]',
  ];
  for (const text of texts) {
    const { state, value } = readJson(text);
    assert.equal(state, "whole", text);
    assert.equal(JSON.stringify(value), JSON.stringify(JSON.parse(text)));
    for (let length = 0; length < text.trimEnd().length; length += 1) {
      assert.notEqual(readJson(text.slice(0, length)).state, "broken", text.slice(0, length));
    }
  }
});

test("what never becomes JSON is broken", () => {
  const texts = [
    "{a",
    "[1,,",
    '{"a" 1',
    "tru ",
    "nul1",
    "[1] x",
    '"\\x',
    '"a\nb"',
    "01",
    "[-]",
    '{"a":1,}',
    "+",
    "[".repeat(300),
  ];
  for (const text of texts) assert.equal(readJson(text).state, "broken", text);
});

test("a beginning holds what was said so far", () => {
  const { value, open, isCut } = readJson('{"a": [1, {"b": "x');
  assert.deepEqual([value.a[0], open.size, isCut], [1, 3, true]);
  assert.ok(open.has(value) && open.has(value.a));
});

const SCHEMA = {
  type: "object",
  required: ["name", "age"],
  additionalProperties: false,
  properties: {
    name: { type: "string", minLength: 2, pattern: "^[A-Z]" },
    age: { type: "integer", minimum: 0, maximum: 150 },
    kind: { enum: ["cat", "dog"] },
    tags: { type: "array", items: { $ref: "#/$defs/tag" }, maxItems: 2, uniqueItems: true },
    either: { anyOf: [{ type: "null" }, { type: "number", multipleOf: 0.5 }] },
  },
  $defs: { tag: { type: "string", maxLength: 3 } },
};

test("values are held against their schema", () => {
  const found = (value) => problems(SCHEMA, value).map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual(found({ name: "Ada", age: 36, kind: "cat", tags: ["a", "b"], either: 1.5 }), []);
  const wrong = [
    [{ name: "Ada" }, "“age” is missing"],
    [{ name: "ada", age: 1 }, "does not match"],
    [{ name: "Ada", age: 1.5 }, "wanted integer, found number"],
    [{ name: "Ada", age: 151 }, "more than 150"],
    [{ name: "Ada", age: 1, more: 1 }, "more: may not be there"],
    [{ name: "Ada", age: 1, kind: "cow" }, 'kind: wanted one of "cat", "dog"'],
    [{ name: "Ada", age: 1, tags: ["long!"] }, "tags[0]: longer than 3"],
    [{ name: "Ada", age: 1, tags: ["a", "a"] }, "tags[1]: is there twice"],
    [{ name: "Ada", age: 1, either: 0.3 }, "fits none"],
    [[], "the answer: wanted object, found array"],
  ];
  for (const [value, message] of wrong) {
    assert.equal(found(value).length, 1, JSON.stringify(value));
    assert.ok(found(value)[0].includes(message), found(value)[0]);
  }
});

test("what is still to come is no problem, what is wrong already is one", () => {
  const found = (text) => {
    const read = readJson(text);
    return problems(SCHEMA, read.value, read).map(({ path }) => path);
  };
  const good = '{"name": "Ada", "age": 36, "kind": "cat", "tags": ["abc"]}';
  for (let length = 1; length <= good.length; length += 1)
    assert.deepEqual(found(good.slice(0, length)), [], good.slice(0, length));
  assert.deepEqual(found('{"name": "Ada", "colour'), []);
  assert.deepEqual(found('{"name": "Ada", "colour":'), []);
  assert.deepEqual(found('{"name": "Ada", "colour": 1'), ["colour"]);
  assert.deepEqual(found('{"tags": ["toolong'), ["tags[0]"]);
  assert.deepEqual(found('{"age": 200, '), ["age"]);
});

test("references in circles end", () => {
  const schema = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } };
  assert.deepEqual(problems(schema, 1), []);
  assert.equal(schemaProblem({ type: "text" }).includes("“text”"), true);
  assert.equal(schemaProblem([]).includes("object"), true);
  assert.equal(schemaProblem(SCHEMA), null);
});

test("settings are within their ranges or as by default", () => {
  const read = readSettings({
    temperature: 0.5,
    top_k: 1.5,
    seed: -1,
    system: 5,
    effort: "high",
    usesTools: 1,
    more: 1,
  });
  assert.deepEqual(read, { ...defaults(), temperature: 0.5, effort: "high" });
  assert.deepEqual(readSettings(null), defaults());
});

test("schemas and tools are checked where they are typed", () => {
  assert.deepEqual(readSchema(""), { schema: null, problem: null });
  assert.ok(readSchema("{").problem.startsWith("This is no JSON"));
  assert.deepEqual(readSchema('{"type": "object"}').schema, { type: "object" });
  const wrapped = readTools(
    '[{"type": "function", "function": {"name": "f"}}, {"name": "g", "parameters": {"type": "object"}}]',
  );
  assert.deepEqual(
    wrapped.tools.map((tool) => [tool.type, tool.function.name]),
    [
      ["function", "f"],
      ["function", "g"],
    ],
  );
  assert.ok(readTools('{"name": "with space"}').problem.includes("letters"));
  assert.ok(readTools('[{"name": "f"}, {"name": "f"}]').problem.includes("Two"));
  assert.ok(readTools("[1]").problem);
});

test("a request holds what was set, and nothing else", () => {
  const path = [
    { role: "user", text: "q" },
    { role: "assistant", text: "", thinking: "hm", calls: [{ id: "c", name: "f", arguments: "{}" }] },
    { role: "tool", text: "42", call: "c", name: "f" },
  ];
  assert.deepEqual(requestBody("m", [path[0]], defaults()), {
    messages: [{ role: "user", content: "q" }],
    stream: true,
    stream_options: { include_usage: true },
    model: "m",
  });
  const settings = {
    ...defaults(),
    system: "s",
    temperature: 0,
    top_logprobs: 5,
    usesSchema: true,
    schema: '{"type": "object"}',
    effort: "none",
    usesTools: true,
    tools: '{"name": "f"}',
  };
  const body = requestBody(null, path, settings);
  assert.deepEqual(
    body.messages.map((message) => message.role),
    ["system", "user", "assistant", "tool"],
  );
  assert.deepEqual(body.messages[2].tool_calls, [
    { id: "c", type: "function", function: { name: "f", arguments: "{}" } },
  ]);
  assert.deepEqual([body.messages[2].reasoning_content, body.messages[3].tool_call_id], ["hm", "c"]);
  assert.deepEqual(
    [body.temperature, body.top_logprobs, body.reasoning_effort, body.model],
    [0, 5, "none", undefined],
  );
  assert.deepEqual(body.response_format.json_schema.schema, { type: "object" });
  assert.equal(body.tools[0].function.name, "f");
  assert.deepEqual(requestBody(null, path, { ...defaults(), usesSchema: true }).response_format, {
    type: "json_object",
  });
});

test("adapters stand with their base", () => {
  const models = [{ id: "a" }, { id: "x", parent: "a" }, { id: "b" }, { id: "lost", parent: "gone" }];
  assert.deepEqual(
    groupModels(models).map(({ base, adapters }) => [base.id, adapters.map((each) => each.id)]),
    [
      ["a", ["x"]],
      ["b", []],
      ["lost", []],
    ],
  );
});

test("what is exported comes back, under new names", () => {
  const conversation = Conversation.begin(5, { title: "T", model: "m", settings: readSettings({ seed: 7 }) });
  const ask = conversation.add(null, "user", { text: "q" }, 6);
  const first = conversation.add(
    ask.id,
    "assistant",
    { text: "a1", calls: [], tokens: [{ text: "a", logprob: -1, bytes: [97], top: [] }] },
    7,
  );
  conversation.add(ask.id, "assistant", { text: "a2" }, 8);
  conversation.choose(first.id);
  const [again] = fromFile(toFile([conversation]), 99);
  assert.notEqual(again.id, conversation.id);
  assert.deepEqual([again.about.title, again.about.model, again.about.settings.seed], ["T", "m", 7]);
  assert.deepEqual(
    again.path().map((message) => message.text),
    ["q", "a1"],
  );
  assert.deepEqual(again.path()[1].tokens, first.tokens);
  assert.deepEqual(
    again.versions(again.path()[1].id).map((message) => message.text),
    ["a1", "a2"],
  );
});

test("lists of messages are taken in, anything else is refused with a sentence", () => {
  const list = [
    { role: "system", content: "s" },
    { role: "user", content: [{ type: "text", text: "Hello" }] },
    { role: "assistant", content: "Hi" },
  ];
  for (const text of [JSON.stringify(list), JSON.stringify({ messages: list })]) {
    const [conversation] = fromFile(text, 1);
    assert.deepEqual(
      conversation.path().map((message) => message.text),
      ["Hello", "Hi"],
    );
    assert.deepEqual([conversation.about.title, conversation.about.settings.system], ["Hello", "s"]);
  }
  for (const text of ["", "{}", "[1]", "null", '{"messages": [{"role": "root"}]}'])
    assert.throws(() => fromFile(text, 1), /file/);
  const odd = {
    format: "bantam-conversations",
    conversations: [
      {
        messages: [
          { role: "user", id: 1, parent: 1, text: {} },
          5,
          { role: "assistant", parent: null, tokens: [null], calls: [null], times: 5 },
        ],
      },
      null,
    ],
  };
  const read = fromFile(JSON.stringify(odd), 1);
  assert.deepEqual(
    read.map((each) => each.path().length),
    [1, 0],
  );
});

test("search knows no case and no accents", () => {
  assert.ok(hasAll("Über den Café", wordsOf("cafe uber")));
  assert.ok(!hasAll("only one", wordsOf("one two")));
  const pieces = excerpt(`${"x ".repeat(100)}the needle here${" y".repeat(100)}`, wordsOf("needle"));
  assert.deepEqual(pieces.find((piece) => piece.isFound).text, "needle");
  assert.ok(pieces[0].text === "…" && pieces.at(-1).text === "…");
  assert.equal(
    excerpt("İstanbul ist", wordsOf("ist"))
      .map((piece) => piece.text)
      .join(""),
    "İstanbul ist",
  );
});

test("figures are short", () => {
  assert.deepEqual(
    [count(999), count(1000), count(8192), count(135e6), count(1.7e9), count(99950)],
    ["999", "1k", "8.2k", "135M", "1.7B", "100k"],
  );
  assert.deepEqual(
    [figures.bytes(98e6), figures.bytes(1.25e9), figures.bytes(10)],
    ["98 MB", "1.3 GB", "1 kB"],
  );
  assert.deepEqual(
    [figures.duration(420), figures.duration(12000), figures.duration(185000)],
    ["0.4 s", "12 s", "3 min 5 s"],
  );
  assert.deepEqual(
    [figures.percent(0.973), figures.percent(0.003), figures.percent(0.0000001)],
    ["97 %", "0.3 %", "< 0.1 %"],
  );
  const noon = new Date(2026, 5, 15, 12).getTime();
  assert.deepEqual(
    [0, 20, 70].map((hours) => figures.dayOf(noon - hours * 3600000, noon)),
    ["Today", "Yesterday", "This week"],
  );
});

const { count } = figures;
