#!/usr/bin/env python3
"""Compare the losses of AdamW with those of PyTorch, on a tiny random Llama: adapters beside PEFT, and all weights.

    lora.py [--learn PROGRAM] [--steps 20] [--rate R] [--seed S] [--full | --dora | --rslora | --prefix] [--tied]
            [--curve]

Needs: pip install torch transformers==5.23.0 peft safetensors
PROGRAM is `cargo build --release -p bantam-train --example learn`.

Both sides start from the same checkpoint and the same adapter, and take the same batch at every step, whose
sequences have different lengths and prompts without loss; ours goes in micro-batches of two, in f32. PyTorch computes
in f64 as far as transformers lets it, since steep steps make its own rounding in f32 grow beyond the tolerance; what it
gives in f32 is told beside ours. The loss of each step is the one before it. Exits with 1 if a loss differs by more
than 1e-4 nats.

With --curve there are 200 steps of a tenth of the rate over 60 other sequences, three at a step. Rounding grows further
there: exits with 1 if a loss differs by more than ten times as much as PyTorch's in f32 do, or by 1e-2.
"""
import argparse
import pathlib
import sys
import tempfile

import peft
import torch

from training import ROOT, compare, examples, learn_in_bantam, learn_in_torch, tiny_llama

TOLERANCE = 1e-4
RANK, ALPHA = 8, 16
VIRTUAL_TOKENS = 6
CURVE_STEPS, CURVE_ROWS = 200, 60
# With ten times as much PyTorch in f32 parts from itself in f64 by 0.4 nats after 160 steps.
CURVE_RATE = 0.001


def with_adapter(model, seed, options):
    torch.manual_seed(seed + 1)
    if options.prefix:
        config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL_TOKENS)
        return peft.get_peft_model(model, config)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", lora_dropout=0.0,
                             use_dora=options.dora, use_rslora=options.rslora)
    model = peft.get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            # Away from zero, so that A has a gradient from the first step on.
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def write_start(folder, options):
    """A model and its adapter, written where both sides read them."""
    model = tiny_llama(options.seed, options.tied)
    model.save_pretrained(folder / "model")
    if options.full:
        return model
    model = with_adapter(model, options.seed, options)
    adapter = folder / "adapter"
    model.save_pretrained(adapter)
    return model


def rows(options, vocab_size):
    if not options.curve:
        return examples(options.seed, vocab_size)
    ids, learn = [], []
    for part in range(CURVE_ROWS // 3):
        more = examples(options.seed + 100 * part, vocab_size)
        ids, learn = ids + more[0], learn + more[1]
    return ids, learn


def batches(ids, learn, steps):
    """Three sequences after the others, again and again."""
    for step in range(steps):
        places = [(3 * step + i) % len(ids) for i in range(3)]
        yield [ids[place] for place in places], [learn[place] for place in places]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--learn", default=str(ROOT / "target/release/examples/learn"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--dora", action="store_true")
    parser.add_argument("--rslora", action="store_true")
    parser.add_argument("--prefix", action="store_true")
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--curve", action="store_true")
    options = parser.parse_args()
    steps = options.steps or (CURVE_STEPS if options.curve else 20)
    options.rate = options.rate or (CURVE_RATE if options.curve else 0.01)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = write_start(folder, options)
        ids, learn = rows(options, 320)
        more = {} if options.full else {"adapter": str(folder / "adapter")}
        found = learn_in_bantam(options.learn, folder, folder / "model", ids, learn, options.rate, steps, 3,
                                full=options.full, rank=RANK, alpha=ALPHA, **more)
        rounded = learn_in_torch(model, batches(ids, learn, steps), options.rate)
        again = write_start(folder, options).double()
        expected = learn_in_torch(again, batches(ids, learn, steps), options.rate)
        noise = max(abs(x - y) for x, y in zip(rounded, expected))
        print(f"PyTorch in f32 differs by {noise:.2e} at most")
        tolerance = max(min(10 * noise, 1e-2), TOLERANCE) if options.curve else TOLERANCE
    return 0 if compare(found, expected, tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
