/**
 * Where messages are written.
 */

import { el, fill, icon } from "./dom.js";

/** Files of text above this size are not put into a message. */
const FILE_BYTES_MAX = 256 * 1024;

export class ComposerView {
  constructor(chat, { openSettings, editLast }) {
    this.chat = chat;
    this.openSettings = openSettings;
    this.editLast = editLast;
    this.form = document.getElementById("composer");
    this.draft = document.getElementById("draft");
    this.send = document.getElementById("send");
    this.stop = document.getElementById("stop");
    this.form.addEventListener("submit", (event) => this.#submit(event));
    this.draft.addEventListener("keydown", (event) => this.#pressed(event));
    this.draft.addEventListener("input", () => this.#typed());
    this.form.addEventListener("dragover", (event) => event.preventDefault());
    this.form.addEventListener("drop", (event) => this.#dropped(event));
    for (const name of ["path", "list"]) chat.addEventListener(name, () => this.update());
    chat.addEventListener("settings", () => this.#showModes());
    this.#showModes();
    this.update();
  }

  focus() {
    this.draft.focus();
  }

  update() {
    const isAnswering = this.chat.isBusy();
    this.stop.hidden = !isAnswering;
    this.send.hidden = isAnswering;
    this.send.disabled = this.draft.value.trim() === "";
  }

  #submit(event) {
    event.preventDefault();
    const text = this.draft.value.trim();
    if (text === "" || this.chat.isBusy()) return;
    this.draft.value = "";
    this.#typed();
    this.chat.send(text);
  }

  #pressed(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" && !event.shiftKey) this.#submit(event);
    else if (event.key === "ArrowUp" && this.draft.value === "") {
      event.preventDefault();
      this.editLast();
    }
  }

  /** Only the field is touched, never the conversation: typing stays fast however long that is. */
  #typed() {
    this.send.disabled = this.draft.value.trim() === "";
    this.draft.style.height = "auto";
    this.draft.style.height = `${Math.min(this.draft.scrollHeight, window.innerHeight * 0.4)}px`;
  }

  /** A file of text becomes part of the message. */
  async #dropped(event) {
    event.preventDefault();
    for (const file of event.dataTransfer.files) {
      const text = file.size <= FILE_BYTES_MAX ? await file.text() : null;
      if (text === null || text.includes("\0")) {
        this.chat.notice("file", `“${file.name}” is no text, or longer than ${FILE_BYTES_MAX / 1024} kB.`);
        continue;
      }
      const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`+/g)].map(([run]) => run.length + 1)));
      this.draft.value += `${this.draft.value === "" ? "" : "\n\n"}${file.name}:\n${fence}\n${text.trimEnd()}\n${fence}\n`;
    }
    this.#typed();
    this.focus();
  }

  /** Switches for the ways to answer. */
  #showModes() {
    const { settings } = this.chat;
    const mode = (name, label, title, isOn, toggle) =>
      el(
        "button.mode",
        { type: "button", title, "aria-pressed": String(isOn), click: toggle },
        icon(name),
        el("span", {}, label),
      );
    const set = (change, part) => () => {
      this.chat.change(change);
      if (part) this.openSettings(part);
    };
    fill(
      document.getElementById("modes"),
      mode(
        "braces",
        "JSON",
        "Answer as JSON that holds to a schema",
        settings.usesSchema,
        set(
          { usesSchema: !settings.usesSchema },
          !settings.usesSchema && settings.schema === "" ? "schema" : null,
        ),
      ),
      mode(
        "tool",
        "Tools",
        "Let the model call tools that you define",
        settings.usesTools,
        set(
          { usesTools: !settings.usesTools },
          !settings.usesTools && settings.tools === "" ? "tools" : null,
        ),
      ),
      mode(
        "tokens",
        "Tokens",
        "Ask for the probabilities of tokens",
        settings.top_logprobs > 0,
        set({ top_logprobs: settings.top_logprobs > 0 ? 0 : 5 }),
      ),
    );
  }
}
