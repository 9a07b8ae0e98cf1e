/**
 * A conversation as a tree of messages: another answer, or another wording of a question, is a sibling, and nothing
 * that was said is lost. One path through the tree is the one that is shown and continued.
 *
 * Messages are plain objects, kept as they are:
 * `{ id, conversation, parent, chosen, role, text, created, ... }`, where `parent` is `null` for a first message and
 * `chosen` is the child that the path goes on with. What else a message may hold stands in `answer.js` and `request.js`.
 */

/** An identifier that no other message has. `crypto.randomUUID` is not there on plain-HTTP addresses of a network. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Conversation {
  /** @type {Map<string, object>} */
  #messages = new Map();
  /** @type {Map<string | null, object[]>} children of each message in the order of their making */
  #children = new Map();

  /**
   * @param {object} about `{ id, title, created, updated, chosen, model, settings }`
   * @param {object[]} messages in any order; those whose parents are missing are left out
   */
  constructor(about, messages = []) {
    this.about = about;
    this.restore(messages);
    this.#prune();
  }

  /** Puts messages into their places, in the order of their making. */
  restore(messages) {
    for (const message of messages) this.#messages.set(message.id, message);
    for (const message of messages) {
      if (message.parent === null || this.#messages.has(message.parent)) this.#attach(message);
    }
  }

  /** A new conversation without messages. */
  static begin(now, fields = {}) {
    return new Conversation({ id: newId(), title: "", created: now, updated: now, chosen: null, ...fields });
  }

  get id() {
    return this.about.id;
  }

  get isEmpty() {
    return this.#messages.size === 0;
  }

  #attach(message) {
    const siblings = this.children(message.parent);
    let at = siblings.length;
    while (at > 0 && isOlder(message, siblings[at - 1])) at -= 1;
    siblings.splice(at, 0, message);
    this.#children.set(message.parent, siblings);
  }

  /** Leaves out what cannot be reached from the beginning, such as circles in a damaged file. */
  #prune() {
    const reached = new Set();
    const open = [null];
    while (open.length > 0) {
      for (const child of this.children(open.pop())) {
        reached.add(child.id);
        open.push(child.id);
      }
    }
    for (const id of this.#messages.keys()) {
      if (reached.has(id)) continue;
      this.#messages.delete(id);
      this.#children.delete(id);
    }
  }

  /** All messages, in no order that means anything. */
  messages() {
    return [...this.#messages.values()];
  }

  message(id) {
    return this.#messages.get(id);
  }

  /** The messages that follow one, the oldest first; the first messages for `null`. */
  children(id) {
    return this.#children.get(id) ?? [];
  }

  /** A message and the others in its place, the oldest first. */
  versions(id) {
    return this.children(this.#messages.get(id).parent);
  }

  /** Puts a message behind another, or at the beginning, and turns the path to it. */
  add(parent, role, fields, now) {
    const last = this.children(parent).at(-1);
    // Versions are told apart by their times, which a clock may give twice.
    const created = Math.max(now, (last?.created ?? 0) + 1);
    const message = {
      id: newId(),
      conversation: this.id,
      parent,
      chosen: null,
      role,
      text: "",
      created,
      ...fields,
    };
    this.#messages.set(message.id, message);
    this.#attach(message);
    this.choose(message.id);
    this.about.updated = now;
    return message;
  }

  /** The message that the path goes on with; the newest, if none was chosen. */
  #next(id) {
    const children = this.children(id);
    const chosen = id === null ? this.about.chosen : this.#messages.get(id).chosen;
    return children.find((child) => child.id === chosen) ?? children.at(-1);
  }

  /** The messages that are shown, in their order. */
  path() {
    const path = [];
    for (let next = this.#next(null); next; next = this.#next(next.id)) path.push(next);
    return path;
  }

  /** The messages from the beginning to one, this one included. */
  pathTo(id) {
    const path = [];
    for (let at = this.#messages.get(id); at; at = this.#messages.get(at.parent)) path.push(at);
    return path.reverse();
  }

  /**
   * Turns the path so that it goes through a message; behind it, it goes on as it did when it last came there.
   * @returns {object[]} the messages that changed
   */
  choose(id) {
    const changed = [];
    for (let at = this.#messages.get(id); at; at = this.#messages.get(at.parent)) {
      const before = at.parent === null ? this.about : this.#messages.get(at.parent);
      if (before.chosen === at.id) continue;
      before.chosen = at.id;
      if (before !== this.about) changed.push(before);
    }
    return changed;
  }

  /**
   * Takes a message out, with all that follows it.
   * @returns {object[]} what was taken out
   */
  remove(id) {
    const gone = [];
    const open = [this.#messages.get(id)];
    while (open.length > 0) {
      const next = open.pop();
      gone.push(next);
      open.push(...this.children(next.id));
    }
    const { parent } = gone[0];
    this.#children.set(
      parent,
      this.children(parent).filter((child) => child.id !== id),
    );
    for (const message of gone) {
      this.#messages.delete(message.id);
      this.#children.delete(message.id);
    }
    return gone;
  }
}

function isOlder(a, b) {
  return a.created === b.created ? a.id < b.id : a.created < b.created;
}

/** A title out of what was said first. */
export function titleOf(text) {
  const line =
    text
      .split("\n")
      .map((each) => each.replace(/^[#>*\-\s]+/, "").trim())
      .find((each) => each !== "") ?? "";
  if (line.length <= 60) return line;
  const cut = line.slice(0, 60);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), 40))}…`;
}
