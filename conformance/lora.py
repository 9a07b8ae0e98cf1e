#!/usr/bin/env python3
"""Compare the losses of AdamW with those of PyTorch, on a tiny random Llama: LoRA beside PEFT, and all weights.

    lora.py [--learn PROGRAM] [--steps 20] [--rate 0.01] [--seed S] [--full | --dora | --rslora] [--tied]

Needs: pip install torch transformers==5.23.0 peft safetensors
PROGRAM is `cargo build --release -p bantam-train --example learn`.

Both sides start from the same checkpoint and the same adapter in f32, and take the same batch at every step, whose
sequences have different lengths and prompts without loss; ours goes in micro-batches of two. The loss of each step
is the one before it. Exits with 1 if a loss differs by more than 1e-4 nats.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

transformers.utils.logging.disable_progress_bar()

TOLERANCE = 1e-4
LENGTHS, PROMPTS = [20, 13, 17], [5, 0, 8]
RANK, ALPHA = 8, 16
WEIGHT_DECAY, CLIP = 0.01, 1.0


def tiny_llama(seed, tied):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=tied, initializer_range=0.15)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


def with_adapter(model, seed, options):
    torch.manual_seed(seed + 1)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", lora_dropout=0.0,
                             use_dora=options.dora, use_rslora=options.rslora)
    model = peft.get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            # Away from zero, so that A has a gradient from the first step on.
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def examples(seed, vocab_size):
    torch.manual_seed(seed + 2)
    ids = [torch.randint(3, vocab_size, (length,)) for length in LENGTHS]
    learn = [[place >= prompt for place in range(length)] for length, prompt in zip(LENGTHS, PROMPTS)]
    return ids, learn


def learn_in_torch(model, ids, learn, steps, rate):
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
              {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    losses = []
    for _ in range(steps):
        total, count = 0.0, 0
        for tokens, mask in zip(ids, learn):
            logits = model(input_ids=tokens[None], use_cache=False).logits[0, :-1]
            of_tokens = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
            mask = torch.tensor(mask[1:])
            total = total + of_tokens[mask].sum()
            count += int(mask.sum())
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        losses.append(loss.item())
    return losses


def learn_in_bantam(program, folder, ids, learn, options):
    folder = pathlib.Path(folder)
    lines = [json.dumps({"ids": tokens.tolist(), "learn": mask}) for tokens, mask in zip(ids, learn)]
    (folder / "ids.jsonl").write_text("\n".join(lines))
    settings = {"full": options.full, "rank": RANK, "alpha": ALPHA, "rate": options.rate, "steps": options.steps,
                "batch": len(ids), "micro_tokens": 35, "weight_decay": WEIGHT_DECAY, "clip": CLIP, "exact": True}
    if not options.full:
        settings["adapter"] = str(folder / "adapter")
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [program, folder / "model", folder / "ids.jsonl", folder / "settings.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{program} ended with {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line)["loss"] for line in done.stdout.splitlines()]


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "target/release/examples/learn"
    parser = argparse.ArgumentParser()
    parser.add_argument("--learn", default=str(default))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--dora", action="store_true")
    parser.add_argument("--rslora", action="store_true")
    parser.add_argument("--tied", action="store_true")
    options = parser.parse_args()

    model = tiny_llama(options.seed, options.tied)
    ids, learn = examples(options.seed, model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(pathlib.Path(folder) / "model")
        if not options.full:
            model = with_adapter(model, options.seed, options)
            adapter = pathlib.Path(folder) / "adapter"
            model.save_pretrained(adapter)
        found = learn_in_bantam(options.learn, folder, ids, learn, options)
    expected = learn_in_torch(model, ids, learn, options.steps, options.rate)

    if len(found) != len(expected):
        sys.exit(f"{len(found)} losses, wanted {len(expected)}")
    for step, (ours, theirs) in enumerate(zip(found, expected)):
        print(f"step {step:3}  bantam {ours:.7f}  torch {theirs:.7f}  {abs(ours - theirs):.1e}")
    largest = max(abs(ours - theirs) for ours, theirs in zip(found, expected))
    print(f"largest difference {largest:.2e} (at most {TOLERANCE:.0e})")
    return 0 if largest <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
