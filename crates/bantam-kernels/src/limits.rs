//! What the machine could do at best: the work that a benchmark times.

use crate::Machine;
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch};
use std::hint::black_box;

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
