import assert from "node:assert/strict";
import test from "node:test";

import { GrowingDocument, parse } from "../core/blocks.js";
import { highlighter } from "../core/highlight.js";
import { parseTex } from "../core/tex.js";
import { parseInline, plainText, safeHref } from "../core/inline.js";

const TEXT = `# Title with *stress*

A paragraph
over two lines.

1. one
   - inner
   - inner too

     with a paragraph
2. two
10. ten

- [x] done
- [ ] to do

> quoted
> > deeper
lazy

| a | b \\| c |
|:--|--:|
| 1 | \`x|y\` |
| 2 |

\`\`\`rust
fn main() {}

// - not a list
\`\`\`

\\[
a = \\frac{1}{2}
\\]

$$x^2$$

Setext
------

***
1984 was a year
1984. was another
`;

const shape = (blocks) => blocks.map((block) => block.type).join(" ");

test("blocks are what they look like", () => {
  const blocks = parse(TEXT);
  assert.equal(
    shape(blocks),
    "heading paragraph list list quote table code math math heading rule paragraph",
  );
  const [, , list, tasks, quote, table, code, , , setext] = blocks;
  assert.deepEqual([list.start, list.items.length], [1, 3]);
  assert.equal(shape(list.items[0].blocks), "paragraph list");
  assert.equal(shape(list.items[0].blocks[1].items[1].blocks), "paragraph paragraph");
  assert.deepEqual(
    tasks.items.map((item) => item.task),
    [true, false],
  );
  assert.equal(shape(quote.blocks), "paragraph quote");
  assert.deepEqual(table.head, ["a", "b | c"]);
  assert.deepEqual(table.rows, [
    ["1", "`x|y`"],
    ["2", ""],
  ]);
  assert.deepEqual(table.align, ["left", "right"]);
  assert.deepEqual(
    [code.language, code.text, code.isClosed],
    ["rust", "fn main() {}\n\n// - not a list", true],
  );
  assert.deepEqual([setext.level, setext.text], [2, "Setext"]);
});

test("two spaces are enough below a number, and text without any goes on lazily", () => {
  const [list] = parse("1. one\n  - inner\nlazy\n\nafter");
  assert.equal(shape(list.items[0].blocks), "paragraph list");
  assert.equal(list.items[0].blocks[1].items[0].blocks[0].text, "inner\nlazy");
  assert.equal(shape(parse("1. one\n  - inner\nlazy\n\nafter")), "list paragraph");
});

test("a document that grows is the document, wherever it is cut", () => {
  let seed = 7;
  const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
  for (let round = 0; round < 200; round += 1) {
    const document = new GrowingDocument();
    const blocks = [];
    for (let at = 0; at < TEXT.length;) {
      const end = at + 1 + Math.floor(random() * 12);
      document.push(TEXT.slice(at, end));
      blocks.push(...document.settled.splice(0));
      at = end;
    }
    assert.deepEqual([...blocks, ...document.open], parse(TEXT));
  }
});

test("what was settled is not looked at again", () => {
  const document = new GrowingDocument();
  document.push("one\n\ntwo\n\nthree");
  const first = document.settled[0];
  assert.equal(document.settled.length, 2 - 1);
  document.push("\n\nfour\n");
  assert.equal(document.settled[0], first);
  assert.deepEqual(
    document.settled.map((block) => block.text),
    ["one", "two", "three"],
  );
});

const inline = (text) => parseInline(text).map(spell).join("");
function spell(piece) {
  if (piece.type === "text") return piece.text;
  if (piece.type === "break") return "<br>";
  const inner = piece.children ? piece.children.map(spell).join("") : piece.text;
  return piece.type === "link" ? `<a ${piece.href}>${inner}</a>` : `<${piece.type}>${inner}</${piece.type}>`;
}

test("marks pair as in CommonMark", () => {
  const cases = [
    [
      "**bold** and *em* and ***both***",
      "<strong>bold</strong> and <em>em</em> and <em><strong>both</strong></em>",
    ],
    ["snake_case_name and _em_", "snake_case_name and <em>em</em>"],
    ["2 * 3 * 4", "2 * 3 * 4"],
    ["**open and *inner*", "**open and <em>inner</em>"],
    ["~~gone~~ ~not~", "<strike>gone</strike> ~not~"],
    ["`a*b*` ``x`y``", "<code>a*b*</code> <code>x`y</code>"],
    ["`open", "`open"],
    ["\\*plain\\* a\\b", "*plain* a\\b"],
    ["one  \ntwo\nthree\\\nfour", "one<br>two\nthree<br>four"],
    ["*a **b* c**", "<em>a <em><em>b</em> c</em></em>"],
    ["**2*3** and *2**3*", "<strong>2*3</strong> and <em>2**3</em>"],
  ];
  for (const [text, wanted] of cases) assert.equal(inline(text), wanted, text);
});

test("links lead to the web and nowhere else", () => {
  const cases = [
    ["[a](https://b.example/c_(d))", "<a https://b.example/c_(d)>a</a>"],
    ['[**a**](<http://b.example> "title")', "<a http://b.example/><strong>a</strong></a>"],
    ["see https://b.example/x?y=1, then", "see <a https://b.example/x?y=1>https://b.example/x?y=1</a>, then"],
    ["<https://b.example>", "<a https://b.example/>https://b.example</a>"],
    ["![cat](https://b.example/cat.png)", "<a https://b.example/cat.png>cat</a>"],
    [
      "[a [b](https://c.example)](https://d.example)",
      "[a <a https://c.example/>b</a>](<a https://d.example/>https://d.example</a>)",
    ],
  ];
  for (const [text, wanted] of cases) assert.equal(inline(text), wanted, text);
  const inert = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "//evil.example",
    "/path",
    "file:///etc",
    "java\nscript:x",
    "https:",
    "blob:x",
  ];
  for (const address of inert) {
    assert.equal(safeHref(address), null, address);
    assert.ok(!inline(`[a](${address})`).includes("<a "), address);
  }
});

test("markup is text", () => {
  const text = "<img src=x onerror=alert(1)> <script>x</script>";
  assert.deepEqual(parseInline(text), [{ type: "text", text }]);
  assert.equal(shape(parse("<div>\n\n<b>x</b>")), "paragraph paragraph");
});

test("hostile texts are read in the same way as others", () => {
  const count = 30000;
  for (const unit of [
    "*",
    "**a ",
    "_",
    "[",
    "](",
    "[a](",
    "`",
    "``a`",
    "~~",
    "<h",
    "http://",
    "![",
    "\\",
    "*a_b ",
    "$",
    "$a",
    "\\(",
    "$$ ",
  ]) {
    const text = unit.repeat(count / unit.length);
    assert.equal(plainText(parseInline(text)).length <= text.length, true, unit);
  }
  for (const unit of [">", "> ", "- ", "1. ", "#", "|", "|-", "```\n", "\n", " - a\n"]) {
    assert.ok(Array.isArray(parse(unit.repeat(count / unit.length))), unit);
  }
});

test("code keeps its text, whatever its colours", () => {
  const code = '/* a\n b */ let x = "s\\"t"; // end 1\nfn y() -> 0x1f {\'a}\n"""open';
  for (const language of [
    "rust",
    "py",
    "js",
    "c++",
    "go",
    "bash",
    "sql",
    "json",
    "yaml",
    "html",
    "css",
    "lua",
    "ruby",
    "toml",
    "java",
  ]) {
    const lines = highlighter(language);
    const text = code
      .split("\n")
      .map((line) =>
        lines
          .line(line)
          .map((piece) => piece.text)
          .join(""),
      )
      .join("\n");
    assert.equal(text, code, language);
  }
  const rust = highlighter("rs");
  assert.deepEqual(
    rust.line("/* a").map((piece) => piece.kind),
    ["comment"],
  );
  assert.deepEqual(
    rust.line("b */ let").map((piece) => piece.kind),
    ["comment", "", "word"],
  );
  assert.equal(highlighter("constructor"), null);
  assert.equal(highlighter(""), null);
});

const mathml = ({ tag, text, children = [] }) => `<${tag}>${text ?? children.map(mathml).join("")}</${tag}>`;
const tex = (text, isBlock = false) => mathml(parseTex(text, isBlock)).replace(/<\/?(?:math|mrow)>/g, "");

test("formulas are MathML", () => {
  const cases = [
    ["x^2 + y_1", "<msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><msub><mi>y</mi><mn>1</mn></msub>"],
    ["\\frac{a}{b}", "<mfrac><mi>a</mi><mi>b</mi></mfrac>"],
    ["\\sqrt[3]{8}", "<msup><mn>3</mn></msup><mo>√</mo><mn>8</mn>"],
    ["x_i^2", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"],
    ["\\alpha \\le \\infty", "<mi>α</mi><mo>≤</mo><mi>∞</mi>"],
    ["\\text{if } a", "<mtext>if </mtext><mi>a</mi>"],
    ["\\mathbb{R}", "<mi>ℝ</mi>"],
    ["f'(x)", "<msup><mi>f</mi><mo>′</mo></msup><mo>(</mo><mi>x</mi><mo>)</mo>"],
    ["\\unknown{x}", "<mtext>\\unknown</mtext><mi>x</mi>"],
    [
      "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
      "<mo>(</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable><mo>)</mo>",
    ],
    ["\\left( x \\right]", "<mo>(</mo><mi>x</mi><mo>]</mo>"],
  ];
  for (const [text, wanted] of cases) assert.equal(tex(text), wanted, text);
  assert.equal(
    tex("\\sum_{i=1}^n i", true),
    "<munderover><mo>∑</mo><mi>i</mi><mo>=</mo><mn>1</mn><mi>n</mi></munderover><mi>i</mi>",
  );
});

test("broken formulas are shown as far as they go", () => {
  for (const text of [
    "{",
    "}",
    "\\frac",
    "\\frac{",
    "^",
    "_^",
    "\\begin{pmatrix",
    "\\begin{x} & \\\\",
    "\\left",
    "\\right",
    "\\sqrt[",
    "\\",
    "\\text{",
    "{".repeat(2000),
    "\\sqrt".repeat(2000),
    "\\frac{".repeat(500),
    "&",
  ]) {
    assert.ok(mathml(parseTex(text, true)).startsWith("<math>"), text);
  }
});

test("dollars are money, unless they hold a formula", () => {
  const cases = [
    ["It costs $5 or $10.", "It costs $5 or $10."],
    ["$x$ and \\(y\\) and $$z$$", "<math>x</math> and <math>y</math> and <math>z</math>"],
    ["\\$5 and $", "$5 and $"],
    ["from $ 5 to $ 6", "from $ 5 to $ 6"],
    ["`$x$`", "<code>$x$</code>"],
  ];
  for (const [text, wanted] of cases) assert.equal(inline(text), wanted, text);
});
