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

    /// `true` or `false`, `on` or `off`, `none`, or a word such as `low` for templates that know it.
    pub fn of(how: &str) -> Self {
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
