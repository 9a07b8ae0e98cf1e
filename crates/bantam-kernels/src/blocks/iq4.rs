//! Four-bit codes into a table of sixteen values.

use super::{Block, half_at};
use crate::Storage;

/// `d, qs[16]`: `d * table[q]`.
pub(super) struct Iq4Nl;
/// `d, u16 scales_h, scales_l[4], qs[128]`: for each 32 weights `d * (s - 32) * table[q]`.
pub(super) struct Iq4Xs;

/// The values of ggml's `kvalues_iq4nl`.
const TABLE: [i16; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

#[inline(always)]
fn look_up(bytes: &[u8], codes: &mut [i16]) {
    let (low, high) = codes.split_at_mut(16);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = TABLE[usize::from(byte & 15)];
        *high = TABLE[usize::from(byte >> 4)];
    }
}

impl Block for Iq4Nl {
    const STORAGE: Storage = Storage::Iq4Nl;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        scales[0] = half_at(block, 0);
        look_up(&block[2..18], &mut codes[..32]);
    }
}

impl Block for Iq4Xs {
    const STORAGE: Storage = Storage::Iq4Xs;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        let d = half_at(block, 0);
        let high = u16::from_le_bytes([block[2], block[3]]);
        for unit in 0..8 {
            let low = block[4 + unit / 2] >> (4 * (unit % 2)) & 15;
            let scale = i16::from(low) | ((high >> (2 * unit) & 3) << 4) as i16;
            scales[unit] = d * f32::from(scale - 32);
            look_up(&block[8 + 16 * unit..24 + 16 * unit], &mut codes[32 * unit..32 * unit + 32]);
        }
    }
}
