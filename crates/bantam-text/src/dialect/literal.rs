//! Values as Python writes them, and as the brace form does, to JSON.

use serde_json::{Map, Value};

use super::scan::Quotes;

/// Nesting beyond this is nothing that a tool takes.
const DEPTH_MAX: usize = 64;

/// Reads values from a text that is all there. Nothing it reads is run.
pub(super) struct Reader<'t> {
    rest: &'t str,
    quotes: Quotes,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, quotes: Quotes) -> Self {
        Reader { rest: text, quotes }
    }

    /// `(a=1, b="x")` up to its end; values without a name get those of `names`, in their order.
    pub(super) fn keywords(&mut self, names: &[&str]) -> Option<Map<String, Value>> {
        self.take('(').then_some(())?;
        let mut all = Map::new();
        while !self.take(')') {
            let name = self.keyword().or_else(|| names.get(all.len()).map(|&name| name.to_owned()))?;
            all.insert(name, self.value(0)?);
            self.comma(')')?;
        }
        self.rest.trim().is_empty().then_some(all)
    }

    /// `{a:1,b:"x"}` up to its end.
    pub(super) fn braces(&mut self) -> Option<Map<String, Value>> {
        self.take('{').then_some(())?;
        let all = self.members(0)?;
        self.rest.trim().is_empty().then_some(all)
    }

    /// `a=`, if that is what comes.
    fn keyword(&mut self) -> Option<String> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let behind = rest[end..].trim_start().strip_prefix('=')?;
        self.rest = behind;
        (end > 0).then(|| rest[..end].to_owned())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        if let Some(text) = self.string() {
            return Some(Value::String(text?));
        }
        if self.take('{') {
            return self.members(depth + 1).map(Value::Object);
        }
        let is_tuple = self.take('(');
        if is_tuple || self.take('[') {
            let close = if is_tuple { ')' } else { ']' };
            let mut items = Vec::new();
            while !self.take(close) {
                items.push(self.value(depth + 1)?);
                self.comma(close)?;
            }
            return Some(Value::Array(items));
        }
        self.word()
    }

    /// What follows `{`, with `}`.
    fn members(&mut self, depth: usize) -> Option<Map<String, Value>> {
        let mut all = Map::new();
        while !self.take('}') {
            let name = match self.string() {
                Some(name) => name?,
                None => self.bare(":")?.to_owned(),
            };
            self.take(':').then_some(())?;
            all.insert(name, self.value(depth + 1)?);
            self.comma('}')?;
        }
        Some(all)
    }

    /// A comma, or nothing before the end.
    fn comma(&mut self, close: char) -> Option<()> {
        (self.take(',') || self.rest.trim_start().starts_with(close)).then_some(())
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Characters up to one of `ends`, without white space around.
    fn bare(&mut self, ends: &str) -> Option<&'t str> {
        let end = self.rest.find(|c| ends.contains(c))?;
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word.trim()).filter(|word| !word.is_empty())
    }

    /// A number, a truth value or nothing; where strings have markers, any other word is one too.
    fn word(&mut self) -> Option<Value> {
        let word = self.bare(",)]}")?;
        match word {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ => match (serde_json::from_str(word), self.quotes) {
                (Ok(value), _) => Some(value),
                (Err(_), Quotes::Marker(_)) => Some(Value::String(word.to_owned())),
                (Err(_), _) => None,
            },
        }
    }

    /// A string, if one begins here: `Some(None)` if it never ends.
    fn string(&mut self) -> Option<Option<String>> {
        let rest = self.rest.trim_start();
        if let Quotes::Marker(marker) = self.quotes {
            let text = rest.strip_prefix(marker)?;
            let Some((text, rest)) = text.split_once(marker) else { return Some(None) };
            self.rest = rest;
            return Some(Some(text.to_owned()));
        }
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        // Most strings are the same in JSON, which has pairs of escapes for rare characters.
        let mut json = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        if let Some(Ok(text)) = json.next() {
            self.rest = &rest[json.byte_offset()..];
            return Some(Some(text));
        }
        self.rest = &rest[1..];
        Some(self.quoted(quote))
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'u' => text.push(code_point(&mut chars, 4)?),
                    'x' => text.push(code_point(&mut chars, 2)?),
                    '\n' => {}
                    c @ ('\\' | '"' | '\'' | '/') => text.push(c),
                    // As Python has it: an escape that it does not know stands for itself.
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        None
    }
}

fn code_point(chars: &mut std::str::CharIndices<'_>, digits: usize) -> Option<char> {
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + chars.next()?.1.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn python_becomes_json() {
        let read = |text: &str| Reader::new(text, Quotes::Python).keywords(&["x", "y"]).map(Value::Object);
        assert_eq!(
            read(r#"(a='it\'s', b=[1, -2.5, True, None], c={"k": (1,)}, d="é\u00e9\n")"#),
            Some(json!({ "a": "it's", "b": [1, -2.5, true, null], "c": { "k": [1] }, "d": "éé\n" }))
        );
        assert_eq!(read("('p', y=2)"), Some(json!({ "x": "p", "y": 2 })));
        assert_eq!(read("()"), Some(json!({})));
        for broken in
            ["(a=)", "(a=1", "(a=1 b=2)", "(a=open('x'))", "(a='x)", "(a=b)", "(1, 2, 3)", "(a=1) x"]
        {
            assert_eq!(read(broken), None, "{broken}");
        }
        assert_eq!(read(&format!("(a={})", "[".repeat(100_000))), None);
    }

    #[test]
    fn braces_become_json() {
        let read = |text: &str| Reader::new(text, Quotes::Marker("<q>")).braces().map(Value::Object);
        assert_eq!(
            read("{city:<q>São {x}<q>,n:2,on:true,list:[<q>a<q>,{k:<q>v<q>}],unit:celsius}"),
            Some(
                json!({ "city": "São {x}", "n": 2, "on": true, "list": ["a", { "k": "v" }], "unit": "celsius" })
            )
        );
        assert_eq!(read("{}"), Some(json!({})));
        for broken in ["{a:<q>x}", "{a}", "{a:1", "{:1}"] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }
}
