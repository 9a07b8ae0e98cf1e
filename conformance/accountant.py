#!/usr/bin/env python3
"""Compare the epsilons of private training with those of Google's `dp_accounting`.

    accountant.py [--learn PROGRAM] [--rust]

Needs: pip install dp-accounting
PROGRAM is `cargo build --release -p bantam-train --example epsilon`, which reads lines of `q sigma steps delta` and
prints an epsilon for each. Every epsilon must be that of the reference's Rényi accountant with the same orders to 1 in
1000, and must not be below the one of its accountant by privacy loss distributions, which is tighter. With --rust
prints the table of the crate's tests.
"""
import argparse
import pathlib
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore")

from dp_accounting import dp_event, pld, rdp

ORDERS = [1 + i / 10 for i in range(1, 100)] + list(range(11, 64)) + [80, 96, 128, 192, 256, 512]
CASES = [(0.01, 1.0, 1000, 1e-5), (0.001, 0.7, 5000, 1e-6), (0.05, 0.6, 200, 1e-4), (0.1, 2.0, 100, 1e-3),
         (0.25, 2.5, 60, 1e-4), (0.5, 4.0, 300, 1e-5), (1.0, 3.0, 10, 1e-5)]
TOLERANCE = 1e-3


def composed(accountant, q, sigma, steps):
    event = dp_event.GaussianDpEvent(sigma)
    event = event if q == 1.0 else dp_event.PoissonSampledDpEvent(q, event)
    return accountant.compose(dp_event.SelfComposedDpEvent(event, steps))


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "target/release/examples/epsilon"
    parser = argparse.ArgumentParser()
    parser.add_argument("--learn", default=str(default))
    parser.add_argument("--rust", action="store_true")
    args = parser.parse_args()
    wanted = [composed(rdp.RdpAccountant(ORDERS), *case[:3]).get_epsilon(case[3]) for case in CASES]
    if args.rust:
        for case, epsilon in zip(CASES, wanted):
            print(f"    ({', '.join(map(str, case))}, {epsilon:.6f}),")
        return
    lines = "\n".join(" ".join(map(str, case)) for case in CASES)
    done = subprocess.run([args.learn], input=lines, capture_output=True, text=True, check=True, timeout=120)
    failed = 0
    for case, epsilon, found in zip(CASES, wanted, map(float, done.stdout.split())):
        tight = composed(pld.PLDAccountant(), *case[:3]).get_epsilon(case[3])
        wrong = abs(found / epsilon - 1) > TOLERANCE or found < tight * 0.999
        failed += wrong
        print(f"q {case[0]:<6} sigma {case[1]:<4} steps {case[2]:<5} delta {case[3]:<7} bantam {found:.4f}  "
              f"RDP {epsilon:.4f}  PLD {tight:.4f}{'  WRONG' if wrong else ''}")
    print("passed" if failed == 0 else f"{failed} epsilons are wrong")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
