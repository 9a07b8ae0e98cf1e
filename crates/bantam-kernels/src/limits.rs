//! What the machine could do at best: the work that a benchmark times.

use crate::Machine;
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch};
use crate::tiles::{AmxPairs, PairTiles, Tile, TileSums};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads bytes once with all threads, each its part in order, and does nothing else.
pub fn read_once(machine: &Machine, bytes: &[u8]) {
    struct Read<'a>(&'a [u8]);
    impl Kernel for Read<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            const RUNS: usize = 4;
            let mut seen = [L::bytes_load(&[0; RUN]); RUNS];
            for group in self.0.as_chunks::<{ RUNS * RUN }>().0 {
                for (seen, bytes) in seen.iter_mut().zip(group.as_chunks().0) {
                    *seen = L::bytes_join(*seen, L::bytes_load(bytes), 0);
                }
            }
            black_box(seen);
        }
    }
    machine.split(bytes.len(), 1 << 16, |range| dispatch(machine.isa(), Read(&bytes[range])));
}

/// Does fused multiply-adds in registers on all threads; gives the number of floating-point operations.
pub fn multiply_add(machine: &Machine, rounds: usize) -> u64 {
    struct MultiplyAdd(usize);
    impl Kernel for MultiplyAdd {
        type Output = usize;
        #[inline(always)]
        fn run<L: Lanes>(self) -> usize {
            if L::WIDE { add_chains::<L, 12>(self.0) } else { add_chains::<L, 6>(self.0) }
        }
    }
    2 * on_all_threads(machine, || dispatch(machine.isa(), MultiplyAdd(rounds)))
}

/// Multiplies pairs of codes in registers on all threads; gives the number of integer operations.
pub fn multiply_codes(machine: &Machine, rounds: usize) -> u64 {
    struct MultiplyCodes(usize);
    impl Kernel for MultiplyCodes {
        type Output = usize;
        #[inline(always)]
        fn run<L: Lanes>(self) -> usize {
            if L::WIDE { code_chains::<L, 2, 6>(self.0) } else { code_chains::<L, 2, 3>(self.0) }
        }
    }
    4 * on_all_threads(machine, || dispatch(machine.isa(), MultiplyCodes(rounds)))
}

/// Multiplies tiles of BF16 out of the first-level cache on all threads; gives the number of floating-point operations, 0 where there are
/// no such tiles.
pub fn multiply_tiles(machine: &Machine, rounds: usize) -> u64 {
    /// Tiles in a row: few, so that all stay in the cache.
    const STEPS: usize = 8;
    let products = 4 * STEPS * LANES * LANES * RUN;
    2 * on_all_threads(machine, || {
        let Some(mut tiles) = AmxPairs::configure(machine.isa(), LANES) else { return 0 };
        let factors = black_box(vec![Tile::ZERO; STEPS]);
        let mut sums = [[TileSums::ZERO; 2]; 2];
        for _ in 0..rounds {
            tiles.square([&factors, &factors], [&factors, &factors], None);
            tiles.end_square(&mut sums);
        }
        black_box(&sums);
        rounds * products
    })
}

/// What each thread gives, summed.
fn on_all_threads(machine: &Machine, work: impl Fn() -> usize + Sync) -> u64 {
    let all = AtomicU64::new(0);
    machine.split(machine.threads(), 1, |range| {
        for _ in range {
            all.fetch_add(work() as u64, Ordering::Relaxed);
        }
    });
    all.into_inner()
}

/// As many sums side by side as hide the wait of each for the one before it; gives the number of multiply-adds.
#[inline(always)]
fn add_chains<L: Lanes, const CHAINS: usize>(rounds: usize) -> usize {
    let factor = L::splat(black_box(0.999));
    let mut chains = [L::splat(black_box(1.0)); CHAINS];
    for _ in 0..rounds {
        for chain in &mut chains {
            *chain = chain.mul_add(factor, factor);
        }
    }
    let mut sum = L::splat(0.0);
    for chain in chains {
        sum = sum.add(chain);
    }
    black_box(sum.sum());
    rounds * CHAINS * LANES
}

/// The same of pairs of codes, in the form of a product of many rows, whose loads go to several sums each; gives the number of
/// pairs.
#[inline(always)]
fn code_chains<L: Lanes, const CODES: usize, const PAIRS: usize>(rounds: usize) -> usize {
    /// No load may take two lines of the cache.
    #[repr(align(64))]
    struct Codes<const CODES: usize>([[i16; 2 * LANES]; CODES]);
    let codes = black_box(Codes([[3i16; 2 * LANES]; CODES]));
    let mut chains = [[L::ints_zero(); PAIRS]; CODES];
    for _ in 0..rounds {
        // Within the loop, or the compiler would multiply once and only add in each round.
        let pairs = black_box([[5i16, 7]; PAIRS]);
        for (chains, codes) in chains.iter_mut().zip(&codes.0) {
            for (chain, pair) in chains.iter_mut().zip(&pairs) {
                *chain = L::ints_add_pairs(*chain, codes, pair);
            }
        }
    }
    let mut sum = L::splat(0.0);
    for chain in chains.into_iter().flatten() {
        sum = sum.add(L::ints_to_f32(chain));
    }
    black_box(sum.sum());
    rounds * CODES * PAIRS * LANES
}
