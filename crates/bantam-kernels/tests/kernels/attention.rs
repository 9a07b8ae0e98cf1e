//! Attention against a softmax in f64.

use bantam_kernels::attention::{AttendSpec, KvShape, KvStorage, PAGE, Page, QueryRow, append, attend};
use bantam_kernels::{Isa, Machine};

use crate::random::{Random, assert_same, machines, nmse, same_on_all};

/// Keys and values of one sequence, and queries at some of its positions.
pub(crate) struct Sequence {
    kv: KvShape,
    num_heads: usize,
    scale: f32,
    window: Option<usize>,
    soft_cap: Option<f32>,
    sinks: Option<Vec<f32>>,
    storage: KvStorage,
    rounded: bool,
    /// `[len][num_kv_heads][head_dim]`
    keys: Vec<f32>,
    values: Vec<f32>,
    positions: Vec<usize>,
    /// `[positions][num_heads][head_dim]`
    queries: Vec<f32>,
}

impl Sequence {
    /// Queries at `positions` of a sequence that ends with the last of them.
    pub(crate) fn new(kv: KvShape, group: usize, positions: &[usize]) -> Self {
        let KvShape { num_kv_heads, head_dim } = kv;
        let len = positions.iter().max().expect("a position") + 1;
        let mut random = Random::new((head_dim * 1000 + len) as u64);
        let num_heads = num_kv_heads * group;
        Sequence {
            kv,
            num_heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: None,
            soft_cap: None,
            sinks: None,
            storage: KvStorage::F32,
            rounded: false,
            keys: random.normals(len * num_kv_heads * head_dim),
            values: random.normals(len * num_kv_heads * head_dim),
            positions: positions.to_vec(),
            queries: random.normals(positions.len() * num_heads * head_dim),
        }
    }

    pub(crate) fn keep_in(mut self, storage: KvStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Rounded to BF16 where there are tiles of it.
    pub(crate) fn rounded(mut self) -> Self {
        self.rounded = true;
        self
    }

    /// Kept in a storage, and given as it will be kept.
    fn rounded_to(mut self, storage: KvStorage) -> Self {
        for x in self.keys.iter_mut().chain(&mut self.values) {
            *x = match storage {
                KvStorage::F16 => half::f16::from_f32(*x).to_f32(),
                KvStorage::BF16 => half::bf16::from_f32(*x).to_f32(),
                _ => *x,
            };
        }
        self.keep_in(storage)
    }

    /// Given so that codes from `lowest` to `highest` hold it exactly.
    fn of_codes(mut self, storage: KvStorage, lowest: i32, highest: i32) -> Self {
        let mut random = Random::new(5);
        for group in self.keys.chunks_exact_mut(32).chain(self.values.chunks_exact_mut(32)) {
            for x in group.iter_mut() {
                *x = (lowest + (random.bits() % (highest - lowest + 1) as u64) as i32) as f32 / 64.0;
            }
            // The code of greatest magnitude is what the scale is made of.
            group[7] = lowest as f32 / 64.0;
        }
        let head_dim = self.kv.head_dim;
        let heads = self.keys.chunks_exact_mut(head_dim).chain(self.values.chunks_exact_mut(head_dim));
        heads.for_each(hadamard);
        self.keep_in(storage)
    }

    fn pages(&self) -> Vec<Page> {
        let width = self.kv.num_kv_heads * self.kv.head_dim;
        let len = self.keys.len() / width;
        let mut pages = vec![Page::new(self.kv, self.storage); len.div_ceil(PAGE)];
        for (position, (keys, values)) in self.keys.chunks(width).zip(self.values.chunks(width)).enumerate() {
            pages[position / PAGE].put(position % PAGE, keys, values);
        }
        // Places that nothing was put into yet must not matter, whatever they hold.
        for slot in (1 + (len - 1) % PAGE)..PAGE {
            pages[len.div_ceil(PAGE) - 1].put(slot, &vec![f32::NAN; width], &vec![f32::NAN; width]);
        }
        pages
    }

    fn attend_at(&self, machine: &Machine, pages: &[Page], positions: &[usize], queries: &[f32]) -> Vec<f32> {
        let spec = AttendSpec {
            kv: self.kv,
            num_heads: self.num_heads,
            scale: self.scale,
            window: self.window,
            soft_cap: self.soft_cap,
            sinks: self.sinks.as_deref(),
            rounded: self.rounded,
        };
        let rows: Vec<_> = positions.iter().map(|position| QueryRow { pages, position: *position }).collect();
        let mut out = vec![f32::NAN; queries.len()];
        attend(machine, &spec, &rows, queries, &mut out);
        out
    }

    pub(crate) fn attend(&self, machine: &Machine) -> Vec<f32> {
        self.attend_at(machine, &self.pages(), &self.positions, &self.queries)
    }

    pub(crate) fn naive(&self) -> Vec<f64> {
        let row = self.num_heads * self.kv.head_dim;
        let rows = self.positions.iter().zip(self.queries.chunks_exact(row));
        let heads = rows.flat_map(|(position, queries)| {
            queries.chunks_exact(self.kv.head_dim).enumerate().map(|(head, query)| (*position, head, query))
        });
        heads.flat_map(|(position, head, query)| self.naive_head(position, head, query)).collect()
    }

    fn naive_head(&self, position: usize, head: usize, query: &[f32]) -> Vec<f64> {
        let KvShape { num_kv_heads, head_dim } = self.kv;
        let of = |numbers: &[f32], position: usize, i: usize| {
            let kv_head = head / (self.num_heads / num_kv_heads);
            f64::from(numbers[(position * num_kv_heads + kv_head) * head_dim + i])
        };
        let first = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        let score = |at: usize| {
            let products = query.iter().enumerate().map(|(i, q)| f64::from(*q) * of(&self.keys, at, i));
            let score = products.sum::<f64>() * f64::from(self.scale);
            self.soft_cap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
        };
        let weights: Vec<f64> = (first..=position).map(|at| score(at).exp()).collect();
        let sink = self.sinks.as_ref().map_or(0.0, |sinks| f64::from(sinks[head]).exp());
        let total = weights.iter().sum::<f64>() + sink;
        let value =
            |i| (first..=position).zip(&weights).map(|(at, w)| w * of(&self.values, at, i)).sum::<f64>();
        (0..head_dim).map(|i| value(i) / total).collect()
    }

    fn check(&self, what: &str) {
        let what = format!("{what}: {:?}, {} heads, {:?}", self.kv, self.num_heads, self.positions);
        let out = same_on_all(&what, |machine| self.attend(machine));
        let error = nmse(&self.naive(), &out);
        assert!(error < 2e-13, "{what}: {error:e}");
    }
}

/// Turns a head of 2^n numbers by the Hadamard matrix over its norm, by the definition.
fn hadamard(group: &mut [f32]) {
    let of = group.to_vec();
    for (row, out) in group.iter_mut().enumerate() {
        let sign = |column: usize| if (row & column).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let sum: f64 = of.iter().enumerate().map(|(column, x)| sign(column) * f64::from(*x)).sum();
        *out = (sum / (of.len() as f64).sqrt()) as f32;
    }
}

#[test]
fn codes_that_hold_the_numbers_exactly() {
    for head_dim in [32, 64, 128] {
        let kv = KvShape { num_kv_heads: 2, head_dim };
        let sequence = || Sequence::new(kv, 3, &[0, 5, 63, 64, 130]);
        sequence().of_codes(KvStorage::Q8_0, -127, 127).check("8 bits");
        sequence().of_codes(KvStorage::Q4_0, -8, 7).check("4 bits");
    }
}

const SMALL: KvShape = KvShape { num_kv_heads: 2, head_dim: 24 };

#[test]
fn every_head_dim_and_group() {
    for head_dim in [1, 8, 24, 64, 80, 96, 128, 256] {
        for (num_kv_heads, group) in [(1, 1), (1, 4), (3, 3)] {
            let kv = KvShape { num_kv_heads, head_dim };
            Sequence::new(kv, group, &[0, 5, 130]).check("f32");
            for storage in [KvStorage::F16, KvStorage::BF16] {
                Sequence::new(kv, group, &[0, 5, 130]).rounded_to(storage).check(storage.name());
            }
            for (storage, most) in [(KvStorage::Q8_0, 3e-4), (KvStorage::Q4_0, 6e-2)] {
                let sequence = Sequence::new(kv, group, &[0, 5, 130]).keep_in(storage);
                let out = same_on_all(storage.name(), |machine| sequence.attend(machine));
                let error = nmse(&sequence.naive(), &out);
                assert!(error < most, "{storage}, {kv:?}: {error:e}");
            }
        }
    }
}

#[test]
fn positions_across_the_borders_of_pages() {
    let positions: Vec<usize> =
        (0..4).chain(14..18).chain(61..67).chain(126..131).chain([191, 192]).collect();
    Sequence::new(SMALL, 2, &positions).check("all before");
    for window in [1, 2, 16, 63, 64, 65, 66, 128, 1000] {
        let mut sequence = Sequence::new(SMALL, 2, &positions);
        sequence.window = Some(window);
        sequence.check(&format!("a window of {window}"));
    }
}

#[test]
fn soft_caps_and_sinks() {
    for soft_cap in [None, Some(0.5), Some(50.0)] {
        for with_sinks in [false, true] {
            let mut sequence = Sequence::new(SMALL, 3, &[0, 1, 63, 64, 100]);
            sequence.soft_cap = soft_cap;
            sequence.sinks = with_sinks.then(|| vec![-20.0, -1.0, 0.0, 1.0, 3.0, 9.0]);
            sequence.scale = 1.3;
            sequence.check(&format!("cap {soft_cap:?}, sinks {with_sinks}"));
        }
    }
}

#[test]
fn scores_that_would_overflow_without_their_greatest() {
    let mut sequence = Sequence::new(SMALL, 1, &[0, 70, 140]);
    sequence.scale = 40.0;
    let out = same_on_all("large scores", |machine| sequence.attend(machine));
    assert!(out.iter().all(|x| x.is_finite()));
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    let sequence = Sequence::new(SMALL, 2, &[3, 64, 65, 150, 0, 149]);
    let (machine, pages) = (Machine::new(Isa::best(), 2), sequence.pages());
    let together = sequence.attend(&machine);
    let width = sequence.num_heads * SMALL.head_dim;
    let rows = sequence.positions.iter().zip(sequence.queries.chunks_exact(width));
    for ((position, queries), expected) in rows.zip(together.chunks_exact(width)) {
        let alone = sequence.attend_at(&machine, &pages, &[*position], queries);
        assert_same(&format!("position {position}"), expected, &alone);
    }
}

#[test]
fn what_lies_before_the_window_does_not_matter() {
    let mut sequence = Sequence::new(SMALL, 2, &[200]);
    sequence.window = Some(40);
    let machine = Machine::new(Isa::best(), 1);
    let expected = sequence.attend(&machine);
    let width = SMALL.num_kv_heads * SMALL.head_dim;
    for i in 0..161 * width {
        (sequence.keys[i], sequence.values[i]) = (f32::NAN, f32::INFINITY);
    }
    assert_same("poison before the window", &expected, &sequence.attend(&machine));
}

#[test]
fn what_is_not_a_number_reaches_the_output() {
    for position in [0, 17, 64, 100] {
        for in_keys in [true, false] {
            for poison in [f32::NAN, f32::INFINITY] {
                let mut sequence = Sequence::new(KvShape { num_kv_heads: 1, head_dim: 24 }, 1, &[100]);
                let numbers = if in_keys { &mut sequence.keys } else { &mut sequence.values };
                // A key of minus infinity would rightly be looked away from, so the query is positive there.
                (numbers[position * 24 + 5], sequence.queries[5]) = (poison, 1.0);
                let out = same_on_all("poison", |machine| sequence.attend(machine));
                let seen = if in_keys { &out[..] } else { &out[5..6] };
                assert!(seen.iter().all(|x| !x.is_finite()), "{poison} at {position}, in keys {in_keys}");
            }
        }
    }
    let mut sequence = Sequence::new(KvShape { num_kv_heads: 1, head_dim: 24 }, 1, &[100]);
    sequence.queries[3] = f32::NAN;
    let out = same_on_all("a query", |machine| sequence.attend(machine));
    assert!(out.iter().all(|x| x.is_nan()));
}

#[test]
fn rows_that_are_appended_lie_as_if_put_one_by_one() {
    let kv = KvShape { num_kv_heads: 2, head_dim: 32 };
    let width = kv.num_kv_heads * kv.head_dim;
    for storage in KvStorage::ALL {
        for (slot, rows) in [(0, 1), (63, 1), (5, 59), (60, 200), (0, 128)] {
            let mut random = Random::new((slot + rows) as u64);
            let (keys, values) = (random.normals(rows * width), random.normals(rows * width));
            let mut expected = vec![Page::new(kv, storage); (slot + rows).div_ceil(PAGE)];
            for (row, (keys, values)) in keys.chunks_exact(width).zip(values.chunks_exact(width)).enumerate()
            {
                expected[(slot + row) / PAGE].put((slot + row) % PAGE, keys, values);
            }
            for machine in &machines() {
                let mut pages = vec![Page::new(kv, storage); expected.len()];
                append(machine, &mut pages, slot, &keys, &values);
                assert!(pages == expected, "{storage} {rows} rows from {slot} on");
            }
        }
    }
}

#[test]
fn clones_share_until_they_are_written() {
    let kv = KvShape { num_kv_heads: 2, head_dim: 24 };
    for storage in KvStorage::ALL {
        let mut random = Random::new(7);
        let mut row = || (random.normals(48), random.normals(48));
        let ((keys, values), (other_keys, other_values)) = (row(), row());
        let mut page = Page::new(kv, storage);
        page.put(3, &keys, &values);
        let copy = page.clone();
        assert!(page.is_shared() && copy.is_shared());
        page.put(4, &other_keys, &other_values);
        assert!(!page.is_shared() && !copy.is_shared() && page != copy, "{storage}");
        let mut expected = Page::new(kv, storage);
        expected.put(3, &keys, &values);
        assert!(copy == expected, "{storage}: what was written to one is not in the other");
    }
}

#[test]
fn pages_come_back_from_their_bytes() {
    let kv = KvShape { num_kv_heads: 2, head_dim: 24 };
    for storage in KvStorage::ALL {
        let mut random = Random::new(8);
        let mut page = Page::new(kv, storage);
        for slot in [0, 5, 63] {
            page.put(slot, &random.normals(48), &random.normals(48));
        }
        let mut bytes = Vec::new();
        page.write_to(&mut bytes);
        assert_eq!(bytes.len(), page.bytes(), "{storage}");
        assert!(Page::read_from(kv, storage, &bytes).is_some_and(|read| read == page), "{storage}");
        assert!(Page::read_from(kv, storage, &bytes[1..]).is_none());
    }
}
