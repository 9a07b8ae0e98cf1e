//! Four-bit codes into a table of sixteen values.

use super::{Block, Units, each, four_words_at, halves_at, part, values_of};
use crate::Storage;
use crate::lanes::{DigitLanes, LANES, Lanes, Nibbles};

/// `d, qs[16]`: `d * table[q]`.
pub(super) struct Iq4Nl;
/// `d, u16 scales_h, scales_l[4], qs[128]`: for each 32 weights `d * (s - 32) * table[q]`.
pub(super) struct Iq4Xs;

/// The values of ggml's `kvalues_iq4nl`.
const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The values at nibbles of four blocks, unsigned.
#[inline(always)]
fn fours_at<L: DigitLanes>(nibbles: [&[u8; 16]; 4]) -> [L::Fours; 2] {
    let [first, second] = L::fours_of_nibbles(nibbles);
    [L::fours_flip(L::fours_look_up(first, &TABLE)), L::fours_flip(L::fours_look_up(second, &TABLE))]
}

impl Block for Iq4Nl {
    const STORAGE: Storage = Storage::Iq4Nl;
    const BITS: usize = 8;
    type Unit = Units<32, false>;
    type Bytes = [u8; 18];
    type Scales = [[f32; LANES]; 1];

    const VALUES: Option<[f32; LANES]> = values_of(TABLE);
    #[inline(always)]
    fn nibbles(block: &[u8; 18], _: usize) -> Nibbles<'_> {
        Nibbles::Both(part(block, 2))
    }

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 18], _: usize) -> L::Bytes {
        L::bytes_look_up(L::bytes_of_nibbles(part(block, 2)), &TABLE)
    }
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&[u8; 18]; 4], _: usize) -> [L::Fours; 2] {
        fours_at::<L>([part(a, 2), part(b, 2), part(c, 2), part(d, 2)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 18]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 18>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Iq4Xs {
    const STORAGE: Storage = Storage::Iq4Xs;
    const BITS: usize = 8;
    type Unit = Units<32, false>;
    type Bytes = [u8; 136];
    type Scales = [[f32; LANES]; 8];

    const VALUES: Option<[f32; LANES]> = values_of(TABLE);
    #[inline(always)]
    fn nibbles(block: &[u8; 136], run: usize) -> Nibbles<'_> {
        Nibbles::Both(part(block, 8 + 16 * run))
    }

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 136], run: usize) -> L::Bytes {
        L::bytes_look_up(L::bytes_of_nibbles(part(block, 8 + 16 * run)), &TABLE)
    }
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&[u8; 136]; 4], run: usize) -> [L::Fours; 2] {
        let at = 8 + 16 * run;
        fours_at::<L>([part(a, at), part(b, at), part(c, at), part(d, at)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 136]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let [high, low, ..] = four_words_at::<L, 136>(blocks, 0);
        let (d, _) = L::load_f16_pairs(&high);
        for (unit, scales) in scales.iter_mut().enumerate() {
            let scale = each!(L, |i| {
                let bits = low[i] >> (4 * unit) & 15 | (high[i] >> (16 + 2 * unit) & 3) << 4;
                bits as i32 - 32
            });
            d.mul(scale).store(scales);
        }
    }
}
