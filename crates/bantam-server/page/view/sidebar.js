/**
 * The conversations, by day, and the search over them.
 */

import { dayOf } from "../core/figures.js";
import { excerpt, marked, wordsOf } from "../core/search.js";
import { el, fill, iconButton } from "./dom.js";

/** Wait so long after a key before searching. */
const SEARCH_AFTER_MS = 150;

export class SidebarView {
  #timer = null;

  constructor(chat, { opened, exportOne, removeOne }) {
    this.chat = chat;
    this.opened = opened;
    this.exportOne = exportOne;
    this.removeOne = removeOne;
    this.list = document.getElementById("list");
    this.search = document.getElementById("search");
    this.search.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.update(), SEARCH_AFTER_MS);
    });
    this.search.addEventListener("keydown", (event) => this.#pressed(event));
    this.list.addEventListener("keydown", (event) => this.#moved(event));
    chat.addEventListener("list", () => this.search.value === "" && this.update());
    this.update();
  }

  #pressed(event) {
    if (event.key === "Escape") {
      this.search.value = "";
      this.update();
    } else if (event.key === "ArrowDown") {
      this.list.querySelector(".entry-open")?.focus();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Arrow keys go through the list. */
  #moved(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.tagName === "INPUT") return;
    const all = [...this.list.querySelectorAll(".entry-open")];
    const at = all.indexOf(event.target.closest(".entry")?.querySelector(".entry-open"));
    event.preventDefault();
    if (at + step < 0) this.search.focus();
    else all[at + step]?.focus();
  }

  async update() {
    const words = wordsOf(this.search.value);
    if (words.length > 0) return this.#showFound(words, await this.chat.search(words));
    if (this.chat.list.length === 0) return fill(this.list, el("p.list-note", {}, "No conversations yet."));
    const now = Date.now();
    const groups = grouped(this.chat.list, now);
    return fill(
      this.list,
      ...[...groups].map(([day, abouts]) =>
        el("section", { "aria-label": day }, el("h2", {}, day), ...abouts.map((about) => this.#entry(about))),
      ),
    );
  }

  #entry(about) {
    const { chat } = this;
    const isOpen = about.id === chat.current.id;
    const open = el(
      "button.entry-open",
      { type: "button", "aria-current": isOpen ? "true" : null, click: () => this.#open(about) },
      el("span", {}, about.title || "Untitled"),
      chat.isBusy(about.id) ? el("span.busy", { "aria-label": "answering" }) : null,
    );
    const entry = el(
      "div.entry",
      {},
      open,
      iconButton("edit", "Rename", () => this.#rename(entry, about)),
      iconButton("download", "Export", () => this.exportOne(about)),
      iconButton("trash", "Delete", () => this.removeOne(about)),
    );
    return entry;
  }

  async #open(about, message = null) {
    if (message) await this.chat.show(about.id, message.id);
    else if (about.id !== this.chat.current.id) await this.chat.open(about.id);
    this.opened(message);
  }

  #rename(entry, about) {
    const input = el("input.rename", { "aria-label": "Title", value: about.title, maxlength: "200" });
    let isOver = false;
    const end = (title) => {
      if (isOver) return;
      isOver = true;
      if (title) this.chat.rename(about.id, title);
      else this.update();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(input.value.trim());
      else if (event.key === "Escape") end(null);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    input.addEventListener("blur", () => end(input.value.trim()));
    fill(entry, input);
    input.select();
  }

  #showFound(words, found) {
    if (found.length === 0)
      return fill(this.list, el("p.list-note", { role: "status" }, "Nothing was found."));
    const marks = (pieces) => pieces.map(({ text, isFound }) => (isFound ? el("mark", {}, text) : text));
    const results = found.map(({ about, message }) =>
      el(
        "button.entry-open.found",
        { type: "button", click: () => this.#open(about, message) },
        el("span", {}, ...marks(marked(about.title || "Untitled", words))),
        message ? el("small", {}, ...marks(excerpt(message.text, words))) : null,
      ),
    );
    return fill(this.list, el("h2", { role: "status" }, `${found.length} found`), ...results);
  }
}

function grouped(abouts, now) {
  const groups = new Map();
  for (const about of abouts) {
    const day = dayOf(about.updated, now);
    groups.set(day, [...(groups.get(day) ?? []), about]);
  }
  return groups;
}
