//! The instruction set and the threads that all kernels run on.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::pool::Pool;
use crate::share::Shared;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::tiles;
use crate::width::LANES;

/// An instruction set that the kernels have code for. A value other than [`Isa::SCALAR`] is
/// only made where the processor was asked and has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(pub(crate) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same registers, and products of pairs of BF16. (Where there are tiles, in Sapphire Rapids, that instruction has half
    /// the rate of those for f32, so it is no part of their level.)
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// Those of [`Level::Avx512`] and BF16, permutations of bytes, and tiles of BF16 that the system lets this process use.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same, and dot products of bytes.
    #[cfg(target_arch = "aarch64")]
    NeonDots,
    /// The same, and products of small matrices of bytes.
    #[cfg(target_arch = "aarch64")]
    NeonMatrices,
}

impl Isa {
    /// Plain Rust, for any processor; the truth that the others are tested against.
    pub const SCALAR: Isa = Isa(Level::Scalar);

    /// Every instruction set that this processor has, slowest first.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut, reason = "only some targets have more than scalar code")]
        let mut found = vec![Isa::SCALAR];
        #[cfg(target_arch = "x86_64")]
        for (level, features) in X86_LEVELS {
            // Each level needs what those before it need.
            if !features.iter().all(|feature| has_x86_feature(feature)) {
                break;
            }
            found.push(Isa(level));
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if found.contains(&Isa(Level::Avx512)) && tiles::permitted() {
            found.push(Isa(Level::Amx));
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa(Level::Neon));
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            found.push(Isa(Level::NeonDots));
            if std::arch::is_aarch64_feature_detected!("i8mm") {
                found.push(Isa(Level::NeonMatrices));
            }
        }
        found
    }

    /// The fastest one of this processor.
    pub fn best() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::SCALAR)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512bf16",
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Level::Amx => "amx",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDots => "neondot",
            #[cfg(target_arch = "aarch64")]
            Level::NeonMatrices => "neoni8mm",
        }
    }

    /// Whether products of many rows are formed of small matrices.
    pub(crate) fn has_matrices(self) -> bool {
        #[cfg(target_arch = "aarch64")]
        let matrices = self.0 == Level::NeonMatrices;
        #[cfg(not(target_arch = "aarch64"))]
        let matrices = false;
        matrices
    }

    /// Whether products of pairs of BF16 are formed in tiles; then lanes have such pairs, too.
    pub fn has_bf16_tiles(self) -> bool {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let tiles = self.0 == Level::Amx;
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let tiles = false;
        tiles
    }
}

/// Levels slowest first, with what each needs beyond those before it.
#[cfg(target_arch = "x86_64")]
const X86_LEVELS: [(Level, &[&str]); 3] = [
    (Level::Avx2, &["avx2", "fma", "f16c"]),
    (Level::Avx512, &["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"]),
    (Level::Avx512Bf16, &["avx512bf16"]),
];

#[cfg(target_arch = "x86_64")]
fn has_x86_feature(name: &str) -> bool {
    match name {
        "avx2" => is_x86_feature_detected!("avx2"),
        "fma" => is_x86_feature_detected!("fma"),
        "f16c" => is_x86_feature_detected!("f16c"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "avx512vnni" => is_x86_feature_detected!("avx512vnni"),
        "avx512bf16" => is_x86_feature_detected!("avx512bf16"),
        _ => false,
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let available = Isa::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            format!("no instruction set \"{name}\" on this processor; it has {}", names.join(", "))
        })
    }
}

/// The instruction set and the thread pool that a computation uses.
pub struct Machine {
    isa: Isa,
    pool: Pool,
}

impl Machine {
    /// `threads` workers, the caller's own thread among them; 0 means one for each processor that
    /// this process may use.
    pub fn new(isa: Isa, threads: usize) -> Self {
        let threads = if threads == 0 { default_threads() } else { threads.min(THREADS_MAX) };
        Machine { isa, pool: Pool::new(threads) }
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of threads, the caller's own among them.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Splits `0..items` into contiguous ranges, each beginning at a multiple of `granule`, and runs `work` on all of
    /// them. Each thread has a part of its own, in which it takes a share of what is left, one behind the other, so that memory
    /// that was asked for ahead is its own; then it takes shares off the ends of the others' parts, so that a thread that is held
    /// up by other programs, or is on a slower core, holds up nobody for long.
    pub fn split(&self, items: usize, granule: usize, work: impl Fn(std::ops::Range<usize>) + Sync) {
        let granule = granule * items.div_ceil(granule).div_ceil(u32::MAX as usize).max(1);
        let granules = items.div_ceil(granule);
        let threads = self.pool.threads().min(granules.max(1));
        if threads == 1 {
            work(0..items);
            return;
        }
        let bound = |thread: usize| (granules as u64 * thread as u64 / threads as u64) as u32;
        let parts: Vec<_> = (0..threads).map(|thread| Left::new(bound(thread)..bound(thread + 1))).collect();
        // The pool's own barrier orders what the ranges hold.
        let work = |granules: std::ops::Range<usize>| {
            work(granules.start * granule..(granules.end * granule).min(items));
        };
        self.pool.run(&|thread| {
            let (others, own) = parts.split_at(thread % threads);
            let (own, more) = (&own[0], &own[1..]);
            while let Some(share) = own.take(Left::first_half) {
                work(share);
            }
            for other in more.iter().chain(others) {
                while let Some(share) = other.take(Left::last_half) {
                    work(share);
                }
            }
        });
    }

    /// Runs `work` on parts of `x` of whole sixteens, with the place where each begins; where they are few, by this
    /// thread alone.
    pub(crate) fn split_mut(&self, x: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
        self.split_rows_mut(x, LANES, |first, x| work(first * LANES, x));
    }

    /// As [`Machine::split_mut`] on parts of whole rows of `width` numbers, with the first row of each. The last row
    /// may be shorter.
    pub(crate) fn split_rows_mut(
        &self,
        x: &mut [f32],
        width: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if x.len() < SPLIT_MIN {
            return work(0, x);
        }
        let (len, shared) = (x.len(), Shared::new(x));
        self.split(len.div_ceil(width), 1, |rows| {
            let (begin, end) = (rows.start * width, (rows.end * width).min(len));
            // SAFETY: the threads' ranges of rows do not overlap.
            work(rows.start, unsafe { shared.slice_mut(begin, end - begin) });
        });
    }
}

/// What is left of a thread's part: two bounds, in one word so that they change together, and in a cache line of its own.
#[repr(align(64))]
struct Left(AtomicU64);

impl Left {
    fn new(range: std::ops::Range<u32>) -> Self {
        Left(AtomicU64::new(Left::word(range)))
    }

    fn word(range: std::ops::Range<u32>) -> u64 {
        u64::from(range.start) << 32 | u64::from(range.end)
    }

    fn range(word: u64) -> std::ops::Range<u32> {
        (word >> 32) as u32..word as u32
    }

    /// The first half, and the rest.
    fn first_half(of: std::ops::Range<u32>) -> [std::ops::Range<u32>; 2] {
        let middle = of.start + of.len().div_ceil(2) as u32;
        [of.start..middle, middle..of.end]
    }

    /// The last half, and the rest.
    fn last_half(of: std::ops::Range<u32>) -> [std::ops::Range<u32>; 2] {
        let middle = of.start + (of.len() / 2) as u32;
        [middle..of.end, of.start..middle]
    }

    /// Takes what `halves` gives first, unless nothing is left.
    fn take(
        &self,
        halves: impl Fn(std::ops::Range<u32>) -> [std::ops::Range<u32>; 2],
    ) -> Option<std::ops::Range<usize>> {
        let rest = |word| {
            let range = Left::range(word);
            (!range.is_empty()).then(|| Left::word(halves(range)[1].clone()))
        };
        let word = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok()?;
        let [taken, _] = halves(Left::range(word));
        Some(taken.start as usize..taken.end as usize)
    }
}

/// Numbers from which on a second thread saves more than it costs.
const SPLIT_MIN: usize = 8 * 1024;

/// Processors that this process may use: the scheduler's affinity and the cgroup quota are
/// respected by the standard library.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS_MAX)
}

/// More threads than this only wait for each other at these sizes of model.
const THREADS_MAX: usize = 64;
