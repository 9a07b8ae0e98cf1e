#!/usr/bin/env python3
"""Sixteen requests at once over eight LoRA adapters and the base, beside sixteen for the base alone.

    adapters.py [--bantam PROGRAM] [--rounds 5] [--gen 64] [--rank 8] [--targets q_proj,v_proj] MODEL

The adapters are made here, as PEFT saves them, with random weights for every linear projection (or those of --targets)
of a model of the Llama kind. One server has all; in each round both are asked in turn, each time with new prompts, so
that nothing is reused. Prints the tokens per second of both and their ratio. Then every request of the last round is
asked alone: its answer must be the same. Exits with 1 if one is not, if an adapter changes nothing, or if the median
ratio is below --least. Standard library only; wants a quiet machine.
"""
import argparse
import array
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from soak import TARGET, WORDS, Server, ask

REQUESTS, ADAPTERS = 16, 8
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


# ---- adapters

def projections(program, model):
    """Every projection's module with its inputs and outputs."""
    told = json.loads(subprocess.run([program, "inspect", model, "--json"], check=True, capture_output=True).stdout)
    hidden = told["hidden_size"]
    for layers in told["layers"]:
        heads, keys = (layers[count] * layers["head_dim"] for count in ("num_heads", "num_kv_heads"))
        inner = layers["intermediate_size"]
        shapes = dict(zip(LINEAR, [(hidden, heads), (hidden, keys), (hidden, keys), (heads, hidden),
                                   (hidden, inner), (hidden, inner), (inner, hidden)]))
        for layer in range(layers["first"], layers["last"] + 1):
            for name, shape in shapes.items():
                part = "self_attn" if name in ATTENTION else "mlp"
                yield f"model.layers.{layer}.{part}.{name}", shape


def write_adapter(folder, modules, rank, seed):
    draw = random.Random(seed)
    # Each tensor begins somewhere else in the same numbers: they need only differ.
    pool = array.array("f", [draw.gauss(0, 1) for _ in range(1 << 14)])

    def tensor(count, scale):
        first = draw.randrange(len(pool))
        turned = array.array("f", [scale * value for value in pool[first:] + pool[:first]])
        return (turned * (count // len(turned) + 1))[:count]

    header, data, end = {}, [], 0
    for module, (inputs, outputs) in modules:
        for half, shape, scale in (("lora_A", [rank, inputs], inputs**-0.5), ("lora_B", [outputs, rank], 0.02)):
            values = tensor(shape[0] * shape[1], scale).tobytes()
            place = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + len(values)]}
            header[f"base_model.model.{module}.{half}.weight"] = place
            data.append(values)
            end += len(values)
    folder.mkdir()
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (folder / "adapter_model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + b"".join(data))
    targets = sorted({module.rsplit(".", 1)[1] for module, _ in modules})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": targets, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


# ---- asking

def body_of(model, prompt, gen):
    return {"model": model, "prompt": prompt, "max_tokens": gen, "temperature": 0, "ignore_eos": True}


def answer(server, body):
    status, reply = ask(server.port, "/v1/completions", body)
    if status != 200 or reply["usage"]["completion_tokens"] != body["max_tokens"]:
        raise SystemExit(f"status {status}: {json.dumps(reply)[:500]}")
    return reply["choices"][0]["text"]


def together(server, bodies):
    """Seconds until all are answered, and their answers."""
    answers = [None] * len(bodies)

    def client(place):
        answers[place] = answer(server, bodies[place])

    threads = [threading.Thread(target=client, args=(place,)) for place in range(len(bodies))]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.monotonic() - begin
    if None in answers:
        raise SystemExit("a request failed")
    return wall_s, answers


def measure(server, base, names, options):
    """Tokens per second of every round, the base's and all others', and the last round's requests and answers."""
    draw = random.Random(1)
    speeds, last = [], None
    for round_number in range(options.rounds + 1):
        speed = {}
        for side, models in (("base", [base]), ("adapters", [base, *names])):
            prompts = [" ".join(draw.choices(WORDS, k=24)) for _ in range(REQUESTS)]
            bodies = [body_of(models[i % len(models)], prompt, options.gen) for i, prompt in enumerate(prompts)]
            wall_s, answers = together(server, bodies)
            speed[side] = REQUESTS * options.gen / wall_s
            last = bodies, answers
        if round_number:  # The first one opens the adapters.
            speeds.append(speed)
            print(f"round {round_number}: base {speed['base']:.1f} tok/s, with adapters {speed['adapters']:.1f}", flush=True)
    return speeds, last


def check(server, base, bodies, answers):
    """How many of the answers are not those of the same requests alone, or are the base's though an adapter was asked."""
    apart = sum(answer(server, body) != found for body, found in zip(bodies, answers))
    adapted = [(body, found) for body, found in zip(bodies, answers) if body["model"] != base]
    idle = sum(answer(server, body | {"model": base}) == found for body, found in adapted)
    print(f"{REQUESTS - apart} of {REQUESTS} answers are the same as alone; {len(adapted) - idle} of {len(adapted)} with "
          "an adapter differ from the base's")
    return apart + idle


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bantam", default=str(TARGET / "release/bantam"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gen", type=int, default=64)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(LINEAR))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--least", type=float, default=0.8)
    parser.add_argument("model")
    return parser.parse_args()


def main():
    options = arguments()
    names = [f"adapter-{number}" for number in range(ADAPTERS)]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        every = projections(options.bantam, options.model)
        modules = [(module, shape) for module, shape in every if module.rsplit(".", 1)[1] in options.targets]
        for seed, name in enumerate(names):
            write_adapter(folder / name, modules, options.rank, seed)
        flags = [word for name in names for word in ("--adapter", f"{name}={folder / name}")]
        base = pathlib.Path(options.model).stem
        server = Server(options.bantam, options.model, "--parallel", REQUESTS, "--ctx", 512, "--threads", options.threads,
                        "--alias", "base", *flags)
        speeds, (bodies, answers) = measure(server, "base", names, options)
        failures = check(server, "base", bodies, answers)
        server.stop()
    ratios = sorted(speed["adapters"] / speed["base"] for speed in speeds)
    ratio = statistics.median(ratios)
    medians = {side: statistics.median(speed[side] for speed in speeds) for side in speeds[0]}
    print(f"{base}, {ADAPTERS} adapters of rank {options.rank} on {len(modules)} projections: {medians['adapters']:.1f} of "
          f"{medians['base']:.1f} tok/s, ratio {ratio:.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f})")
    return 1 if failures or ratio < options.least else 0


if __name__ == "__main__":
    sys.exit(main())
