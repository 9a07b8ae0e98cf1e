//! AMX-BF16 for products of weights: the instructions.

use std::arch::asm;

use super::amx::{Configured, TILES};
use super::pairs::{PairTiles, Tile, TileSums};
use crate::Isa;
use crate::width::{LANES, Pair};

/// Tiles 0 to 3 are sums, 4 and 5 weights, 6 and 7 activations.
///
/// Between [`PairTiles::begin`] and [`PairTiles::end`] sums stay in tiles 0 and 1, from [`PairTiles::square`] to
/// [`PairTiles::end_square`] in 0 to 3. Nothing but this file and its neighbours has instructions that touch tiles, of
/// which each configures them anew.
pub(crate) struct AmxPairs {
    rows: usize,
    /// Held for its end, which gives the tiles up.
    _tiles: Configured,
}

impl PairTiles for AmxPairs {
    #[inline(always)]
    fn configure(isa: Isa, rows: usize) -> Option<Self> {
        assert!((1..=LANES).contains(&rows), "rows of one tile");
        let (all, some) = (4 * LANES as u16, 4 * rows as u16);
        let row_bytes = [some, some, some, some, all, all, some, some];
        Some(AmxPairs { rows, _tiles: Configured::new(isa, row_bytes, [LANES as u8; TILES])? })
    }

    #[inline(always)]
    fn begin(&mut self) {
        // SAFETY: the thread's tiles are configured as long as this value lives.
        unsafe {
            asm!("tilezero tmm0", "tilezero tmm1", out("tmm0") _, out("tmm1") _, options(nomem, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn add(&mut self, [first, second]: [&Tile; 2], pairs: &[Pair]) {
        assert!(pairs.len() >= LANES * self.rows, "a tile of activations");
        // SAFETY: the thread's tiles are configured as long as this value lives, by no other value. What is read: sixteen lines
        // of 64 bytes of either tile of weights, and by the assertion sixteen of `4 * rows` bytes of activations.
        unsafe {
            asm!(
                "tileloadd tmm6, [{pairs} + {row}*1]",
                "tileloadd tmm4, [{first} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{second} + {line}*1]",
                "tdpbf16ps tmm1, tmm5, tmm6",
                pairs = in(reg) pairs.as_ptr(),
                first = in(reg) first,
                second = in(reg) second,
                row = in(reg) 4 * self.rows,
                line = in(reg) 4 * LANES,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm4") _,
                out("tmm5") _,
                out("tmm6") _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    #[inline(always)]
    fn end(&mut self, sums: &mut [TileSums; 2]) {
        // SAFETY: as above. What is written: sixteen lines of up to 64 bytes, twice.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}*1], tmm0",
                "tilestored [{sums} + {line}*1 + 1024], tmm1",
                sums = in(reg) sums,
                line = in(reg) 4 * LANES,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn strip(&mut self, first: &[Tile], [left, right]: [&[Tile]; 2], sums: &mut [TileSums; 2]) {
        let steps = first.len();
        assert!(self.rows == LANES && steps > 0, "whole tiles");
        assert!(left.len() == steps && right.len() == steps, "as many of each");
        // SAFETY: as above, with all tiles of sixteen lines of 64 bytes. What is read: so many lines of `steps` tiles of three slices,
        // by the assertions; `steps` is one at least, as the loop wants it. What is written: two tiles of sums.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{first} + {line}*1]",
                "tileloadd tmm6, [{left} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {line}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {first}, 1024",
                "add {left}, 1024",
                "add {right}, 1024",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {line}*1], tmm0",
                "tilestored [{sums} + {line}*1 + 1024], tmm1",
                first = inout(reg) first.as_ptr() => _,
                left = inout(reg) left.as_ptr() => _,
                right = inout(reg) right.as_ptr() => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                line = in(reg) 4 * LANES,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm4") _,
                out("tmm6") _,
                out("tmm7") _,
                options(nostack),
            );
        }
    }

    #[inline(always)]
    fn square(
        &mut self,
        [first, second]: [&[Tile]; 2],
        [left, right]: [&[Tile]; 2],
        sums: Option<&[[TileSums; 2]; 2]>,
    ) {
        let steps = first.len();
        assert!(self.rows == LANES && steps > 0, "whole tiles");
        assert!([second, left, right].iter().all(|tiles| tiles.len() == steps), "as many of each");
        // SAFETY: as above, with all tiles of sixteen lines of 64 bytes. What is read: so many lines of `steps` tiles of four slices,
        // by the assertions, and four tiles of sums; `steps` is one at least, as the loop wants it.
        unsafe {
            match sums {
                None => asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    out("tmm0") _,
                    out("tmm1") _,
                    out("tmm2") _,
                    out("tmm3") _,
                    options(nomem, nostack, preserves_flags),
                ),
                Some(sums) => asm!(
                    "tileloadd tmm0, [{sums} + {line}*1]",
                    "tileloadd tmm1, [{sums} + {line}*1 + 1024]",
                    "tileloadd tmm2, [{sums} + {line}*1 + 2048]",
                    "tileloadd tmm3, [{sums} + {line}*1 + 3072]",
                    sums = in(reg) sums,
                    line = in(reg) 4 * LANES,
                    out("tmm0") _,
                    out("tmm1") _,
                    out("tmm2") _,
                    out("tmm3") _,
                    options(nostack, preserves_flags, readonly),
                ),
            }
            asm!(
                "2:",
                "tileloadd tmm4, [{first} + {line}*1]",
                "tileloadd tmm6, [{left} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {line}*1]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{second} + {line}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {first}, 1024",
                "add {second}, 1024",
                "add {left}, 1024",
                "add {right}, 1024",
                "dec {steps}",
                "jnz 2b",
                first = inout(reg) first.as_ptr() => _,
                second = inout(reg) second.as_ptr() => _,
                left = inout(reg) left.as_ptr() => _,
                right = inout(reg) right.as_ptr() => _,
                steps = inout(reg) steps => _,
                line = in(reg) 4 * LANES,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                out("tmm3") _,
                out("tmm4") _,
                out("tmm5") _,
                out("tmm6") _,
                out("tmm7") _,
                options(nostack, readonly),
            );
        }
    }

    #[inline(always)]
    fn end_square(&mut self, sums: &mut [[TileSums; 2]; 2]) {
        // SAFETY: as above. What is written: four tiles of sums, of sixteen lines of up to 64 bytes.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}*1], tmm0",
                "tilestored [{sums} + {line}*1 + 1024], tmm1",
                "tilestored [{sums} + {line}*1 + 2048], tmm2",
                "tilestored [{sums} + {line}*1 + 3072], tmm3",
                sums = in(reg) sums,
                line = in(reg) 4 * LANES,
                options(nostack, preserves_flags),
            );
        }
    }
}
