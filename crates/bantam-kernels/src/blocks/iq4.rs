//! Four-bit codes into a table of sixteen values.

use super::legacy::scale_first;
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
fn look_up(bytes: &[u8], codes: &mut [i16]) {
    let bytes: &[u8; 16] = part(bytes);
    let (low, high) = codes[..32].split_at_mut(16);
    for i in 0..16 {
        low[i] = TABLE[usize::from(bytes[i] & 15)];
        high[i] = TABLE[usize::from(bytes[i] >> 4)];
    }
}

impl Block for Iq4Nl {
    const STORAGE: Storage = Storage::Iq4Nl;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        look_up(&block[2..], codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], _: &mut [[f32; LANES]]) {
        scale_first::<L>(blocks, scales);
    }
}

impl Block for Iq4Xs {
    const STORAGE: Storage = Storage::Iq4Xs;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        let bytes: &[u8; 128] = part(&block[8..]);
        for (bytes, codes) in bytes.chunks_exact(16).zip(codes.chunks_exact_mut(32)) {
            look_up(bytes, codes);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], _: &mut [[f32; LANES]]) {
        let d = halves_at::<L>(blocks, 0);
        for (unit, scales) in scales[..8].iter_mut().enumerate() {
            let scale = each!(L, blocks, |block| {
                let low = block[4 + unit / 2] >> (4 * (unit % 2)) & 15;
                let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * unit) & 3;
                (i32::from(low) | i32::from(high) << 4) - 32
            });
            d.mul(scale).store(scales);
        }
    }
}
