/**
 * What the reader should know: lines above the conversation that stay as long as they are true, and short words that pass.
 */

import { key } from "../api.js";
import { announce, el, fill, icon, iconButton } from "./dom.js";

/** Time to bring back what was deleted. */
const TOAST_MS = 8000;

export class NoticesView {
  constructor(chat) {
    this.chat = chat;
    this.element = document.getElementById("notices");
    /** The lines that are shown, by their kind. */
    this.lines = new Map();
    chat.addEventListener("notice", ({ detail }) => this.add(detail.kind, detail.text));
    chat.server.addEventListener("key", () => this.#askForKey());
    chat.server.addEventListener("models", () => this.#showConnection());
    if (!chat.store.isLasting) {
      this.add(
        "store",
        "This browser gives the page no database (as in a private window): conversations are lost when the tab is closed. Export what you want to keep.",
      );
    }
  }

  add(kind, text, ...more) {
    const close = iconButton("close", "Dismiss", () => this.remove(kind));
    this.lines.set(
      kind,
      el("div.notice", { role: "alert" }, icon("warning"), el("p", {}, text), ...more, close),
    );
    this.#draw();
  }

  remove(kind) {
    this.lines.delete(kind);
    this.#draw();
  }

  #draw() {
    fill(this.element, ...this.lines.values());
  }

  #showConnection() {
    const isShown = this.lines.has("gone");
    if (this.chat.server.state === "gone" && !isShown)
      this.add(
        "gone",
        "The server does not answer. Your conversations are still here, and the page looks for it every few seconds.",
      );
    if (this.chat.server.state !== "gone" && isShown) this.remove("gone");
    if (this.chat.server.models.length > 0) this.remove("key");
  }

  #askForKey() {
    const input = el("input", {
      type: "password",
      "aria-label": "API key",
      placeholder: "API key",
      autocomplete: "off",
    });
    const use = (event) => {
      event.preventDefault();
      key.value = input.value.trim();
      this.remove("key");
      this.chat.server.load();
    };
    const wrong = key.value === "" ? "This server wants a key." : "The server does not know this key.";
    this.add(
      "key",
      wrong,
      el("form.key-form", { submit: use }, input, el("button.small.strong", { type: "submit" }, "Use")),
    );
    input.focus();
  }
}

/** A short word that passes, with something that can still be done about it. */
export function toast(text, action = null) {
  const box = el("div.toast", {}, el("span", {}, text));
  const end = () => box.remove();
  if (action)
    box.append(
      el(
        "button.small",
        {
          type: "button",
          click: () => {
            end();
            action.work();
          },
        },
        action.name,
      ),
    );
  document.getElementById("toasts").append(box);
  announce(text);
  setTimeout(end, TOAST_MS);
}
