/**
 * Code in colours: comments, texts, numbers and the words of a language, told apart line by line. Light, not exact: what
 * it does not know stays plain.
 */

const C_LIKE = { line: "//", block: ["/*", "*/"], quotes: "\"'" };

/** What each language calls a comment and a text, and its words. */
const LANGUAGES = {
  rust: {
    ...C_LIKE,
    quotes: '"',
    words:
      "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while",
  },
  javascript: {
    ...C_LIKE,
    quotes: "\"'`",
    words:
      "as async await break case catch class const continue default delete do else export extends false finally for from function if implements import in instanceof interface let new null of return static super switch this throw true try type typeof undefined var void while yield",
  },
  python: {
    line: "#",
    triple: true,
    quotes: "\"'",
    words:
      "and as assert async await break case class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return self True try while with yield",
  },
  c: {
    ...C_LIKE,
    words:
      "alignas auto bool break case catch char class const constexpr continue default delete do double else enum explicit extern false float for friend goto if inline int long namespace new nullptr operator private protected public return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void volatile while NULL",
  },
  java: {
    ...C_LIKE,
    words:
      "abstract assert boolean break byte case catch char class const continue data default do double else enum extends false final finally float for fun if implements import instanceof int interface internal is long namespace new null object override package private protected public return short static string super switch this throw throws true try using val var void when while",
  },
  go: {
    ...C_LIKE,
    quotes: "\"'`",
    words:
      "any bool break byte case chan const continue default defer else error fallthrough false for func go goto if import int interface map nil package range return rune select string struct switch true type var",
  },
  shell: {
    line: "#",
    quotes: "\"'",
    words:
      "case cd do done echo elif else esac exit export fi for function if in local read return set sudo then until while",
  },
  sql: {
    line: "--",
    block: ["/*", "*/"],
    quotes: "'\"",
    ignoresCase: true,
    words:
      "add all alter and as asc begin between by case commit create cross default delete desc distinct drop else end exists false foreign from full group having if in index inner insert into is join key left like limit not null offset on or order outer primary references right rollback select set table then true union unique update values view when where with",
  },
  json: { quotes: '"', words: "true false null" },
  yaml: { line: "#", quotes: "\"'", words: "true false null yes no" },
  toml: { line: "#", quotes: "\"'", words: "true false" },
  css: { block: ["/*", "*/"], quotes: "\"'", words: "important and not only screen from to" },
  html: { block: ["<!--", "-->"], quotes: "\"'", words: "" },
  ruby: {
    line: "#",
    quotes: "\"'",
    words:
      "and begin break case class def do else elsif end ensure false for if in module next nil not or rescue return self super then true undef unless until when while yield",
  },
  lua: {
    line: "--",
    quotes: "\"'",
    words:
      "and break do else elseif end false for function goto if in local nil not or repeat return then true until while",
  },
};

const ALIASES = {
  rs: "rust",
  js: "javascript",
  jsx: "javascript",
  mjs: "javascript",
  ts: "javascript",
  tsx: "javascript",
  typescript: "javascript",
  py: "python",
  python3: "python",
  h: "c",
  hpp: "c",
  cc: "c",
  cpp: "c",
  "c++": "c",
  objc: "c",
  cs: "java",
  csharp: "java",
  "c#": "java",
  kotlin: "java",
  kt: "java",
  scala: "java",
  swift: "java",
  dart: "java",
  php: "java",
  golang: "go",
  bash: "shell",
  sh: "shell",
  zsh: "shell",
  console: "shell",
  dockerfile: "shell",
  makefile: "shell",
  yml: "yaml",
  ini: "toml",
  jsonc: "json",
  json5: "json",
  jsonl: "json",
  scss: "css",
  less: "css",
  xml: "html",
  svg: "html",
  vue: "html",
  rb: "ruby",
  postgresql: "sql",
  sqlite: "sql",
  mysql: "sql",
};

/** Longer lines stay plain. */
const LINE_LENGTH_MAX = 2000;

/** What colours the lines of a language, or `null` for one that is not known. */
export function highlighter(language) {
  const rules = LANGUAGES[ALIASES[language] ?? language];
  return rules && Object.hasOwn(LANGUAGES, ALIASES[language] ?? language) ? new Highlighter(rules) : null;
}

class Highlighter {
  /** What ends the comment or the text that the next line begins in. */
  #pending = null;

  constructor(rules) {
    this.rules = rules;
    this.words = new Set(rules.words.split(" "));
    this.pattern = patternOf(rules);
  }

  /**
   * The pieces of the next line.
   * @returns {{ kind: "" | "comment" | "text" | "number" | "word", text: string }[]}
   */
  line(line) {
    if (line.length > LINE_LENGTH_MAX) return [{ kind: "", text: line }];
    const pieces = [];
    let at = 0;
    if (this.#pending) {
      const end = line.indexOf(this.#pending.end);
      at = end === -1 ? line.length : end + this.#pending.end.length;
      pieces.push({ kind: this.#pending.kind, text: line.slice(0, at) });
      if (end === -1) return pieces;
      this.#pending = null;
    }
    this.pattern.lastIndex = at;
    for (let found = this.pattern.exec(line); found; found = this.pattern.exec(line)) {
      if (found.index > at) pieces.push({ kind: "", text: line.slice(at, found.index) });
      pieces.push(this.#piece(found));
      at = found.index + found[0].length;
    }
    if (at < line.length) pieces.push({ kind: "", text: line.slice(at) });
    return pieces;
  }

  #piece({ 0: text, groups }) {
    if (groups.comment) return { kind: "comment", text };
    if (groups.block || groups.triple) {
      const kind = groups.block ? "comment" : "text";
      const end = groups.block ? this.rules.block[1] : text.slice(0, 3);
      const open = groups.block ? this.rules.block[0] : end;
      if (text.length < open.length + end.length || !text.endsWith(end)) this.#pending = { kind, end };
      return { kind, text };
    }
    if (groups.text) return { kind: "text", text };
    if (groups.number) return { kind: "number", text };
    const word = this.rules.ignoresCase ? text.toLowerCase() : text;
    return { kind: this.words.has(word) ? "word" : "", text };
  }
}

function patternOf({ line, block, triple, quotes }) {
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  const parts = [];
  if (line) parts.push(`(?<comment>${line === "#" ? "(?<![\\w$&])" : ""}${escaped(line)}.*)`);
  else parts.push("(?<comment>(?!))");
  parts.push(block ? `(?<block>${escaped(block[0])}(?:.*?${escaped(block[1])}|.*))` : "(?<block>(?!))");
  parts.push(triple ? "(?<triple>\"\"\"(?:.*?\"\"\"|.*)|'''(?:.*?'''|.*))" : "(?<triple>(?!))");
  const text = [...quotes].map((quote) => `${quote}(?:\\\\.|[^\\\\${quote}])*${quote}`).join("|");
  parts.push(`(?<text>${text})`, "(?<number>\\b\\d[\\w.]*)", "(?<name>[A-Za-z_]\\w*)");
  return new RegExp(parts.join("|"), "g");
}
