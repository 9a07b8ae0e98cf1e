/**
 * The settings of the open conversation, and what concerns the page as a whole.
 */

import { key } from "../api.js";
import { EFFORTS, NUMBERS, readSchema, readTools, within } from "../core/settings.js";
import { el, fill, iconButton } from "./dom.js";

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

export class SettingsView {
  /** What is being typed in, which must not be drawn anew. */
  #isOwn = false;

  constructor(session, { close, removeAll }) {
    this.session = session;
    this.close = close;
    this.removeAll = removeAll;
    this.element = document.getElementById("settings");
    session.addEventListener("settings", () => this.#isOwn || this.draw());
    this.draw();
  }

  #change(settings) {
    this.#isOwn = true;
    this.session.change(settings);
    this.#isOwn = false;
  }

  draw() {
    fill(
      this.element,
      el("div.settings-head", {}, el("h2", {}, "Settings"), iconButton("close", "Close settings", () => this.close())),
      el("p.note", {}, "For this conversation."),
      this.#system(),
      this.#sampling(),
      this.#schema(),
      this.#tools(),
      this.#defaults(),
      this.#server(),
      this.#data(),
    );
  }

  /** Shows a part and puts the focus into it. */
  show(part) {
    const section = this.element.querySelector(`[data-part="${part}"]`);
    section?.scrollIntoView({ block: "start" });
    section?.querySelector("textarea, input")?.focus();
  }

  #system() {
    const area = el("textarea", { rows: "4", value: this.session.settings.system, placeholder: "You are a helpful assistant.", input: () => this.#change({ system: area.value }) });
    return part("system", "System prompt", label("What the model is told before the conversation", area, { isUnseen: true }));
  }

  #sampling() {
    const { settings } = this.session;
    const efforts = el("select", { change: () => this.#change({ effort: efforts.value }) }, ...EFFORTS.map(([value, name]) => el("option", { value, selected: settings.effort === value }, name)));
    const tops = el("select", { change: () => this.#change({ top_logprobs: Number(tops.value) }) }, ...[0, 5, 10, 20].map((value) => el("option", { value: String(value), selected: settings.top_logprobs === value }, value === 0 ? "Off" : `${value} alternatives`)));
    return part("sampling", "Answering", ...NUMBERS.map((number) => this.#number(number)), label("Thinking", efforts), label("Token probabilities", tops));
  }

  #number(number) {
    const { name, label: text, hint, min, max, step } = number;
    const value = this.session.settings[name];
    const input = el("input", {
      type: "number", min, max, step: number.isWhole ? "1" : "any", inputmode: number.isWhole ? "numeric" : "decimal", placeholder: "auto", value: value ?? "",
      input: () => {
        const isEmpty = input.value.trim() === "" && input.validity.valid;
        const read = isEmpty ? null : within(number, input.valueAsNumber);
        input.setAttribute("aria-invalid", String(!isEmpty && read === null));
        if (isEmpty || read !== null) this.#change({ [name]: read });
      },
      keydown: (event) => {
        if (number.isWhole || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
        event.preventDefault();
        const next = (input.value === "" ? 0 : input.valueAsNumber) + (event.key === "ArrowUp" ? step : -step);
        input.value = String(Math.min(max, Math.max(min, Number(next.toFixed(4)))));
        input.dispatchEvent(new Event("input"));
      },
    });
    return label(text, input, { hint });
  }

  #schema() {
    const { settings } = this.session;
    return part("schema", "Answer as JSON", ...this.#json({
      name: "schema", uses: "usesSchema", on: "Answers hold to the schema", text: settings.schema, example: SCHEMA_EXAMPLE,
      judge: (text) => {
        const { schema, problem } = readSchema(text);
        return problem ?? (schema ? null : "Without a schema, any JSON object will do.");
      },
      isGood: (text) => readSchema(text).schema !== null,
      good: "The schema is read.",
    }));
  }

  #tools() {
    const { settings } = this.session;
    return part("tools", "Tools", ...this.#json({
      name: "tools", uses: "usesTools", on: "The model may call these", text: settings.tools, example: TOOLS_EXAMPLE,
      judge: (text) => {
        const { tools, problem } = readTools(text);
        return problem ?? (tools.length > 0 ? null : "A list of functions as JSON. You play the tools: you see each call and type its result.");
      },
      isGood: (text) => readTools(text).tools.length > 0,
      good: "The tools are read.",
    }));
  }

  /** A switch, a field for JSON, and what is wrong with it as it is typed. */
  #json({ name, uses, on, text, example, judge, isGood, good }) {
    const verdict = el("p.note", { role: "status" });
    const show = () => {
      const said = judge(area.value);
      const isBad = said !== null && area.value.trim() !== "";
      verdict.className = isBad ? "note bad" : isGood(area.value) ? "note good" : "note";
      verdict.textContent = said ?? good;
      area.setAttribute("aria-invalid", String(isBad));
    };
    const area = el("textarea.code-field", { rows: "8", spellcheck: "false", value: text, "aria-label": `${name} as JSON`, input: () => { this.#change({ [name]: area.value }); show(); } });
    const check = el("input", { type: "checkbox", checked: this.session.settings[uses], change: () => this.#change({ [uses]: check.checked }) });
    const fillIn = el("button.small", { type: "button", click: () => { area.value = example; area.dispatchEvent(new Event("input")); area.focus(); } }, "Insert an example");
    show();
    return [el("label.check", {}, check, on), area, verdict, fillIn];
  }

  #defaults() {
    const keep = el("button.small", { type: "button", click: async () => { await this.session.useForNew(); keep.textContent = "Kept for new chats"; } }, "Use these for new chats");
    return el("div.buttons", {}, keep, el("button.small", { type: "button", click: () => this.session.reset() }, "Back to the defaults"));
  }

  #server() {
    const input = el("input", { type: "password", autocomplete: "off", value: key.value, placeholder: "none", change: () => { key.value = input.value.trim(); this.session.loadModels(); } });
    return part("server", "Server", label("API key", input, { hint: "kept until this tab is closed" }));
  }

  #data() {
    const text = this.session.store.isLasting
      ? "Conversations are kept in this browser’s database and nowhere else. Clearing the site’s data deletes them."
      : "This browser keeps nothing: conversations are gone when the tab is closed.";
    return part("data", "Your data", el("p.note", {}, text), el("button.small.bad", { type: "button", click: () => this.removeAll() }, "Delete all conversations"));
  }
}

function part(name, title, ...children) {
  return el("section.part", { "data-part": name }, el("h3", {}, title), ...children);
}

function label(text, field, { hint = null, isUnseen = false } = {}) {
  return el("label.field", {}, el(isUnseen ? "span.unseen" : "span.field-name", {}, text), field, hint ? el("small", {}, hint) : null);
}
