/**
 * Markdown, first half: lines to blocks. What models write, not all of CommonMark: no HTML, no indented code and no
 * reference links, since in answers these are text far more often than they are meant.
 *
 * A block is `{ type, raw, ... }`, where `raw` is its source: blocks of the same source are the same, which is how a view
 * knows what it can leave as it is.
 *
 * - `heading` `{ level, text }`, `paragraph` `{ text }`, `rule`
 * - `code` `{ language, text, isClosed }`
 * - `list` `{ start, isLoose, items: [{ task, blocks, raw }] }`, where `start` is `null` without numbers and `task` is
 *   `null`, `true` or `false`
 * - `quote` `{ blocks }`
 * - `table` `{ align, head, rows }`, all cells texts
 * - `math` `{ text }`, a formula that stands by itself
 */

/** Quotes and lists inside each other beyond this depth stay text, so that no input makes the stack overflow. */
const DEPTH_MAX = 12;

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*)|[ \t]*)$/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MATH = /^ {0,3}(\$\$|\\\[)(.*)$/;
const TASK = /^\[([ xX])\][ \t]+/;

/** The blocks of a text. */
export function parse(text) {
  return blocksOf(text.split("\n"), 0).map(({ block }) => block);
}

/**
 * A text that grows. Blocks that later text cannot change are settled and never looked at again, so that the work for
 * each piece depends on the last block and not on the length of the answer.
 */
export class GrowingDocument {
  #rest = "";

  constructor() {
    /** Blocks that stay as they are; a view may take from it what it has shown. */
    this.settled = [];
    /** Blocks that may still change. */
    this.open = [];
  }

  push(text) {
    this.#rest += text;
    const lines = this.#rest.split("\n");
    const found = blocksOf(lines, 0);
    // The last line may go on, and become something else than it seems now.
    const isWhole = (at) => found[at].from < lines.length - 1;
    let count = 0;
    while (count + 1 < found.length && isWhole(count + 1)) count += 1;
    if (count > 0) {
      this.settled.push(...found.slice(0, count).map(({ block }) => block));
      this.#rest = lines.slice(found[count].from).join("\n");
    }
    this.open = found.slice(count).map(({ block }) => block);
  }
}

/** Blocks, and the line that each begins at. */
function blocksOf(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const { block, end } = blockAt(lines, at, depth);
    block.raw = lines.slice(at, end).join("\n");
    found.push({ block, from: at });
    at = end;
  }
  return found;
}

const isBlank = (line) => /^\s*$/.test(line);

function blockAt(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return codeAt(lines, at);
  if (MATH.test(line)) return mathAt(lines, at);
  const heading = HEADING.exec(line);
  if (heading) return one({ type: "heading", level: heading[1].length, text: heading[2] ?? "" }, at);
  if (RULE.test(line)) return one({ type: "rule" }, at);
  if (depth < DEPTH_MAX && QUOTE.test(line)) return quoteAt(lines, at, depth);
  if (depth < DEPTH_MAX && ITEM.test(line)) return listAt(lines, at, depth);
  if (isTableAt(lines, at)) return tableAt(lines, at);
  return paragraphAt(lines, at, depth);
}

const one = (block, at) => ({ block, end: at + 1 });

function codeAt(lines, at) {
  const [, fence, info] = FENCE.exec(lines[at]);
  const indent = lines[at].search(/\S/);
  const closes = new RegExp(`^ {0,3}${fence[0] === "`" ? "`" : "~"}{${fence.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !closes.test(lines[end])) end += 1;
  const isClosed = end < lines.length;
  const text = lines
    .slice(at + 1, end)
    .map((line) => line.slice(Math.min(indent, leading(line))))
    .join("\n");
  const language = /^[\w+#.-]{0,20}/.exec(info.trim())[0].toLowerCase();
  return { block: { type: "code", language, text, isClosed }, end: isClosed ? end + 1 : end };
}

/** A formula, up to the line with its end; one that never ends goes up to a blank line, and is text. */
function mathAt(lines, at) {
  const [, open, first] = MATH.exec(lines[at]);
  const close = open === "$$" ? "$$" : "\\]";
  let end = at;
  let rest = first;
  while (!rest.includes(close) && end + 1 < lines.length && !isBlank(lines[end + 1])) {
    end += 1;
    rest += `\n${lines[end]}`;
  }
  const closed = rest.indexOf(close);
  const behind = rest.slice(closed + 2).trim();
  if (closed === -1 || !/^[.,;]?$/.test(behind)) {
    const text = lines
      .slice(at, end + 1)
      .map((line) => line.trimStart())
      .join("\n")
      .trimEnd();
    return { block: { type: "paragraph", text }, end: end + 1 };
  }
  return { block: { type: "math", text: rest.slice(0, closed).trim() + behind }, end: end + 1 };
}

const leading = (line) => line.length - line.trimStart().length;

function quoteAt(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && (QUOTE.test(lines[end]) || isLazy(lines, end, depth))) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return { block: { type: "quote", blocks: blocksOf(inner, depth + 1).map(({ block }) => block) }, end };
}

/** Whether a line goes on with the paragraph before it, though it lacks that paragraph's indent or mark. */
function isLazy(lines, at, depth) {
  return !isBlank(lines[at]) && !isBlank(lines[at - 1]) && !beginsBlock(lines, at, depth);
}

/** Whether a line ends a paragraph by beginning something else. */
function beginsBlock(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || MATH.test(line)) return true;
  if (depth < DEPTH_MAX && QUOTE.test(line)) return true;
  const item = depth < DEPTH_MAX ? ITEM.exec(line) : null;
  // A number in running text, such as a year at the start of a line, begins no list.
  if (item && item[4] && (/^[-*+]$/.test(item[2]) || parseInt(item[2], 10) === 1)) return true;
  return isTableAt(lines, at);
}

function listAt(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const kind = kindOf(first[2]);
  const items = [];
  let isLoose = false;
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end]);
    if (!found || kindOf(found[2]) !== kind || RULE.test(lines[end])) break;
    const item = itemAt(lines, end, found, depth);
    items.push(item.item);
    isLoose ||= item.isLoose;
    let next = item.end;
    while (next < lines.length && isBlank(lines[next])) next += 1;
    const goesOn = next < lines.length && kindOf(ITEM.exec(lines[next])?.[2]) === kind;
    if (!goesOn) {
      end = item.end;
      break;
    }
    isLoose ||= next > item.end;
    end = next;
  }
  const start = /\d/.test(first[2]) ? parseInt(first[2], 10) : null;
  return { block: { type: "list", start, isLoose, items }, end };
}

/** What the marks of one list have in common. */
function kindOf(mark) {
  return mark && (/\d/.test(mark) ? mark.at(-1) : mark);
}

function itemAt(lines, at, [, before, mark, gap, text], depth) {
  // Models indent what belongs to an item by two, whatever the width of its number.
  const own = before.length + 2;
  const width = before.length + mark.length + (gap && gap.length <= 4 ? gap.length : 1);
  let end = at + 1;
  while (end < lines.length) {
    const line = lines[end];
    if (isBlank(line)) {
      const next = nextFilled(lines, end);
      if (next === lines.length || leading(lines[next]) < own) break;
    } else if (leading(line) < own && (isOutside(lines, end, depth) || isBlank(lines[end - 1]))) {
      break;
    }
    end += 1;
  }
  const inner = [
    text ?? "",
    ...lines.slice(at + 1, end).map((line) => line.slice(Math.min(width, leading(line)))),
  ];
  const task = TASK.exec(inner[0]);
  if (task) inner[0] = inner[0].slice(task[0].length);
  const blocks = blocksOf(inner, depth + 1).map(({ block }) => block);
  const isLoose =
    blocks.length > 1 &&
    inner.some((line, number) => isBlank(line) && number > 0 && number < inner.length - 1) &&
    blocks.filter((block) => block.type === "paragraph").length > 1;
  const raw = lines.slice(at, end).join("\n");
  return { item: { task: task ? task[1] !== " " : null, blocks, raw }, end, isLoose };
}

function isOutside(lines, at, depth) {
  return ITEM.test(lines[at]) || beginsBlock(lines, at, depth);
}

function nextFilled(lines, at) {
  let next = at;
  while (next < lines.length && isBlank(lines[next])) next += 1;
  return next;
}

function isTableAt(lines, at) {
  const [head, below] = [lines[at], lines[at + 1]];
  if (below === undefined || !head.includes("|") || !below.includes("-") || !DELIMITERS.test(below))
    return false;
  return cellsOf(head).length === cellsOf(below).length;
}

function tableAt(lines, at) {
  const head = cellsOf(lines[at]);
  const align = cellsOf(lines[at + 1]).map((cell) => {
    const [left, right] = [cell.startsWith(":"), cell.endsWith(":")];
    return left && right ? "center" : right ? "right" : "left";
  });
  const rows = [];
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && !FENCE.test(lines[end])) {
    const cells = cellsOf(lines[end]);
    rows.push(head.map((_, column) => cells[column] ?? ""));
    end += 1;
  }
  return { block: { type: "table", align, head, rows }, end };
}

/** The cells of a row; a bar behind a backslash or inside code is a character like others. */
function cellsOf(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  const cells = [""];
  let isCode = false;
  for (let at = 0; at < inner.length; at += 1) {
    const char = inner[at];
    if (char === "\\" && inner[at + 1] === "|") {
      cells[cells.length - 1] += "|";
      at += 1;
    } else if (char === "|" && !isCode) {
      cells.push("");
    } else {
      if (char === "`") isCode = !isCode && inner.indexOf("`", at + 1) !== -1;
      cells[cells.length - 1] += char;
    }
  }
  return cells.map((cell) => cell.trim());
}

function paragraphAt(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end])) {
    const underline = UNDERLINE.exec(lines[end]);
    if (underline) {
      const text = lines
        .slice(at, end)
        .map((line) => line.trim())
        .join(" ");
      return { block: { type: "heading", level: underline[1][0] === "=" ? 1 : 2, text }, end: end + 1 };
    }
    if (beginsBlock(lines, end, depth)) break;
    end += 1;
  }
  return {
    block: {
      type: "paragraph",
      text: lines
        .slice(at, end)
        .map((line) => line.trimStart())
        .join("\n")
        .trimEnd(),
    },
    end,
  };
}
