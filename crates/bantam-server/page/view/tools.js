/**
 * Calls of tools: what the model wants to be called, and where the reader types what came of it.
 */

import { readJson } from "../core/json.js";
import { el, fill, icon } from "./dom.js";
import { CodeView } from "./markdown.js";

export class CallsView {
  /** What is drawn of each call. */
  #drawn = [];

  constructor(chat, message) {
    this.chat = chat;
    this.message = message;
    this.element = el("div.calls");
  }

  update(isRunning) {
    this.message.calls.forEach((call, at) => {
      this.#drawn[at] ??= this.#draw(call);
      this.#show(this.#drawn[at], call, isRunning);
    });
  }

  #draw(call) {
    const name = el("span.call-name");
    const code = new CodeView("json", "");
    const form = this.#form(call);
    const element = el(
      "section.call",
      { "aria-label": `Call of ${call.name}` },
      el("div.call-head", {}, icon("tool"), name),
      code.element,
      form,
    );
    this.element.append(element);
    return { name, code, form, element };
  }

  #show(drawn, call, isRunning) {
    drawn.name.textContent = call.name;
    const text = isRunning ? call.arguments : pretty(call.arguments);
    if (text.startsWith(drawn.code.text)) drawn.code.push(text.slice(drawn.code.text.length));
    else {
      const code = new CodeView("json", text);
      drawn.code.element.replaceWith(code.element);
      drawn.code = code;
    }
    drawn.form.hidden = isRunning || this.#hasResult(call);
  }

  #hasResult(call) {
    const path = this.chat.current.path();
    const at = path.findIndex((message) => message.id === this.message.id);
    return path.slice(at + 1).some((message) => message.role === "tool" && message.call === call.id);
  }

  /** Where the result is typed in. */
  #form(call) {
    const area = el("textarea", {
      rows: "2",
      placeholder: "What the tool gives back",
      "aria-label": `Result of ${call.name}`,
    });
    const give = (event) => {
      event.preventDefault();
      this.chat.giveResult(this.message.id, call, area.value);
    };
    const form = el(
      "form.result-form",
      { submit: give, hidden: true },
      area,
      el("button.small.strong", { type: "submit" }, "Give result"),
    );
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) give(event);
    });
    return form;
  }
}

/** JSON over several lines, or the text as it is. */
function pretty(text) {
  const { state, value } = readJson(text);
  return state === "whole" ? JSON.stringify(value, null, 2) : text;
}
