/**
 * One message, and all that can be done with it. It is drawn once and then changed in place as its answer grows.
 */

import { contextTokens, rate, tokenCount } from "../core/answer.js";
import { TITLES } from "../core/failures.js";
import * as figures from "../core/figures.js";
import { announce, copyText, el, fill, icon, iconButton } from "./dom.js";
import { JsonView } from "./json.js";
import { MarkdownView } from "./markdown.js";
import { ThinkingView } from "./thinking.js";
import { TokensView } from "./tokens.js";
import { CallsView } from "./tools.js";

export class MessageView {
  #body = null;
  #thinking = null;
  #calls = null;
  #tokens = null;

  /**
   * @param {import("../session.js").Session} session
   * @param {object} message
   */
  constructor(session, message) {
    this.session = session;
    this.message = message;
    this.who = el("div.who");
    this.content = el("div.content");
    this.problem = el("div.problem", { hidden: true });
    this.foot = el("div.foot");
    this.element = el(
      `article.message.${message.role}`,
      { id: `m-${message.id}`, tabindex: "-1", "aria-label": label(message) },
      this.who,
      this.content,
      this.problem,
      this.foot,
    );
    this.update();
  }

  get isRunning() {
    return this.session.isRunning(this.message.id);
  }

  /** Shows what the message is now. */
  update() {
    this.element.classList.toggle("running", this.isRunning);
    this.element.setAttribute("aria-busy", String(this.isRunning));
    if (this.message.role === "assistant") this.#updateAnswer();
    else this.#updateText();
    this.#updateProblem();
    this.#updateFoot();
  }

  #updateText() {
    if (this.content.childElementCount > 0 && this.content.dataset.editing === undefined) return;
    if (this.content.dataset.editing !== undefined) return;
    if (this.message.role === "tool") fill(this.who, icon("tool"), el("span", {}, `${this.message.name || "Tool"} gave back`));
    fill(this.content, el(this.message.role === "tool" ? "pre.result" : "div.said", {}, this.message.text));
  }

  #updateAnswer() {
    const { message } = this;
    if (this.who.childElementCount === 0) fill(this.who, el("span.model", {}, message.model ?? "assistant"));
    this.#updateThinking();
    if (this.#tokens === null) this.#updateBody();
    if (message.calls.length > 0) {
      this.#calls ??= this.#part(new CallsView(this.session, message));
      this.#calls.update(this.isRunning);
    }
    this.element.classList.toggle("empty", message.text === "" && message.calls.length === 0);
  }

  #updateThinking() {
    if (this.message.thinking === "") return;
    if (this.#thinking === null) {
      this.#thinking = new ThinkingView(this.message);
      this.content.prepend(this.#thinking.element);
    }
    this.#thinking.update(this.isRunning);
  }

  #updateBody() {
    const { message } = this;
    if (message.text === "") return;
    this.#body ??= this.#part(message.format ? new JsonView(message) : new TextView(message));
    this.#body.update(this.isRunning);
  }

  #part(view) {
    const after = this.#calls?.element ?? null;
    this.content.insertBefore(view.element, after);
    return view;
  }

  #updateProblem() {
    const { failure, finish, waiting } = this.message;
    const text = waiting !== undefined ? waitingText(waiting) : failure ? failureText(failure) : this.#ended(finish);
    this.problem.hidden = text === null || (this.isRunning && waiting === undefined);
    if (this.problem.hidden || this.problem.dataset.text === text.title + text.text) return;
    this.problem.dataset.text = text.title + text.text;
    this.problem.setAttribute("role", failure ? "alert" : "status");
    this.problem.classList.toggle("bad", Boolean(failure));
    fill(
      this.problem,
      icon(failure ? "warning" : "stop"),
      el("div", {}, el("strong", {}, text.title), text.text ? el("p", {}, text.text) : null, this.#remedies()),
    );
  }

  /** What is to be said of an answer that ended, if it did not end by itself. */
  #ended(finish) {
    if (finish === "cancelled") return { title: "Stopped", text: "" };
    if (finish !== "length") return null;
    const context = this.session.modelEntry(this.message.model)?.context_length;
    const used = contextTokens(this.message);
    if (context && used !== null && used >= context) {
      return { title: "The context is full", text: `The conversation has reached the ${figures.count(context)} tokens that this model can see. Start a new chat, or edit an earlier message to go on from there.` };
    }
    return { title: "Cut at the limit of new tokens", text: "" };
  }

  #remedies() {
    const { failure, finish, text } = this.message;
    const button = (name, work) => el("button.small", { type: "button", click: work }, name);
    const buttons = [];
    const isFull = failure?.kind === "context" || (finish === "length" && this.#ended(finish).text !== "");
    if (isFull) buttons.push(button("New chat", () => this.session.begin()));
    else if (text !== "" && this.message.calls.length === 0) buttons.push(button("Continue", () => this.session.goOn(this.message.id)));
    if (failure && !isFull) buttons.push(button("Try again", () => this.session.regenerate(this.message.id)));
    return buttons.length > 0 && this.message.waiting === undefined ? el("div.buttons", {}, ...buttons) : null;
  }

  #updateFoot() {
    const versions = this.session.current.versions(this.message.id);
    const state = `${versions.length} ${versions.indexOf(this.message)} ${this.isRunning} ${this.message.tokens !== null} ${this.#tokens !== null}`;
    if (this.foot.dataset.state !== state) {
      this.foot.dataset.state = state;
      this.figures = el("span.figures");
      fill(this.foot, this.#switcher(versions), this.isRunning ? null : this.#actions(), this.figures);
    }
    if (this.message.role === "assistant") this.figures.textContent = this.#figures();
  }

  #figures() {
    const { message } = this;
    const count = tokenCount(message);
    if (count === 0) return this.isRunning ? "Reading the prompt…" : "";
    const speed = rate(message);
    const parts = [`${count} token${count === 1 ? "" : "s"}`];
    if (speed !== null) parts.push(`${figures.rate(speed)} tok/s`);
    if (!this.isRunning && message.times?.first) parts.push(`first after ${figures.duration(message.times.first - message.times.asked)}`);
    return parts.join(" · ");
  }

  /** Between the versions of a message. */
  #switcher(versions) {
    if (versions.length < 2) return null;
    const at = versions.indexOf(this.message);
    const to = (step) => () => this.session.choose(versions[at + step].id);
    return el(
      "span.switcher",
      { role: "group", "aria-label": "Versions" },
      iconButton("left", "Previous version", to(-1), { disabled: at === 0 }),
      el("span", {}, `${at + 1}/${versions.length}`),
      iconButton("right", "Next version", to(1), { disabled: at === versions.length - 1 }),
    );
  }

  #actions() {
    const { message } = this;
    const actions = [iconButton("copy", "Copy", (event) => this.copy(event.currentTarget))];
    if (message.role === "user") actions.push(iconButton("edit", "Edit", () => this.edit()));
    if (message.role === "assistant") {
      actions.push(iconButton("again", "Answer again", () => this.session.regenerate(message.id)));
      if (message.tokens?.length > 0) actions.push(iconButton("tokens", "Tokens and probabilities", () => this.toggleTokens(), { "aria-pressed": String(this.#tokens !== null) }));
    }
    actions.push(iconButton("trash", "Delete this and what follows", () => this.session.remove(message.id)));
    return el("span.actions", {}, ...actions);
  }

  async copy(button) {
    await copyText(this.message.text);
    announce("Copied");
    button?.classList.add("done");
    setTimeout(() => button?.classList.remove("done"), 1500);
  }

  /** Shows the tokens in the place of the text, or the text again. */
  toggleTokens() {
    if (!this.message.tokens?.length) return;
    if (this.#tokens === null) {
      this.#tokens = new TokensView(this.session, this.message);
      this.#body?.element.replaceWith(this.#tokens.element);
      this.#body = null;
    } else {
      this.#tokens.element.remove();
      this.#tokens = null;
    }
    this.update();
    this.foot.querySelector("[aria-pressed]")?.focus();
  }

  /** Lets the reader put a question in other words. */
  edit() {
    const area = el("textarea.edit", { "aria-label": "Edit message", value: this.message.text, rows: Math.min(12, this.message.text.split("\n").length + 1) });
    const end = () => {
      delete this.content.dataset.editing;
      this.content.replaceChildren();
      this.update();
      this.element.focus();
    };
    const save = () => {
      const text = area.value.trim();
      end();
      if (text !== "") this.session.edit(this.message.id, text);
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") end();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.content.dataset.editing = "";
    const buttons = el("div.buttons", {}, el("button.small", { type: "button", click: end }, "Cancel"), el("button.small.strong", { type: "button", click: save }, "Send as new branch"));
    fill(this.content, area, buttons);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

/** The text of an answer as markdown. */
class TextView {
  #markdown = new MarkdownView();

  constructor(message) {
    this.message = message;
    this.element = this.#markdown.element;
  }

  update() {
    const { text } = this.message;
    if (text.length > this.#markdown.length) this.#markdown.push(text.slice(this.#markdown.length));
  }
}

function label(message) {
  if (message.role === "user") return "You";
  return message.role === "tool" ? `Result of ${message.name}` : `Answer of ${message.model ?? "the model"}`;
}

const waitingText = (seconds) => ({ title: `The server is busy; asking again in ${Math.ceil(seconds)} s`, text: "" });

function failureText({ kind, message }) {
  return { title: TITLES[kind] ?? TITLES.server, text: message };
}
