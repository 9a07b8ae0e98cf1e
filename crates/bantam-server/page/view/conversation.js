/**
 * The messages of the path, one below the other; answers of one round beside each other.
 */

import { announce, el, fill, onceAFrame } from "./dom.js";
import { MessageView } from "./message.js";
import { welcome } from "./welcome.js";

/** So near to the end, the view follows what comes. */
const NEAR_PX = 60;

export class ConversationView {
  /** @type {Map<string, MessageView>} */
  #views = new Map();
  #changed = new Set();
  #isFollowing = true;

  constructor(chat) {
    this.chat = chat;
    this.element = document.getElementById("conversation");
    this.scroller = document.getElementById("scroll");
    this.latest = document.getElementById("latest");
    this.draw = onceAFrame(() => this.#drawChanged());
    chat.addEventListener("path", ({ detail }) => this.show(detail ?? {}));
    chat.server.addEventListener("models", () => this.#showWelcome());
    chat.addEventListener("message", ({ detail }) => {
      this.#changed.add(detail);
      if (!chat.isRunning(detail)) this.#tellEnd(detail);
      this.draw();
    });
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#follow()).observe(this.element);
  }

  /** Shows the path as it is now: of another conversation, with an answer that was just begun, or neither. */
  show({ isOther, isBegun }) {
    const rounds = roundsOf(this.chat.current);
    const shown = new Set(rounds.flat().map((message) => message.id));
    if (isOther) this.#views.clear();
    for (const id of this.#views.keys()) if (!shown.has(id)) this.#views.delete(id);
    const path = new Set(this.chat.current.path());
    const place = [...this.element.children].findIndex((child) => child.contains(document.activeElement));
    reconcile(
      this.element,
      rounds.map((messages) => this.#round(messages, path)),
    );
    this.#keepFocus(place);
    this.#showWelcome();
    if (isOther || isBegun) this.#isFollowing = true;
    this.#follow();
  }

  /** Where what had the focus is no longer there, what is now in its place gets it. */
  #keepFocus(place) {
    if (place === -1 || document.activeElement !== document.body) return;
    const now = this.element.children[Math.min(place, this.element.children.length - 1)];
    (now?.matches(".message") ? now : now?.querySelector(".message"))?.focus({ preventScroll: true });
  }

  #showWelcome() {
    const isEmpty = this.chat.current.isEmpty;
    document.body.classList.toggle("is-empty", isEmpty);
    if (isEmpty) fill(this.element, welcome(this.chat));
  }

  #view(message) {
    let view = this.#views.get(message.id);
    if (!view || view.message !== message) {
      view = new MessageView(this.chat, message);
      this.#views.set(message.id, view);
    } else {
      view.update();
    }
    return view;
  }

  #round(messages, path) {
    const views = messages.map((message) => this.#view(message));
    if (views.length === 1) {
      views[0].element.classList.remove("aside");
      return views[0].element;
    }
    const cells = views.map((view) => this.#cell(view, path.has(view.message)));
    const old = views[0].element.closest(".round");
    const row = old ?? el("div.round", { role: "group", "aria-label": "Answers beside each other" });
    reconcile(row, cells);
    return row;
  }

  #cell(view, isChosen) {
    view.element.classList.toggle("aside", !isChosen);
    const cell = view.element.parentElement?.classList.contains("cell")
      ? view.element.parentElement
      : el("div.cell", {}, view.element);
    cell.querySelector(".pick")?.remove();
    const pick = () => this.chat.choose(view.message.id);
    cell.append(
      el(
        "button.pick.small",
        { type: "button", click: pick, "aria-pressed": String(isChosen) },
        isChosen ? "The chat goes on with this" : "Go on with this",
      ),
    );
    return cell;
  }

  #drawChanged() {
    for (const id of this.#changed) this.#views.get(id)?.update();
    this.#changed.clear();
    this.#follow();
  }

  #tellEnd(id) {
    const message = this.chat.current.message(id);
    if (!message) return;
    if (message.failure) announce(`No answer: ${message.failure.message}`);
    else if (message.finish === "cancelled") announce("Stopped");
    else announce(`Answer is there: ${message.text.slice(0, 400)}`);
  }

  // Scrolling: the view follows an answer as long as its reader is at the end, and never pulls them there.

  #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #scrolled() {
    this.#isFollowing = this.#distance() < NEAR_PX;
    this.latest.hidden = this.#isFollowing;
  }

  #follow() {
    if (this.#isFollowing && !this.chat.current.isEmpty) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.latest.hidden = this.#isFollowing || this.#distance() < NEAR_PX;
  }

  toLatest() {
    this.#isFollowing = true;
    this.#follow();
  }

  // Keys

  /** The view that has the focus, or around it. */
  focused() {
    const article = document.activeElement?.closest?.(".message");
    return article ? this.#views.get(article.id.slice(2)) : undefined;
  }

  /** Moves the focus by so many messages; from outside to the last one. */
  move(step) {
    const all = [...this.element.querySelectorAll(".message")];
    const at = all.indexOf(document.activeElement?.closest?.(".message"));
    const next = at === -1 ? all.at(-1) : all[Math.max(0, Math.min(all.length - 1, at + step))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** The view of the last message of a role. */
  last(role) {
    const message = this.chat.current.path().findLast((each) => each.role === role);
    return message && this.#views.get(message.id);
  }
}

/** The path, each message with the answers that were given in the same round. */
function roundsOf(conversation) {
  return conversation.path().map((message) => {
    if (!message.round) return [message];
    return conversation.versions(message.id).filter((other) => other.round === message.round);
  });
}

/** Brings the children of an element to a list, leaving in place what is there already: what is moved loses its focus. */
function reconcile(element, children) {
  const wanted = new Set(children);
  for (const child of [...element.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, at) => {
    if (element.children[at] !== child) element.insertBefore(child, element.children[at] ?? null);
  });
}
