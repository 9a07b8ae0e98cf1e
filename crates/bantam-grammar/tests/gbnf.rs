//! Grammars in GBNF have the texts that they say: a matcher tells, that tries one derivation after the other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::{BTreeSet, HashMap};

use bantam_engine::Allowed;
use bantam_grammar::{Error, Grammar, Spec, Start, Vocabulary};
use bantam_text::Tokenizer;
use common::vocabulary;
use serde_json::{Map, Value, json};

/// A token for each byte, and one that ends an answer.
fn of_bytes() -> Vocabulary {
    let is_itself = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255u8).filter(|byte| !is_itself(byte)).zip(0x100..).map(|(_, code)| code);
    let codes = (0..=255u8).filter(is_itself).map(u32::from).chain(others);
    let vocab = codes.zip(1..).map(|(code, id)| (char::from_u32(code).unwrap().to_string(), json!(id)));
    let json = json!({
        "added_tokens": [{"id": 0, "content": "<|end|>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab.collect::<Map<String, Value>>(), "merges": []},
    });
    let config = json!({ "eos_token": "<|end|>" });
    let tokenizer = Tokenizer::from_tokenizer_json(json.to_string().as_bytes(), Some(&config)).unwrap();
    Vocabulary::new(&tokenizer, 257, &[0])
}

fn compile(vocabulary: &Vocabulary, source: &str) -> Grammar {
    vocabulary.compile(&Spec::Gbnf(source.into())).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

/// Grammars with texts that are theirs and texts that are not.
const LISTS: &[(&str, &[&str], &[&str])] = &[
    (r#"root ::= [a-z]+ "x""#, &["ax", "xx", "abxcx"], &["x", "a", "", "axb"]),
    (r#"root ::= "a" | "ab" "c""#, &["a", "abc"], &["ab", "abcc", ""]),
    (r#"root ::= ("a" | "ab")* "b""#, &["b", "ab", "abb", "aabab"], &["a", "", "ba", "bb"]),
    // The same within rules that are no pattern.
    (
        "root ::= \"(\" root \")\" | [a-z]+ \"x\" | \"1\" | \"12\" \"3\"",
        &["ax", "((xx))", "(abxcx)", "1", "(1)", "123"],
        &["x", "(x)", "(ax", "12", "(12)"],
    ),
    (
        "root ::= one | \"<\" root root \">\"\none ::= (\"a\" | \"ab\")* \"b\"",
        &["b", "abb", "<bb>", "<abbaab>", "<<bab>abb>"],
        &["", "<b>", "<ab>", "ba", "<bbb"],
    ),
    // Keywords, names, and space behind each of them.
    (
        "root ::= (\"int\" ws name | name \"=\" value) \";\"\nname ::= [a-z]+ ws\nvalue ::= name | \"(\" ws value \")\" ws\nws ::= [ \\n]*",
        &["int a;", "inta;", "int=b;", "in =(( int ));", "i =int \n;"],
        &["int;", "= a;", "a = (b;", "a a;"],
    ),
    (
        "root ::= (sum \"=\" ws \"\\n\")+\nsum ::= term ([-+] ws term)*\nterm ::= [a-z] [a-z0-9]* ws | \"(\" ws sum \")\" ws\nws ::= [ \\n]*",
        &["a=\n", "a =\n\n", "(a+b9) - c=  \n\nd=\n"],
        &["a=", "a", "(a=\n", "a = \t\n"],
    ),
    (
        "root ::= root \",\" item | item\nitem ::= \"a\" | \"[\" root \"]\"",
        &["a", "a,a", "[a,[a]],a"],
        &["", "a,", "[]"],
    ),
    ("root ::= more\nmore ::= | \"a\" more more", &["", "a", "aaaa"], &["b"]),
    ("root ::= a b \"c\"\na ::= | \"a\"\nb ::= a a", &["c", "aaac"], &["aaaac", "a", ""]),
    ("root ::= ws \"{\" ws \"}\"\nws ::= ([ \\t] ws)?", &["{}", " \t{\t }"], &["{", "{\n}"]),
    (
        "root ::= \"a\"{2} \"b\"{2,} \"c\"{0,2} \"d\"{0} [ef]{1,2}",
        &["aabbe", "aabbbccef"],
        &["abbe", "aabe", "aabbccce", "aabbde", "aabbeee"],
    ),
    (
        "root ::= (\"a\" | root){2} | \"b\"{2,3}{2}",
        &["aa", "bbbb", "bbbbbb", "aaa", "abbbb"],
        &["a", "b", "bbb", "bbbbbbb"],
    ),
    (r#"root ::= "\x41\u00e9\U0001F600\n\t\r\"\\\[\]/#""#, &["Aé😀\n\t\r\"\\[]/#"], &["Aé😀"]),
    (
        r#"root ::= [^"\\\x00-\x1F]+ [\]\[\\\-^a-]"#,
        &["é😀]", "/-", "xa", "ab^", "/\\"],
        &["]", "\n]", "\"a", "xb", "\\a"],
    ),
    ("root ::= [ぁ-ゟ]+ . [^a-y]", &["ひらがなxz", "ぁ\n😀"], &["カxz", "ひxy", "ひz"]),
    ("root ::= \"(\" root \")\" | [^()]+ [^x]", &["ab", "((é😀))"], &["x", "(ax)", "((a)"]),
    (
        "\r\n# all\nroot ::= # the root\n  (\n \"a\" # one\n\n | b\n )? |\n  b b # two\n\nb\t::= \"b\"\n# end",
        &["", "a", "b", "bb"],
        &["ab", "bbb"],
    ),
    ("root ::= \"\"", &[""], &["a"]),
    ("root ::= \"\"* \"a\"{0}", &[""], &["a"]),
    ("root ::= \"(\" root \")\" | \"\"", &["", "()", "(())"], &["(", "())"]),
    ("Root_1 ::= \"a\"\nroot::=Root_1 r2-b|r2-b\nr2-b ::=\"b\"", &["ab", "b"], &["a"]),
];

#[test]
fn texts_are_right_or_wrong_as_the_grammar_says() {
    let vocabulary = of_bytes();
    for (source, right, wrong) in LISTS {
        let grammar = compile(&vocabulary, source);
        for text in *right {
            assert!(grammar.accepts(text), "{text:?} of\n{source}");
            assert!(passes(&grammar, text), "{text:?} of\n{source}");
        }
        for text in *wrong {
            assert!(!grammar.accepts(text) && !passes(&grammar, text), "{text:?} of\n{source}");
        }
    }
}

/// Whether a text can be written, byte by byte, and be all.
fn passes(grammar: &Grammar, text: &str) -> bool {
    let mut constraint = grammar.constraint(&Start::Now);
    let tokenizer = of_bytes().tokenizer().clone();
    let ids = tokenizer.to_ids(text, bantam_text::Special::AsText).unwrap();
    let allows =
        |constraint: &mut Box<dyn bantam_engine::Constraint>, id: u32| match constraint.allowed().unwrap() {
            Allowed::All => true,
            Allowed::Set(words) => words[id as usize / 32] >> (id % 32) & 1 == 1,
        };
    for id in ids {
        if constraint.is_complete() || !allows(&mut constraint, id) {
            return false;
        }
        constraint.commit(id).unwrap();
    }
    constraint.is_complete() || allows(&mut constraint, 0)
}

fn refusal(source: &str) -> Error {
    let short: String = source.chars().take(80).collect();
    vocabulary().compile(&Spec::Gbnf(source.into())).err().unwrap_or_else(|| panic!("{short} was taken"))
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (source, told) in [
        ("root ::= \"a\"\n\nb ::= c", "line 3: there is no rule `c`"),
        ("a ::= \"a\"", "no rule `root`"),
        ("", "no rule `root`"),
        ("root ::= \"a\nb\n", "line 1: the text in quotes has no end"),
        ("root ::=\n [a", "line 2: the class of characters has no end"),
        ("root ::= (\"a\"\n", "line 1: the parenthesis has no end"),
        ("root ::= (\n\"a\" ]", "line 2: wanted `)` for the parenthesis of line 1, found `]`"),
        ("root ::= \"a\")", "line 1: found `)` where the rule `root` could end"),
        ("root ::= \"a\"\n| \"b\"", "line 2: wanted the name of a rule, found `| \"b\"`"),
        ("root = \"a\"\n# ::=", "line 1: wanted `::=` behind `root`, found `= \"a\"`"),
        ("root ::= *", "line 1: nothing stands before `*`"),
        ("root ::= \"a\" | {2}", "nothing stands before `{2}`"),
        ("root ::= \"a\"{}", "wanted a number behind `{`, found `}`"),
        ("root ::= \"a\"{2;}", "wanted `}` behind a count, found `;}`"),
        ("root ::= \"a\"{3,2}", "{3,2} counts from more to fewer"),
        ("root ::= \"a\"{10001}", "10001 times is too often"),
        ("root ::= \"a\"{1,99999999999999999999}", "99999999999999999999 times is too often"),
        ("root ::= \"\\q\"", "the escape `\\q` is not known"),
        ("root ::= \"\\x4\"", "the escape wants 2 digits"),
        ("root ::= \"\\ud800\"", "U+D800 is no character"),
        ("root ::= \"\\UFFFFFFFF\"", "U+FFFFFFFF is no character"),
        ("root ::= \"\\", "the grammar ends within an escape"),
        ("root ::= [z-a]", "the range from U+007A to U+0061 runs backwards"),
        ("root ::= []", "the class has no characters"),
        ("root ::= [^\\x00-\\U0010FFFF]", "the class has no characters"),
        ("root ::= <think> \"a\"", "line 1: `<think> \"a\"` is a token"),
        ("root ::= \"a\"\nb ::= !<[1000]>", "line 2: `!<[1000]>` is a token"),
        ("root ::= \"a\" root", "line 1: by the rule `root` no text comes to an end"),
        ("root ::= \"a\" | b\nb ::= c\nc ::= b", "by the rule `b` no text"),
        ("root ::= \"a\"\nroot ::= \"b\"", "line 2: the rule `root` is there twice"),
    ] {
        let error = refusal(source).to_string();
        assert!(error.starts_with("the grammar cannot be used: ") && error.contains(told), "{error}");
        assert!(!error.contains('\n') && error.len() < 300, "{error}");
    }
}

#[test]
fn hostile_grammars_are_refused_or_taken_but_never_followed_for_long() {
    let rules = |count: usize, of: &dyn Fn(usize) -> String| -> String {
        (0..count).map(|i| format!("r{i} ::= {}\n", of(i))).collect()
    };
    let nested = |depth: usize, inner: &str| "(".repeat(depth) + inner + &")?".repeat(depth);
    let chain = rules(499, &|i| format!("\"a\" r{}", i + 1));
    let doubled = rules(490, &|i| format!("r{} r{} | \"a\"", (i + 1) % 490, (i * 7 + 3) % 490));
    let cases = [
        ("deep", format!("root ::= {}", nested(300, "\"a\""))),
        ("deep and recursive", format!("root ::= {}", nested(300, "\"a\" root \"b\""))),
        ("too deep", format!("root ::= {}", nested(301, "\"a\""))),
        ("without an end", format!("root ::= {}", "(".repeat(1 << 20))),
        ("a chain", format!("root ::= r0\n{}", chain.replace("r499", "\"b\""))),
        ("a ring", format!("root ::= r0 | \"c\"\n{}", chain.replace("r499", "(r0 | \"b\") \"c\""))),
        (
            "doubled again and again",
            format!("root ::= r0\n{}r60 ::= \"a\"\n", rules(60, &|i| format!("r{0} r{0}", i + 1))),
        ),
        ("all through each other", format!("root ::= r0\n{doubled}")),
        ("lines", "a ::= \"a\"\n".repeat(501)),
        ("bytes", format!("root ::= \"{}\"", "a".repeat(3 << 20))),
        ("a long text", format!("root ::= \"{}\"", "ab".repeat(1 << 19))),
        ("a long text and itself", format!("root ::= \"{}\" root \"b\" | \"a\"", "ab".repeat(1 << 19))),
        ("counts of counts", "root ::= (((\"a\"{10000}){10000}){10000}){10000}".into()),
        ("counts of itself", "root ::= \"a\" | ((root \"b\"){10000}){10000}".into()),
        (
            "many characters",
            format!(
                "root ::= {} root \"b\" | \"a\"",
                (0x4E00..0x9E00u32).map(|code| format!("\"\\u{code:04X}\" | ")).collect::<String>()
            ),
        ),
        ("as many ways as can be", "root ::= root root | (root | \"a\")* \"b\"? | [ab]*".into()),
        ("an automaton of many states", "root ::= [ab]* \"a\" [ab]{30} | \"(\" root \")\"".into()),
    ];
    let refused = ["too deep", "without an end", "lines", "bytes"];
    for (name, source) in cases {
        match vocabulary().compile(&Spec::Gbnf(source)) {
            Ok(grammar) => {
                assert!(!refused.contains(&name), "{name} was taken");
                follow(&grammar);
            }
            Err(error) => assert!(error.to_string().len() < 600, "{name}: {error}"),
        }
    }
}

/// As the engine does, whose thread has a small stack.
fn follow(grammar: &Grammar) {
    let mut constraint = grammar.constraint(&Start::Now);
    for _ in 0..20 {
        let Ok(Allowed::Set(words)) = constraint.allowed() else { break };
        let Some(place) = words.iter().position(|word| *word != 0) else { break };
        let token = place as u32 * 32 + words[place].trailing_zeros();
        if constraint.commit(token).is_err() || constraint.forced().is_err() || constraint.is_complete() {
            break;
        }
    }
}

/// What rules are made of, with characters one by one.
#[derive(Clone, Debug)]
enum Tree {
    Any(&'static str),
    Rule(usize),
    Seq(Vec<Tree>),
    Either(Vec<Tree>),
    Repeat(Box<Tree>, usize, usize),
}

/// More than any text of these tests has characters.
const OFTEN: usize = 99;

impl Tree {
    fn write(&self) -> String {
        let all = |trees: &[Tree]| trees.iter().map(Tree::write).collect::<Vec<_>>();
        match self {
            Tree::Any(chars) if chars.len() == 1 => format!("\"{chars}\""),
            Tree::Any(chars) => format!("[{chars}]"),
            Tree::Rule(rule) => name(*rule),
            Tree::Seq(trees) => format!("({})", all(trees).join(" ")),
            Tree::Either(trees) => format!("({})", all(trees).join(" | ")),
            Tree::Repeat(tree, 0, OFTEN) => tree.write() + "*",
            Tree::Repeat(tree, 1, OFTEN) => tree.write() + "+",
            Tree::Repeat(tree, least, OFTEN) => format!("{}{{{least},}}", tree.write()),
            Tree::Repeat(tree, least, most) => format!("{}{{{least},{most}}}", tree.write()),
        }
    }
}

fn name(rule: usize) -> String {
    if rule == 0 { "root".into() } else { format!("r{rule}") }
}

/// All places of a text where a rule can end that begins at a place, by letting what is known grow as long as it does:
/// rules may lead to themselves in any way.
struct Naive<'a> {
    text: &'a str,
    known: HashMap<(usize, usize), BTreeSet<usize>>,
    has_grown: bool,
}

impl Naive<'_> {
    fn accepts(rules: &[Tree], text: &str) -> bool {
        let mut naive = Naive { text, known: HashMap::new(), has_grown: true };
        while std::mem::take(&mut naive.has_grown) {
            for (rule, tree) in rules.iter().enumerate() {
                for at in 0..=text.len() {
                    let ends = naive.ends(tree, at);
                    let known = naive.known.entry((rule, at)).or_default();
                    naive.has_grown |= ends.iter().any(|end| known.insert(*end));
                }
            }
        }
        naive.known[&(0, 0)].contains(&text.len())
    }

    fn ends(&self, tree: &Tree, at: usize) -> BTreeSet<usize> {
        match tree {
            Tree::Any(chars) => self.text[at..]
                .chars()
                .next()
                .filter(|c| chars.contains(*c))
                .map(|_| at + 1)
                .into_iter()
                .collect(),
            Tree::Rule(rule) => self.known.get(&(*rule, at)).cloned().unwrap_or_default(),
            Tree::Seq(trees) => {
                trees.iter().fold(BTreeSet::from([at]), |ends, tree| self.behind(tree, &ends))
            }
            Tree::Either(trees) => trees.iter().flat_map(|tree| self.ends(tree, at)).collect(),
            Tree::Repeat(tree, least, most) => {
                let mut ends = BTreeSet::from([at]);
                let mut all = if *least == 0 { ends.clone() } else { BTreeSet::new() };
                for times in 1..=(*most).min(least + self.text.len()) {
                    ends = self.behind(tree, &ends);
                    if times >= *least {
                        all.extend(&ends);
                    }
                }
                all
            }
        }
    }

    fn behind(&self, tree: &Tree, places: &BTreeSet<usize>) -> BTreeSet<usize> {
        places.iter().flat_map(|at| self.ends(tree, *at)).collect()
    }
}

/// Marsaglia's xorshift64*.
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
}

fn tree(state: &mut u64, rules: usize, depth: usize) -> Tree {
    let some = |state: &mut u64, least: usize| {
        let count = least + random(state, 3);
        (0..count).map(|_| tree(state, rules, depth - 1)).collect::<Vec<_>>()
    };
    match if depth == 0 { random(state, 5) } else { random(state, 12) } {
        0 | 1 => Tree::Any("a"),
        2 => Tree::Any("b"),
        3 => Tree::Any("ab"),
        4 => Tree::Rule(random(state, rules)),
        5..=7 => Tree::Seq(some(state, 1)),
        8 | 9 => Tree::Either(some(state, 2)),
        _ => {
            let (least, most) =
                [(0, OFTEN), (1, OFTEN), (0, 1), (2, 2), (1, 3), (2, OFTEN)][random(state, 6)];
            Tree::Repeat(Box::new(tree(state, rules, depth - 1)), least, most)
        }
    }
}

/// All texts of some letters that are no longer than so many.
fn texts(letters: &str, most: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut begin = 0;
    for _ in 0..most {
        let end = all.len();
        for at in begin..end {
            all.extend(letters.chars().map(|c| format!("{}{c}", all[at])).collect::<Vec<_>>());
        }
        begin = end;
    }
    all
}

#[test]
fn random_grammars_have_the_texts_that_they_say() {
    let (mut state, all) = (11, texts("ab", 6));
    let (mut compiled, mut held) = (0, 0);
    while compiled < 200 {
        let count = 1 + random(&mut state, 3);
        let rules: Vec<Tree> = (0..count).map(|_| tree(&mut state, count, 3)).collect();
        let source: String = rules
            .iter()
            .enumerate()
            .map(|(rule, tree)| format!("{} ::= {}\n", name(rule), tree.write()))
            .collect();
        let accepted: Vec<bool> = all.iter().map(|text| Naive::accepts(&rules, text)).collect();
        let grammar = match vocabulary().compile(&Spec::Gbnf(source.clone())) {
            Ok(grammar) => grammar,
            Err(error) => {
                assert!(error.to_string().contains("no text comes to an end"), "{error}\n{source}");
                continue;
            }
        };
        compiled += 1;
        held += accepted.iter().filter(|accepted| **accepted).count();
        for (text, wanted) in all.iter().zip(accepted) {
            assert_eq!(grammar.accepts(text), wanted, "{text:?} of\n{source}");
        }
    }
    assert!(held > 2500, "{held} texts were right");
}
