//! The derivative of causal attention, in tiles of queries.
//!
//! Nothing of the size of queries times keys is kept: the way back forms the weights of a tile of queries again
//! (Dao et al., 2022). A head of queries of one span is formed by one thread alone; what the heads of a group give
//! to the keys and values that they share is added in the order of the heads.

use std::ops::Range;

use super::sums::dot;
use crate::Machine;
use crate::attention::AttendSpec;
use crate::lanes::{Kernel, LANES, Lanes, dispatch, exp, groups, groups_mut, map, map2, reduce, tanh};
use crate::share::Shared;

/// Queries in a tile.
const TILE: usize = 64;

/// What attention was computed from, and what came of it: `[rows][heads][head_dim]` each.
#[derive(Clone, Copy)]
pub struct AttendInputs<'a> {
    /// With the heads of queries.
    pub queries: &'a [f32],
    /// With the heads of keys.
    pub keys: &'a [f32],
    /// With the heads of keys.
    pub values: &'a [f32],
    /// What attention gave.
    pub y: &'a [f32],
    /// The derivative by what attention gave.
    pub dy: &'a [f32],
}

/// Derivatives by queries, keys and values, to be added to.
pub struct AttendGradients<'a> {
    /// By the queries.
    pub queries: &'a mut [f32],
    /// By the keys.
    pub keys: &'a mut [f32],
    /// By the values.
    pub values: &'a mut [f32],
}

/// Adds to the derivatives of attention within spans of rows, each a sequence from its first position on.
///
/// # Panics
///
/// Where the lengths do not fit each other; where there are sinks.
pub fn attend_backward(
    machine: &Machine,
    spec: &AttendSpec<'_>,
    spans: &[Range<usize>],
    of: AttendInputs<'_>,
    gradients: AttendGradients<'_>,
) {
    let (width, kv_width) = (spec.num_heads * spec.kv.head_dim, spec.kv.num_kv_heads * spec.kv.head_dim);
    let rows = of.queries.len() / width.max(1);
    assert!(spec.sinks.is_none(), "sinks have no derivative");
    assert!(spans.iter().all(|span| span.start <= span.end && span.end <= rows), "spans of these rows");
    for part in [of.queries, of.y, of.dy, gradients.queries] {
        assert_eq!(part.len(), rows * width, "a query for each row");
    }
    for part in [of.keys, of.values, gradients.keys, gradients.values] {
        assert_eq!(part.len(), rows * kv_width, "a key for each row");
    }
    // Of each head of queries by itself, before those of a group are added.
    let (mut keys, mut values) = (vec![0.0; rows * width], vec![0.0; rows * width]);
    let places = Places {
        queries: Shared::new(gradients.queries),
        keys: Shared::new(&mut keys),
        values: Shared::new(&mut values),
    };
    machine.split(spans.len() * spec.num_heads, 1, |items| {
        for item in items {
            let span = spans[item / spec.num_heads].clone();
            let head = Head { spec, span, head: item % spec.num_heads, of, places: &places };
            dispatch(machine.isa(), head);
        }
    });
    for (sum, parts) in [(gradients.keys, &keys), (gradients.values, &values)] {
        add_groups(machine, spec, parts, sum);
    }
}

/// Adds what the heads of each group gave, in their order.
fn add_groups(machine: &Machine, spec: &AttendSpec<'_>, parts: &[f32], sums: &mut [f32]) {
    let dim = spec.kv.head_dim;
    let group = spec.num_heads / spec.kv.num_kv_heads;
    let heads = sums.len() / dim;
    let sums = Shared::new(sums);
    machine.split(heads, 64, |range| {
        for head in range {
            // SAFETY: each head of each row is formed by one thread.
            let sum = unsafe { sums.slice_mut(head * dim, dim) };
            for part in parts[head * group * dim..][..group * dim].chunks_exact(dim) {
                for (sum, part) in sum.iter_mut().zip(part) {
                    *sum += part;
                }
            }
        }
    });
}

/// Where derivatives go, `[rows][num_heads][head_dim]` each.
struct Places<'a> {
    queries: Shared<'a, f32>,
    keys: Shared<'a, f32>,
    values: Shared<'a, f32>,
}

/// One head of queries of one span.
struct Head<'a> {
    spec: &'a AttendSpec<'a>,
    span: Range<usize>,
    head: usize,
    of: AttendInputs<'a>,
    places: &'a Places<'a>,
}

/// Copies of a head's rows, filled up with zeros to whole groups of sixteen columns and rows.
struct Packed {
    /// Columns.
    dim: usize,
    /// Rows.
    len: usize,
    /// `[len][dim]`
    queries: Vec<f32>,
    keys: Vec<f32>,
    dy: Vec<f32>,
    /// `[dim][len]`
    keys_across: Vec<f32>,
    values_across: Vec<f32>,
}

/// Derivatives of a head, `[len][dim]`, and what one tile of queries needs, `[TILE][len]`.
struct Work {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    weights: Vec<f32>,
    scores: Vec<f32>,
    slopes: Vec<f32>,
    /// First factors of some rows, term by term.
    held: Vec<[f32; TOGETHER]>,
}

impl Kernel for Head<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let packed = self.pack();
        let numbers = || vec![0.0; packed.len * packed.dim];
        let tile = || vec![0.0; TILE * packed.len];
        let mut work = Work {
            queries: numbers(),
            keys: numbers(),
            values: numbers(),
            weights: tile(),
            scores: tile(),
            slopes: if self.spec.soft_cap.is_some() { tile() } else { Vec::new() },
            held: Vec::new(),
        };
        for begin in (0..self.span.len()).step_by(TILE) {
            let queries = begin..(begin + TILE).min(self.span.len());
            self.tile::<L>(&packed, queries, &mut work);
        }
        for (from, to) in [
            (&work.queries, &self.places.queries),
            (&work.keys, &self.places.keys),
            (&work.values, &self.places.values),
        ] {
            self.add(packed.dim, from, to);
        }
    }
}

impl Head<'_> {
    /// A row of this head in one of the inputs with so many heads.
    fn row<'r>(&self, of: &'r [f32], row: usize, heads: usize, head: usize) -> &'r [f32] {
        let dim = self.spec.kv.head_dim;
        &of[((self.span.start + row) * heads + head) * dim..][..dim]
    }

    fn pack(&self) -> Packed {
        let kv = self.spec.kv;
        let (dim, len) = (kv.head_dim.next_multiple_of(LANES), self.span.len().next_multiple_of(LANES));
        let kv_head = self.head / (self.spec.num_heads / kv.num_kv_heads);
        let numbers = || vec![0.0; dim * len];
        let mut packed = Packed {
            dim,
            len,
            queries: numbers(),
            keys: numbers(),
            dy: numbers(),
            keys_across: numbers(),
            values_across: numbers(),
        };
        for row in 0..self.span.len() {
            let keys = self.row(self.of.keys, row, kv.num_kv_heads, kv_head);
            let values = self.row(self.of.values, row, kv.num_kv_heads, kv_head);
            let place = |of: &mut Vec<f32>, from: &[f32]| of[row * dim..][..from.len()].copy_from_slice(from);
            place(&mut packed.queries, self.row(self.of.queries, row, self.spec.num_heads, self.head));
            place(&mut packed.dy, self.row(self.of.dy, row, self.spec.num_heads, self.head));
            place(&mut packed.keys, keys);
            for (column, (key, value)) in keys.iter().zip(values).enumerate() {
                packed.keys_across[column * len + row] = *key;
                packed.values_across[column * len + row] = *value;
            }
        }
        packed
    }

    /// Goes back through the queries of a tile.
    #[inline(always)]
    fn tile<L: Lanes>(&self, packed: &Packed, queries: Range<usize>, work: &mut Work) {
        let Packed { dim, len, .. } = *packed;
        let first = self.first_seen(queries.start) / LANES * LANES;
        let keys = first..queries.end.next_multiple_of(LANES);
        let rows = queries.len();
        let of_queries = queries.start * dim..queries.end * dim;
        let Work { weights, scores, slopes, held, .. } = work;

        // The weights of all keys that are seen.
        weights.fill(0.0);
        let query = Factors { numbers: &packed.queries[of_queries.clone()], row: dim, term: 1 };
        let across = Rows { numbers: &packed.keys_across[keys.start..], stride: len };
        product::<L>(query, across, (rows, dim, keys.len()), weights, len, held);
        for (i, query) in queries.clone().enumerate() {
            let slopes = match slopes.is_empty() {
                true => &mut [][..],
                false => &mut slopes[i * len..][..keys.len()],
            };
            let seen = self.first_seen(query) - keys.start..query + 1 - keys.start;
            self.weigh::<L>(&mut weights[i * len..][..keys.len()], slopes, seen);
        }

        // What the scores would change; the sum of all weights is one, so what all of them gain is lost again.
        scores.fill(0.0);
        let dy = Factors { numbers: &packed.dy[of_queries.clone()], row: dim, term: 1 };
        let across = Rows { numbers: &packed.values_across[keys.start..], stride: len };
        product::<L>(dy, across, (rows, dim, keys.len()), scores, len, held);
        for (i, query) in queries.clone().enumerate() {
            let row = |of| self.row(of, query, self.spec.num_heads, self.head);
            let shared = dot::<L>(row(self.of.y), row(self.of.dy));
            let (scores, weights) = (&mut scores[i * len..][..keys.len()], &weights[i * len..][..keys.len()]);
            let (shared, scale) = (L::splat(shared), L::splat(self.spec.scale));
            map2!(L, scores, weights, |score, weight| score.sub(shared).mul(weight));
            match slopes.get(i * len..) {
                Some(slopes) if !slopes.is_empty() => {
                    map2!(L, scores, &slopes[..keys.len()], |score, slope| score.mul(slope));
                }
                _ => map!(L, scores, |score| score.mul(scale)),
            }
        }

        let shape = (keys.len(), rows, dim);
        let place = keys.start * dim..keys.end * dim;
        let across = |numbers| Factors { numbers, row: 1, term: len };
        let rows_of = |numbers| Rows { numbers, stride: dim };
        let (weights, scores) = (&work.weights, &work.scores);
        product::<L>(
            across(weights),
            rows_of(&packed.dy[of_queries.clone()]),
            shape,
            &mut work.values[place.clone()],
            dim,
            &mut work.held,
        );
        product::<L>(
            across(scores),
            rows_of(&packed.queries[of_queries.clone()]),
            shape,
            &mut work.keys[place.clone()],
            dim,
            &mut work.held,
        );
        let along = Factors { numbers: scores, row: len, term: 1 };
        let shape = (rows, keys.len(), dim);
        let (keys, held) = (rows_of(&packed.keys[place]), &mut work.held);
        product::<L>(along, keys, shape, &mut work.queries[of_queries], dim, held);
    }

    fn first_seen(&self, query: usize) -> usize {
        self.spec.window.map_or(0, |window| (query + 1).saturating_sub(window))
    }

    /// Products become weights; where scores are capped, `slopes` become what a score changes with its product.
    #[inline(always)]
    fn weigh<L: Lanes>(&self, scores: &mut [f32], slopes: &mut [f32], seen: Range<usize>) {
        let scale = L::splat(self.spec.scale);
        match self.spec.soft_cap {
            None => map!(L, scores, |score| score.mul(scale)),
            Some(cap) => {
                let (cap, inverse, one) = (L::splat(cap), L::splat(1.0 / cap), L::splat(1.0));
                for (score, slope) in groups_mut(scores).0.iter_mut().zip(groups_mut(slopes).0) {
                    let bent = tanh(L::load(score).mul(scale).mul(inverse));
                    bent.mul(cap).store(score);
                    one.sub(bent.mul(bent)).mul(scale).store(slope);
                }
            }
        }
        scores[..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..].fill(f32::NEG_INFINITY);
        let greatest = scores[seen].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let greatest = L::splat(greatest);
        map!(L, scores, |score| exp(score.sub(greatest)));
        let inverse = L::splat(1.0 / reduce!(L, scores, |sums, weight| sums.add(weight)));
        map!(L, scores, |weight| weight.mul(inverse));
    }

    /// Adds rows of `dim` columns to this head's places.
    fn add(&self, dim: usize, from: &[f32], to: &Shared<'_, f32>) {
        let head_dim = self.spec.kv.head_dim;
        for (row, from) in from.chunks_exact(dim).take(self.span.len()).enumerate() {
            let at = ((self.span.start + row) * self.spec.num_heads + self.head) * head_dim;
            // SAFETY: this head of these rows belongs to this item alone.
            let to = unsafe { to.slice_mut(at, head_dim) };
            for (to, from) in to.iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

/// First factors: the one of row `r` and term `t` is `numbers[r * row + t * term]`.
#[derive(Clone, Copy)]
struct Factors<'a> {
    numbers: &'a [f32],
    row: usize,
    term: usize,
}

/// Second factors, one row of `stride` for each term.
#[derive(Clone, Copy)]
struct Rows<'a> {
    numbers: &'a [f32],
    stride: usize,
}

/// Rows of first factors that are laid out together at most.
const TOGETHER: usize = 8;

/// Adds products small enough for the caches, `out[r][c] += first[r][t] * second[t][c]`. The shape is rows, terms and
/// width, which is whole groups of sixteen; a row of `out` begins every `stride`.
#[inline(always)]
fn product<L: Lanes>(
    first: Factors<'_>,
    second: Rows<'_>,
    shape: (usize, usize, usize),
    out: &mut [f32],
    stride: usize,
    held: &mut Vec<[f32; TOGETHER]>,
) {
    // As many sums as hide the wait of each for the one before it, as in products of whole matrices.
    if L::WIDE {
        product_by::<L, 8, 2>(first, second, shape, out, stride, held);
    } else {
        product_by::<L, 6, 1>(first, second, shape, out, stride, held);
    }
}

/// `R` rows and `S` groups of columns side by side.
#[inline(always)]
fn product_by<L: Lanes, const R: usize, const S: usize>(
    first: Factors<'_>,
    second: Rows<'_>,
    (rows, terms, width): (usize, usize, usize),
    out: &mut [f32],
    stride: usize,
    held: &mut Vec<[f32; TOGETHER]>,
) {
    held.resize(terms, [0.0; TOGETHER]);
    for row in (0..rows).step_by(R) {
        let count = R.min(rows - row);
        for (t, held) in held.iter_mut().enumerate() {
            let numbers = &first.numbers[row * first.row + t * first.term..];
            for (r, held) in held.iter_mut().enumerate().take(count) {
                *held = numbers[r * first.row];
            }
        }
        let out = &mut out[row * stride..];
        let mut column = 0;
        while column < width {
            let second = Rows { numbers: &second.numbers[column..], ..second };
            column += match width - column {
                left if left >= S * LANES => tile::<L, R, S>(held, second, count, &mut out[column..], stride),
                _ => tile::<L, R, 1>(held, second, count, &mut out[column..], stride),
            };
        }
    }
}

/// `R` rows of `S` groups of sums, of which `count` rows are kept; gives the columns.
#[inline(always)]
fn tile<L: Lanes, const R: usize, const S: usize>(
    held: &[[f32; TOGETHER]],
    second: Rows<'_>,
    count: usize,
    out: &mut [f32],
    stride: usize,
) -> usize {
    let mut sums = [[L::splat(0.0); S]; R];
    for r in 0..R {
        let row = &groups(&out[r.min(count - 1) * stride..][..S * LANES]).0;
        for s in 0..S {
            sums[r][s] = L::load(&row[s]);
        }
    }
    for (first, second) in held.iter().zip(second.numbers.chunks(second.stride)) {
        let second = &groups(&second[..S * LANES]).0[..S];
        for r in 0..R {
            let factor = L::splat(first[r]);
            for s in 0..S {
                sums[r][s] = L::load(&second[s]).mul_add(factor, sums[r][s]);
            }
        }
    }
    for r in 0..R {
        if r < count {
            let row = &mut groups_mut(&mut out[r * stride..][..S * LANES]).0;
            for s in 0..S {
                sums[r][s].store(&mut row[s]);
            }
        }
    }
    S * LANES
}
