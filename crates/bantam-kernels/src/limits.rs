//! What the machine could do at best: the work that a benchmark times.

use crate::Machine;
use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use std::hint::black_box;

/// Reads a buffer once with all threads, in order, and nothing else.
pub fn read_once(machine: &Machine, buffer: &[f32]) {
    struct Read<'a>(&'a [f32]);
    impl Kernel for Read<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<L: Lanes>(self) -> f32 {
            let mut sums = [L::splat(0.0); 4];
            for group in self.0.as_chunks::<{ 4 * LANES }>().0 {
                for (sum, lanes) in sums.iter_mut().zip(group.as_chunks::<LANES>().0) {
                    *sum = sum.add(L::load(lanes));
                }
            }
            sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
        }
    }
    machine.split(buffer.len(), 4 * LANES, |range| {
        black_box(dispatch(machine.isa(), Read(&buffer[range])));
    });
}

/// Does fused multiply-adds in registers on all threads; gives the number of floating-point operations.
pub fn multiply_add(machine: &Machine, rounds: usize) -> u64 {
    const CHAINS: usize = 6;
    struct MultiplyAdd(usize);
    impl Kernel for MultiplyAdd {
        type Output = f32;
        #[inline(always)]
        fn run<L: Lanes>(self) -> f32 {
            let factor = L::splat(black_box(0.999));
            let mut chains = [L::splat(black_box(1.0)); CHAINS];
            for _ in 0..self.0 {
                for chain in &mut chains {
                    *chain = chain.mul_add(factor, factor);
                }
            }
            let mut sum = L::splat(0.0);
            for chain in chains {
                sum = sum.add(chain);
            }
            sum.sum()
        }
    }
    machine.split(machine.threads(), 1, |range| {
        for _ in range {
            black_box(dispatch(machine.isa(), MultiplyAdd(rounds)));
        }
    });
    (machine.threads() * rounds * CHAINS * LANES * 2) as u64
}

/// Multiplies pairs of codes in registers on all threads; gives the number of integer operations.
pub fn multiply_codes(machine: &Machine, rounds: usize) -> u64 {
    const CHAINS: usize = 6;
    struct MultiplyCodes(usize);
    impl Kernel for MultiplyCodes {
        type Output = f32;
        #[inline(always)]
        fn run<L: Lanes>(self) -> f32 {
            let codes = black_box([[3i16; 2 * LANES]; CHAINS]);
            let mut chains = [L::ints_zero(); CHAINS];
            for _ in 0..self.0 {
                // Within the loop, or the compiler would multiply once and only add in each round.
                let pair = black_box([5i16, 7]);
                for (chain, codes) in chains.iter_mut().zip(&codes) {
                    *chain = L::ints_add_pairs(*chain, codes, &pair);
                }
            }
            let mut sum = L::splat(0.0);
            for chain in chains {
                sum = sum.add(L::ints_to_f32(chain));
            }
            sum.sum()
        }
    }
    machine.split(machine.threads(), 1, |range| {
        for _ in range {
            black_box(dispatch(machine.isa(), MultiplyCodes(rounds)));
        }
    });
    (machine.threads() * rounds * CHAINS * 2 * LANES * 2) as u64
}
