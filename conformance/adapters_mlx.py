#!/usr/bin/env python3
"""Adapters that MLX-LM makes, on tiny random models: bantam reads them, and its logits are MLX's.

    adapters_mlx.py --oracle ORACLE.PY [--bantam PROGRAM] [--seed S] [FAMILY ..]

Needs: pip install torch transformers "mlx[cpu]" mlx-lm

ORACLE.PY makes the tiny checkpoints. For each family MLX-LM puts an adapter of each kind (LoRA on some modules, on all of
them, on the last layer alone, DoRA) over the model with random weights, and writes it as its trainer does. Then
  read     bantam with the folder: MLX's logits
  peft     bantam writes it as a PEFT folder and reads that: MLX's logits
  merged   bantam folds it into the model: MLX's logits
Exits with 1 if a logit differs by more than 2e-4 (merged: 5e-4).
"""
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model

TOLERANCE, MERGED = 2e-4, 5e-4
FAMILIES = ["llama3", "qwen2", "qwen3", "gemma3"]
ATTENTION = ["self_attn.q_proj", "self_attn.v_proj"]
ALL = [*ATTENTION, "self_attn.k_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
# Kind of fine-tuning, modules, and how many layers from the last one on.
KINDS = {
    "attention": ("lora", ATTENTION, -1),
    "all": ("lora", ALL, -1),
    "last layer": ("lora", ALL, 1),
    "dora": ("dora", ALL, -1),
}


def make_adapter(model, kind, modules, layers, seed, out):
    """A folder as `mlx_lm.lora` leaves it, with random halves in the model, too."""
    parameters = {"rank": 4, "dropout": 0.0, "scale": 3.0, "keys": modules}
    model.freeze()
    linear_to_lora_layers(model, len(model.layers) if layers < 0 else layers, parameters, use_dora=kind == "dora")
    mx.random.seed(seed)
    halves = tree_map(lambda x: x + 0.05 * mx.random.normal(x.shape), model.trainable_parameters())
    model.update(halves)
    out.mkdir()
    mx.save_safetensors(str(out / "adapters.safetensors"), dict(tree_flatten(model.trainable_parameters())))
    config = {"fine_tune_type": kind, "num_layers": layers, "lora_parameters": parameters}
    (out / "adapter_config.json").write_text(json.dumps(config))


def bantam(program, *words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def ask(program, base, ids, *adapter):
    words = ["logits", base, "--tokens", ",".join(map(str, ids)), "--json", "--numerics", "exact", *adapter]
    return mx.array(json.loads(bantam(program, *words))["logits"])


def check_family(program, folder, ids, seed):
    worst, failed = {}, False

    def equal(what, found, wanted, tolerance=TOLERANCE):
        nonlocal failed
        difference = mx.abs(found - wanted).max().item()
        worst[what] = max(worst.get(what, 0.0), difference)
        if not difference <= tolerance:
            failed = True
            print(f"  {what}: logits differ by {difference:.2e}")

    tokens = mx.array([ids])
    for name, (kind, modules, layers) in KINDS.items():
        model, _ = load_model(folder, lazy=False)
        plain = model(tokens)[0]
        equal("without", ask(program, folder, ids), plain)
        adapter = folder / name.replace(" ", "-")
        make_adapter(model, kind, modules, layers, seed, adapter)
        wanted = model(tokens)[0]
        if mx.abs(wanted - plain).max().item() < 0.01:
            sys.exit(f"the adapter {name} does nothing")
        equal("read", ask(program, folder, ids, "--adapter", adapter), wanted)
        back, merged = adapter.with_suffix(".peft"), adapter.with_suffix(".merged")
        bantam(program, "adapter", "convert", adapter, "--base", folder, "-o", back)
        equal("peft", ask(program, folder, ids, "--adapter", back), wanted)
        bantam(program, "merge", folder, "--adapter", adapter, "-o", merged)
        equal("merged", ask(program, merged, ids), wanted, MERGED)
    return worst, failed


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "target/release/bantam"
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--oracle", required=True)
    parser.add_argument("--bantam", default=str(default))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("oracle", args.oracle)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        for family in args.families or FAMILIES:
            folder = pathlib.Path(temporary) / family
            ids = oracle.make(family, str(folder), args.seed)["tokens"]
            worst, failed = check_family(args.bantam, folder, ids, args.seed)
            failures += failed
            told = ", ".join(f"{what} {difference:.1e}" for what, difference in worst.items())
            print(f"{family}: {'FAILED' if failed else 'passed'}; greatest differences: {told}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
