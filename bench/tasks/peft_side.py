#!/usr/bin/env python3
"""The other side of bench/tasks/run --peer peft: PEFT's LoRA on the f32 weights of the same file.

  peft_side.py widen FILE.gguf FOLDER     the weights in f32 and the tokeniser, as transformers stores them
  peft_side.py learn JOB.json             learns as the job says, and leaves a PEFT folder
  peft_side.py answer JOB.json            answers greedily, and writes a list of texts

Each is a process of its own, so that time and memory of learning are those of learning alone.
Needs: pip install torch transformers==5.23.0 peft safetensors gguf
"""
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

transformers.utils.logging.disable_progress_bar()

AT_ONCE = 16  # questions that are answered together


def widen(path, folder):
    import gguf
    from tokenizers import pre_tokenizers

    path = Path(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    # A model that came from GGUF is refused as quantised, though it no longer is.
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    pre = gguf.GGUFReader(path).get_field("tokenizer.ggml.pre")
    if pre and pre.contents() == "smollm":
        # transformers does not know this kind and leaves out the split at digits of the model's own tokenizer.json.
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.save_pretrained(folder)


def opened(job):
    torch.manual_seed(job["seed"])
    model = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    return model, transformers.AutoTokenizer.from_pretrained(job["model"])


# ---- data

def asked(tokenizer, text):
    """The ids up to where the answer begins."""
    messages = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


def example(tokenizer, line, end):
    """Ids, and how many of them are the question's; the answer ends with the token that ends the turn."""
    question = asked(tokenizer, line["prompt"])
    answer = tokenizer(line["completion"], add_special_tokens=False).input_ids
    return question + answer + [end], len(question)


def padded(rows, value, left=False):
    longest = max(map(len, rows))
    pads = [[value] * (longest - len(row)) for row in rows]
    return torch.tensor([pad + row if left else row + pad for pad, row in zip(pads, rows)])


# ---- learning

def rate(job, step):
    """Rises in a line to the highest, then falls in a line to zero after the last step: bantam's."""
    warmup, steps = max(1, job["steps"] // 20), job["steps"]
    if step < warmup:
        return job["rate"] * (step + 1) / warmup
    return job["rate"] * (steps - step) / max(1, steps - warmup)


def batches(examples, job):
    """Batches in the order of the lines, epoch after epoch, as many as there are steps."""
    done = 0
    while True:
        for begin in range(0, len(examples), job["batch"]):
            if done == job["steps"]:
                return
            yield examples[begin:begin + job["batch"]]
            done += 1


def loss_of(model, batch):
    """The mean over the tokens that are learnt."""
    ids = padded([ids for ids, _ in batch], 0)
    wanted = padded([[-100] * begin + ids[begin:] for ids, begin in batch], -100)
    mask = padded([[1] * len(ids) for ids, _ in batch], 0)
    # Logits of what no row learns would take most of the memory.
    first = min(begin for _, begin in batch) - 1
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=ids.shape[1] - first).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, first + 1:].flatten())


def learn(job):
    import peft

    model, tokenizer = opened(job)
    lines = [json.loads(line) for line in Path(job["data"]).read_text().splitlines()]
    examples = [example(tokenizer, line, job["end"]) for line in lines]
    if [list(one) for one in examples[:len(job["first"])]] != job["first"]:
        sys.exit(f"ids begin with {examples[:len(job['first'])]}, bantam's with {job['first']}")
    config = peft.LoraConfig(r=job["rank"], lora_alpha=job["alpha"], target_modules="all-linear", lora_dropout=0.0,
                             task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config).train()
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learns, weight_decay=0.0)
    for step, batch in enumerate(batches(examples, job)):
        optimizer.param_groups[0]["lr"] = rate(job, step)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learns, 1.0)
        optimizer.step()
        print(f"step {step + 1}: loss {loss.item():.4f}", file=sys.stderr, flush=True)
    model.save_pretrained(job["out"])


# ---- answers

def answer(job):
    import peft

    model, tokenizer = opened(job)
    if job["adapter"]:
        model = peft.PeftModel.from_pretrained(model, job["adapter"])
    model.eval()
    rows = [asked(tokenizer, text) for text in job["texts"]]
    answers = [None] * len(rows)
    # Those of like length together, so that little is padded.
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    end = job["end"]
    for begin in range(0, len(order), AT_ONCE):
        places = order[begin:begin + AT_ONCE]
        ids = padded([rows[place] for place in places], end, left=True)
        mask = padded([[1] * len(rows[place]) for place in places], 0, left=True)
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1,
                                 max_new_tokens=job["answer_tokens"], eos_token_id=end, pad_token_id=end)
        for place, row in zip(places, out[:, ids.shape[1]:].tolist()):
            # As of bantam, an answer that came to no end is none.
            if end in row:
                answers[place] = tokenizer.decode(row[:row.index(end)], skip_special_tokens=True)
    Path(job["out"]).write_text(json.dumps(answers))


def main():
    verb, first, *rest = sys.argv[1:]
    if verb == "widen":
        return widen(first, *rest)
    job = json.loads(Path(first).read_text())
    return {"learn": learn, "answer": answer}[verb](job)


if __name__ == "__main__":
    main()
