#!/usr/bin/env python3
"""Compare bantam's token ids with those of Hugging Face's tokenizers on mixed text.

    text.py [--bantam PROGRAM] [--bytes N] [--seed S] MODEL.gguf [TEXT_FILE ...]

Needs: pip install tokenizers==0.23.3 transformers==5.23.0 gguf

The text is N bytes (default 1,000,000): lines of the given files, of this repository's source, and lines made at
random of many scripts, emoji, odd whitespace, digits and punctuation. The reference is what transformers builds from
the same GGUF file. Prints the first places where the ids part, and exits with 1 if there are any.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys

import gguf
import transformers
from tokenizers import pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = [
    (0x20, 0x7E), (0xA1, 0xFF), (0x100, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1780, 0x17FF),
    (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x2000, 0x206F), (0x2190, 0x21FF), (0x2200, 0x22FF),
    (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x1F900, 0x1F9FF), (0x20000, 0x2A6DF), (0x300, 0x36F), (0xFF00, 0xFFEF),
]
SPACES = [" ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", " " * 9, " " * 40]
WORDS = ["I'm", "you'RE", "WE'VE", "1234567", "3.14", "x=y", "<div>", "</td>", "foo_bar", "--", "...", "!!", "\u2581"]


def random_line(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.5:
            low, high = rng.choice(SCRIPTS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.8:
            parts.append(rng.choice(SPACES))
        else:
            parts.append(rng.choice(WORDS))
    return "".join(parts) + "\n"


def mixed_text(size, seed, files):
    rng = random.Random(seed)
    sources = [f for f in sorted(HERE.glob("crates/**/*.rs"))] + [pathlib.Path(f) for f in files]
    lines = [line for f in sources for line in f.read_text(encoding="utf-8").splitlines(keepends=True)]
    text, length = [], 0
    while length < size:
        if rng.random() < 0.5:
            at = rng.randrange(len(lines))
            piece = "".join(lines[at:at + rng.randint(1, 20)])
        else:
            piece = random_line(rng)
        text.append(piece)
        length += len(piece.encode())
    return "".join(text)


def bantam_ids(program, model, text):
    command = [program, "tokenize", model, "-", "--json", "--special", "--no-bos"]
    done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["ids"]


def reference_ids(model, text):
    path = pathlib.Path(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).backend_tokenizer
    pre = gguf.GGUFReader(model).get_field("tokenizer.ggml.pre")
    if pre and pre.contents() == "smollm":
        # transformers does not know this kind and leaves out the split at digits of the model's own tokenizer.json.
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer, tokenizer.encode(text, add_special_tokens=False).ids


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bantam", default="bantam")
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", help="write the text to this file and stop")
    parser.add_argument("--text", help="take the text from this file instead")
    parser.add_argument("--ids", help="read bantam's ids, a JSON list, from this file instead of running it")
    parser.add_argument("model")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    text = mixed_text(args.bytes, args.seed, args.files)
    if args.text:
        text = pathlib.Path(args.text).read_bytes().decode()
    if args.write:
        pathlib.Path(args.write).write_bytes(text.encode())
        return
    ours = json.load(open(args.ids)) if args.ids else bantam_ids(args.bantam, args.model, text)
    tokenizer, theirs = reference_ids(args.model, text)
    print(f"{len(text.encode())} bytes, {len(ours)} and {len(theirs)} ids")
    if ours == theirs:
        print("equal")
        return
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    pieces = lambda ids: [tokenizer.id_to_token(i) for i in ids[max(0, at - 5):at + 10]]
    print(f"part at id {at}:\n  bantam    {pieces(ours)}\n  reference {pieces(theirs)}")
    sys.exit(1)


main()
