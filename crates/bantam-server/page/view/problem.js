/**
 * Why an answer is not whole, and what can be done about it.
 */

import { contextTokens } from "../core/answer.js";
import { TITLES } from "../core/failures.js";
import * as figures from "../core/figures.js";
import { el, fill, icon } from "./dom.js";

export class ProblemView {
  #shown = null;

  constructor(chat, message) {
    this.chat = chat;
    this.message = message;
    this.element = el("div.problem", { hidden: true });
  }

  update(isRunning) {
    const problem = this.#problem(isRunning);
    this.element.hidden = problem === null;
    if (problem === null || problem.title + problem.text === this.#shown) return;
    this.#shown = problem.title + problem.text;
    this.element.setAttribute("role", problem.isBad ? "alert" : "status");
    this.element.classList.toggle("bad", problem.isBad === true);
    const text = problem.text && el("p", {}, problem.text);
    const body = el("div", {}, el("strong", {}, problem.title), text, this.#remedies(problem));
    fill(this.element, icon(problem.isBad ? "warning" : "stop"), body);
  }

  /** @returns {{ title: string, text?: string, isBad?: boolean, isFull?: boolean, isWaiting?: boolean } | null} */
  #problem(isRunning) {
    const { failure, finish, waiting } = this.message;
    if (waiting !== undefined) {
      return { title: `The server is busy; asking again in ${Math.ceil(waiting)} s`, isWaiting: true };
    }
    if (isRunning) return null;
    if (failure) {
      const title = TITLES[failure.kind] ?? TITLES.server;
      return { title, text: failure.message, isBad: true, isFull: failure.kind === "context" };
    }
    if (finish === "cancelled") return { title: "Stopped" };
    return finish === "length" ? this.#cut() : null;
  }

  /** An answer that reached a limit: of its own, or of the context. */
  #cut() {
    const context = this.chat.server.entry(this.message.model)?.context_length;
    const used = contextTokens(this.message);
    if (!context || used === null || used < context) return { title: "Cut at the limit of new tokens" };
    const size = figures.count(context);
    const text = `The conversation fills the ${size} tokens that this model can see. Edit an earlier message to go on from there, or start a new chat.`;
    return { title: "The context is full", text, isFull: true };
  }

  #remedies({ isBad, isFull, isWaiting }) {
    if (isWaiting) return null;
    const { id, text, calls } = this.message;
    const button = (name, work) => el("button.small", { type: "button", click: work }, name);
    const goesOn = !isFull && text !== "" && calls.length === 0;
    return el(
      "div.buttons",
      {},
      isFull && button("New chat", () => this.chat.begin()),
      goesOn && button("Continue", () => this.chat.goOn(id)),
      isBad && !isFull && button("Try again", () => this.chat.regenerate(id)),
    );
  }
}
