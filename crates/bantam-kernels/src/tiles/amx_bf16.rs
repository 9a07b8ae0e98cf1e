//! AMX-BF16: the instructions.

use std::arch::asm;

use super::amx::{Configured, TILES};
use super::bf16::{Bf16Square, Bf16Tiles};
use crate::Isa;
use crate::width::LANES;

/// Tiles of sixteen rows of sixteen pairs, or sums.
///
/// Tiles 0 to 3 are sums, row by row, 4 and 5 first factors, 6 and 7 second ones.
pub(crate) struct AmxBf16 {
    /// Held for its end, which gives the tiles up.
    _tiles: Configured,
}

/// Loads sums, adds the products of all steps to them and stores them. All of it is one block, since a tile keeps what is in it
/// for the compiler no longer than that.
macro_rules! add_products {
    (
        ($($load:literal),+), ($($multiply:literal),+), ($($store:literal),+),
        ($firsts:expr, $seconds:expr, $steps:expr, $sums:expr, $width:expr), $($more:tt)*
    ) => {
        asm!(
            $($load,)+
            "2:",
            $($multiply,)+
            "add {firsts}, {tile_row}",
            "add {seconds}, {line} * 16",
            "dec {steps}",
            "jnz 2b",
            $($store,)+
            firsts = inout(reg) $firsts => _,
            seconds = inout(reg) $seconds => _,
            steps = inout(reg) $steps => _,
            sums = in(reg) $sums,
            width = in(reg) $width,
            row = in(reg) 4 * DEPTH,
            column = in(reg) 4 * LANES,
            tile_row = const 4 * LANES,
            line = const 4 * LANES,
            $($more)*
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        )
    };
}

impl Bf16Tiles for AmxBf16 {
    #[inline(always)]
    fn configure(isa: Isa) -> Option<Self> {
        let (bytes, rows) = (4 * LANES as u16, LANES as u8);
        Some(AmxBf16 { _tiles: Configured::new(isa, [bytes; TILES], [rows; TILES])? })
    }

    #[inline(always)]
    unsafe fn add<const DEPTH: usize>(
        &mut self,
        factors: Bf16Square<'_, DEPTH>,
        tiles: [usize; 2],
        sums: *mut f32,
        width: usize,
    ) {
        factors.check(tiles);
        let (firsts, seconds) = (factors.firsts.as_ptr(), factors.seconds.as_ptr());
        let (steps, bytes) = (factors.steps, 4 * width);
        // Where the second tile's sums begin.
        let lower = sums.wrapping_add(LANES * width);
        // SAFETY: the processor multiplies tiles of BF16, and the thread's are configured as long as this value lives, by no other
        // value, all for sixteen rows of 64 bytes. What is read, by the assertions of `check`: of sixteen or 32 rows of `4 * DEPTH`
        // bytes, the first `64 * steps`; and in one or two strips of `DEPTH` lines of 64 bytes, the first `16 * steps`; where
        // there are two of either, the second begins `64 * DEPTH` bytes behind the first. `steps` is one at least, as the loop
        // wants it. What is read and written beside: the sums, rows of 64 or 128 bytes, `bytes` apart, by the caller's promise.
        unsafe {
            match tiles {
                [2, 2] => add_products!(
                    (
                        "tileloadd tmm0, [{sums} + {width}*1]",
                        "tileloadd tmm1, [{sums} + {width}*1 + 64]",
                        "tileloadd tmm2, [{lower} + {width}*1]",
                        "tileloadd tmm3, [{lower} + {width}*1 + 64]"
                    ),
                    (
                        "tileloadd tmm6, [{seconds} + {column}*1]",
                        "tileloadd tmm4, [{firsts} + {row}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{seconds} + {column}*1 + {second}]",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{firsts} + {row}*1 + {second}]",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7"
                    ),
                    (
                        "tilestored [{sums} + {width}*1], tmm0",
                        "tilestored [{sums} + {width}*1 + 64], tmm1",
                        "tilestored [{lower} + {width}*1], tmm2",
                        "tilestored [{lower} + {width}*1 + 64], tmm3"
                    ),
                    (firsts, seconds, steps, sums, bytes),
                    lower = in(reg) lower,
                    second = const 64 * DEPTH,
                ),
                [2, _] => add_products!(
                    ("tileloadd tmm0, [{sums} + {width}*1]", "tileloadd tmm2, [{lower} + {width}*1]"),
                    (
                        "tileloadd tmm6, [{seconds} + {column}*1]",
                        "tileloadd tmm4, [{firsts} + {row}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm5, [{firsts} + {row}*1 + {second}]",
                        "tdpbf16ps tmm2, tmm5, tmm6"
                    ),
                    ("tilestored [{sums} + {width}*1], tmm0", "tilestored [{lower} + {width}*1], tmm2"),
                    (firsts, seconds, steps, sums, bytes),
                    lower = in(reg) lower,
                    second = const 64 * DEPTH,
                ),
                [_, 2] => add_products!(
                    ("tileloadd tmm0, [{sums} + {width}*1]", "tileloadd tmm1, [{sums} + {width}*1 + 64]"),
                    (
                        "tileloadd tmm6, [{seconds} + {column}*1]",
                        "tileloadd tmm4, [{firsts} + {row}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{seconds} + {column}*1 + {second}]",
                        "tdpbf16ps tmm1, tmm4, tmm7"
                    ),
                    ("tilestored [{sums} + {width}*1], tmm0", "tilestored [{sums} + {width}*1 + 64], tmm1"),
                    (firsts, seconds, steps, sums, bytes),
                    second = const 64 * DEPTH,
                ),
                _ => add_products!(
                    ("tileloadd tmm0, [{sums} + {width}*1]"),
                    (
                        "tileloadd tmm6, [{seconds} + {column}*1]",
                        "tileloadd tmm4, [{firsts} + {row}*1]",
                        "tdpbf16ps tmm0, tmm4, tmm6"
                    ),
                    ("tilestored [{sums} + {width}*1], tmm0"),
                    (firsts, seconds, steps, sums, bytes),
                ),
            }
        }
    }
}
