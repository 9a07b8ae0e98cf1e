//! Four-bit codes into a table of sixteen values.

use super::{Block, Units, each, halves_at, part, words_at};
use crate::Storage;
use crate::lanes::{LANES, Lanes};

/// `d, qs[16]`: `d * table[q]`.
pub(super) struct Iq4Nl;
/// `d, u16 scales_h, scales_l[4], qs[128]`: for each 32 weights `d * (s - 32) * table[q]`.
pub(super) struct Iq4Xs;

/// The values of ggml's `kvalues_iq4nl`.
const TABLE: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl Block for Iq4Nl {
    const STORAGE: Storage = Storage::Iq4Nl;
    const BITS: usize = 8;
    type Unit = Units<32, false>;
    type Bytes = [u8; 18];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 18], _: usize) -> L::Bytes {
        L::bytes_look_up(L::bytes_of_nibbles(part(block, 2)), &TABLE)
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

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 136], run: usize) -> L::Bytes {
        L::bytes_look_up(L::bytes_of_nibbles(part(block, 8 + 16 * run)), &TABLE)
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 136]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 136>(blocks, 0);
        let (high, low) = (words_at(blocks, 0), words_at(blocks, 4));
        for (unit, scales) in scales.iter_mut().enumerate() {
            let scale = each!(L, |i| {
                let bits = low[i] >> (4 * unit) & 15 | (high[i] >> (16 + 2 * unit) & 3) << 4;
                bits as i32 - 32
            });
            d.mul(scale).store(scales);
        }
    }
}
