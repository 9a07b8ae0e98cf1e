//! The words after the verb: switches, values and names, in any order.

use std::str::FromStr;

use crate::{Error, Result};

/// Words not yet taken. A verb takes what it knows and ends with [`Arguments::names`], which refuses the rest.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self(words)
    }

    /// Whether `--name` was given.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// The value after `--name`, parsed.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(at) = self.0.iter().position(|word| word == name) else {
            return Ok(None);
        };
        if at + 1 >= self.0.len() {
            return Err(Error::Usage(format!("{name} needs a value")));
        }
        let word = self.0.remove(at + 1);
        self.0.remove(at);
        word.parse()
            .map(Some)
            .map_err(|_| Error::Usage(format!("{name} {word}: not a value of the right kind")))
    }

    /// What is left: plain names.
    pub(crate) fn names(self) -> Result<Vec<String>> {
        match self.0.iter().find(|word| word.starts_with('-')) {
            Some(word) => Err(Error::Usage(format!("unknown option {word}"))),
            None => Ok(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(String::from).collect())
    }

    #[test]
    fn takes_switches_values_and_names_in_any_order() {
        let mut arguments = words("one --seed 7 two --full");
        assert!(arguments.switch("--full"));
        assert!(!arguments.switch("--full"));
        assert_eq!(arguments.value::<u64>("--seed").unwrap(), Some(7));
        assert_eq!(arguments.names().unwrap(), ["one", "two"]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(words("--sede 7").names().is_err());
        assert!(words("--seed").value::<u64>("--seed").is_err());
        assert!(words("--seed x").value::<u64>("--seed").is_err());
    }
}
