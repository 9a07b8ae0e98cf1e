//! Learning from another model's predictions as they were stored: a few ids drawn from each.
//!
//! The mean over draws of the gradient is the gradient of the whole prediction (Anshumann et al., 2025); the most
//! likely ids alone would make the model too sure of itself.

use std::io::{self, Read, Write};
use std::ops::Range;

use bantam_model::{Machine, Model, Numerics, fnv1a};
use bantam_tensor::kernels::backward::cross_entropy;

use crate::example::{self, Example};
use crate::packed::Packed;
use crate::pass::{Pass, Recompute, Setting};
use crate::pool::Pool;
use crate::random::Random;
use crate::{Error, StepReport, Trainer, Wanted};

/// Ids that a teacher drew in the place of each token of an example that carries loss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    /// How often each id was drawn, token after token, ids ascending.
    ids: Vec<(u32, u8)>,
    /// Where those of each token end.
    ends: Vec<u32>,
}

/// Draws of one token, at most.
pub const DRAWS_MAX: u8 = 64;

impl Draws {
    /// Tokens that they are of.
    pub fn tokens(&self) -> usize {
        self.ends.len()
    }

    /// Those of a token.
    fn of(&self, token: usize) -> &[(u32, u8)] {
        let begin = token.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[begin as usize..self.ends[token] as usize]
    }

    fn push(&mut self, mut drawn: Vec<u32>) {
        drawn.sort_unstable();
        let same = drawn.chunk_by(|a, b| a == b);
        self.ids.extend(same.map(|same| (same[0], same.len() as u8)));
        self.ends.push(self.ids.len() as u32);
    }

    /// Writes them: how many tokens, and of each how many ids, then each id in three bytes and its count in one.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&(self.ends.len() as u32).to_le_bytes())?;
        for token in 0..self.ends.len() {
            let drawn = self.of(token);
            writer.write_all(&[drawn.len() as u8])?;
            for (id, count) in drawn {
                let [a, b, c, _] = id.to_le_bytes();
                writer.write_all(&[a, b, c, *count])?;
            }
        }
        Ok(())
    }

    /// Reads what [`Draws::write`] wrote; memory is taken as bytes come.
    ///
    /// # Errors
    ///
    /// What the reader says; [`io::ErrorKind::InvalidData`] for ids that are not of this vocabulary.
    pub fn read(reader: &mut impl Read, vocab_size: usize) -> io::Result<Self> {
        let mut draws = Draws::default();
        let mut tokens = [0; 4];
        reader.read_exact(&mut tokens)?;
        for _ in 0..u32::from_le_bytes(tokens) {
            let mut ids = [0];
            reader.read_exact(&mut ids)?;
            for _ in 0..ids[0] {
                let mut drawn = [0; 4];
                reader.read_exact(&mut drawn)?;
                let [a, b, c, count] = drawn;
                let id = u32::from_le_bytes([a, b, c, 0]);
                if id as usize >= vocab_size || count == 0 {
                    let reason = format!("id {id}, drawn {count} times, of a vocabulary of {vocab_size}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                draws.ids.push((id, count));
            }
            draws.ends.push(draws.ids.len() as u32);
        }
        Ok(draws)
    }
}

impl Example {
    /// A hash of its tokens and of what carries loss, to find its draws by.
    pub fn fingerprint(&self) -> u64 {
        let marked = self.ids.iter().zip(&self.learn);
        fnv1a(marked.flat_map(|(id, learn)| ((u64::from(*id) << 1) | u64::from(*learn)).to_le_bytes()))
    }
}

/// Draws `count` ids in the place of each token of an example that carries loss. The same seed draws the same ids,
/// whatever other examples there are.
///
/// # Errors
///
/// As [`Trainer::evaluate`]; a count of 0 or above [`DRAWS_MAX`]; a vocabulary of more than 2^24 tokens.
pub fn draw(
    machine: &Machine,
    model: &Model,
    numerics: Numerics,
    example: &Example,
    count: u8,
    seed: u64,
) -> Result<Draws, Error> {
    if !(1..=DRAWS_MAX).contains(&count) {
        let reason = format!("are {count} a token; wanted 1 to {DRAWS_MAX}");
        return Err(Error::Setting { name: "draws", reason });
    }
    if model.description.vocab_size > 1 << 24 {
        let reason = "is larger than 2^24 tokens, which stored draws have no room for".into();
        return Err(Error::Setting { name: "vocabulary", reason });
    }
    example::check(&[example])?;
    let packed = Packed::apart(&[example], None);
    let (wanted, recompute) = (&Wanted::Nothing, Recompute::Layers);
    let setting = Setting { machine, model, wanted, numerics, recompute, apart: false };
    let mut pass = Pass::forward(setting, &packed.batch, Pool::default())?;
    let mut random = Random::new(seed ^ example.fingerprint());
    let mut draws = Draws::default();
    pass.head(&packed.rows, |rows, logits| {
        let width = logits.len() / rows.len();
        for row in logits.chunks_exact(width) {
            draws.push(draw_from(row, count, &mut random));
        }
    })?;
    Ok(draws)
}

/// Ids with the probabilities that logits stand for.
fn draw_from(logits: &[f32], count: u8, random: &mut Random) -> Vec<u32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: &f32| f64::from(x - most).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let mut places: Vec<f64> = (0..count).map(|_| random.unit() * total).collect();
    places.sort_by(f64::total_cmp);
    let (mut drawn, mut sum) = (Vec::with_capacity(places.len()), 0.0);
    for (id, logit) in logits.iter().enumerate() {
        sum += weight(logit);
        while drawn.len() < places.len() && places[drawn.len()] < sum {
            drawn.push(id as u32);
        }
    }
    // Sums in another order may end a little lower.
    drawn.resize(places.len(), (logits.len() - 1) as u32);
    drawn
}

impl Trainer {
    /// Learns from all examples at once what a teacher drew in the place of each token that carries loss; `hard_share`
    /// of the loss, from 0 to 1, is the plain one of the next token.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`], and draws of another example.
    pub fn step_drawn(
        &mut self,
        machine: &Machine,
        hard_share: f32,
        examples: &[(&Example, &Draws)],
    ) -> Result<StepReport, Error> {
        let vocab_size = self.model.description.vocab_size;
        for (example, draws) in examples {
            let fits = draws.ids.iter().all(|(id, _)| (*id as usize) < vocab_size);
            if draws.tokens() != example.learnt_tokens() || !fits {
                let (found, wanted) = (draws.tokens(), example.learnt_tokens());
                let reason = format!("are of {found} tokens; wanted those of the example's {wanted}");
                return Err(Error::Setting { name: "draws", reason });
            }
        }
        let (examples, draws): (Vec<&Example>, Vec<&Draws>) = examples.iter().copied().unzip();
        let mut done = 0;
        self.step_by(machine, &examples, |trainer, packed, micro, share| {
            let draws = &draws[done..done + micro.len()];
            done += micro.len();
            trainer.learn_drawn(machine, hard_share, packed, draws, share)
        })
    }

    /// Adds the gradients of a micro-batch, each token's times `share`; gives the sum of the losses.
    fn learn_drawn(
        &mut self,
        machine: &Machine,
        hard_share: f32,
        packed: &Packed,
        draws: &[&Draws],
        share: f64,
    ) -> Result<f64, Error> {
        let of_rows: Vec<&[(u32, u8)]> =
            draws.iter().flat_map(|draws| (0..draws.tokens()).map(|token| draws.of(token))).collect();
        let wanted = self.settings.wanted.clone();
        let mut gradients = std::mem::take(&mut self.gradients);
        let mut pass = self.forward(machine, packed, &wanted)?;
        let mut loss = 0.0;
        pass.head_and_back(&packed.rows, &mut gradients, |rows: Range<usize>, logits| {
            let targets = &packed.targets[rows.clone()];
            loss += turn(machine, logits, targets, &of_rows[rows], hard_share, share as f32);
        })?;
        pass.backward(&mut gradients);
        (self.pool, self.gradients) = (pass.into_pool(), gradients);
        Ok(loss)
    }
}

/// Turns logits into their gradient; gives the sum of the losses.
fn turn(
    machine: &Machine,
    logits: &mut [f32],
    targets: &[u32],
    draws: &[&[(u32, u8)]],
    hard: f32,
    share: f32,
) -> f64 {
    let width = logits.len() / targets.len();
    // The logits themselves are gone afterwards.
    let at = |logits: &[f32], row: usize, id: u32| f64::from(logits[row * width + id as usize]);
    let known: Vec<f64> = targets.iter().enumerate().map(|(row, id)| at(logits, row, *id)).collect();
    let drawn = draws.iter().enumerate().map(|(row, draws)| mean(draws, |id| at(logits, row, id)));
    let drawn: Vec<f64> = drawn.collect();
    let mut losses = vec![0.0; targets.len()];
    cross_entropy(machine, logits, targets, &vec![share; targets.len()], &mut losses);
    let mut sum = 0.0;
    for (row, (target, draws)) in targets.iter().zip(draws).enumerate() {
        let normalizer = losses[row] + known[row];
        sum += f64::from(hard) * losses[row] + f64::from(1.0 - hard) * (normalizer - drawn[row]);
        let row = &mut logits[row * width..][..width];
        row[*target as usize] += share * (1.0 - hard);
        let all: f32 = draws.iter().map(|(_, count)| f32::from(*count)).sum();
        for (id, count) in *draws {
            row[*id as usize] -= share * (1.0 - hard) * f32::from(*count) / all;
        }
    }
    sum
}

/// The mean over all draws.
fn mean(draws: &[(u32, u8)], of: impl Fn(u32) -> f64) -> f64 {
    let all: f64 = draws.iter().map(|(_, count)| f64::from(*count)).sum();
    draws.iter().map(|(id, count)| f64::from(*count) * of(*id)).sum::<f64>() / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_as_often_as_they_are_likely() {
        let logits = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 5.0_f32.ln()];
        let mut random = Random::new(3);
        let mut counts = [0; 4];
        for _ in 0..1000 {
            draw_from(&logits, 8, &mut random).iter().for_each(|id| counts[*id as usize] += 1);
        }
        assert_eq!(counts[2], 0);
        for (count, wanted) in counts.iter().zip([1000, 2000, 0, 5000]) {
            // Three standard deviations.
            assert!((i32::abs(count - wanted)) <= 140, "{counts:?}");
        }
    }

    #[test]
    fn draws_come_back_from_bytes() {
        let mut draws = Draws::default();
        draws.push(vec![7, 3, 7]);
        draws.push(vec![90_000]);
        let mut bytes = Vec::new();
        draws.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 4 + 2 + 3 * 4);
        assert_eq!(Draws::read(&mut bytes.as_slice(), 90_001).unwrap(), draws);
        assert!(Draws::read(&mut bytes.as_slice(), 90_000).is_err());
        assert!(Draws::read(&mut &bytes[..9], 90_001).is_err());
    }
}
