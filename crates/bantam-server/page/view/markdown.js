/**
 * Markdown as elements, while it grows. What is settled is drawn once; of the last block only what changed is drawn anew.
 */

import { GrowingDocument } from "../core/blocks.js";
import { highlighter } from "../core/highlight.js";
import { parseInline } from "../core/inline.js";
import { parseTex } from "../core/tex.js";
import { copyText, el, iconButton } from "./dom.js";

/** Shows a text that only grows. */
export class MarkdownView {
  #document = new GrowingDocument();
  /** Blocks that were drawn and may still change. */
  #open = [];

  constructor() {
    this.element = el("div.prose");
    this.length = 0;
  }

  /** Shows more of the text. */
  push(text) {
    this.length += text.length;
    this.#document.push(text);
    const settled = this.#document.settled.splice(0);
    const blocks = [...settled, ...this.#document.open];
    patch(this.element, this.#open, blocks);
    this.#open = blocks.slice(settled.length);
  }
}

/** The elements of a whole text. */
export function markdown(text) {
  const view = new MarkdownView();
  view.push(text);
  return view.element;
}

/** Brings the last children of an element from old blocks to new ones. */
function patch(element, before, after) {
  const offset = element.children.length - before.length;
  after.forEach((block, at) => {
    const [old, child] = [before[at], element.children[offset + at]];
    if (old?.raw === block.raw && old?.type === block.type) return;
    if (old && grow(child, old, block)) return;
    if (child) child.replaceWith(draw(block));
    else element.append(draw(block));
  });
  while (element.children.length > offset + after.length) element.lastElementChild.remove();
}

/** Lets a drawn block become another of its kind without drawing all of it anew; whether that could be done. */
function grow(element, old, block) {
  if (old.type !== block.type) return false;
  if (block.type === "code") return growCode(element, old, block);
  if (block.type === "list") return growList(element, old, block);
  if (block.type === "table") return growTable(element, old, block);
  if (block.type === "quote") patch(element, old.blocks, block.blocks);
  return block.type === "quote";
}

function growCode(element, old, block) {
  if (old.language !== block.language || !block.text.startsWith(old.text)) return false;
  element.code.push(block.text.slice(old.text.length));
  if (block.isClosed) element.code.finish();
  return true;
}

function growList(element, old, block) {
  if ((old.start === null) !== (block.start === null) || old.isLoose !== block.isLoose) return false;
  block.items.forEach((item, at) => {
    const [before, child] = [old.items[at], element.children[at]];
    if (before?.raw === item.raw) return;
    if (before && before.task === item.task && item.task === null) patch(child, before.blocks, item.blocks);
    else if (child) child.replaceWith(drawItem(item));
    else element.append(drawItem(item));
  });
  while (element.children.length > block.items.length) element.lastElementChild.remove();
  return true;
}

function growTable(element, old, block) {
  if (old.head.join("|") !== block.head.join("|")) return false;
  const body = element.querySelector("tbody");
  block.rows.forEach((row, at) => {
    if (old.rows[at]?.join("|") === row.join("|")) return;
    const drawn = drawRow("td", row, block.align);
    if (body.children[at]) body.children[at].replaceWith(drawn);
    else body.append(drawn);
  });
  return true;
}

function draw(block) {
  switch (block.type) {
    case "heading":
      // The page has its own first levels.
      return el(`h${Math.min(6, block.level + 2)}`, { class: `h${block.level}` }, ...inline(block.text));
    case "rule":
      return el("hr");
    case "code":
      return drawCode(block);
    case "math":
      return el("div.formula", { tabindex: "0" }, formula(parseTex(block.text, true)));
    case "quote":
      return el("blockquote", {}, ...block.blocks.map(draw));
    case "list":
      return drawList(block);
    case "table":
      return drawTable(block);
    default:
      return el("p", {}, ...inline(block.text));
  }
}

function drawCode({ language, text, isClosed }) {
  const view = new CodeView(language, text);
  if (isClosed) view.finish();
  return view.element;
}

function drawList({ start, isLoose, items }) {
  const props = { start: start !== null && start !== 1 ? start : null, class: isLoose ? "loose" : null };
  return el(start === null ? "ul" : "ol", props, ...items.map(drawItem));
}

function drawItem({ task, blocks }) {
  const item = el("li", {}, ...blocks.map(draw));
  if (task !== null) {
    item.className = "task";
    item.prepend(
      el("input", { type: "checkbox", checked: task, disabled: true, "aria-label": task ? "done" : "to do" }),
    );
  }
  return item;
}

function drawTable({ align, head, rows }) {
  const body = el("tbody", {}, ...rows.map((row) => drawRow("td", row, align)));
  const table = el("table", {}, el("thead", {}, drawRow("th", head, align)), body);
  return el("div.table", { tabindex: "0", role: "region", "aria-label": "Table" }, table);
}

function drawRow(tag, cells, align) {
  const cell = (text, column) =>
    el(tag, { class: align[column] === "left" ? null : align[column] }, ...inline(text));
  return el("tr", {}, ...cells.map(cell));
}

/** The pieces of a text as nodes. */
function inline(text) {
  return parseInline(text).map(node);
}

function node(piece) {
  switch (piece.type) {
    case "text":
      return document.createTextNode(piece.text);
    case "code":
      return el("code", {}, piece.text);
    case "math":
      return formula(parseTex(piece.text, false));
    case "break":
      return el("br");
    case "link":
      return el(
        "a",
        { href: piece.href, rel: "noopener noreferrer nofollow", target: "_blank" },
        ...piece.children.map(node),
      );
    case "strike":
      return el("s", {}, ...piece.children.map(node));
    default:
      return el(piece.type, {}, ...piece.children.map(node));
  }
}

const MATHML = "http://www.w3.org/1998/Math/MathML";

/** The elements of a formula. */
function formula({ tag, text, children = [], attributes = {} }) {
  const element = document.createElementNS(MATHML, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...(text === undefined ? children.map(formula) : [text]));
  return element;
}

/** A block of code that only grows. A line is coloured when it is whole. */
export class CodeView {
  #last = "";

  constructor(language, text) {
    this.lines = highlighter(language);
    this.text = "";
    this.code = el("code");
    this.rest = document.createTextNode("");
    this.code.append(this.rest);
    const copy = iconButton("copy", "Copy code", () => this.#copy(copy));
    const head = el("div.code-head", {}, el("span", {}, language || "text"), copy);
    this.element = el("div.code", {}, head, el("pre", { tabindex: "0" }, this.code));
    this.element.code = this;
    this.push(text);
  }

  push(text) {
    this.text += text;
    const lines = (this.#last + text).split("\n");
    this.#last = lines.pop();
    const whole = document.createDocumentFragment();
    for (const line of lines) whole.append(...this.#line(line), "\n");
    this.rest.before(whole);
    this.rest.data = this.#last;
  }

  /** Colours the last line, too: nothing more will come. */
  finish() {
    const last = this.#line(this.#last);
    this.#last = "";
    this.rest.data = "";
    this.rest.before(...last);
  }

  #line(line) {
    if (!this.lines) return [line];
    const span = ({ kind, text }) => (kind === "" ? text : el(`span.c-${kind}`, {}, text));
    return this.lines.line(line).map(span);
  }

  async #copy(button) {
    await copyText(this.text);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  }
}
