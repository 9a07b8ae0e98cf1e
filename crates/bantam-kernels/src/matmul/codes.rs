//! Rows of activations as 16-bit integers.

use std::array::{from_mut, from_ref};

use super::tiled::{CodeTiles, TILED_ROWS};
use crate::Machine;
use crate::lanes::{ByteProducts, Kernel, LANES, Lanes, dispatch};
use crate::machine::Isa;
use crate::share::Shared;

/// Activations that share a scale.
pub(super) const GROUP: usize = 32;
/// A group whose greatest magnitude is below this becomes zero, and one above the other has a NaN as its scale: between them products of scales are
/// exact.
const SMALLEST: f32 = 1e-26;
const GREATEST: f32 = 1e27;

/// How far activations are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To codes of 16 bits: a divergence of 1e-7 nats per token on small models.
    #[default]
    Bits16,
    /// To codes of 8 bits, as the peers do: about 1e-3. Tiles multiply one digit in place of two, and where there are
    /// products of bytes (AVX2 for codes of weights of up to six bits, AVX-512), these take half of the instructions.
    Bits8,
}

impl Rounding {
    /// For a group whose greatest magnitude is `greatest`: steps in one, codes in a step, and what a code stands for. Codes of 8 bits are the
    /// upper digits of codes of 16, so that a kernel need not tell the two apart. What a code of 16 bits stands for is a power of two, the
    /// least that the group allows, so that a product with it is exact.
    #[inline(always)]
    fn steps(self, greatest: f32) -> (f32, f32, f32) {
        match self {
            Rounding::Bits16 => {
                let least = f32::from_bits(greatest.to_bits() & f32::INFINITY.to_bits()) / 16384.0;
                let code = if greatest > 32767.0 * least { 2.0 * least } else { least };
                (1.0 / code, 1.0, code)
            }
            Rounding::Bits8 => (127.0 / greatest, 256.0, greatest / (127.0 * 256.0)),
        }
    }
}

/// Rows of activations as `scale * code`, one scale for each 32 of them.
///
/// A group with an infinity, a NaN or a number above 1e27 has a NaN as its scale, so that it reaches the logits.
pub struct Codes {
    width: usize,
    rounding: Rounding,
    /// `[rows][width]`
    codes: Vec<i16>,
    /// The upper digits of codes, as signed bytes, and the lower ones, unsigned, `[rows][width]`; none where nothing multiplies them.
    digits: [Vec<u8>; 2],
    /// `[rows][width / 32]`
    scales: Vec<Scale>,
    /// Sums of the codes of both halves of a group, exact in f32; `[rows][width / 32]`
    sums: Vec<[f32; 2]>,
    /// The same in tiles, where the instruction set and the number of rows ask for it.
    tiles: CodeTiles,
}

/// What the sums over a group of codes are multiplied with.
#[derive(Clone, Copy, Default)]
pub(super) struct Scale {
    /// What a code stands for a multiple of.
    pub(super) code: f32,
    /// The group's sum of codes times this, negated: what a minimum of its weights is multiplied with.
    pub(super) minimum: f32,
}

impl Scale {
    /// Of codes with a sum.
    #[inline(always)]
    pub(super) fn new(code: f32, sum: f32) -> Self {
        Scale { code, minimum: -(code * sum) }
    }
}

/// One row of [`Codes`].
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) codes: &'a [i16],
    /// The upper digits of codes, then the lower ones. Empty if there are none.
    pub(super) digits: [&'a [u8]; 2],
    pub(super) scales: &'a [Scale],
    pub(super) sums: &'a [[f32; 2]],
}

impl Codes {
    /// No rows yet.
    pub fn new() -> Self {
        Codes {
            width: 0,
            rounding: Rounding::default(),
            codes: Vec::new(),
            digits: Default::default(),
            scales: Vec::new(),
            sums: Vec::new(),
            tiles: CodeTiles::default(),
        }
    }

    /// Whether rows of this width can be coded.
    pub fn fits(width: usize) -> bool {
        width.is_multiple_of(GROUP)
    }

    /// Takes rows of `width` activations, in place of those before.
    pub fn fill(&mut self, machine: &Machine, x: &[f32], width: usize, rounding: Rounding) {
        assert!(Codes::fits(width) && x.len().is_multiple_of(width.max(1)), "rows of whole groups");
        (self.width, self.rounding) = (width, rounding);
        self.codes.resize(x.len(), 0);
        self.scales.resize(x.len() / GROUP, Scale::default());
        self.sums.resize(x.len() / GROUP, [0.0; 2]);
        let isa = machine.isa();
        let per_group = self.digits_per_group(isa);
        for (digits, per_group) in self.digits.iter_mut().zip(per_group) {
            digits.resize(x.len() / GROUP * per_group, 0);
        }
        let codes = Shared::new(&mut self.codes);
        let [high, low] = &mut self.digits;
        let digits = [Shared::new(high), Shared::new(low)];
        let (scales, sums) = (Shared::new(&mut self.scales), Shared::new(&mut self.sums));
        let work = |groups: std::ops::Range<usize>| {
            let (begin, count) = (groups.start, groups.len());
            // SAFETY: the ranges of the threads do not overlap, nor do their multiples.
            let to = unsafe {
                Groups {
                    codes: codes.slice_mut(begin * GROUP, count * GROUP),
                    high: digits[0].slice_mut(begin * per_group[0], count * per_group[0]),
                    low: digits[1].slice_mut(begin * per_group[1], count * per_group[1]),
                    scales: scales.slice_mut(begin, count),
                    sums: sums.slice_mut(begin, count),
                }
            };
            fill(isa, &x[begin * GROUP..][..count * GROUP], rounding, to);
        };
        let groups = x.len() / GROUP;
        // One row is coded faster than a second thread is woken.
        if groups < 512 {
            work(0..groups)
        } else {
            machine.split(groups, 16, work)
        }
        self.tiles.clear();
        if isa.has_bf16_tiles() && rounding == Rounding::Bits16 && self.rows() >= TILED_ROWS {
            self.fill_tiles(machine);
        }
    }

    /// Upper and lower digits for each group of codes: where rows are multiplied by digits both, or the upper ones of
    /// codes of 8 bits, whose lower ones are zero.
    fn digits_per_group(&self, isa: Isa) -> [usize; 2] {
        let ByteProducts { bits, digit_rows, many_by_digits } = ByteProducts::of(isa);
        let by_digits = many_by_digits || self.rows() <= digit_rows;
        match self.rounding {
            Rounding::Bits8 => [if bits > 0 { GROUP } else { 0 }, 0],
            Rounding::Bits16 => [if by_digits { GROUP } else { 0 }; 2],
        }
    }

    /// Lays the codes out in tiles, too.
    pub(super) fn fill_tiles(&mut self, machine: &Machine) {
        let mut tiles = std::mem::take(&mut self.tiles);
        tiles.fill(machine, self);
        self.tiles = tiles;
    }

    /// Tiles of all rows; none where they were not asked for.
    pub(super) fn tiles(&self) -> &CodeTiles {
        &self.tiles
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.codes.len() / self.width.max(1)
    }

    /// Whether there are digits.
    pub(super) fn has_digits(&self) -> bool {
        !self.digits[0].is_empty()
    }

    /// Whether there are codes of 8 bits as bytes.
    pub(super) fn has_bytes(&self) -> bool {
        self.rounding == Rounding::Bits8 && self.has_digits()
    }

    /// Activations in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> Row<'_> {
        let w = self.width;
        Row {
            codes: &self.codes[row * w..][..w],
            digits: [
                self.digits[0].get(row * w..row * w + w).unwrap_or_default(),
                self.digits[1].get(row * w..row * w + w).unwrap_or_default(),
            ],
            scales: &self.scales[row * (w / GROUP)..][..w / GROUP],
            sums: &self.sums[row * (w / GROUP)..][..w / GROUP],
        }
    }
}

impl Default for Codes {
    fn default() -> Self {
        Codes::new()
    }
}

/// What becomes of some groups.
struct Groups<'a> {
    codes: &'a mut [i16],
    high: &'a mut [u8],
    low: &'a mut [u8],
    scales: &'a mut [Scale],
    sums: &'a mut [[f32; 2]],
}

/// Codes, scales and sums of some groups.
fn fill(isa: Isa, x: &[f32], rounding: Rounding, to: Groups<'_>) {
    struct Fill<'a>(&'a [f32], Rounding, Groups<'a>);
    impl Kernel for Fill<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            let Groups { codes, high, low, scales, sums } = self.2;
            let rounding = self.1;
            let (fours, rest) = self.0.as_chunks::<GROUP>().0.as_chunks::<4>();
            let (codes_of_fours, codes_of_rest) = codes.as_chunks_mut::<GROUP>().0.as_chunks_mut::<4>();
            let (sums_of_fours, sums_of_rest) = sums.as_chunks_mut::<4>();
            let (scales_of_fours, scales_of_rest) = scales.as_chunks_mut::<4>();
            let to = codes_of_fours.iter_mut().zip(sums_of_fours).zip(scales_of_fours);
            for (x, ((codes, sums), scales)) in fours.iter().zip(to) {
                code_groups::<L, 4>(x, rounding, codes, sums, scales);
            }
            let to = codes_of_rest.iter_mut().zip(sums_of_rest).zip(scales_of_rest);
            for (x, ((codes, sums), scale)) in rest.iter().zip(to) {
                code_groups::<L, 1>(from_ref(x), rounding, from_mut(codes), from_mut(sums), from_mut(scale));
            }
            for (digit, code) in high.iter_mut().zip(&*codes) {
                *digit = (*code >> 8) as u8;
            }
            for (digit, code) in low.iter_mut().zip(codes) {
                *digit = *code as u8;
            }
        }
    }
    dispatch(isa, Fill(x, rounding, to));
}

/// Codes of some groups, their sums and scales; each step for all of them, since it waits for the one before it.
#[inline(always)]
fn code_groups<L: Lanes, const N: usize>(
    x: &[[f32; GROUP]; N],
    rounding: Rounding,
    codes: &mut [[i16; GROUP]; N],
    sums: &mut [[f32; 2]; N],
    scales: &mut [Scale; N],
) {
    let zero = L::splat(0.0);
    let mut greatest = [0.0; N];
    let mut poison = [zero; N];
    for g in 0..N {
        let x = x[g].as_chunks::<LANES>().0;
        let (low, high) = (L::load(&x[0]), L::load(&x[1]));
        greatest[g] = zero.sub(low).maximum(low).maximum(zero.sub(high).maximum(high)).greatest();
        // `greatest` passes over a NaN; x - x is zero for all numbers but NaN and infinity.
        poison[g] = low.sub(low).add(high.sub(high));
    }
    let poison = L::sums(&poison);
    let mut rounded = [[zero; N]; 2];
    for g in 0..N {
        let is_number = poison[g] == 0.0 && greatest[g] <= GREATEST;
        let is_zero = !is_number || greatest[g] < SMALLEST;
        let (per_one, step, code) = rounding.steps(greatest[g]);
        let per_one = L::splat(if is_zero { 0.0 } else { per_one });
        let x = x[g].as_chunks::<LANES>().0;
        for (i, codes) in codes[g].as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let x = if is_number { L::load(&x[i]) } else { zero };
            rounded[i][g] = x.mul(per_one).round().mul(L::splat(step));
            rounded[i][g].to_codes(codes);
        }
        scales[g].code = match (is_number, is_zero) {
            (false, _) => f32::NAN,
            (_, true) => 0.0,
            _ => code,
        };
    }
    // Whole numbers below 2^24 in all, so that no order of the sums rounds.
    let [low, high] = [L::sums(&rounded[0]), L::sums(&rounded[1])];
    for g in 0..N {
        sums[g] = [low[g], high[g]];
        scales[g] = Scale::new(scales[g].code, low[g] + high[g]);
    }
}
