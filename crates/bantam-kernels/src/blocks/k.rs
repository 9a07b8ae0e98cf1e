//! Super-blocks of 256 weights: a scale and a minimum for the whole, small integers for its units.

use super::{Block, Units, each, four_bits, four_words_at, halves_at, part, two_halves_at, words_at};
use crate::Storage;
use crate::lanes::{LANES, Lanes, Nibbles};

/// `scales[16], qs[64], d, dmin`: for each 16 weights `d * (s & 15) * q - dmin * (s >> 4)`.
pub(super) struct Q2K;
/// `hmask[32], qs[64], scales[12], d`: for each 16 weights `d * (s - 32) * q`.
pub(super) struct Q3K;
/// `d, dmin, scales[12], qs[128]`: for each 32 weights `d * s * q - dmin * m`.
pub(super) struct Q4K;
/// `d, dmin, scales[12], qh[32], qs[128]`: as [`Q4K`] with a fifth bit.
pub(super) struct Q5K;
/// `ql[128], qh[64], i8 scales[16], d`: for each 16 weights `d * s * (q - 32)`.
pub(super) struct Q6K;

impl Block for Q2K {
    const STORAGE: Storage = Storage::Q2K;
    const BITS: usize = 2;
    type Unit = Units<16, true>;
    type Bytes = [u8; 84];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 84], run: usize) -> L::Bytes {
        L::bytes_bits(L::bytes_load(part(block, 16 + 32 * (run / 4))), 2 * (run % 4), 3)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 84]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        let (d, dmin) = two_halves_at::<L, 84>(blocks, 80);
        for (four, words) in four_words_at::<L, 84>(blocks, 0).into_iter().enumerate() {
            for k in 0..4 {
                d.mul(each!(L, |i| words[i] >> (8 * k) & 15)).store(&mut scales[4 * four + k]);
                dmin.mul(each!(L, |i| words[i] >> (8 * k + 4) & 15)).store(&mut minima[4 * four + k]);
            }
        }
    }
}

impl Block for Q3K {
    const STORAGE: Storage = Storage::Q3K;
    const BITS: usize = 3;
    type Unit = Units<16, false>;
    type Bytes = [u8; 110];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 110], run: usize) -> L::Bytes {
        let low = L::bytes_bits(L::bytes_load(part(block, 32 + 32 * (run / 4))), 2 * (run % 4), 3);
        // The bit set means that nothing is subtracted.
        L::bytes_add(L::bytes_join(low, L::bytes_bits(L::bytes_load(part(block, 0)), run, 1), 2), -4)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 110]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 110>(blocks, 108);
        let (low, high) = ([words_at(blocks, 96), words_at(blocks, 100)], words_at(blocks, 104));
        for (unit, scales) in scales.iter_mut().enumerate() {
            let low = &low[unit / 4 % 2];
            let (nibble, top) = (8 * (unit % 4) + 4 * (unit / 8), 8 * (unit % 4) + 2 * (unit / 4));
            let scale = each!(L, |i| {
                let bits = low[i] >> nibble & 15 | (high[i] >> top & 3) << 4;
                bits as i32 - 32
            });
            d.mul(scale).store(scales);
        }
    }
}

/// The scales and minima that [`Q4K`] and [`Q5K`] begin with: eight pairs of six bits in 12 bytes, the first four
/// in the low six bits of bytes 0-3 and 4-7, the others in the nibbles of bytes 8-11 with their top bits above the
/// first ones.
#[inline(always)]
fn scales_and_minima<L: Lanes, const N: usize>(
    blocks: &[&[u8; N]; LANES],
    scales: &mut [[f32; LANES]; 8],
    minima: &mut [[f32; LANES]; 8],
) {
    let [both, a, b, c] = four_words_at::<L, N>(blocks, 0);
    let (d, dmin) = L::load_f16_pairs(&both);
    for k in 0..4 {
        let byte = 8 * k;
        d.mul(each!(L, |i| a[i] >> byte & 63)).store(&mut scales[k]);
        dmin.mul(each!(L, |i| b[i] >> byte & 63)).store(&mut minima[k]);
        let scale = each!(L, |i| c[i] >> byte & 15 | (a[i] >> (byte + 6) & 3) << 4);
        let minimum = each!(L, |i| c[i] >> (byte + 4) & 15 | (b[i] >> (byte + 6) & 3) << 4);
        d.mul(scale).store(&mut scales[4 + k]);
        dmin.mul(minimum).store(&mut minima[4 + k]);
    }
}

impl Block for Q4K {
    const STORAGE: Storage = Storage::Q4K;
    const BITS: usize = 4;
    type Unit = Units<32, true>;
    type Bytes = [u8; 144];
    type Scales = [[f32; LANES]; 8];

    const VALUES: Option<[f32; LANES]> = four_bits(0);
    #[inline(always)]
    fn nibbles(block: &[u8; 144], run: usize) -> Nibbles<'_> {
        let bytes = part(block, 16 + 32 * (run / 2));
        if run.is_multiple_of(2) { Nibbles::Low(bytes) } else { Nibbles::High(bytes) }
    }

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 144], run: usize) -> L::Bytes {
        L::bytes_bits(L::bytes_load(part(block, 16 + 32 * (run / 2))), 4 * (run % 2), 15)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 144]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scales_and_minima::<L, 144>(blocks, scales, minima);
    }
}

impl Block for Q5K {
    const STORAGE: Storage = Storage::Q5K;
    const BITS: usize = 5;
    type Unit = Units<32, true>;
    type Bytes = [u8; 176];
    type Scales = [[f32; LANES]; 8];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 176], run: usize) -> L::Bytes {
        let low = L::bytes_bits(L::bytes_load(part(block, 48 + 32 * (run / 2))), 4 * (run % 2), 15);
        L::bytes_join(low, L::bytes_bits(L::bytes_load(part(block, 16)), run, 1), 4)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 176]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scales_and_minima::<L, 176>(blocks, scales, minima);
    }
}

impl Block for Q6K {
    const STORAGE: Storage = Storage::Q6K;
    const BITS: usize = 6;
    type Unit = Units<16, false>;
    type Bytes = [u8; 210];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 210], run: usize) -> L::Bytes {
        let (half, run) = (run / 4, run % 4);
        let low = L::bytes_bits(L::bytes_load(part(block, 64 * half + 32 * (run % 2))), 4 * (run / 2), 15);
        let high = L::bytes_bits(L::bytes_load(part(block, 128 + 32 * half)), 2 * run, 3);
        L::bytes_add(L::bytes_join(low, high, 4), -32)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 210]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 210>(blocks, 208);
        for (four, words) in four_words_at::<L, 210>(blocks, 192).into_iter().enumerate() {
            for k in 0..4 {
                d.mul(each!(L, |i| (words[i] >> (8 * k)) as u8 as i8)).store(&mut scales[4 * four + k]);
            }
        }
    }
}
