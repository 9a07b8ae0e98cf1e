//! Windows through the engine: the logits of every scored position, in order.

use std::sync::Arc;

use bantam_engine::{Adapter, Engine, Event, PromptOutput, Request};

use crate::{Error, Windows};

/// A scored position of a window.
pub struct Position<'a> {
    /// The window, from zero.
    pub window: usize,
    /// What the model thinks comes next.
    pub logits: &'a [f32],
    /// What comes next.
    pub token: u32,
}

/// Windows that are handed in ahead, so that the engine always has work.
const AHEAD: usize = 2;

/// Calls `each` for every scored position of every window, in order, of the model as an adapter changes it if there is
/// one.
///
/// # Errors
///
/// What the engine or `each` says.
pub fn run(
    engine: &Engine,
    adapter: Option<&Arc<Adapter>>,
    windows: &Windows,
    cut: &[Vec<u32>],
    mut each: impl FnMut(Position<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let vocab_size = engine.model().description.vocab_size;
    let submit = |tokens: &Vec<u32>| {
        engine.submit(Request {
            prompt: tokens.clone(),
            max_tokens: Some(0),
            prompt_output: PromptOutput::Logits,
            adapter: adapter.cloned(),
            ..Request::default()
        })
    };
    let predicting = windows.predicting();
    let mut streams = std::collections::VecDeque::new();
    let mut next = cut.iter();
    for (window, tokens) in cut.iter().enumerate() {
        while streams.len() < AHEAD
            && let Some(tokens) = next.next()
        {
            streams.push_back(submit(tokens)?);
        }
        let Some(stream) = streams.pop_front() else { break };
        for event in stream {
            match event {
                Event::Prompt { first, logits } => {
                    for (position, logits) in (first..).zip(logits.chunks_exact(vocab_size)) {
                        if predicting.contains(&position) {
                            each(Position { window, logits, token: tokens[position + 1] })?;
                        }
                    }
                }
                Event::Failed(error) => return Err(error.into()),
                Event::Done { .. } | Event::Pooled(_) | Event::Token { .. } | Event::Shifted { .. } => {}
            }
        }
    }
    Ok(())
}
