#!/usr/bin/env python3
"""Adapters against PEFT and llama.cpp, on tiny random models: files go both ways, and logits stay the same.

    adapters.py --oracle ORACLE.PY [--bantam PROGRAM] [--seed S] [--llama-source DIR --llama-build DIR] [FAMILY ..]

Needs: pip install torch transformers==5.23.0 peft safetensors gguf

ORACLE.PY makes the tiny checkpoints, as folders and as GGUF files. For each family PEFT makes an adapter of each kind
(LoRA, rsLoRA, DoRA, PiSSA that PEFT converted to a plain LoRA, ranks and alphas by pattern, prefix tuning) with random
weights. Then
  read     bantam with the PEFT folder on the folder: PEFT's logits
  back     bantam writes a PEFT folder, PEFT loads it: PEFT's logits
  gguf     bantam writes a GGUF file, and reads it on the folder: PEFT's logits; refused for DoRA and prefixes
  crossed  the PEFT folder on the GGUF base, and the GGUF file on it: PEFT's logits
  merged   bantam merges into the folder, and into the GGUF file: PEFT's logits; refused for prefixes
and with llama.cpp's source and a build of its static library:
  llama    llama.cpp loads bantam's GGUF adapter on the GGUF base: PEFT's logits (of Phi 3 within its window, which
           llama.cpp leaves out)
  theirs   llama.cpp's convert_lora_to_gguf.py converts the PEFT folder (plain LoRA only, since it ignores the rest),
           and bantam reads that: PEFT's logits; GPT-2's, too, which llama.cpp itself refuses, since they are transposed
Exits with 1 if a logit differs by more than 2e-4 (merged: 5e-4; llama.cpp's own: 5e-3).
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

import torch
import transformers
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model

transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

TOLERANCE, MERGED, THEIRS = 2e-4, 5e-4, 5e-3

# What PEFT's all-linear chooses, without the head, and two modules that patterns change.
MODULES = {
    "llama3": (["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "q_proj", "down_proj"),
    "qwen2": (["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "k_proj", "up_proj"),
    "gemma3": (["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "q_proj", "o_proj"),
    "gpt2": (["c_attn", "c_proj", "c_fc"], "c_attn", "c_fc"),
    "phi3": (["qkv_proj", "o_proj", "gate_up_proj", "down_proj"], "qkv_proj", "down_proj"),
    "smollm3": (["q_proj", "k_proj", "v_proj", "o_proj"], "k_proj", "v_proj"),
}

# llama.cpp leaves the window of Phi 3 out (src/models/phi3.cpp says so): its logits are those of the model within it.
WINDOWS_LEFT_OUT = {"phi3": 8}


def kinds(family):
    modules, one, other = MODULES[family]
    common = dict(target_modules=modules, task_type="CAUSAL_LM", fan_in_fan_out=family == "gpt2", lora_dropout=0.0)
    layer = rf".*\.1\..*{other}"
    return {
        "lora": LoraConfig(r=8, lora_alpha=12, **common),
        "rslora": LoraConfig(r=16, lora_alpha=6, use_rslora=True, **common),
        "dora": LoraConfig(r=8, lora_alpha=12, use_dora=True, **common),
        "pissa": LoraConfig(r=4, lora_alpha=8, init_lora_weights="pissa", **common),
        "patterns": LoraConfig(r=4, lora_alpha=8, rank_pattern={one: 2, layer: 6},
                               alpha_pattern={layer: 3, one: 10}, **common),
        "prefix": PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    }


def base_model(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def make_adapter(folder, config, seed, out, before):
    """A PEFT folder with random halves; `before` sees the model before it is saved."""
    model = get_peft_model(base_model(folder), config).eval()
    is_pissa = getattr(config, "init_lora_weights", None) == "pissa"
    if is_pissa:
        # As PEFT's guide has it: what it began as is kept, to be taken off at the end.
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(f"{out}-start")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= 1 + 0.3 * torch.rand(parameter.shape, generator=generator)
        elif is_pissa and "lora_" in name:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.05
        elif "prompt_encoder" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
        elif "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * (0.3 / parameter.shape[-1] ** 0.5)
    before(model)
    start = {"path_initial_model_for_weight_conversion": f"{out}-start"} if is_pissa else {}
    model.save_pretrained(out, **start)


class Check:
    def __init__(self, program):
        self.program, self.failed, self.worst = program, 0, {}

    def bantam(self, *words):
        done = subprocess.run([self.program, *map(str, words)], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, base, ids, adapter=None):
        words = ["logits", base, "--tokens", ",".join(map(str, ids)), "--json", "--numerics", "exact"]
        found = json.loads(self.bantam(*words, *(["--adapter", adapter] if adapter else [])))
        return torch.tensor(found["logits"])

    def refuses(self, what, word, *words):
        done = subprocess.run([self.program, *map(str, words)], capture_output=True, text=True, timeout=600)
        if done.returncode == 0 or word not in done.stderr:
            self.failed += 1
            print(f"  {what}: wanted a refusal that names {word}, found {done.stderr.strip()!r}")

    def equal(self, what, found, wanted, tolerance=TOLERANCE):
        difference = (found - wanted).abs().max().item()
        self.worst[what] = max(self.worst.get(what, 0.0), difference)
        if not difference <= tolerance:
            self.failed += 1
            print(f"  {what}: logits differ by {difference:.2e}")


def peer_logits(driver, base, adapter, ids):
    done = subprocess.run([driver, base, adapter, "1"], input=" ".join(map(str, ids)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"llama.cpp with {adapter}: {done.stderr.strip()}")
    return torch.tensor([[float(x) for x in line.split()] for line in done.stdout.splitlines()])


def build_driver(source, build, out):
    """The driver, linked with the static libraries that a build of llama.cpp left."""
    here = pathlib.Path(__file__).resolve().parent
    found = {path.name: path for path in pathlib.Path(build).rglob("lib*.a")}
    libraries = [found[name] for name in ("libllama.a", "libggml.a", "libggml-cpu.a", "libggml-base.a")]
    includes = [f"-I{source}/include", f"-I{source}/ggml/include"]
    command = [os.environ.get("CXX", "c++"), "-O1", "-std=c++17", *includes, here / "adapters_llama.cpp", "-o", out,
               *libraries, "-fopenmp", "-lpthread", "-ldl", "-lm"]
    subprocess.run(list(map(str, command)), check=True)
    return out


def logits_of_adapter(base, config, seed, adapter, ids):
    """PEFT's logits, taken before it converts a PiSSA adapter, which changes the model at hand."""
    taken = {}
    make_adapter(base, config, seed, adapter, before=lambda model: taken.update(logits=logits(model, ids)))
    return taken["logits"]


def check_kind(check, peer, folder, ids, kind, config, seed):
    base, gguf_base = folder, folder / "model.gguf"
    adapter, back, gguf = folder / f"{kind}", folder / f"{kind}-back", folder / f"{kind}.gguf"
    wanted = logits_of_adapter(base, config, seed, adapter, ids)
    if (logits(base_model(base), ids) - wanted).abs().max() < 0.05:
        sys.exit(f"the {kind} adapter does nothing")
    check.equal("read", check.ask(base, ids, adapter), wanted)
    check.bantam("adapter", "convert", adapter, "--base", base, "-o", back)
    check.equal("back", logits(PeftModel.from_pretrained(base_model(base), back).eval(), ids), wanted)
    has_gguf, merges = kind not in ("dora", "prefix"), kind != "prefix"
    if has_gguf:
        check.bantam("adapter", "convert", back, "--base", base, "-o", gguf)
        check.equal("gguf", check.ask(base, ids, gguf), wanted)
    else:
        word = "DoRA" if merges else "prefix"
        check.refuses("gguf", word, "adapter", "convert", back, "--base", base, "-o", gguf)
        gguf = back
    if merges:
        check.bantam("merge", base, "--adapter", adapter, "-o", folder / f"{kind}-merged")
        check.equal("merged", check.ask(folder / f"{kind}-merged", ids), wanted, MERGED)
    else:
        check.refuses("merged", "prefix", "merge", base, "--adapter", adapter, "-o", folder / f"{kind}-merged")
    if not gguf_base.exists():
        return
    check.equal("crossed", check.ask(gguf_base, ids, adapter), wanted)
    check.equal("crossed", check.ask(gguf_base, ids, gguf), wanted)
    if merges:
        check.bantam("merge", gguf_base, "--adapter", gguf, "-o", folder / f"{kind}-merged.gguf")
        check.equal("merged", check.ask(folder / f"{kind}-merged.gguf", ids), wanted, MERGED)
    if peer and has_gguf:
        found, rows = peer_logits(peer["driver"], gguf_base, gguf, ids), peer["rows"]
        check.equal("llama", found[:rows], wanted[:rows], THEIRS)
    if peer and kind == "lora":
        theirs = folder / "theirs.gguf"
        program = pathlib.Path(peer["source"]) / "convert_lora_to_gguf.py"
        done = subprocess.run([sys.executable, program, adapter, "--base", base, "--outfile", theirs],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"  convert_lora_to_gguf.py: {done.stderr.strip().splitlines()[-1]}")
            return
        check.equal("theirs", check.ask(gguf_base, ids, theirs), wanted)
        check.equal("theirs", check.ask(base, ids, theirs), wanted)


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "target/release/bantam"
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", metavar="FAMILY")
    parser.add_argument("--oracle", required=True)
    parser.add_argument("--bantam", default=str(default))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--llama-source")
    parser.add_argument("--llama-build")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("oracle", args.oracle)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        peer = None
        if args.llama_source and args.llama_build:
            driver = build_driver(args.llama_source, args.llama_build, temporary / "driver")
            peer = {"driver": driver, "source": args.llama_source}
        for family in args.families or MODULES:
            folder = temporary / family
            ids = oracle.make(family, str(folder), args.seed, gguf=True)["tokens"]
            torch.set_grad_enabled(True)
            check = Check(args.bantam)
            if peer:
                peer["rows"] = WINDOWS_LEFT_OUT.get(family, len(ids))
            for place, (kind, config) in enumerate(kinds(family).items()):
                check_kind(check, peer, folder, ids, kind, config, args.seed * 10 + place)
            failed += check.failed
            told = ", ".join(f"{what} {worst:.1e}" for what, worst in check.worst.items())
            print(f"{family}: {told}", flush=True)
    print("passed" if failed == 0 else f"{failed} differences are too large")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
