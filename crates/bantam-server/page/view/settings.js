/**
 * The settings of the open conversation, and what concerns the page as a whole.
 */

import { key } from "../api.js";
import { defaults, EFFORTS, NUMBERS, readSchema, readTools } from "../core/settings.js";
import { el, fill, iconButton } from "./dom.js";
import { choiceField, jsonField, labelled, numberField, switchField } from "./fields.js";

const SCHEMA_EXAMPLE = `{
  "type": "object",
  "properties": {
    "answer": { "type": "string" },
    "sure": { "type": "boolean" }
  },
  "required": ["answer", "sure"],
  "additionalProperties": false
}`;
const TOOLS_EXAMPLE = `[
  {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {
      "type": "object",
      "properties": { "city": { "type": "string" } },
      "required": ["city"]
    }
  }
]`;
const ALTERNATIVES = [
  ["0", "Off"],
  ["5", "Top 5"],
  ["10", "Top 10"],
  ["20", "Top 20"],
];

export class SettingsView {
  /** Whether a change comes from here, where the fields already show it and must not be drawn anew. */
  #isOwn = false;

  constructor(chat, { close, removeAll }) {
    this.chat = chat;
    this.close = close;
    this.removeAll = removeAll;
    this.element = document.getElementById("settings");
    chat.addEventListener("settings", () => this.#isOwn || this.draw());
    this.draw();
  }

  #change(settings) {
    this.#isOwn = true;
    this.chat.change(settings);
    this.#isOwn = false;
  }

  draw() {
    fill(
      this.element,
      el(
        "div.settings-head",
        {},
        el("h2", {}, "Settings"),
        iconButton("close", "Close settings", () => this.close()),
      ),
      el("p.note", {}, "For this conversation."),
      this.#system(),
      this.#answering(),
      this.#schema(),
      this.#tools(),
      this.#defaults(),
      this.#server(),
      this.#data(),
    );
  }

  /** Shows a part and puts the focus into it. */
  show(name) {
    const section = this.element.querySelector(`[data-part="${name}"]`);
    section?.scrollIntoView({ block: "start" });
    section?.querySelector("textarea, input")?.focus({ preventScroll: true });
  }

  #system() {
    const area = el("textarea", {
      rows: "4",
      value: this.chat.settings.system,
      placeholder: "You are a helpful assistant.",
      input: () => this.#change({ system: area.value }),
    });
    return part("system", "System prompt", labelled("System prompt", area, { isUnseen: true }));
  }

  #answering() {
    const { settings } = this.chat;
    const numbers = NUMBERS.map((number) =>
      numberField(number, settings[number.name], (value) => this.#change({ [number.name]: value })),
    );
    const effort = choiceField("Thinking", EFFORTS, settings.effort, (value) =>
      this.#change({ effort: value }),
    );
    const top = choiceField("Token probabilities", ALTERNATIVES, String(settings.top_logprobs), (value) =>
      this.#change({ top_logprobs: Number(value) }),
    );
    return part("answering", "Answering", ...numbers, effort, top);
  }

  #schema() {
    const { settings } = this.chat;
    const uses = (usesSchema) => this.#change({ usesSchema });
    const field = jsonField({
      name: "Schema as JSON",
      value: settings.schema,
      example: SCHEMA_EXAMPLE,
      judge: judgeSchema,
      changed: (schema) => this.#change({ schema }),
    });
    return part(
      "schema",
      "Answer as JSON",
      switchField("Answers hold to the schema", settings.usesSchema, uses),
      ...field,
    );
  }

  #tools() {
    const { settings } = this.chat;
    const uses = (usesTools) => this.#change({ usesTools });
    const field = jsonField({
      name: "Tools as JSON",
      value: settings.tools,
      example: TOOLS_EXAMPLE,
      judge: judgeTools,
      changed: (tools) => this.#change({ tools }),
    });
    return part(
      "tools",
      "Tools",
      switchField("The model may call these", settings.usesTools, uses),
      ...field,
    );
  }

  #defaults() {
    const keep = button("Use these for new chats", async () => {
      await this.chat.useForNew();
      keep.textContent = "Kept for new chats";
    });
    return el(
      "div.buttons",
      {},
      keep,
      button("Back to the defaults", () => this.chat.change(defaults())),
    );
  }

  #server() {
    const use = () => {
      key.value = input.value.trim();
      this.chat.server.load();
    };
    const props = {
      type: "password",
      autocomplete: "off",
      value: key.value,
      placeholder: "none",
      change: use,
    };
    const input = el("input", props);
    // A form of its own, without which browsers take it for a part of something to be remembered.
    const form = el(
      "form",
      { submit: (event) => event.preventDefault() },
      labelled("API key", input, { hint: "kept until this tab is closed" }),
    );
    return part("server", "Server", form);
  }

  #data() {
    const text = this.chat.store.isLasting
      ? "Conversations are kept in this browser’s database and nowhere else. Clearing the site’s data deletes them."
      : "This browser keeps nothing: conversations are gone when the tab is closed.";
    const remove = button("Delete all conversations", () => this.removeAll());
    remove.classList.add("bad");
    return part("data", "Your data", el("p.note", {}, text), remove);
  }
}

function judgeSchema(text) {
  const { schema, problem } = readSchema(text);
  if (problem !== null) return { kind: "bad", text: problem };
  if (schema === null) return { kind: "open", text: "Without a schema, any JSON object will do." };
  return { kind: "good", text: "The schema is read." };
}

function judgeTools(text) {
  const { tools, problem } = readTools(text);
  if (problem !== null) return { kind: "bad", text: problem };
  if (tools.length > 0)
    return { kind: "good", text: `Read: ${tools.map((tool) => tool.function.name).join(", ")}.` };
  return {
    kind: "open",
    text: "A list of functions. You play the tools: you see each call and type its result.",
  };
}

const button = (name, click) => el("button.small", { type: "button", click }, name);

function part(name, title, ...children) {
  return el("section.part", { "data-part": name }, el("h3", {}, title), ...children);
}
