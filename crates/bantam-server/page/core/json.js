/**
 * JSON that is still coming: how far a text is the beginning of JSON, and what it says so far.
 */

/** Deeper values are taken for broken, so that no input makes the stack overflow. */
const DEPTH_MAX = 200;

/**
 * @typedef {object} Read
 * @property {"whole" | "begun" | "broken"} state whether the text is JSON, may become it, or never will
 * @property {unknown} value what it says; of objects and lists that are open, what they hold so far
 * @property {Set<object>} open the objects and lists that are not closed
 * @property {boolean} isCut whether the last scalar may go on
 * @property {number | null} at where it broke
 */

/** @returns {Read} */
export function readJson(text) {
  const reader = new Reader(text);
  try {
    const value = reader.value(0);
    reader.space();
    if (reader.at < text.length) throw new Broken();
    return {
      state: reader.isCut ? "begun" : "whole",
      value,
      open: reader.open,
      isCut: reader.isCut,
      at: null,
    };
  } catch (error) {
    if (error instanceof End)
      return { state: "begun", value: reader.root, open: reader.open, isCut: reader.isCut, at: null };
    if (error instanceof Broken)
      return { state: "broken", value: reader.root, open: reader.open, isCut: false, at: reader.at };
    throw error;
  }
}

/** Nothing comes any more, where something must. */
class End extends Error {}
/** Something comes that may not. */
class Broken extends Error {}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const NUMBER_START = /-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d*)?)?/y;

class Reader {
  at = 0;
  root = undefined;
  open = new Set();
  isCut = false;
  #hasRoot = false;

  constructor(text) {
    this.text = text;
  }

  space() {
    while (/[ \t\r\n]/.test(this.text[this.at] ?? "")) this.at += 1;
  }

  /** The next character that is no space. */
  #peek() {
    this.space();
    if (this.at >= this.text.length) throw new End();
    return this.text[this.at];
  }

  #rooted(value) {
    if (!this.#hasRoot) this.root = value;
    this.#hasRoot = true;
    return value;
  }

  value(depth) {
    if (depth > DEPTH_MAX) throw new Broken();
    const char = this.#peek();
    if (char === "{") return this.#object(depth);
    if (char === "[") return this.#list(depth);
    if (char === '"') return this.#rooted(this.#string());
    if (/[-\d]/.test(char)) return this.#rooted(this.#number());
    return this.#rooted(this.#word());
  }

  #object(depth) {
    const object = this.#rooted({});
    this.open.add(object);
    this.at += 1;
    for (let isFirst = true; this.#peek() !== "}"; isFirst = false) {
      if (!isFirst) this.#expect(",");
      if (this.#peek() !== '"') throw new Broken();
      const name = this.#string();
      if (this.isCut) this.#endInName();
      this.#expect(":");
      this.#keep(object, name, depth);
    }
    this.at += 1;
    this.open.delete(object);
    return object;
  }

  #endInName() {
    this.isCut = false;
    throw new End();
  }

  #list(depth) {
    const list = this.#rooted([]);
    this.open.add(list);
    this.at += 1;
    for (let isFirst = true; this.#peek() !== "]"; isFirst = false) {
      if (!isFirst) this.#expect(",");
      this.#keep(list, list.length, depth);
    }
    this.at += 1;
    this.open.delete(list);
    return list;
  }

  /** Reads a value into its place; if it is a container, it is there before it is whole. */
  #keep(container, name, depth) {
    const char = this.#peek();
    if (char !== "{" && char !== "[") {
      define(container, name, this.value(depth + 1));
      if (this.isCut) throw new End();
      return;
    }
    const known = this.open.size;
    try {
      define(container, name, this.value(depth + 1));
    } catch (error) {
      const inner = [...this.open][known];
      if (inner !== undefined) define(container, name, inner);
      throw error;
    }
  }

  #expect(char) {
    if (this.#peek() !== char) throw new Broken();
    this.at += 1;
  }

  #string() {
    const from = this.at + 1;
    let end = from;
    while (end < this.text.length && this.text[end] !== '"') {
      this.at = end;
      if (this.text.charCodeAt(end) < 0x20) throw new Broken();
      const length = this.text[end] === "\\" ? this.#escape() : 1;
      if (length === null) break;
      end += length;
    }
    const isWhole = this.text[end] === '"';
    this.isCut = !isWhole;
    this.at = isWhole ? end + 1 : this.text.length;
    return JSON.parse(`"${this.text.slice(from, end)}"`);
  }

  /** The length of the escape that is here, or `null` if it is cut. */
  #escape() {
    const escape = this.text.slice(this.at, this.at + 6);
    const found = /^\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/.exec(escape);
    if (found) return found[0].length;
    if (!/^\\(?:u[\da-fA-F]{0,3})?$/.test(escape)) throw new Broken();
    return null;
  }

  #number() {
    NUMBER_START.lastIndex = this.at;
    const begun = NUMBER_START.exec(this.text)[0];
    if (this.at + begun.length === this.text.length) {
      this.at += begun.length;
      // Any digit may follow, but a whole number may also be the end.
      const value = Number(begun);
      if (Number.isNaN(value) || !/\d$/.test(begun)) throw new End();
      if (this.open.size > 0) this.isCut = true;
      return value;
    }
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (!found) throw new Broken();
    this.at += found[0].length;
    return Number(found[0]);
  }

  #word() {
    for (const [word, value] of [
      ["true", true],
      ["false", false],
      ["null", null],
    ]) {
      const found = this.text.slice(this.at, this.at + word.length);
      if (found === word) {
        this.at += word.length;
        return value;
      }
      if (this.at + found.length === this.text.length && word.startsWith(found)) throw new End();
    }
    throw new Broken();
  }
}

/** Sets a member, also one that is called `__proto__`. */
function define(container, name, value) {
  Object.defineProperty(container, name, { value, enumerable: true, writable: true, configurable: true });
}
