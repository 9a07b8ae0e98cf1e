//! How much a model may think.

use serde_json::{Map, Value};

use super::forms::THINKING_SWITCHES;

/// How much a model may think.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thinking {
    /// What the template is told.
    pub switches: Map<String, Value>,
    /// At most so many tokens of it.
    pub budget: Option<usize>,
}

impl Thinking {
    /// As much as it likes, or not at all.
    pub fn switched(thinks: bool) -> Self {
        let switches = THINKING_SWITCHES.iter().map(|name| ((*name).to_owned(), thinks.into()));
        Thinking { switches: switches.collect(), budget: (!thinks).then_some(0) }
    }

    /// `true` or `false`, `on` or `off`, `none`, a number of tokens at most, or a word such as `low` for templates that
    /// know it.
    pub fn of(how: &str) -> Self {
        if let Ok(most) = how.parse() {
            return Thinking { budget: Some(most), ..Thinking::switched(most > 0) };
        }
        let mut thinking = Thinking::switched(!matches!(how, "false" | "off" | "none"));
        if !matches!(how, "" | "true" | "false" | "on" | "off") {
            thinking.switches.insert("reasoning_effort".into(), how.into());
        }
        thinking
    }

    /// Adds a switch of the template's own.
    pub fn switch(&mut self, name: &str, switch: Value) {
        if THINKING_SWITCHES.contains(&name) && switch == false {
            self.budget = Some(0);
        }
        self.switches.insert(name.to_owned(), switch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_say_how_much() {
        let cases = [
            ("true", None, true),
            ("off", Some(0), false),
            ("none", Some(0), false),
            ("0", Some(0), false),
            ("256", Some(256), true),
            ("low", None, true),
        ];
        for (how, budget, thinks) in cases {
            let thinking = Thinking::of(how);
            assert_eq!(
                (thinking.budget, &thinking.switches["enable_thinking"]),
                (budget, &thinks.into()),
                "{how}"
            );
            assert_eq!(thinking.switches.contains_key("reasoning_effort"), ["none", "low"].contains(&how));
        }
    }
}
