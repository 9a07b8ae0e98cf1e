"""What the checks of training share: tiny models of random weights, the programs, and how losses are compared."""
import json
import pathlib
import subprocess
import sys

import torch
import transformers

transformers.utils.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parent.parent
WEIGHT_DECAY, CLIP = 0.01, 1.0
LENGTHS, PROMPTS = [20, 13, 17], [5, 0, 8]


def tiny(config_class, seed, **settings):
    """A random model in f32 with weights large enough for all parts to matter."""
    torch.manual_seed(seed)
    config = config_class(**settings)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


def tiny_llama(seed, tied):
    return tiny(
        transformers.LlamaConfig, seed, vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=tied,
        initializer_range=0.15)


def examples(seed, vocab_size):
    """Sequences of different lengths, some with prompts that carry no loss."""
    torch.manual_seed(seed + 2)
    ids = [torch.randint(3, vocab_size, (length,)) for length in LENGTHS]
    learn = [[place >= prompt for place in range(length)] for length, prompt in zip(LENGTHS, PROMPTS)]
    return ids, learn


def learn_in_torch(model, batches, rate):
    """The loss before each step of AdamW; a batch is sequences and what of them is learnt."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in trained if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
              {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    losses = []
    for ids, learn in batches:
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


def learn_in_bantam(program, folder, model, ids, learn, rate, steps, batch, micro_tokens=35, **settings):
    """The loss before each step of the example `learn`, which takes `batch` sequences after the others, again and again."""
    folder = pathlib.Path(folder)
    lines = [json.dumps({"ids": tokens.tolist(), "learn": mask}) for tokens, mask in zip(ids, learn)]
    (folder / "ids.jsonl").write_text("\n".join(lines))
    settings |= {"rate": rate, "steps": steps, "batch": batch, "micro_tokens": micro_tokens,
                 "weight_decay": WEIGHT_DECAY, "clip": CLIP, "exact": True}
    (folder / "settings.json").write_text(json.dumps(settings))
    out = run([program, model, folder / "ids.jsonl", folder / "settings.json"])
    return [json.loads(line)["loss"] for line in out.splitlines()]


def run(command):
    """What a command prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=3600)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def compare(found, expected, tolerance, shown=20):
    """Prints losses side by side; whether none differs by more than the tolerance."""
    if len(found) != len(expected):
        sys.exit(f"{len(found)} losses, wanted {len(expected)}")
    every = max(1, len(found) // shown)
    for step, (ours, theirs) in enumerate(zip(found, expected)):
        if step % every == 0 or step + 1 == len(found):
            print(f"step {step:3}  bantam {ours:.7f}  torch {theirs:.7f}  {abs(ours - theirs):.1e}")
    largest = max(abs(ours - theirs) for ours, theirs in zip(found, expected))
    print(f"largest difference {largest:.2e} (at most {tolerance:.0e})")
    return largest <= tolerance
