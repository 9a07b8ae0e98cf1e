#!/usr/bin/env python3
"""Compare the losses of plain gradient descent with those of PyTorch, on a tiny random Llama.

    sgd.py [--bantam PROGRAM] [--steps 20] [--rate 0.1] [--seed S] [--tied]

Needs: pip install torch transformers==5.23.0 safetensors

Both sides start from the same checkpoint in f32 and take the same batch at every step; the loss of each step is the
one before its descent. Exits with 1 if a loss differs by more than 1e-4 nats.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers

transformers.utils.logging.disable_progress_bar()

TOLERANCE = 1e-4
ROWS, TOKENS = 3, 20


def tiny_llama(seed, tied):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=tied, initializer_range=0.15)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


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
    command = [program, "sgd", folder, "--batch", rows, "--steps", str(steps), "--rate", str(rate), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{program} sgd ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)["losses"]


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "target/release/bantam"
    parser = argparse.ArgumentParser()
    parser.add_argument("--bantam", default=str(default))
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

    if len(found) != len(expected):
        sys.exit(f"{len(found)} losses, wanted {len(expected)}")
    for step, (ours, theirs) in enumerate(zip(found, expected)):
        print(f"step {step:3}  bantam {ours:.7f}  torch {theirs:.7f}  {abs(ours - theirs):.1e}")
    largest = max(abs(ours - theirs) for ours, theirs in zip(found, expected))
    print(f"largest difference {largest:.2e} (at most {TOLERANCE:.0e})")
    return 0 if largest <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
