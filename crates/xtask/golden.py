"""Truth for the golden files, from transformers. Called by `cargo xtask golden`.

    golden.py shapes WORK FAMILY..   reads WORK/FAMILY/config.json, prints {family: {tensor: shape}}
    golden.py truth  WORK FAMILY..   reads the checkpoint there as well, prints {family: what the model computes}

All arithmetic is float32 with eager attention. Tensors bear the names they have in a checkpoint on disk.
"""

import json
import os
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

TOKENS = [17, 3, 58, 91, 4, 33, 33, 70, 12, 85, 6, 49]
SHORT = TOKENS[:5]
BATCH = [[5, 40, 61, 8, 77, 23, 90, 14], [31, 9, 9, 66, 52, 2, 73, 38]]
ROWS = [0, 6, 11]


def shapes(folder):
    """Saves a model of that config and reads the header, which settles names, fusing and tied heads."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        with safe_open(os.path.join(saved, "model.safetensors"), "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in sorted(file.keys())}


def load(folder):
    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {kind: sorted(names) for kind, names in found.items() if names}
    if wrong:
        raise SystemExit(f"{folder}: the weights do not fit the model: {wrong}")
    return model.eval()


def truth(folder):
    """Each call gets a model of its own: a dynamic rope remembers the longest call before it."""
    logits, short = run(load(folder), TOKENS), run(load(folder), SHORT)
    loss, grads = train(load(folder), BATCH)
    return {
        "transformers": transformers.__version__,
        "tokens": TOKENS,
        "rows": ROWS,
        "logits": [[digits(x) for x in logits[row].tolist()] for row in ROWS],
        "short_tokens": SHORT,
        "short_logits": [digits(x) for x in short[-1].tolist()],
        "batch": BATCH,
        "loss": digits(loss),
        "grad_norms": {name: digits(norm) for name, norm in sorted(grads.items())},
    }


@torch.no_grad()
def run(model, tokens):
    logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    if not torch.isfinite(logits).all():
        raise SystemExit("logits are not finite")
    return logits


def train(model, batch):
    """Mean cross entropy of the next token over all rows, and the norm of each gradient."""
    ids = torch.tensor(batch)
    logits = model(input_ids=ids, use_cache=False).logits
    flat = logits[:, :-1].reshape(-1, logits.shape[-1])
    loss = torch.nn.functional.cross_entropy(flat, ids[:, 1:].reshape(-1))
    loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    grads = revert_weight_conversion(model, grads)
    return float(loss), {name: float(grad.double().norm()) for name, grad in grads.items()}


def digits(x):
    return float(f"{x:.6g}")


def main():
    verb, work, *families = sys.argv[1:]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    run_verb = {"shapes": shapes, "truth": truth}[verb]
    print(json.dumps({family: run_verb(os.path.join(work, family)) for family in families}))


if __name__ == "__main__":
    main()
