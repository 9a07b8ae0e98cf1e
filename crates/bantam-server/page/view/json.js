/**
 * An answer that was asked for as JSON, held against its schema while it comes.
 */

import { readJson } from "../core/json.js";
import { problems } from "../core/schema.js";
import { readSchema } from "../core/settings.js";
import { el, fill, icon } from "./dom.js";
import { CodeView } from "./markdown.js";

export class JsonView {
  #code = new CodeView("json", "");
  #length = 0;
  #state = "";

  constructor(message) {
    this.message = message;
    this.schema = readSchema(message.format).schema ?? {};
    this.verdict = el("div.verdict", { role: "status" });
    this.element = el("div.json", {}, this.#code.element, this.verdict);
  }

  update(isRunning) {
    const { text } = this.message;
    if (text.length > this.#length) this.#code.push(text.slice(this.#length));
    this.#length = text.length;
    if (!isRunning) this.#code.finish();
    this.#judge(readJson(text), isRunning);
  }

  #judge(read, isRunning) {
    const found =
      read.value === undefined ? [] : problems(this.schema, read.value, read.state === "whole" ? null : read);
    const { kind, title } = verdict(read, found, isRunning);
    const state = `${title}${found.map(({ path, message }) => path + message).join()}`;
    if (state === this.#state) return;
    this.#state = state;
    this.verdict.className = `verdict ${kind}`;
    const lines = found.map(({ path, message }) => el("li", {}, el("code", {}, path), ` ${message}`));
    fill(
      this.verdict,
      el(
        "div",
        {},
        icon(kind === "good" ? "check" : kind === "bad" ? "warning" : "braces"),
        el("span", {}, title),
      ),
      lines.length > 0 ? el("ul", {}, ...lines) : null,
    );
  }
}

function verdict(read, found, isRunning) {
  if (read.state === "broken")
    return { kind: "bad", title: `This is no JSON from character ${read.at + 1} on` };
  if (found.length > 0)
    return { kind: "bad", title: `${found.length} place${found.length === 1 ? "" : "s"} against the schema` };
  if (read.state === "whole") return { kind: "good", title: "Valid: holds to the schema" };
  return isRunning
    ? { kind: "open", title: "Valid so far" }
    : { kind: "bad", title: "The JSON is not whole" };
}
