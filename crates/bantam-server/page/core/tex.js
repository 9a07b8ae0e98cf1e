/**
 * Formulas: the TeX that models write, as a tree of MathML. What it does not know is shown by its name, never guessed.
 *
 * A node is `{ tag, text }` or `{ tag, children }`, with `attributes` where it has any.
 */

/** Groups inside each other beyond this depth are shown as they are written. */
const DEPTH_MAX = 32;

const words = (text) =>
  Object.fromEntries(
    text
      .trim()
      .split(/\s+/)
      .map((pair) => [pair.slice(0, -1), pair.slice(-1)]),
  );

/** Letters, by their names; the last character of each pair is the letter. */
const LETTERS = words(`
  alphaα betaβ gammaγ deltaδ epsilonϵ varepsilonε zetaζ etaη thetaθ varthetaϑ iotaι kappaκ lambdaλ muμ nuν xiξ piπ varpiϖ
  rhoρ varrhoϱ sigmaσ varsigmaς tauτ upsilonυ phiϕ varphiφ chiχ psiψ omegaω GammaΓ DeltaΔ ThetaΘ LambdaΛ XiΞ PiΠ SigmaΣ
  UpsilonΥ PhiΦ PsiΨ OmegaΩ infty∞ partial∂ nabla∇ ellℓ hbarℏ Reℜ Imℑ alephℵ emptyset∅ varnothing∅ degree°
  angle∠ triangle△ top⊤ bot⊥ forall∀ exists∃ neg¬ lnot¬ ldots… dots… cdots⋯ vdots⋮ ddots⋱ prime′ checkmark✓`);
const OPERATORS = words(`
  times× cdot⋅ div÷ pm± mp∓ ast∗ star⋆ circ∘ bullet∙ oplus⊕ otimes⊗ odot⊙ cap∩ cup∪ wedge∧ land∧ vee∨ lor∨ setminus∖
  le≤ leq≤ ge≥ geq≥ ne≠ neq≠ approx≈ equiv≡ sim∼ simeq≃ cong≅ propto∝ ll≪ gg≫ prec≺ succ≻ mid∣ parallel∥ perp⊥ in∈ notin∉ ni∋
  subset⊂ subseteq⊆ supset⊃ supseteq⊇ to→ rightarrow→ leftarrow← gets← leftrightarrow↔ Rightarrow⇒ Leftarrow⇐ implies⇒
  Leftrightarrow⇔ iff⇔ mapsto↦ uparrow↑ downarrow↓ longrightarrow⟶ hookrightarrow↪ therefore∴ because∵ colon:
  lbrace{ rbrace} langle⟨ rangle⟩ lfloor⌊ rfloor⌋ lceil⌈ rceil⌉ vert| lvert| rvert| Vert‖ lVert‖ rVert‖ backslash\\`);
/** Operators whose limits stand above and below in a formula of its own. */
const LARGE = words("sum∑ prod∏ coprod∐ bigcup⋃ bigcap⋂ bigoplus⨁ bigotimes⨂ bigvee⋁ bigwedge⋀");
const INTEGRALS = words("int∫ iint∬ iiint∭ oint∮");
const FUNCTIONS = new Set(
  "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp deg dim ker hom arg".split(" "),
);
const LIMITS = new Set("lim limsup liminf max min sup inf det gcd Pr argmax argmin".split(" "));
const ACCENTS = {
  hat: "^",
  widehat: "^",
  bar: "¯",
  overline: "‾",
  vec: "→",
  dot: "˙",
  ddot: "¨",
  tilde: "~",
  widetilde: "~",
  overbrace: "⏞",
};
const UNDER = { underline: "_", underbrace: "⏟" };
const SPACES = {
  ",": "0.17em",
  ":": "0.22em",
  ">": "0.22em",
  ";": "0.28em",
  " ": "0.28em",
  "!": "0",
  quad: "1em",
  qquad: "2em",
  enspace: "0.5em",
};
const FONTS = {
  mathbf: "bold",
  boldsymbol: "bold",
  bm: "bold",
  mathbb: "double-struck",
  mathcal: "script",
  mathscr: "script",
  mathfrak: "fraktur",
  mathsf: "sans-serif",
  mathtt: "monospace",
  mathit: "italic",
  mathrm: "normal",
};
const TEXTS = new Set(["text", "textrm", "textbf", "textit", "mbox", "operatorname"]);
/** What says how something is set, and changes nothing here. */
const SILENT = new Set(
  "displaystyle textstyle scriptstyle limits nolimits big Big bigg Bigg bigl bigr Bigl Bigr middle nonumber notag".split(
    " ",
  ),
);
const FENCES = {
  matrix: ["", ""],
  pmatrix: ["(", ")"],
  bmatrix: ["[", "]"],
  Bmatrix: ["{", "}"],
  vmatrix: ["|", "|"],
  Vmatrix: ["‖", "‖"],
  cases: ["{", ""],
  aligned: ["", ""],
  align: ["", ""],
  "align*": ["", ""],
  equation: ["", ""],
  "equation*": ["", ""],
  gathered: ["", ""],
  split: ["", ""],
  array: ["", ""],
};

/** A formula as a `math` node; `isBlock` for one that stands by itself. */
export function parseTex(text, isBlock) {
  const parser = new Parser(text, isBlock);
  const children = parser.row(() => false, 0);
  return {
    tag: "math",
    attributes: isBlock ? { display: "block" } : {},
    children: [{ tag: "mrow", children }],
  };
}

const leaf = (tag, text, attributes) => ({ tag, text, attributes });
const radicand = (node) => ({ tag: "mrow", attributes: { class: "radicand" }, children: [node] });
const row = (children) => (children.length === 1 ? children[0] : { tag: "mrow", children });

class Parser {
  constructor(text, isBlock) {
    // Pieces: commands, numbers, and single characters; spaces mean nothing.
    this.pieces = text.match(/\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+)?|\s+|[^\s]/gsu) ?? [];
    this.at = 0;
    this.isBlock = isBlock;
  }

  #skip() {
    while (/^\s/.test(this.pieces[this.at] ?? "")) this.at += 1;
  }

  #peek() {
    this.#skip();
    return this.pieces[this.at];
  }

  /** Nodes up to where `ends` says so, or to the end. */
  row(ends, depth) {
    const nodes = [];
    for (let piece = this.#peek(); piece !== undefined && !ends(piece); piece = this.#peek()) {
      if (piece === "^" || piece === "_" || piece === "'")
        nodes.push(this.#scripts(nodes.pop() ?? row([]), depth));
      else {
        const node = this.#atom(depth);
        if (node) nodes.push(node);
      }
    }
    return nodes;
  }

  /** What stands below and above a base. */
  #scripts(base, depth) {
    let below = null;
    let above = null;
    for (let piece = this.#peek(); piece === "^" || piece === "_" || piece === "'"; piece = this.#peek()) {
      this.at += 1;
      if (piece === "_") below = this.#argument(depth);
      else if (piece === "^") above = this.#argument(depth);
      else above = row([...(above ? [above] : []), leaf("mo", "′")]);
    }
    const isLimit = this.isBlock && base.hasLimits;
    if (below && above) return { tag: isLimit ? "munderover" : "msubsup", children: [base, below, above] };
    if (below) return { tag: isLimit ? "munder" : "msub", children: [base, below] };
    return { tag: isLimit ? "mover" : "msup", children: [base, above] };
  }

  /** A group, or the next atom. */
  #argument(depth) {
    if (this.#peek() === undefined) return row([]);
    return this.#atom(depth) ?? row([]);
  }

  #atom(depth) {
    const piece = this.#peek();
    this.at += 1;
    if (depth > DEPTH_MAX) return leaf("mtext", piece);
    if (piece === "{") return this.#group(depth);
    if (piece.startsWith("\\") && piece.length > 1) return this.#command(piece.slice(1), depth);
    if (/^\d/.test(piece)) return leaf("mn", piece);
    if (/^\p{L}/u.test(piece)) return leaf("mi", piece);
    if (piece === "}" || piece === "$" || piece === "&") return null;
    if (piece === "~") return leaf("mtext", "\u00a0");
    return leaf(
      "mo",
      piece === "-" ? "−" : piece === "*" ? "∗" : piece,
      /[()[\]|/]/.test(piece) ? { stretchy: "false" } : undefined,
    );
  }

  #group(depth) {
    const nodes = this.row((piece) => piece === "}", depth + 1);
    this.at += 1;
    return row(nodes);
  }

  #command(name, depth) {
    if (/^[dt]?frac$|^cfrac$/.test(name))
      return { tag: "mfrac", children: [this.#argument(depth + 1), this.#argument(depth + 1)] };
    if (/^[dt]?binom$/.test(name)) return this.#binomial(depth);
    if (name === "sqrt") return this.#root(depth);
    if (TEXTS.has(name)) return leaf("mtext", this.#raw());
    if (name in FONTS) return fonted(this.#argument(depth + 1), FONTS[name]);
    if (name in ACCENTS)
      return {
        tag: "mover",
        attributes: { accent: "true" },
        children: [this.#argument(depth + 1), leaf("mo", ACCENTS[name])],
      };
    if (name in UNDER)
      return { tag: "munder", children: [this.#argument(depth + 1), leaf("mo", UNDER[name])] };
    if (name === "left") return this.#fenced(depth);
    if (name === "begin") return this.#environment(depth);
    if (name === "end") return void this.#raw();
    if (name === "boxed") return this.#argument(depth + 1);
    if (SILENT.has(name) || name === "\\") return null;
    return symbol(name);
  }

  #binomial(depth) {
    const fraction = {
      tag: "mfrac",
      attributes: { linethickness: "0" },
      children: [this.#argument(depth + 1), this.#argument(depth + 1)],
    };
    return row([leaf("mo", "("), fraction, leaf("mo", ")")]);
  }

  /** A sign and a line of our own: without a font for formulas, which many systems lack, browsers leave out the root's. */
  #root(depth) {
    const sign = leaf("mo", "√");
    if (this.#peek() !== "[") return row([sign, radicand(this.#argument(depth + 1))]);
    this.at += 1;
    const degree = row(this.row((piece) => piece === "]", depth + 1));
    this.at += 1;
    const raised = { tag: "msup", children: [row([]), degree] };
    return row([raised, sign, radicand(this.#argument(depth + 1))]);
  }

  /** The text of a group as it is. */
  #raw() {
    if (this.#peek() !== "{") return "";
    let text = "";
    for (this.at += 1; this.at < this.pieces.length && this.pieces[this.at] !== "}"; this.at += 1)
      text += this.pieces[this.at];
    this.at += 1;
    return text;
  }

  /** `\left( .. \right)`; a dot is no fence. */
  #fenced(depth) {
    const open = this.#fence();
    const inner = this.row((piece) => piece === "\\right", depth + 1);
    this.at += 1;
    return row([...open, row(inner), ...this.#fence()]);
  }

  #fence() {
    const piece = this.#peek() ?? ".";
    this.at += 1;
    if (piece === ".") return [];
    const name = piece.slice(1);
    const text = piece.startsWith("\\")
      ? (OPERATORS[name] ?? { "{": "{", "}": "}", "|": "‖" }[name] ?? name)
      : piece;
    return [leaf("mo", text, { stretchy: "true" })];
  }

  #environment(depth) {
    const name = this.#raw();
    if (name === "array") this.#raw();
    const [open, close] = FENCES[name] ?? ["", ""];
    const ends = (piece) => piece === "&" || piece === "\\\\" || piece === "\\end";
    const rows = [[]];
    for (;;) {
      rows.at(-1).push({ tag: "mtd", children: this.row(ends, depth + 1) });
      const piece = this.pieces[this.at];
      this.at += 1;
      if (piece === "\\\\") rows.push([]);
      else if (piece !== "&") break;
    }
    this.#raw();
    const isAligned = /^(aligned|align|split|cases)/.test(name);
    const table = {
      tag: "mtable",
      attributes: isAligned ? { class: "aligned" } : {},
      children: rows.map((cells) => ({ tag: "mtr", children: cells })),
    };
    const fence = (text) => (text === "" ? [] : [leaf("mo", text, { stretchy: "true" })]);
    return row([...fence(open), table, ...fence(close)]);
  }
}

function symbol(name) {
  if (Object.hasOwn(SPACES, name))
    return { tag: "mspace", attributes: { width: SPACES[name] }, children: [] };
  if (Object.hasOwn(LETTERS, name)) return leaf("mi", LETTERS[name]);
  if (Object.hasOwn(OPERATORS, name)) return leaf("mo", OPERATORS[name]);
  if (Object.hasOwn(LARGE, name)) return { ...leaf("mo", LARGE[name]), hasLimits: true };
  if (Object.hasOwn(INTEGRALS, name)) return leaf("mo", INTEGRALS[name]);
  if (FUNCTIONS.has(name)) return leaf("mi", name);
  if (LIMITS.has(name)) return { ...leaf("mi", name), hasLimits: true };
  return leaf("mtext", /^[A-Za-z]/.test(name) ? `\\${name}` : name === "|" ? "‖" : name);
}

/** Letters in another face: browsers know the mathematical alphabets of Unicode, and only the upright face by attribute. */
function fonted(node, font) {
  if (node.text === undefined)
    return { ...node, children: node.children.map((child) => fonted(child, font)) };
  if (font === "normal") return { ...node, attributes: { ...node.attributes, mathvariant: "normal" } };
  return { ...node, text: Array.from(node.text, (char) => inFace(char, font)).join("") };
}

/** Where the capital and the small A, and the zero, of each face lie. */
const FACES = {
  bold: [0x1d400, 0x1d41a, 0x1d7ce],
  italic: [0x1d434, 0x1d44e, null],
  script: [0x1d49c, 0x1d4b6, null],
  fraktur: [0x1d504, 0x1d51e, null],
  "double-struck": [0x1d538, 0x1d552, 0x1d7d8],
  "sans-serif": [0x1d5a0, 0x1d5ba, 0x1d7e2],
  monospace: [0x1d670, 0x1d68a, 0x1d7f6],
};
/** Letters that Unicode had before the rest of their face. */
const ELSEWHERE = {
  script: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
  italic: { h: "ℎ" },
};

function inFace(char, font) {
  if (ELSEWHERE[font]?.[char]) return ELSEWHERE[font][char];
  const [capital, small, zero] = FACES[font];
  const code = char.charCodeAt(0);
  if (/^[A-Z]$/.test(char)) return String.fromCodePoint(capital + code - 65);
  if (/^[a-z]$/.test(char)) return String.fromCodePoint(small + code - 97);
  return /^\d$/.test(char) && zero !== null ? String.fromCodePoint(zero + code - 48) : char;
}
