//! The memory that a model needs to run, told before it runs.

use bantam_model::description::{Description, Mixer, Mlp};
use bantam_model::{KvStorage, Model, State};

/// Bytes that running a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The weights, mapped from the file; pages that are not in use can be taken back by the system.
    pub weights_bytes: u64,
    /// Keys and values of one sequence that fills the context.
    pub state_bytes: u64,
    /// Activations of one step.
    pub work_bytes: u64,
}

impl MemoryNeed {
    /// Of one sequence of `context_length` tokens, read in steps of at most `step_rows_max`.
    pub fn predict(model: &Model, kv: KvStorage, context_length: usize, step_rows_max: usize) -> Self {
        let description = &model.description;
        let rows = step_rows_max.min(context_length);
        MemoryNeed {
            weights_bytes: model.weights_bytes(),
            state_bytes: State::bytes_at(description, kv, context_length) as u64,
            work_bytes: (work_bytes_per_row(description) * rows + description.vocab_size * 8) as u64,
        }
    }

    /// All together.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.state_bytes + self.work_bytes
    }
}

/// Bytes that must be read to compute one token behind `length` others: every matrix, but only a row of the table of
/// tokens where that is not the head too, and the state.
pub fn decode_bytes(model: &Model, kv: KvStorage, length: usize) -> u64 {
    let table = model.weights.embed.tensor.name();
    let is_tied = table == model.weights.head.matrix.tensor.name();
    let tensors = model.tensors();
    let read = tensors.values().filter(|tensor| is_tied || tensor.name() != table);
    let weights: usize = read.map(|tensor| tensor.bytes().len()).sum();
    (weights + State::bytes_at(&model.description, kv, length)) as u64
}

/// Of the widest layer: the residual stream, its norm, queries, keys, values and what comes of them, the mlp's
/// gate, up and product, and the 16-bit form of the widest operand.
fn work_bytes_per_row(description: &Description) -> usize {
    let hidden = description.hidden_size;
    let of_layer = description.layers.iter().map(|layer| {
        let Mixer::Attention(attention) = &layer.mixer;
        let between = match &layer.mlp {
            Mlp::Gated { intermediate_size, .. } => 3 * intermediate_size,
            Mlp::Plain { intermediate_size, .. } => 2 * intermediate_size,
        };
        let attended = 2 * attention.query_width() + 2 * attention.kv_width();
        4 * (4 * hidden + attended + between) + 2 * between.max(hidden)
    });
    of_layer.max().unwrap_or(0)
}
