//! Changes of logits for what was asked and for what was said before: sparse, touching only tokens that are named
//! or have occurred.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Sampling, dry};

impl Sampling {
    /// Logits with bias, penalties and DRY for a history, newest token last; not copied where nothing changes.
    pub(super) fn penalised<'a>(&self, history: &[u32], logits: &'a [f32]) -> Cow<'a, [f32]> {
        let mut logits = Cow::Borrowed(logits);
        for (token, bias) in &self.logit_bias {
            if let Some(logit) = logits.to_mut().get_mut(*token as usize) {
                *logit += bias;
            }
        }
        let penalises =
            self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0;
        if penalises && self.repeat_last_n > 0 {
            self.repetition(history, logits.to_mut());
        }
        if self.dry.multiplier > 0.0 {
            dry::apply(&self.dry, history, logits.to_mut());
        }
        logits
    }

    fn repetition(&self, history: &[u32], logits: &mut [f32]) {
        let recent = &history[history.len().saturating_sub(self.repeat_last_n)..];
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for token in recent {
            *counts.entry(*token).or_default() += 1;
        }
        for (token, count) in counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            *logit = if *logit > 0.0 { *logit / self.repeat_penalty } else { *logit * self.repeat_penalty };
            *logit -= count as f32 * self.frequency_penalty + self.presence_penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_touch_what_was_seen_lately() {
        let sampling = Sampling {
            repeat_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            repeat_last_n: 3,
            logit_bias: vec![(4, 10.0)],
            ..Sampling::default()
        };
        let logits = [4.0, -4.0, 1.0, 1.0, 0.0];
        // Token 3 is too long ago.
        let wanted = [4.0 / 2.0 - 1.25, -8.0 - 0.75, 1.0, 1.0, 10.0];
        assert_eq!(*sampling.penalised(&[3, 0, 0, 1], &logits), wanted);
        let none = Sampling { repeat_last_n: 0, logit_bias: Vec::new(), ..sampling };
        assert!(matches!(none.penalised(&[3, 0, 0, 1], &logits), Cow::Borrowed(_)));
    }
}
