use super::Markdown;

fn whole(text: &str) -> String {
    let mut markdown = Markdown::new();
    markdown.push(text) + &markdown.finish()
}

fn by_parts<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut markdown = Markdown::new();
    let mut out: String = parts.map(|part| markdown.push(part)).collect();
    out.push_str(&markdown.finish());
    out
}

fn without_styles(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('m').expect("a sequence ends with m");
        rest = &rest[at + end + 1..];
    }
    out + rest
}

const TEXTS: &[&str] = &[
    "# A heading\n\nSome **bold**, some *italic*, ***both*** and `code`.\n",
    "1. one\n2. two\n   - nested **x**\n* star\n+ plus\n10) ten\n",
    "```rust\nfn main() { let x = a * b; }\n``\n```\nafter *it*\n",
    "~~~\n```\n~~~\n",
    "```inline``` code at a line's start\n",
    "> quoted **text**\n---\n***\n___\n",
    "2 * 3 * 4, a*b*c, snake_case_name, __init__, \\*not\\* ~~gone~~ ~ x\n",
    "unclosed **bold\nnext line ``a ` b`` `open\nplain",
    "#hash ####### seven\n-dash\n1.5 and 2)\n",
    "é**ü**ö 你*好* 🎉`🎉`\n\n\n",
    "```a very long info string that goes on and on and on and on and on and on\nx\n```",
    "**",
    "`",
    "\\",
    "-",
    "```",
    "1.",
    "",
];

/// A generator (Marsaglia, xorshift64*) of texts made of marks.
fn random_texts() -> impl Iterator<Item = String> {
    let mut state = 9_u64;
    let mut below = move |limit: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    };
    const PARTS: [&str; 16] =
        ["*", "**", "_", "`", "```", "~~", "\n", " ", "a", "é", "# ", "- ", "1. ", "> ", "\\", "---"];
    (0..3000).map(move |_| (0..below(24)).map(|_| PARTS[below(PARTS.len())]).collect())
}

#[test]
fn nothing_is_lost_and_any_split_gives_the_same() {
    let fixed = TEXTS.iter().map(|&text| text.to_owned());
    for text in fixed.chain(random_texts()) {
        let expected = whole(&text);
        assert_eq!(without_styles(&expected), text);
        let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for &cut in &cuts {
            assert_eq!(by_parts([&text[..cut], &text[cut..]].into_iter()), expected, "{text:?} cut at {cut}");
        }
        let single = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
        assert_eq!(by_parts(single), expected, "{text:?} by characters");
    }
}

#[test]
fn styles_are_those_of_the_marks() {
    assert_eq!(whole("a **b** c"), "a \x1b[0;1;2m**\x1b[0;1mb\x1b[0;2m**\x1b[0m c");
    assert_eq!(whole("`x`"), "\x1b[0;2m`\x1b[0;36mx\x1b[0;2m`\x1b[0m");
    assert_eq!(whole("- x"), "\x1b[0;33m-\x1b[0m x");
    assert_eq!(whole("```\n*x*\n```\n"), "\x1b[0;2m```\x1b[0m\n\x1b[0;36m*x*\x1b[0m\n\x1b[0;2m```\x1b[0m\n");
}

#[test]
fn products_and_names_stay_plain() {
    for text in ["2 * 3 * 4", "a*b*c", "snake_case_name", "x_1 and y_2", "#hash", "-dash", "1.5", "5 ~ 6"] {
        assert_eq!(whole(text), text);
    }
}

#[test]
fn words_do_not_wait() {
    let mut markdown = Markdown::new();
    assert_eq!(markdown.push("Hello"), "Hello");
    assert_eq!(markdown.push(" wor"), " wor");
    assert_eq!(markdown.push("ld *"), "ld ");
    assert_eq!(markdown.push("x"), "\x1b[0;2;3m*\x1b[0;3mx");
}
