#!/usr/bin/env python3
"""Compare the losses of full fine-tuning with those of PyTorch, on tiny random models of several families.

    families.py [--learn PROGRAM] [--steps 20] [--rate 0.003] [--seed S] [FAMILY ..]

Needs: pip install torch transformers==5.23.0 safetensors
PROGRAM is `cargo build --release -p bantam-train --example learn`.

As lora.py --full, with windows, soft caps, norms of queries and keys, fused projections, biases, learned positions.
In the middle, ours stores its state, and another trainer goes on from it.
Exits with 1 if a loss differs by more than 1e-4 nats.
"""
import argparse
import pathlib
import sys
import tempfile

import transformers

from training import ROOT, compare, examples, learn_in_bantam, learn_in_torch, tiny

TOLERANCE = 1e-4
SIZES = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.15}
FAMILIES = {
    "gemma3": (transformers.Gemma3TextConfig, {"head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16}),
    "gemma2": (transformers.Gemma2Config, {"head_dim": 16, "sliding_window": 6, "query_pre_attn_scalar": 16}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 16, "tie_word_embeddings": True}),
    "phi3": (transformers.Phi3Config, {"pad_token_id": 0}),
    "olmo2": (transformers.Olmo2Config, {}),
    "stablelm": (transformers.StableLmConfig, {"use_qkv_bias": True}),
    "gpt2": (transformers.GPT2Config, {"n_positions": 128, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
}


def sizes(family):
    if family != "gpt2":
        return SIZES
    return {"vocab_size": 320, "n_embd": 64, "n_layer": 4, "n_head": 4, "initializer_range": 0.15}


def check(family, options):
    config, more = FAMILIES[family]
    model = tiny(config, options.seed, **(sizes(family) | more))
    ids, learn = examples(options.seed, model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = pathlib.Path(folder) / "model"
        model.save_pretrained(checkpoint)
        found = learn_in_bantam(options.learn, folder, checkpoint, ids, learn, options.rate, options.steps, len(ids),
                                full=True, resume=options.steps // 2)
    expected = learn_in_torch(model, [(ids, learn)] * options.steps, options.rate)
    print(family)
    return compare(found, expected, TOLERANCE, shown=4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--learn", default=str(ROOT / "target/release/examples/learn"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return 0 if all([check(family, options) for family in options.families]) else 1


if __name__ == "__main__":
    sys.exit(main())
