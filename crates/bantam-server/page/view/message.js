/**
 * One message, and all that can be done with it. It is drawn once and then changed in place as its answer grows.
 */

import { rate, tokenCount } from "../core/answer.js";
import * as figures from "../core/figures.js";
import { announce, copyText, el, fill, icon, iconButton } from "./dom.js";
import { editor } from "./editor.js";
import { JsonView } from "./json.js";
import { MarkdownView } from "./markdown.js";
import { toast } from "./notices.js";
import { ProblemView } from "./problem.js";
import { ThinkingView } from "./thinking.js";
import { TokensView } from "./tokens.js";
import { CallsView } from "./tools.js";

export class MessageView {
  #body = null;
  #thinking = null;
  #calls = null;
  #tokens = null;
  #isEditing = false;

  /**
   * @param {import("../chat.js").Chat} chat
   * @param {object} message
   */
  constructor(chat, message) {
    this.chat = chat;
    this.message = message;
    this.who = el("div.who");
    this.content = el("div.content");
    this.problem = new ProblemView(chat, message);
    this.foot = el("div.foot");
    this.element = el(
      `article.message.${message.role}`,
      { id: `m-${message.id}`, tabindex: "-1", "aria-label": label(message) },
      this.who,
      this.content,
      this.problem.element,
      this.foot,
    );
    this.update();
  }

  get isRunning() {
    return this.chat.isRunning(this.message.id);
  }

  /** Shows what the message is now. */
  update() {
    this.element.classList.toggle("running", this.isRunning);
    this.element.setAttribute("aria-busy", String(this.isRunning));
    if (this.message.role === "assistant") this.#updateAnswer();
    else this.#updateText();
    this.problem.update(this.isRunning);
    this.#updateFoot();
  }

  /** What a person or a tool said does not change, and is drawn once. */
  #updateText() {
    const { role, text, name } = this.message;
    if (this.#isEditing || this.content.childElementCount > 0) return;
    if (role === "tool") fill(this.who, icon("tool"), el("span", {}, `${name || "Tool"} gave back`));
    fill(this.content, el(role === "tool" ? "pre.result" : "div.said", {}, text));
  }

  #updateAnswer() {
    const { message } = this;
    if (this.who.childElementCount === 0) fill(this.who, el("span.model", {}, message.model ?? "assistant"));
    this.#updateThinking();
    if (this.#tokens === null) this.#updateBody();
    else this.#tokens.update();
    if (message.calls.length > 0) {
      this.#calls ??= this.#part(new CallsView(this.chat, message));
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

  #updateFoot() {
    const versions = this.chat.current.versions(this.message.id);
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
    if (!this.isRunning && message.times?.first)
      parts.push(`first after ${figures.duration(message.times.first - message.times.asked)}`);
    return parts.join(" · ");
  }

  /** Between the versions of a message. */
  #switcher(versions) {
    const { round } = this.message;
    const areSeen = round && versions.every((version) => version.round === round);
    if (versions.length < 2 || areSeen) return null;
    const at = versions.indexOf(this.message);
    const to = (step) => () => this.chat.choose(versions[at + step].id);
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
    const actions = [];
    if (message.text !== "")
      actions.push(iconButton("copy", "Copy", (event) => this.copy(event.currentTarget)));
    if (message.role === "user") actions.push(iconButton("edit", "Edit", () => this.edit()));
    if (message.role === "assistant") {
      actions.push(iconButton("again", "Answer again", () => this.chat.regenerate(message.id)));
      if (message.tokens?.length > 0)
        actions.push(
          iconButton("tokens", "Tokens and probabilities", () => this.toggleTokens(), {
            "aria-pressed": String(this.#tokens !== null),
          }),
        );
    }
    actions.push(iconButton("trash", "Delete this and what follows", () => this.#remove()));
    return el("span.actions", {}, ...actions);
  }

  async #remove() {
    const undo = await this.chat.remove(this.message.id);
    toast("Deleted", { name: "Undo", work: undo });
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
      this.#tokens = new TokensView(this.chat, this.message);
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
    const { message } = this;
    const { area, elements } = editor(message.text, (text) => {
      this.#isEditing = false;
      this.content.replaceChildren();
      this.update();
      this.element.focus();
      if (text !== null) this.chat.edit(message.id, text);
    });
    this.#isEditing = true;
    fill(this.content, ...elements);
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
