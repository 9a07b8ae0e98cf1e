#!/usr/bin/env python3
"""Compare the losses of plain gradient descent with those of PyTorch, on a tiny random Llama.

    sgd.py [--bantam PROGRAM] [--steps 20] [--rate 0.1] [--seed S] [--tied]

Needs: pip install torch transformers==5.23.0 safetensors

Both sides start from the same checkpoint in f32 and take the same batch at every step; the loss of each step is the
one before its descent. Exits with 1 if a loss differs by more than 1e-4 nats.
"""
import argparse
import json
import sys
import tempfile

import torch

from training import ROOT, compare, run, tiny_llama

TOLERANCE = 1e-4
ROWS, TOKENS = 3, 20


def descend(model, batch, steps, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        logits = model(input_ids=batch, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def ask(program, folder, batch, steps, rate):
    rows = "/".join(",".join(map(str, row)) for row in batch.tolist())
    out = run([program, "sgd", folder, "--batch", rows, "--steps", steps, "--rate", rate, "--json"])
    return json.loads(out)["losses"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tied", action="store_true")
    options = parser.parse_args()

    model = tiny_llama(options.seed, options.tied)
    batch = torch.randint(3, model.config.vocab_size, (ROWS, TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = ask(options.bantam, folder, batch, options.steps, options.rate)
    expected = descend(model, batch, options.steps, options.rate)

    return 0 if compare(found, expected, TOLERANCE) else 1


if __name__ == "__main__":
    sys.exit(main())
