//! Four-bit codes into a table of sixteen values.

use super::{Block, each, halves_at, part};
use crate::Storage;
use crate::lanes::{LANES, Lanes};

/// `d, qs[16]`: `d * table[q]`.
pub(super) struct Iq4Nl;
/// `d, u16 scales_h, scales_l[4], qs[128]`: for each 32 weights `d * (s - 32) * table[q]`.
pub(super) struct Iq4Xs;

/// The values of ggml's `kvalues_iq4nl`.
const TABLE: [i16; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[inline(always)]
fn look_up(bytes: &[u8; 16], codes: &mut [i16; 32]) {
    let [low, high]: &mut [[i16; 16]; 2] = bytemuck::cast_mut(codes);
    for i in 0..16 {
        low[i] = TABLE[usize::from(bytes[i] & 15)];
        high[i] = TABLE[usize::from(bytes[i] >> 4)];
    }
}

impl Block for Iq4Nl {
    const STORAGE: Storage = Storage::Iq4Nl;
    const UNIT: usize = 32;
    const MINIMA: bool = false;
    type Bytes = [u8; 18];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 18], codes: &mut [i16; 32]) {
        look_up(part(block, 2), codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 18]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 18>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Iq4Xs {
    const STORAGE: Storage = Storage::Iq4Xs;
    const UNIT: usize = 32;
    const MINIMA: bool = false;
    type Bytes = [u8; 136];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 8];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 136], codes: &mut [i16; 256]) {
        let codes: &mut [[i16; 32]; 8] = bytemuck::cast_mut(codes);
        for (unit, codes) in codes.iter_mut().enumerate() {
            look_up(part(block, 8 + 16 * unit), codes);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 136]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 136>(blocks, 0);
        for (unit, scales) in scales.iter_mut().enumerate() {
            let scale = each!(L, blocks, |block| {
                let low = block[4 + unit / 2] >> (4 * (unit % 2)) & 15;
                let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * unit) & 3;
                (i32::from(low) | i32::from(high) << 4) - 32
            });
            d.mul(scale).store(scales);
        }
    }
}
