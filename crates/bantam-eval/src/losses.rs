//! Losses of whole examples through the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use bantam_engine::{Adapter, Engine, Event, PromptOutput, Request};

use crate::Error;

/// Ids, and which of them are to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// At least one.
    pub ids: Vec<u32>,
    /// As many; the first cannot be predicted.
    pub learn: Vec<bool>,
}

impl Target {
    /// Tokens that are predicted.
    pub fn learnt_tokens(&self) -> usize {
        self.learn.iter().skip(1).filter(|learn| **learn).count()
    }
}

/// Examples that are handed in ahead, so that the engine always has work.
const AHEAD: usize = 16;

/// The loss of each, in nats, summed over the tokens that are to be predicted, of the model as an adapter changes it if
/// there is one.
///
/// # Errors
///
/// What the engine says.
pub fn losses(
    engine: &Engine,
    adapter: Option<&Arc<Adapter>>,
    targets: &[Target],
) -> Result<Vec<f64>, Error> {
    let submit = |target: &Target| {
        engine.submit(Request {
            prompt: target.ids.clone(),
            max_tokens: Some(0),
            prompt_output: PromptOutput::Logprobs,
            adapter: adapter.cloned(),
            ..Request::default()
        })
    };
    let (mut streams, mut next, mut losses) = (VecDeque::new(), targets.iter(), Vec::new());
    for target in targets {
        while streams.len() < AHEAD
            && let Some(target) = next.next()
        {
            streams.push_back(submit(target)?);
        }
        let Some(stream) = streams.pop_front() else { break };
        // The first token has nothing before it that would make it likely.
        let (mut loss, mut learn) = (0.0, target.learn.iter().skip(1));
        for event in stream {
            match event {
                Event::Token { logprob: Some(logprob), .. } if learn.next() == Some(&true) => {
                    loss -= f64::from(logprob);
                }
                Event::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
        losses.push(loss);
    }
    Ok(losses)
}
