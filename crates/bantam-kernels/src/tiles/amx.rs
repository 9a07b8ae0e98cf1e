//! AMX: leave to use it, its configuration, and the instructions for exact sums of digits.
//!
//! The compiler's own intrinsics are not stable, so each use is written out. Tiles belong to a thread: a value of
//! [`Configured`] stands for its configuration, which is given up when the value is dropped, so that an idle thread has no
//! tiles for the system to save.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::{Digits, TileRow, TileSums, Tiles};
use crate::Isa;
use crate::width::{LANES, RUN};

/// Whether the processor has AMX-BF16 with tiles of 16 rows of 64 bytes, rounds to BF16 (AVX512-BF16) and permutes bytes (AVX512-VBMI), and the
/// system lets this process use tiles. The first call asks for that.
pub(crate) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| detected() && saved() && granted())
}

/// The processor's own word. Intel's manual, volume 2, CPUID leaves 7 and 1DH.
fn detected() -> bool {
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const PALETTES: u32 = 0x1d;
    // AVX-512 was found before, so leaf 7 is there.
    let lanes = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vbmi");
    if !lanes || cpuid(7, 0).edx & (TILE | BF16) != TILE | BF16 || cpuid(0, 0).eax < PALETTES {
        return false;
    }
    let palette = cpuid(PALETTES, 1);
    let (row_bytes, tiles, rows) = (palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff);
    row_bytes >= 64 && tiles >= 8 && rows >= 16
}

fn cpuid(leaf: u32, part: u32) -> CpuidResult {
    #[allow(unused_unsafe, reason = "newer compilers take the function for safe")]
    // SAFETY: every processor of this architecture has the instruction.
    unsafe {
        __cpuid_count(leaf, part)
    }
}

/// Whether the system saves tiles and their configuration when it changes threads.
fn saved() -> bool {
    const CONFIGURATION_AND_DATA: u64 = 0b11 << 17;
    // SAFETY: AVX-512 was found before, which takes a processor and a system that have this instruction.
    let states = unsafe { _xgetbv(0) };
    states & CONFIGURATION_AND_DATA == CONFIGURATION_AND_DATA
}

/// Asks Linux for the use of tiles by this process. Documentation/arch/x86/xstate.rst of the kernel.
fn granted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: this call of the system takes two numbers, changes no memory of this process, and says by its result
    // whether it knows the request. The instruction changes rax, rcx, r11 and flags, which are given here.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// The tiles of the thread that holds it.
pub(super) struct Configured {
    /// Tiles are the thread's: the value stays on it.
    not_send: PhantomData<*const ()>,
}

thread_local! {
    /// Whether a value of [`Configured`] is alive on this thread.
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// What `ldtilecfg` reads: Intel's manual, volume 1, chapter 18.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configured {
    /// Configures tiles for rows of `row_bytes` bytes; `None` where `isa` has no tiles.
    #[inline(always)]
    pub(super) fn new(isa: Isa, row_bytes: [u16; TILES], rows: [u8; TILES]) -> Option<Self> {
        if !isa.has_bf16_tiles() {
            return None;
        }
        assert!(row_bytes.iter().all(|bytes| (1..=64).contains(bytes)), "rows that no tile has");
        assert!(rows.iter().all(|rows| (1..=16).contains(rows)), "more rows than a tile has");
        assert!(!CONFIGURED.replace(true), "a thread's tiles are configured once at a time");
        let mut all =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        all.row_bytes[..TILES].copy_from_slice(&row_bytes);
        all.rows[..TILES].copy_from_slice(&rows);
        // SAFETY: such an `Isa` is only made where `permitted` says so; sixty-four bytes can be read, and they are a
        // configuration within the bounds of palette 1, by the assertions, so that no fault is raised.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const all, options(nostack, preserves_flags, readonly)) }
        Some(Configured { not_send: PhantomData })
    }
}

impl Drop for Configured {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the instruction touches tiles and their configuration only, and the value that stands for them ends.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
        CONFIGURED.set(false);
    }
}

/// Tiles of palette 1.
pub(super) const TILES: usize = 8;

/// Tiles configured for units of one length.
///
/// Tiles 0 and 1 are sums of a unit of two panels, 2 and 3 those of the next one, 4 and 5 digits of activations, 6 and 7 codes of weights. Sums
/// stay in their tile until they are stored: nothing but this file and its neighbours has instructions that touch tiles, of which each configures
/// them anew.
pub(crate) struct Amx {
    unit: usize,
    /// Held for its end, which gives the tiles up.
    _tiles: Configured,
}

/// Multiplies one unit of two panels, first by the upper digits, then by the lower ones.
macro_rules! multiply {
    ($first:tt, $second:tt, $digits:expr, $codes:expr) => {
        asm!(
            "tileloadd tmm4, [{digits} + {line}*1]",
            "tileloadd tmm6, [{codes} + {line}*1]",
            concat!("tilezero ", $first),
            concat!("tdpbf16ps ", $first, ", tmm4, tmm6"),
            "tileloadd tmm7, [{next} + {line}*1]",
            concat!("tilezero ", $second),
            concat!("tdpbf16ps ", $second, ", tmm4, tmm7"),
            "tileloadd tmm5, [{digits} + {line}*1 + 1024]",
            concat!("tdpbf16ps ", $first, ", tmm5, tmm6"),
            concat!("tdpbf16ps ", $second, ", tmm5, tmm7"),
            digits = in(reg) $digits,
            codes = in(reg) $codes[0],
            next = in(reg) $codes[1],
            line = in(reg) size_of::<TileRow>(),
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            out($first) _,
            out($second) _,
            options(nostack, preserves_flags, readonly),
        )
    };
}

macro_rules! store {
    ($first:tt, $second:tt, $to:expr) => {
        asm!(
            concat!("tilestored [{to} + {line}*1], ", $first),
            concat!("tilestored [{to} + {line}*1 + 1024], ", $second),
            to = in(reg) $to,
            line = in(reg) 4 * LANES,
            options(nostack, preserves_flags),
        )
    };
}

impl Tiles for Amx {
    #[inline(always)]
    fn configure(isa: Isa, unit: usize) -> Option<Self> {
        assert!(unit == RUN / 2 || unit == RUN);
        let (whole, digits) = (4 * LANES as u16, 2 * unit as u16);
        let (all, of_codes) = (LANES as u8, unit as u8 / 2);
        let row_bytes = [whole, whole, whole, whole, digits, digits, whole, whole];
        let rows = [all, all, all, all, all, all, of_codes, of_codes];
        Some(Amx { unit, _tiles: Configured::new(isa, row_bytes, rows)? })
    }

    #[inline(always)]
    fn multiply(&mut self, digits: &[Digits], codes: [&[TileRow]; 2], sums: &mut [[TileSums; 2]]) {
        let (units, lines) = (sums.len(), self.unit / 2);
        assert!(units > 0 && units * self.unit == digits.len() * RUN, "two tiles of sums for each unit");
        assert!(codes.iter().all(|codes| codes.len() == units * lines), "as many codes as digits");
        let digits_of = |unit: usize| {
            let (run, begin) = (unit * self.unit / RUN, unit * self.unit % RUN);
            digits.as_ptr().wrapping_add(run).cast::<u16>().wrapping_add(begin)
        };
        let codes_of = |unit: usize| {
            [codes[0].as_ptr(), codes[1].as_ptr()].map(|codes| codes.wrapping_add(unit * lines))
        };
        let sums = sums.as_mut_ptr();
        // SAFETY: the thread's tiles are configured as long as this value lives, by no other value, for rows of `unit` digits and `unit / 2`
        // rows of codes. What is read: of each of `units` units, by the assertions, that many lines of 64 bytes of codes, twice, and `unit`
        // digits of each of sixteen rows of 64 bytes, twice, the second 1024 bytes behind the first: the two fields of `Digits`.
        // What is written: the sums of `units` units, twice sixteen rows of 64 bytes each. Those of a unit are stored behind the
        // products of the next one, since they wait for their own.
        unsafe {
            multiply!("tmm0", "tmm1", digits_of(0), codes_of(0));
            for unit in 1..units {
                if unit % 2 == 1 {
                    multiply!("tmm2", "tmm3", digits_of(unit), codes_of(unit));
                    store!("tmm0", "tmm1", sums.add(unit - 1));
                } else {
                    multiply!("tmm0", "tmm1", digits_of(unit), codes_of(unit));
                    store!("tmm2", "tmm3", sums.add(unit - 1));
                }
            }
            if units % 2 == 1 {
                store!("tmm0", "tmm1", sums.add(units - 1));
            } else {
                store!("tmm2", "tmm3", sums.add(units - 1));
            }
        }
    }
}
