/**
 * Markdown, second half: the text of a block to pieces of text. Linear in the length of the text, whatever it holds.
 *
 * A piece is `{ type: "text" | "code" | "math" | "break" | "strong" | "em" | "strike" | "link", text?, children?, href? }`. The only
 * links are those to `http` and `https`; anything else that looks like one stays text. Pictures become links: the page
 * loads nothing from elsewhere.
 */

/** So many open runs of marks are looked at for one that closes, which keeps hostile texts linear. */
const LOOK_BACK_MAX = 8;
/** Longer addresses are taken for text. */
const HREF_LENGTH_MAX = 2048;
/** Longer formulas inside a text are text, as is a dollar far from the next one. */
const FORMULA_LENGTH_MAX = 400;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const BARE = /^https?:\/\/[^\s<>"'`\])}]*[^\s<>"'`\])}.,;:!?*_~]/i;

/** The pieces of a text. */
export function parseInline(text) {
  return new Scanner(text).run();
}

/** An address that may be followed, in full, or `null`. */
export function safeHref(address) {
  if (address.length > HREF_LENGTH_MAX || !/^https?:\/\//i.test(address)) return null;
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** The texts of pieces, one behind the other. */
export function plainText(pieces) {
  return pieces
    .map((piece) => (piece.type === "break" ? "\n" : (piece.text ?? plainText(piece.children))))
    .join("");
}

/**
 * Goes through a text once. Pieces go into a flat list in which runs of marks and opening brackets are placeholders; when
 * what closes them comes, the pieces between are wrapped.
 */
class Scanner {
  #pieces = [];
  #plain = "";
  /** Places of opening brackets in the pieces. */
  #brackets = [];
  /** Lengths of runs of backticks that nothing behind this place closes. */
  #unclosed = new Set();

  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  run() {
    while (this.at < this.text.length) this.#step(this.text[this.at]);
    this.#flush();
    return pair(this.#pieces);
  }

  #step(char) {
    if (char === "\\" && /[([]/.test(this.text[this.at + 1] ?? "")) this.#formula();
    else if (char === "$") this.#formula();
    else if (char === "\\") this.#escape();
    else if (char === "`") this.#code();
    else if (char === "*" || char === "_" || char === "~") this.#marks(char);
    else if (char === "[" || (char === "!" && this.text[this.at + 1] === "[")) this.#open(char);
    else if (char === "]") this.#close();
    else if (char === "\n") this.#newline();
    else if (char === "h" || char === "H" || char === "<") this.#bare(char);
    else this.#take(1);
  }

  /** Characters that are just text. */
  #take(count) {
    this.#plain += this.text.slice(this.at, this.at + count);
    this.at += count;
  }

  #flush() {
    if (this.#plain !== "") this.#pieces.push({ type: "text", text: this.#plain });
    this.#plain = "";
  }

  #push(piece, length) {
    this.#flush();
    this.#pieces.push(piece);
    this.at += length;
  }

  #escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") return this.#push({ type: "break" }, 2);
    if (next === undefined || !ESCAPABLE.test(next)) return this.#take(1);
    this.at += 1;
    return this.#take(1);
  }

  /**
   * A formula in the text. A dollar is mostly money: it begins one only if no space follows it, none stands before the one
   * that ends it, and no digit behind that.
   */
  #formula() {
    const from = this.text.slice(this.at, this.at + FORMULA_LENGTH_MAX);
    const found =
      /^\$\$([^$]+)\$\$/.exec(from) ??
      /^\$(?!\s)((?:\\.|[^$\\\n])+)(?<!\s)\$(?!\d)/.exec(from) ??
      /^\\\(((?:(?!\\\)).)+)\\\)/s.exec(from) ??
      /^\\\[((?:(?!\\\]).)+)\\\]/s.exec(from);
    if (found) return this.#push({ type: "math", text: found[1].trim() }, found[0].length);
    return this.text[this.at] === "$" ? this.#take(1) : this.#escape();
  }

  #newline() {
    const isHard = /  $/.test(this.#plain);
    this.#plain = this.#plain.trimEnd();
    if (isHard) this.#push({ type: "break" }, 1);
    else {
      this.#plain += "\n";
      this.at += 1;
    }
  }

  #code() {
    const run = /^`+/.exec(this.text.slice(this.at, this.at + 64))[0];
    const end = this.#unclosed.has(run.length) ? -1 : this.#closing(run.length);
    if (end === -1) {
      this.#unclosed.add(run.length);
      return this.#take(run.length);
    }
    const inner = this.text.slice(this.at + run.length, end).replace(/\n/g, " ");
    const isPadded = inner.startsWith(" ") && inner.endsWith(" ") && inner.trim() !== "";
    return this.#push(
      { type: "code", text: isPadded ? inner.slice(1, -1) : inner },
      end + run.length - this.at,
    );
  }

  /** Where a run of backticks of a length begins, behind the one that is here. */
  #closing(length) {
    const runs = /`+/g;
    runs.lastIndex = this.at + length;
    for (let found = runs.exec(this.text); found; found = runs.exec(this.text)) {
      if (found[0].length === length) return found.index;
    }
    return -1;
  }

  #marks(char) {
    let end = this.at;
    while (this.text[end] === char) end += 1;
    const length = end - this.at;
    const [before, after] = [this.text[this.at - 1] ?? " ", this.text[end] ?? " "];
    const left = isFlank(after, before);
    const right = isFlank(before, after);
    // Inside words, underscores are part of names.
    const opens = left && (char !== "_" || !right || isPunctuation(before));
    const closes = right && (char !== "_" || !left || isPunctuation(after));
    if ((!opens && !closes) || (char === "~" && length !== 2)) return this.#take(length);
    return this.#push({ type: "marks", char, length, run: length, opens, closes }, length);
  }

  #open(char) {
    this.#flush();
    this.#brackets.push(this.#pieces.length);
    this.#push({ type: "text", text: char === "!" ? "![" : "[" }, char === "!" ? 2 : 1);
  }

  #close() {
    const from = this.#brackets.pop();
    const target = from === undefined ? null : this.#target();
    const href = target && safeHref(target.address);
    if (!href) return this.#take(1);
    this.#flush();
    const inner = pair(this.#pieces.splice(from).slice(1));
    const children = inner.length > 0 ? inner : [{ type: "text", text: href }];
    this.#pieces.push({ type: "link", href, children: withoutLinks(children) });
    this.at += target.length;
    // A link holds no other, and the inner one came first.
    this.#brackets = [];
    return undefined;
  }

  /** The address in round brackets behind a closing one. */
  #target() {
    const found = /^\]\(\s*<?((?:[^\s()<>]|\([^\s()<>]*\))*)>?(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/.exec(
      this.text.slice(this.at, this.at + HREF_LENGTH_MAX + 300),
    );
    return found && { address: found[1], length: found[0].length };
  }

  /** An address that stands in the text, with or without pointed brackets. */
  #bare(char) {
    const isPointed = char === "<";
    const from = this.at + (isPointed ? 1 : 0);
    const isStart = isPointed || !/[\p{L}\p{N}]/u.test(this.text[this.at - 1] ?? " ");
    const found = isStart && BARE.exec(this.text.slice(from, from + HREF_LENGTH_MAX));
    const end = found && from + found[0].length;
    if (!found || (isPointed && this.text[end] !== ">")) return this.#take(1);
    const href = safeHref(found[0]);
    if (!href) return this.#take(1);
    const link = { type: "link", href, children: [{ type: "text", text: found[0] }] };
    return this.#push(link, found[0].length + (isPointed ? 2 : 0));
  }
}

const isSpace = (char) => /\s/.test(char);
const isPunctuation = (char) => /[\p{P}\p{S}]/u.test(char);

/** Whether marks beside `near` lie close to it, as seen from `far`. */
function isFlank(near, far) {
  return !isSpace(near) && (!isPunctuation(near) || isSpace(far) || isPunctuation(far));
}

function withoutLinks(pieces) {
  return pieces.flatMap((piece) => (piece.type === "link" ? piece.children : [piece]));
}

/**
 * Pairs runs of marks as CommonMark does: each that closes takes the nearest before it that opens and has the same
 * character. What finds no partner is text.
 */
function pair(pieces) {
  const out = [];
  /** Places in `out` of runs that are open, for each character. */
  const open = { "*": [], _: [], "~": [] };
  for (const piece of pieces) {
    if (piece.type !== "marks") out.push(piece);
    else pairOne(out, open, { ...piece });
  }
  return merged(out.map((piece) => (piece.type === "marks" ? asText(piece) : piece)));
}

function pairOne(out, open, marks) {
  const stack = open[marks.char];
  while (marks.closes && marks.length > 0) {
    const place =
      stack.length -
      1 -
      stack
        .slice(-LOOK_BACK_MAX)
        .reverse()
        .findIndex((each) => !isOdd(out[each], marks));
    if (place === stack.length || stack.length === 0) break;
    stack.length = place + 1;
    const at = stack[place];
    const opener = out[at];
    const count = marks.char === "~" ? 2 : Math.min(2, opener.length, marks.length);
    const children = merged(
      out.splice(at + 1).map((piece) => (piece.type === "marks" ? asText(piece) : piece)),
    );
    for (const other of Object.values(open)) while (other.at(-1) > at) other.pop();
    const type = marks.char === "~" ? "strike" : count === 2 ? "strong" : "em";
    opener.length -= count;
    marks.length -= count;
    if (opener.length === 0) {
      out.pop();
      stack.pop();
    }
    out.push({ type, children });
  }
  if (marks.length === 0) return;
  if (marks.opens) stack.push(out.length);
  out.push(marks);
}

/** A run in the middle of a word that could do both does not pair with what would leave a rest: `**2*3**` is bold. */
function isOdd(opener, closer) {
  const doesBoth = (opener.opens && opener.closes) || (closer.opens && closer.closes);
  return doesBoth && (opener.run + closer.run) % 3 === 0 && (opener.run % 3 !== 0 || closer.run % 3 !== 0);
}

const asText = ({ char, length }) => ({ type: "text", text: char.repeat(length) });

/** Neighbouring texts as one. */
function merged(pieces) {
  const out = [];
  for (const piece of pieces) {
    const last = out.at(-1);
    if (piece.type === "text" && last?.type === "text")
      out[out.length - 1] = { type: "text", text: last.text + piece.text };
    else out.push(piece);
  }
  return out;
}
