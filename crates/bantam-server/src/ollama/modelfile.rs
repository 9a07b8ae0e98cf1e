//! A Modelfile: what a model is made of, line by line.
//!
//! Read are `FROM`, `PARAMETER`, `SYSTEM`, `TEMPLATE`, `MESSAGE` and `LICENSE`; texts may stand in quotes, or in three
//! of them over several lines. Anything else is refused by its line.

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::library::Recipe;

/// What a Modelfile says.
///
/// # Errors
///
/// A line that cannot be read.
pub(super) fn parse(text: &str) -> Result<Recipe, Fault> {
    let mut recipe = Recipe::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = whole(rest.trim(), &mut lines);
        take(&mut recipe, &word.to_ascii_uppercase(), &rest).map_err(|why| {
            Fault::field("modelfile", format!("line {} of the Modelfile: {why}", number + 1))
        })?;
    }
    Ok(recipe)
}

/// A text without its quotes, up to where they end.
fn whole<'a>(first: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> String {
    // Behind MESSAGE stands a role before the text.
    let at = first.find("\"\"\"").filter(|at| *at == 0 || first[..*at].ends_with(' '));
    let Some(at) = at else {
        let bare = first.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        return bare.unwrap_or(first).to_owned();
    };
    let mut text = first[at + 3..].to_owned();
    while !text.contains("\"\"\"") {
        let Some((_, line)) = lines.next() else { break };
        text.push('\n');
        text.push_str(line);
    }
    let end = text.find("\"\"\"").unwrap_or(text.len());
    format!("{}{}", &first[..at], &text[..end])
}

fn take(recipe: &mut Recipe, word: &str, rest: &str) -> Result<(), String> {
    match word {
        "FROM" if !rest.is_empty() => recipe.from = Some(rest.to_owned()),
        "SYSTEM" => recipe.system = Some(rest.to_owned()),
        "TEMPLATE" => recipe.template = Some(rest.to_owned()),
        "LICENSE" | "REQUIRES" => {}
        "PARAMETER" => {
            let (name, value) = rest.split_once(char::is_whitespace).ok_or("wanted PARAMETER NAME VALUE")?;
            add(&mut recipe.parameters, name, parameter(value.trim()));
        }
        "MESSAGE" => {
            let (role, content) = rest.split_once(char::is_whitespace).ok_or("wanted MESSAGE ROLE TEXT")?;
            if !["system", "user", "assistant"].contains(&role) {
                return Err("wanted a message of system, user or assistant".into());
            }
            let content = content.trim().trim_matches('"');
            recipe.messages.push(json!({ "role": role, "content": content }));
        }
        "ADAPTER" => return Err("adapters come as blobs, in `adapters`".into()),
        _ => return Err(format!("`{}` is not known", word.chars().take(40).collect::<String>())),
    }
    Ok(())
}

/// What is said twice is a list.
fn add(parameters: &mut Map<String, Value>, name: &str, value: Value) {
    let value = match parameters.remove(name) {
        None => value,
        Some(Value::Array(mut list)) => {
            list.push(value);
            Value::Array(list)
        }
        Some(first) => json!([first, value]),
    };
    parameters.insert(name.to_owned(), value);
}

fn parameter(text: &str) -> Value {
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if let Ok(whole) = text.parse::<i64>() {
        return json!(whole);
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.map_or_else(|| json!(text), |number| json!(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modelfile_becomes_a_recipe() {
        let text = "# a comment\nFROM smollm2:135m\nPARAMETER temperature 0.5\nparameter stop \"<end>\"\n\
                    PARAMETER stop two\nSYSTEM \"\"\"You are\nbrief.\"\"\"\nMESSAGE user Hello there\n\
                    MESSAGE assistant \"\"\"Hi.\nYes?\"\"\"\nLICENSE \"\"\"\nmine\n\"\"\"\n";
        let recipe = parse(text).unwrap();
        assert_eq!(recipe.from.as_deref(), Some("smollm2:135m"));
        assert_eq!(recipe.system.as_deref(), Some("You are\nbrief."));
        assert_eq!(Value::Object(recipe.parameters), json!({ "temperature": 0.5, "stop": ["<end>", "two"] }));
        assert_eq!(recipe.messages[1], json!({ "role": "assistant", "content": "Hi.\nYes?" }));
        assert_eq!(recipe.messages.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_line() {
        for bad in ["FROM", "PARAMETER x", "MESSAGE root hi", "ADAPTER ./x", "RUN rm", "MESSAGE"] {
            let fault = parse(&format!("\n{bad}")).unwrap_err();
            assert!(fault.message.contains("line 2"), "{fault:?}");
        }
        assert!(parse("SYSTEM \"\"\"never ends").is_ok());
    }
}
