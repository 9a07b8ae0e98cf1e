//! Products against loops in f64, and against themselves with other rows, threads and instruction sets.

use bantam_kernels::backward::{Precision, multiply_rounded};
use bantam_kernels::matmul::{
    self, Codes, Input, Layout, PairRows, Rounding, Weights, multiply, multiply_all,
};
use bantam_kernels::{Isa, Machine, Storage};

use crate::ggml;
use crate::random::{Random, assert_same, nmse, same_on_all, widened};

/// A product with all that is needed to form it in other ways.
pub(crate) struct Product {
    pub(crate) storage: Storage,
    pub(crate) layout: Layout,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) bytes: Vec<u8>,
    /// `[rows][inputs]`
    pub(crate) x: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arithmetic {
    Exact,
    Coded(Rounding),
    /// Both factors rounded to BF16, where the processor has pairs of these.
    Pairs,
    /// The same in tiles, where there are some.
    Tiles,
}

const DEFAULT: Arithmetic = Arithmetic::Coded(Rounding::Bits16);

impl Product {
    pub(crate) fn new(storage: Storage, layout: Layout, rows: usize, outputs: usize, inputs: usize) -> Self {
        let mut random = Random::new((rows * 10_000 + outputs * 100 + inputs) as u64);
        let bytes = random.weights(storage, inputs * outputs);
        Product { storage, layout, inputs, outputs, bytes, x: random.normals(rows * inputs) }
    }

    fn what(&self) -> String {
        let rows = self.x.len() / self.inputs;
        format!("{} {:?}, {rows} rows, {} x {}", self.storage, self.layout, self.outputs, self.inputs)
    }

    pub(crate) fn multiply(&self, machine: &Machine, arithmetic: Arithmetic, x: &[f32]) -> Vec<f32> {
        let Product { storage, layout, inputs, outputs, ref bytes, .. } = *self;
        let weights = Weights { storage, layout, outputs, inputs, bytes };
        // What is there before must not matter.
        let mut y = vec![f32::NAN; x.len() / inputs * outputs];
        match arithmetic {
            Arithmetic::Exact => multiply(machine, weights, Input::Exact(x), &mut y),
            Arithmetic::Coded(rounding) => {
                let mut codes = Codes::new();
                codes.fill(machine, x, inputs, rounding);
                multiply(machine, weights, Input::Coded(&codes), &mut y);
            }
            Arithmetic::Tiles => {
                let mut rows = PairRows::new();
                rows.fill(machine, x, inputs);
                multiply(machine, weights, Input::Pairs(&rows), &mut y);
            }
            Arithmetic::Pairs => multiply_rounded(machine, weights, Precision::Bf16, x, &mut y),
        }
        y
    }

    /// The product of `x` in f64.
    pub(crate) fn naive(&self, x: &[f64]) -> Vec<f64> {
        let weights = ggml::weights(self.storage, &self.bytes);
        let weight = |n: usize, k: usize| match self.layout {
            Layout::OutIn => weights[n * self.inputs + k],
            Layout::InOut => weights[k * self.outputs + n],
        };
        let mut y = Vec::new();
        for x in x.chunks_exact(self.inputs) {
            for n in 0..self.outputs {
                y.push(x.iter().enumerate().map(|(k, x)| x * f64::from(weight(n, k))).sum());
            }
        }
        y
    }

    /// Asserts that all machines and all numbers of rows give the same bits; gives the result.
    fn check_sameness(&self, arithmetic: Arithmetic) -> Vec<f32> {
        let what = format!("{arithmetic:?} {}", self.what());
        let together = same_on_all(&what, |machine| self.multiply(machine, arithmetic, &self.x));
        let machine = Machine::new(Isa::best(), 2);
        let alone = self.x.chunks_exact(self.inputs).flat_map(|x| self.multiply(&machine, arithmetic, x));
        assert_same(&format!("row by row: {what}"), &together, &alone.collect::<Vec<_>>());
        together
    }
}

/// Activations as [`Codes`] promises to round them: `scale * code`, one scale for each 32, a power of two where codes have 16 bits.
fn rounded(x: &[f32], rounding: Rounding) -> Vec<f64> {
    let mut rounded = Vec::new();
    for group in x.chunks_exact(32) {
        let greatest = group.iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
        let (scale, per_code) = match rounding {
            Rounding::Bits16 => {
                let scale = (f64::from(greatest) / 32767.0).log2().ceil().exp2();
                (scale, (1.0 / scale) as f32)
            }
            Rounding::Bits8 => (f64::from(greatest) / 127.0, 127.0 / greatest),
        };
        rounded.extend(group.iter().map(|x| f64::from((x * per_code).round_ties_even()) * scale));
    }
    rounded
}

/// Errors of f32 sums of a few hundred terms stay below this even where a lone sum nearly vanishes.
const NMSE_MAX: f64 = 1e-12;

#[test]
fn the_exact_arithmetic_over_every_storage() {
    for storage in Storage::ALL {
        for (rows, outputs, blocks) in [(1, 7, 1), (2, 17, 2), (3, 50, 1), (5, 33, 2), (9, 4, 3)] {
            let inputs = blocks * storage.block_len().max(24);
            let product = Product::new(storage, Layout::OutIn, rows, outputs, inputs);
            let y = product.check_sameness(Arithmetic::Exact);
            let error = nmse(&product.naive(&widened(&product.x)), &y);
            assert!(error < NMSE_MAX, "{}: {error:e}", product.what());
        }
    }
}

#[test]
fn the_exact_arithmetic_at_odd_widths_in_both_layouts() {
    for storage in [Storage::F32, Storage::F16, Storage::BF16] {
        for layout in [Layout::OutIn, Layout::InOut] {
            for inputs in [1, 5, 15, 16, 17, 24, 48, 63, 64, 640] {
                for (rows, outputs) in [(1, 7), (4, 18), (7, 35)] {
                    let product = Product::new(storage, layout, rows, outputs, inputs);
                    let y = product.check_sameness(Arithmetic::Exact);
                    let error = nmse(&product.naive(&widened(&product.x)), &y);
                    assert!(error < NMSE_MAX, "{}: {error:e}", product.what());
                }
            }
        }
    }
}

#[test]
fn the_coded_arithmetic_over_every_storage() {
    for storage in Storage::ALL.into_iter().filter(|storage| storage.is_quantized()) {
        let widths: &[usize] = if storage.block_len() == 32 { &[32, 64, 96, 576, 640] } else { &[256, 768] };
        for inputs in widths {
            for (rows, outputs) in [(1, 8), (2, 50), (3, 16), (4, 31), (9, 17)] {
                let product = Product::new(storage, Layout::OutIn, rows, outputs, *inputs);
                for rounding in [Rounding::Bits16, Rounding::Bits8] {
                    let y = product.check_sameness(Arithmetic::Coded(rounding));
                    let error = nmse(&product.naive(&rounded(&product.x, rounding)), &y);
                    assert!(error < NMSE_MAX, "{} of activations in {rounding:?}: {error:e}", product.what());
                }
            }
        }
    }
}

#[test]
fn every_number_of_rows_and_outputs() {
    let cases = [
        (Storage::Q4_1, DEFAULT, 288),
        (Storage::Q6K, DEFAULT, 256),
        (Storage::Q4_0, Arithmetic::Coded(Rounding::Bits8), 288),
        (Storage::Q6K, Arithmetic::Coded(Rounding::Bits8), 256),
        (Storage::F32, Arithmetic::Exact, 40),
        (Storage::Q5_0, Arithmetic::Exact, 64),
    ];
    for (storage, arithmetic, inputs) in cases {
        let (rows, most) = (9, 50);
        let mut product = Product::new(storage, Layout::OutIn, rows, most, inputs);
        let whole = product.check_sameness(arithmetic);
        let (row_bytes, x) = (product.bytes.len() / most, product.x.clone());
        for outputs in (1..most).rev() {
            (product.outputs, product.x) = (outputs, x[..(1 + outputs % rows) * inputs].to_vec());
            product.bytes.truncate(outputs * row_bytes);
            let part = product.check_sameness(arithmetic);
            for (whole, part) in whole.chunks_exact(most).zip(part.chunks_exact(outputs)) {
                assert_same(&format!("{outputs} of the outputs"), &whole[..outputs], part);
            }
        }
    }
}

/// Fills the codes of all blocks but each row's last one; its numbers keep the sums of the others from being zero.
fn fill_codes(product: &mut Product, byte: u8) {
    let storage = product.storage;
    let codes = match storage {
        Storage::Q4_1 | Storage::Q5_1 => 4..storage.block_bytes(),
        Storage::Q4K | Storage::Q5K => 16..storage.block_bytes(),
        Storage::Q2K => 16..80,
        Storage::Q3K => 0..96,
        Storage::Q6K => 0..192,
        Storage::Iq4Xs => 8..136,
        _ => 2..storage.block_bytes(),
    };
    let row_blocks = product.inputs / storage.block_len();
    for (index, block) in product.bytes.chunks_exact_mut(storage.block_bytes()).enumerate() {
        if (index + 1) % row_blocks != 0 {
            block[codes.clone()].fill(byte);
        }
    }
}

#[test]
fn extreme_codes_of_weights_and_activations() {
    // All bits set or clear are the least and the greatest codes of every storage; 0x80 and 0x7f are those of eight bits.
    for storage in Storage::ALL.into_iter().filter(|storage| storage.is_quantized()) {
        for (rows, byte) in [(1, 0xff), (4, 0), (5, 0xff), (7, 0), (1, 0x80), (4, 0x7f), (8, 0x80)] {
            let mut product = Product::new(storage, Layout::OutIn, rows, 33, 512);
            fill_codes(&mut product, byte);
            for sign in [1.0, -1.0] {
                product
                    .x
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, x)| *x = if i % 512 == 77 { 0.25 } else { sign });
                for rounding in [Rounding::Bits16, Rounding::Bits8] {
                    let y = product.check_sameness(Arithmetic::Coded(rounding));
                    let error = nmse(&product.naive(&rounded(&product.x, rounding)), &y);
                    assert!(error < NMSE_MAX, "{} of {byte:#x} in {rounding:?}: {error:e}", product.what());
                }
            }
        }
    }
}

#[test]
fn many_rows_and_slabs() {
    // More outputs than a slab of panels holds, and enough rows that coding them is shared among threads.
    for storage in [Storage::Q8_0, Storage::Q4_1] {
        let product = Product::new(storage, Layout::OutIn, 60, 200, 640);
        product.check_sameness(DEFAULT);
        product.check_sameness(Arithmetic::Coded(Rounding::Bits8));
        product.check_sameness(Arithmetic::Exact);
    }
}

#[test]
fn sixteen_rows_and_their_rests_over_every_storage() {
    for storage in Storage::ALL.into_iter().filter(|storage| storage.is_quantized()) {
        for (rows, outputs, inputs) in [(12, 33, 256), (16, 16, 1024), (17, 50, 768), (40, 21, 256)] {
            let product = Product::new(storage, Layout::OutIn, rows, outputs, inputs);
            for rounding in [Rounding::Bits16, Rounding::Bits8] {
                let y = product.check_sameness(Arithmetic::Coded(rounding));
                let error = nmse(&product.naive(&rounded(&product.x, rounding)), &y);
                assert!(error < NMSE_MAX, "{} of activations in {rounding:?}: {error:e}", product.what());
            }
        }
    }
}

#[test]
fn activations_of_any_magnitude() {
    for magnitude in [1e-25f32, 1e-10, 1e10, 1e25] {
        for storage in [Storage::Q8_0, Storage::Q4K] {
            let mut product = Product::new(storage, Layout::OutIn, 3, 20, 512);
            product.x.iter_mut().for_each(|x| *x *= magnitude);
            let y = product.check_sameness(DEFAULT);
            let error = nmse(&product.naive(&rounded(&product.x, Rounding::Bits16)), &y);
            assert!(error < NMSE_MAX, "{} times {magnitude:e}: {error:e}", product.what());
        }
    }
}

#[test]
fn both_layouts_of_the_same_numbers_give_the_same_bits() {
    for (rows, outputs, inputs) in
        [(1, 18, 8), (2, 35, 5), (5, 16, 12), (3, 50, 16), (4, 33, 40), (2, 40, 80)]
    {
        let product = Product::new(Storage::F32, Layout::OutIn, rows, outputs, inputs);
        let number = |n: usize, k: usize| &product.bytes[(n * inputs + k) * 4..][..4];
        let turned =
            (0..inputs).flat_map(|k| (0..outputs).flat_map(move |n| number(n, k)).copied()).collect();
        let turned = Product { layout: Layout::InOut, bytes: turned, x: product.x.clone(), ..product };
        let [one, other] = [&product, &turned].map(|product| product.check_sameness(Arithmetic::Exact));
        assert_same(&product.what(), &one, &other);
    }
}

#[test]
fn exact_products_are_added_with_a_factor() {
    let layouts = [Layout::OutIn, Layout::InOut].into_iter();
    let shapes = [(1, 18, 8), (2, 35, 8), (2, 4, 640), (7, 33, 17), (13, 3, 16), (3, 48, 3)];
    for (layout, (rows, outputs, inputs)) in layouts.flat_map(|layout| shapes.map(|shape| (layout, shape))) {
        let product = Product::new(Storage::F32, layout, rows, outputs, inputs);
        let alone = product.check_sameness(Arithmetic::Exact);
        let before = Random::new(7).normals(rows * outputs);
        let weights = Weights { storage: Storage::F32, layout, outputs, inputs, bytes: &product.bytes };
        let added = same_on_all(&product.what(), |machine| {
            let mut y = before.clone();
            let input = Input::Exact(&product.x);
            multiply_all(machine, [matmul::Product { weights, input, y: &mut y, added: Some(0.3) }]);
            y
        });
        let wanted: Vec<f32> = alone.iter().zip(&before).map(|(sum, y)| sum.mul_add(0.3, *y)).collect();
        assert_same(&product.what(), &wanted, &added);
    }
}

#[test]
fn activations_of_zero_give_zero() {
    for storage in Storage::ALL.into_iter().filter(|storage| storage.is_quantized()) {
        let mut product = Product::new(storage, Layout::OutIn, 2, 20, 256);
        product.x.fill(0.0);
        let y = product.check_sameness(DEFAULT);
        assert!(y.iter().all(|y| *y == 0.0), "{storage}");
    }
}

#[test]
fn what_is_not_a_number_reaches_the_output_of_its_row_alone() {
    for storage in Storage::ALL {
        let arithmetics =
            if storage.is_quantized() { vec![Arithmetic::Exact, DEFAULT] } else { vec![Arithmetic::Exact] };
        for arithmetic in arithmetics {
            for (poison, place) in [(f32::NAN, 0), (f32::INFINITY, 100), (f32::NEG_INFINITY, 255)] {
                let (rows, outputs, inputs) = (13, 19, 256);
                let mut product = Product::new(storage, Layout::OutIn, rows, outputs, inputs);
                let clean = product.check_sameness(arithmetic);
                product.x[2 * inputs + place] = poison;
                let y = product.check_sameness(arithmetic);
                let (before, rest) = y.split_at(2 * outputs);
                let (hit, after) = rest.split_at(outputs);
                assert!(hit.iter().all(|y| !y.is_finite()), "{poison} through {storage} {arithmetic:?}");
                assert_same("rows before", &clean[..2 * outputs], before);
                assert_same("rows after", &clean[3 * outputs..], after);
            }
        }
    }
}

#[test]
fn no_rows_and_no_outputs() {
    let machine = Machine::new(Isa::best(), 2);
    let product = Product::new(Storage::Q4_0, Layout::OutIn, 1, 3, 64);
    for arithmetic in [Arithmetic::Exact, DEFAULT] {
        assert!(product.multiply(&machine, arithmetic, &[]).is_empty());
    }
    let empty = Product { outputs: 0, bytes: Vec::new(), ..product };
    assert!(empty.multiply(&machine, Arithmetic::Exact, &empty.x).is_empty());
}

#[test]
#[should_panic(expected = "weights of the wrong length")]
fn weights_of_another_length() {
    let mut product = Product::new(Storage::Q4_0, Layout::OutIn, 1, 3, 64);
    product.bytes.pop();
    product.multiply(&Machine::new(Isa::best(), 1), Arithmetic::Exact, &product.x);
}

#[test]
#[should_panic(expected = "F16 has no codes")]
fn codes_meet_a_storage_without_blocks() {
    let product = Product::new(Storage::F16, Layout::OutIn, 1, 3, 64);
    product.multiply(&Machine::new(Isa::best(), 1), DEFAULT, &product.x);
}
