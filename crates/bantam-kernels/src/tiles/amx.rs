//! AMX: leave to use it, its configuration, and AMX-INT8's instructions.
//!
//! The compiler's own intrinsics are not stable, so each use is written out. Tiles belong to a thread: a value of
//! [`Configured`] stands for its configuration, which is given up when the value is dropped, so that an idle thread has no
//! tiles for the system to save.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::{DigitSums, Digits, TileRow, Tiles};
use crate::Isa;
use crate::width::{LANES, RUN};

/// Whether the processor has AMX-INT8 with tiles of 16 rows of 64 bytes, and the system lets this process use them.
/// The first call asks for that.
pub(crate) fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| detected() && saved() && granted())
}

/// Whether the same processor multiplies tiles of BF16, too (AMX-BF16), rounds to it (AVX512-BF16) and permutes bytes (AVX512-VBMI), as all
/// that have the first do.
pub(crate) fn of_bf16() -> bool {
    const BF16: u32 = 1 << 22;
    static FOUND: OnceLock<bool> = OnceLock::new();
    let lanes = || is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vbmi");
    *FOUND.get_or_init(|| lanes() && cpuid(7, 0).edx & BF16 != 0)
}

/// The processor's own word. Intel's manual, volume 2, CPUID leaves 7 and 1DH.
fn detected() -> bool {
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    const PALETTES: u32 = 0x1d;
    // AVX-512 was found before, so leaf 7 is there.
    if cpuid(7, 0).edx & (TILE | INT8) != TILE | INT8 || cpuid(0, 0).eax < PALETTES {
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
        if !isa.has_tiles() {
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
/// Tiles 0 to 3 are sums, 4 and 5 digits of activations, 6 and 7 codes of weights.
pub(crate) struct Amx {
    unit: usize,
    /// Held for its end, which gives the tiles up.
    _tiles: Configured,
}

/// Multiplies one unit: zeroes the sums, loads, multiplies and stores, first the low digits, then the high ones.
macro_rules! multiply {
    ($low:tt, $high:tt, $codes:tt, $from:expr, $digits:expr, $to:expr) => {
        asm!(
            concat!("tileloadd ", $codes, ", [{codes} + {line}*1]"),
            "tileloadd tmm4, [{digits} + {row}*1]",
            concat!("tilezero ", $low),
            concat!("tdpbusd ", $low, ", tmm4, ", $codes),
            "tileloadd tmm5, [{digits} + {row}*1 + 512]",
            concat!("tilezero ", $high),
            concat!("tdpbssd ", $high, ", tmm5, ", $codes),
            concat!("tilestored [{sums} + {line}*1], ", $low),
            concat!("tilestored [{sums} + {line}*1 + 1024], ", $high),
            codes = in(reg) $from,
            digits = in(reg) $digits,
            sums = in(reg) $to,
            line = in(reg) size_of::<TileRow>(),
            row = in(reg) RUN,
            out("tmm4") _,
            out("tmm5") _,
            out($low) _,
            out($high) _,
            out($codes) _,
            options(nostack, preserves_flags),
        )
    };
}

/// As [`multiply`], the high digits alone.
macro_rules! multiply_high {
    ($high:tt, $codes:tt, $from:expr, $digits:expr, $to:expr) => {
        asm!(
            concat!("tileloadd ", $codes, ", [{codes} + {line}*1]"),
            "tileloadd tmm5, [{digits} + {row}*1 + 512]",
            concat!("tilezero ", $high),
            concat!("tdpbssd ", $high, ", tmm5, ", $codes),
            concat!("tilestored [{sums} + {line}*1 + 1024], ", $high),
            codes = in(reg) $from,
            digits = in(reg) $digits,
            sums = in(reg) $to,
            line = in(reg) size_of::<TileRow>(),
            row = in(reg) RUN,
            out("tmm5") _,
            out($high) _,
            out($codes) _,
            options(nostack, preserves_flags),
        )
    };
}

impl Tiles for Amx {
    #[inline(always)]
    fn configure(isa: Isa, unit: usize) -> Option<Self> {
        assert!(unit == RUN / 2 || unit == RUN);
        let (sums, digits, codes) = (4 * LANES as u16, unit as u16, 4 * LANES as u16);
        let (all, of_codes) = (LANES as u8, unit as u8 / 4);
        let row_bytes = [sums, sums, sums, sums, digits, digits, codes, codes];
        let rows = [all, all, all, all, all, all, of_codes, of_codes];
        Some(Amx { unit, _tiles: Configured::new(isa, row_bytes, rows)? })
    }

    #[inline(always)]
    fn multiply(
        &mut self,
        digits: &Digits,
        (begin, low): (usize, bool),
        codes: &[TileRow],
        turn: usize,
        sums: &mut DigitSums,
    ) {
        assert!(codes.len() * 4 >= self.unit && begin + self.unit <= RUN);
        let (codes, sums) = (codes.as_ptr(), std::ptr::from_mut(sums));
        // SAFETY: place `begin` lies within a row of digits, by the assertion.
        let digits = unsafe { std::ptr::from_ref(digits).cast::<u8>().add(begin) };
        // SAFETY: the thread's tiles are configured as long as this value lives, by no other value, for rows of `unit` digits and `unit / 4`
        // rows of codes. What is read: by the assertion, that many rows of 64 bytes of codes, and from `begin` on `unit` bytes
        // of each of sixteen rows of `RUN` bytes, twice, the second 512 bytes behind the first: the two fields of `Digits`.
        // What is written: sixteen rows of 64 bytes, twice: the two fields of `DigitSums`, which is borrowed mutably.
        unsafe {
            match (low, turn % 2) {
                (true, 0) => multiply!("tmm0", "tmm1", "tmm6", codes, digits, sums),
                (true, _) => multiply!("tmm2", "tmm3", "tmm7", codes, digits, sums),
                (false, 0) => multiply_high!("tmm1", "tmm6", codes, digits, sums),
                (false, _) => multiply_high!("tmm3", "tmm7", codes, digits, sums),
            }
        }
    }
}
