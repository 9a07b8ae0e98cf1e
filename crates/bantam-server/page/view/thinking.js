/**
 * What a model thought before it answered: open while it thinks, folded when the answer begins, unless the reader says
 * otherwise.
 */

import * as figures from "../core/figures.js";
import { el } from "./dom.js";
import { MarkdownView } from "./markdown.js";

export class ThinkingView {
  #markdown = new MarkdownView();
  #isTouched = false;

  constructor(message) {
    this.message = message;
    this.title = el("span");
    const summary = el("summary", { click: () => (this.#isTouched = true) }, this.title);
    this.element = el("details.thinking", {}, summary, this.#markdown.element);
  }

  update(isRunning) {
    const { thinking, times } = this.message;
    if (thinking.length > this.#markdown.length) this.#markdown.push(thinking.slice(this.#markdown.length));
    const isThinking = isRunning && !times?.thought;
    if (!this.#isTouched) this.element.open = isThinking;
    this.element.classList.toggle("live", isThinking);
    const end = times?.thought ?? times?.last;
    const time = times?.first && end ? ` for ${figures.duration(end - times.first)}` : "";
    this.title.textContent = isThinking ? `Thinking${time}` : `Thought${time}`;
  }
}
