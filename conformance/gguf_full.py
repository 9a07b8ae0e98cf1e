#!/usr/bin/env python3
"""Compare the losses of full fine-tuning with those of PyTorch, on the real weights of a GGUF file.

    gguf_full.py FILE.gguf TEXT.txt [--learn PROGRAM] [--steps 20] [--rate 1e-5] [--rows 2] [--length 128]

Needs: pip install torch transformers==5.23.0 gguf safetensors
PROGRAM is `cargo build --release -p bantam-train --example learn`.

Both sides dequantise the file to f32 and learn all weights by AdamW, from other parts of the text at each step; in the
middle, ours stores its state, and another trainer goes on from it. Exits with 1 if a loss differs by more than 1e-4 nats.
"""
import argparse
import pathlib
import sys
import tempfile

import torch
import transformers

from training import ROOT, compare, learn_in_bantam, learn_in_torch

TOLERANCE = 1e-4


def open_gguf(path):
    path = pathlib.Path(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager")
    return model, transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--learn", default=str(ROOT / "target/release/examples/learn"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1e-5)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_args()

    model, tokenizer = open_gguf(options.model)
    count, length = options.steps * options.rows, options.length
    text = pathlib.Path(options.text).read_text(encoding="utf-8")[:16 * count * length]
    tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
    if len(tokens) < count * length:
        sys.exit(f"{options.text} has {len(tokens)} tokens, wanted {count * length}")
    ids = [tokens[place * length:(place + 1) * length] for place in range(count)]
    learn = [[True] * length] * count
    with tempfile.TemporaryDirectory() as folder:
        found = learn_in_bantam(options.learn, folder, options.model, ids, learn, options.rate, options.steps,
                                options.rows, micro_tokens=options.rows * length, full=True, resume=options.steps // 2)
    rows = options.rows
    batches = [(ids[step * rows:(step + 1) * rows], learn[:rows]) for step in range(options.steps)]
    expected = learn_in_torch(model, batches, options.rate)
    return 0 if compare(found, expected, TOLERANCE) else 1


if __name__ == "__main__":
    sys.exit(main())
