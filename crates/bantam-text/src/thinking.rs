//! Tells what a model thinks from what it answers, in a stream of text.
//!
//! Models that reason first put it between markers at the beginning of an answer. The markers are given to neither
//! side; apart from them, and from white space before the first, every byte comes out once, however the text is split.

/// Markers around thinking: Qwen 3, SmolLM3, DeepSeek R1 and most others; Magistral.
const DIALECTS: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];

/// The markers that begin thinking, each with the one that ends it.
pub fn thinking_markers() -> &'static [(&'static str, &'static str)] {
    &DIALECTS
}

/// Whether `text` is one of the markers.
pub fn is_thinking_marker(text: &str) -> bool {
    DIALECTS.iter().any(|(open, close)| text == *open || text == *close)
}

/// Splits a stream into thinking and answer.
#[derive(Clone, Debug)]
pub struct ThinkingSplitter {
    state: State,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space came yet.
    Before,
    /// Up to this marker, it thinks.
    Thinking(&'static str),
    Answer,
}

/// Some more of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thought {
    /// What comes first.
    pub thinking: String,
    /// What comes behind it.
    pub answer: String,
}

impl ThinkingSplitter {
    /// A stream that may begin with thinking. `prompt_end` is the end of the prompt: some templates open the thinking
    /// themselves.
    pub fn after(prompt_end: &str) -> Self {
        let end = prompt_end.trim_end();
        let opened = DIALECTS.iter().find(|(open, _)| end.ends_with(open));
        let state = opened.map_or(State::Before, |(_, close)| State::Thinking(close));
        ThinkingSplitter { state, held: String::new() }
    }

    /// A stream that is all answer.
    pub fn none() -> Self {
        ThinkingSplitter { state: State::Answer, held: String::new() }
    }

    /// The marker that ends the thinking that is under way.
    pub fn closing(&self) -> Option<&'static str> {
        match self.state {
            State::Thinking(close) => Some(close),
            State::Before | State::Answer => None,
        }
    }

    /// Whether thinking may still begin.
    pub fn may_begin(&self) -> bool {
        self.state == State::Before
    }

    /// Whether the model is thinking.
    pub fn is_thinking(&self) -> bool {
        matches!(self.state, State::Thinking(_))
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) -> Thought {
        self.held.push_str(text);
        let mut split = Thought::default();
        if self.state == State::Before {
            self.begin();
        }
        if let State::Thinking(close) = self.state {
            split.thinking = self.think(close);
        }
        if self.state == State::Answer {
            split.answer = std::mem::take(&mut self.held);
        }
        split
    }

    /// What is left when the text is over.
    pub fn finish(&mut self) -> Thought {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking(_) => Thought { thinking: held, answer: String::new() },
            State::Before | State::Answer => Thought { thinking: String::new(), answer: held },
        }
    }

    fn begin(&mut self) {
        let start = self.held.trim_start();
        if let Some((open, close)) = DIALECTS.iter().find(|(open, _)| start.starts_with(open)) {
            self.held = start[open.len()..].to_owned();
            self.state = State::Thinking(close);
        } else if !DIALECTS.iter().any(|(open, _)| open.starts_with(start)) {
            self.state = State::Answer;
        }
    }

    fn think(&mut self, close: &'static str) -> String {
        if let Some(end) = self.held.find(close) {
            let thinking = self.held[..end].to_owned();
            self.held.drain(..end + close.len());
            self.state = State::Answer;
            return thinking;
        }
        let ends = (1..close.len()).rev();
        let held_back = ends.into_iter().find(|&end| self.held.ends_with(&close[..end])).unwrap_or(0);
        self.held.drain(..self.held.len() - held_back).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, pieces};

    fn split(mut splitter: ThinkingSplitter, parts: &[String]) -> (String, String) {
        let mut all = Thought::default();
        let mut add = |split: Thought| {
            assert!(split.thinking.is_empty() || all.answer.is_empty(), "thinking after the answer");
            all.thinking.push_str(&split.thinking);
            all.answer.push_str(&split.answer);
        };
        parts.iter().for_each(|part| add(splitter.push(part)));
        add(splitter.finish());
        (all.thinking, all.answer)
    }

    #[test]
    fn any_split_gives_the_same() {
        let mut random = Random::new(7);
        let cases = [
            ("\n<think>a</thi b</think>\n\nc <think>", "a</thi b", "\n\nc <think>"),
            ("[THINK]é[/THINK]x", "é", "x"),
            ("<thin> no", "", "<thin> no"),
            ("  plain", "", "  plain"),
            ("<think>never ends </thin", "never ends </thin", ""),
            ("<th", "", "<th"),
            ("", "", ""),
        ];
        for (text, thinking, answer) in cases {
            for _ in 0..50 {
                let parts = pieces(&mut random, text);
                let found = split(ThinkingSplitter::after("assistant\n"), &parts);
                assert_eq!((found.0.as_str(), found.1.as_str()), (thinking, answer), "{parts:?}");
            }
        }
    }

    #[test]
    fn a_template_may_open_the_thinking() {
        let parts = ["so".to_owned(), "</think>yes".to_owned()];
        assert_eq!(split(ThinkingSplitter::after("<think>\n"), &parts), ("so".into(), "yes".into()));
        assert_eq!(split(ThinkingSplitter::none(), &parts), (String::new(), "so</think>yes".into()));
    }
}
