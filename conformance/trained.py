#!/usr/bin/env python3
"""What bantam trains, in transformers and PEFT: the same ids and the same logits.

    trained.py [--bantam PROGRAM] [--steps 8] [FAMILY ..]

Needs: pip install torch transformers==5.23.0 peft safetensors

For each family `bantam train` makes a tiny model and its tokeniser from nothing, out of the pages in docs/. Then
  train    transformers loads the folder: its tokeniser gives bantam's ids, the model bantam's logits
  full     `bantam finetune --method full` changes all of its weights, and transformers loads that folder
  lora     `bantam finetune` leaves a PEFT folder, which PEFT loads on the folder of the first
  dora     the same with --dora
  prefix   the same with --method prefix
Exits with 1 if a logit differs by more than 1e-4, or an id at all.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from peft import PeftModel

from training import ROOT

TOLERANCE = 1e-4
COMMON = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4}
GROUPED = COMMON | {"num_key_value_heads": 2}
FAMILIES = {
    "llama": GROUPED | {"tie_word_embeddings": True},
    "qwen3": GROUPED | {"head_dim": 32, "tie_word_embeddings": False},
    "gemma3_text": GROUPED | {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4},
}
# With the 48 ids that are asked about, 16 virtual tokens just fit the 64 positions of GPT-2.
KINDS = {"full": ["--method", "full"], "lora": [], "dora": ["--dora"],
         "prefix": ["--method", "prefix", "--virtual-tokens", "16"]}
TEXTS = ["The model reads a file.\n\n  It costs 1,234.5 seconds; naïve 中文 \U0001F600.", "x", "a\tb\r\n" * 9]


def config(family, texts, steps):
    values = {"model_type": family} | FAMILIES[family]
    model = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    return (f"[model]\n{model}\n[tokenizer]\nvocab_size = 512\n[data]\nfiles = [{json.dumps(str(texts))}]\nlength = 64\n"
            f"[course]\nbatch_tokens = 512\ntokens = {512 * steps}\nevaluations = 2\n")


class Check:
    def __init__(self, program):
        self.program, self.failed = program, 0

    def bantam(self, *words, text=None):
        command = [self.program, *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def ids(self, model, text):
        found = json.loads(self.bantam("tokenize", model, "-", "--json", text=text))
        return found.get("ids", found) if isinstance(found, dict) else found

    def tokenizer(self, folder):
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        for text in TEXTS:
            ours, wanted = self.ids(folder, text), theirs(text).input_ids
            if ours != wanted:
                self.failed += 1
                print(f"  ids of {text!r} differ: {ours}, wanted {wanted}")
        return theirs(TEXTS[0]).input_ids[:48]

    def logits(self, what, model, folder, ids, adapter=None):
        words = ["logits", folder, "--tokens", ",".join(map(str, ids)), "--json", "--numerics", "exact"]
        ours = torch.tensor(json.loads(self.bantam(*words, *(["--adapter", adapter] if adapter else [])))["logits"])
        with torch.no_grad():
            wanted = model.eval()(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        difference = (ours - wanted).abs().max().item()
        self.failed += not difference <= TOLERANCE
        return wanted, f"{what} {difference:.1e}"


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def check_family(check, family, folder, steps):
    texts = ROOT / "docs"
    (folder / "config.toml").write_text(config(family, texts, steps))
    check.bantam("train", folder / "config.toml", "-o", folder / "run")
    base = folder / "run/model"
    ids = check.tokenizer(base)
    plain, told = check.logits("train", load(base), base, ids)
    told = [told]
    for kind, words in KINDS.items():
        out = folder / kind
        # Without validation the last state is kept, not the best.
        data = ["--max-length", 64, "--steps", steps, "--batch", 8, "--validation", 0, "--storage", "f32"]
        check.bantam("finetune", base, texts, "-o", out, *words, *(data if kind == "full" else data[:-2]))
        if kind == "full":
            found, line = check.logits(kind, load(out / "model"), out / "model", ids)
        else:
            found, line = check.logits(kind, PeftModel.from_pretrained(load(base), out), base, ids, out)
        told.append(line)
        if (found - plain).abs().max() < 1e-3:
            sys.exit(f"{family}: {kind} learnt nothing")
    print(f"{family}: {', '.join(told)}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    check = Check(options.bantam)
    for family in options.families:
        with tempfile.TemporaryDirectory() as folder:
            check_family(check, family, pathlib.Path(folder), options.steps)
    print("passed" if check.failed == 0 else f"{check.failed} differences")
    return check.failed != 0


if __name__ == "__main__":
    sys.exit(main())
