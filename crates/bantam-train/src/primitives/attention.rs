//! Causal attention within the batch's spans.
//!
//! Nothing of the size of queries times keys is kept: the way back forms the weights of one query again,
//! from the same queries and keys (as Dao et al., 2022, do on GPUs).

use std::ops::Range;

use bantam_model::description::Attention;
use bantam_model::{KvStorage, Machine};
use bantam_tensor::kernels::attention::{self as kernel, AttendSpec, KvShape, PAGE, Page, QueryRow, append};

use super::accumulate_scaled;
use crate::tape::{Derivative, Rows, Sink, Step, Tape, Var};

/// Attends with queries over keys and values; `parts` are these three.
pub(crate) fn attend(tape: &mut Tape<'_>, attention: &Attention, parts: [Var; 3]) -> Var {
    let shape = KvShape { num_kv_heads: attention.num_kv_heads, head_dim: attention.head_dim };
    let [queries, keys, values] = parts.map(|part| tape.rows(part));
    let spans: Vec<Range<usize>> = tape.batch.spans.iter().map(|span| span.rows.clone()).collect();
    let pages: Vec<Vec<Page>> =
        spans.iter().map(|rows| pages(tape.machine, shape, rows.clone(), keys, values)).collect();
    let rows: Vec<QueryRow<'_>> = spans
        .iter()
        .zip(&pages)
        .flat_map(|(rows, pages)| (0..rows.len()).map(|position| QueryRow { pages, position }))
        .collect();
    let spec = AttendSpec {
        kv: shape,
        num_heads: attention.num_heads,
        scale: attention.scale,
        window: attention.window,
        soft_cap: attention.soft_cap,
        sinks: None,
    };
    let mut y = Rows::new(queries.count(), queries.width);
    kernel::attend(tape.machine, &spec, &rows, &queries.data, &mut y.data);
    tape.record(y, Attend { attention: attention.clone(), parts, spans })
}

/// Keys and values of one span as the kernel wants them.
fn pages(machine: &Machine, shape: KvShape, span: Range<usize>, keys: &Rows, values: &Rows) -> Vec<Page> {
    let count = span.len().div_ceil(PAGE);
    let mut pages: Vec<Page> = (0..count).map(|_| Page::new(shape, KvStorage::F32)).collect();
    let rows = |of: &Rows| span.start * of.width..span.end * of.width;
    append(machine, &mut pages, 0, &keys.data[rows(keys)], &values.data[rows(values)]);
    pages
}

struct Attend {
    attention: Attention,
    parts: [Var; 3],
    spans: Vec<Range<usize>>,
}

impl Derivative for Attend {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let [q, k, v] = self.parts.map(|part| at.rows(part));
        let mut back = Back {
            attention: &self.attention,
            parts: [q, k, v],
            gradients: [q, k, v].map(|part| vec![0.0; part.data.len()]),
            weights: Vec::new(),
            slopes: Vec::new(),
        };
        let group = self.attention.num_heads / self.attention.num_kv_heads;
        for span in &self.spans {
            for row in span.clone() {
                let first = self.attention.window.map_or(0, |window| (row + 1).saturating_sub(window));
                let seen = first.max(span.start)..row + 1;
                for head in 0..self.attention.num_heads {
                    let begin = row * q.width + head * self.attention.head_dim;
                    back.query(at, begin, head / group, seen.clone());
                }
            }
        }
        for (part, gradient) in self.parts.into_iter().zip(&back.gradients) {
            super::accumulate(sink.of(at, part), gradient);
        }
    }
}

/// Gradients of queries, keys and values in the making.
struct Back<'a> {
    attention: &'a Attention,
    parts: [&'a Rows; 3],
    gradients: [Vec<f32>; 3],
    /// Of one query, for each position that it sees: what the value there is weighed with.
    weights: Vec<f32>,
    /// By how much the score changes with the product of query and key.
    slopes: Vec<f32>,
}

impl Back<'_> {
    /// Goes back through one head of one row, which begins at `begin` and sees the rows `seen` of the head
    /// `kv_head` of keys and values.
    fn query(&mut self, at: &Step<'_>, begin: usize, kv_head: usize, seen: Range<usize>) {
        let dim = self.attention.head_dim;
        let [queries, keys, values] = self.parts;
        let place = |row: usize| row * keys.width + kv_head * dim..row * keys.width + (kv_head + 1) * dim;
        let query = &queries.data[begin..][..dim];
        let (y, dy) = (&at.y.data[begin..][..dim], &at.dy[begin..][..dim]);
        self.weigh(query, seen.clone().map(|row| &keys.data[place(row)]));

        // The sum of all weights is one, so what all of them gain together is lost again.
        let shared = dot(y, dy);
        let [dq, dk, dv] = &mut self.gradients;
        let dq = &mut dq[begin..][..dim];
        for ((row, weight), slope) in seen.zip(&self.weights).zip(&self.slopes) {
            let at = place(row);
            accumulate_scaled(&mut dv[at.clone()], dy, *weight);
            let score = weight * (dot(&values.data[at.clone()], dy) - shared) * slope;
            accumulate_scaled(dq, &keys.data[at.clone()], score);
            accumulate_scaled(&mut dk[at], query, score);
        }
    }

    /// Forms the weights and slopes of a query.
    fn weigh<'k>(&mut self, query: &[f32], keys: impl Iterator<Item = &'k [f32]>) {
        let Attention { scale, soft_cap, .. } = *self.attention;
        self.weights.clear();
        self.slopes.clear();
        for key in keys {
            let score = dot(query, key) * scale;
            let (score, slope) = match soft_cap {
                None => (score, scale),
                Some(cap) => {
                    let tanh = (score / cap).tanh();
                    (cap * tanh, scale * (1.0 - tanh * tanh))
                }
            };
            self.weights.push(score);
            self.slopes.push(slope);
        }
        soften(&mut self.weights);
    }
}

/// The softmax, in place.
fn soften(scores: &mut [f32]) {
    let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        let weight = f64::from(*score - greatest).exp();
        sum += weight;
        *score = weight as f32;
    }
    let inverse = (1.0 / sum) as f32;
    scores.iter_mut().for_each(|score| *score *= inverse);
}

/// The sum of products, in eight sums side by side, so that the compiler can use vectors.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (x_groups, x_rest) = x.as_chunks::<8>();
    let (y_groups, y_rest) = y.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in x_groups.iter().zip(y_groups) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}
