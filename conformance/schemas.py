#!/usr/bin/env python3
"""Hold a real model's answers to other people's JSON schemas, and count what holds.

    schemas.py [--bantam PROGRAM] [--count N] [--seconds S] [--max-tokens N] [--more-tokens N] [--clients N] [--seed N]
               [--out FILE] MODEL.gguf FOLDER

FOLDER holds schemas as .json files, such as those of JSONSchemaBench (github.com/guidance-ai/jsonschemabench, `data`).
Starts `bantam serve`, asks for one answer to each of N schemas drawn from all (or as many as the seconds allow), several
at once, and checks each answer with the Python package `jsonschema`. Prints what is valid (at once, or cut short: led to its
end where its tokens ran out, or asked for again with four times as many, up to --more-tokens, since its schema asks for
more), incomplete (it asks for more than that, too), refused (with the reasons) and wrong, the time of a mask and the share of
tokens that were forced. Exits with 1 if an answer that was called done does not hold to its schema, or if one did not
end.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "serve"))

from pinned import enter
from server import TARGET, Server

ANSWER_SECONDS_MAX = 600


def no_fetch(uri):
    raise LookupError(f"{uri} is not within the schema")


def problem(schema, text):
    """Why a text does not hold to a schema; None if it does."""
    import jsonschema
    import referencing

    # A JSON number of many digits is one, though no machine's.
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    registry = referencing.Registry(retrieve=no_fetch)
    try:
        error = next(kind(schema, registry=registry, format_checker=kind.FORMAT_CHECKER).iter_errors(value), None)
    except Exception as error:  # the schema itself is beyond the validator
        return f"? {type(error).__name__}: {error}"
    return error and f"{error.json_path}: {error.message[:200]}"


def body_of(schema, max_tokens, number):
    about = schema.get("description") or schema.get("title") or "something"
    ask = f"Make up an example of this and write it as JSON: {str(about)[:300]}"
    return {
        "messages": [{"role": "user", "content": ask}],
        "temperature": 0.7,
        "seed": number,
        "max_tokens": max_tokens,
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}},
    }


def judged(server, options, number, path):
    """The kind of an outcome, and what there is to say about it."""
    try:
        schema = json.loads(path.read_text())
    except ValueError as error:
        return "unreadable", f"{path.name}: {error}", None
    max_tokens = options.max_tokens
    kind, *rest = answered(server, schema, max_tokens, number, path)
    while kind == "incomplete" and max_tokens < options.more_tokens:
        max_tokens = min(4 * max_tokens, options.more_tokens)
        kind, *rest = answered(server, schema, max_tokens, number, path)
    is_later = kind.startswith("valid") and max_tokens > options.max_tokens
    return ("valid, asked again" if is_later else kind), *rest


def answered(server, schema, max_tokens, number, path):
    begun = time.monotonic()
    try:
        body = body_of(schema, max_tokens, number)
        status, reply = server.request("/v1/chat/completions", body, timeout=ANSWER_SECONDS_MAX)
    except TimeoutError:
        return "endless", path.name, None
    took = time.monotonic() - begun
    if status == 400 and "cannot go on" in reply["error"]["message"]:
        return "given up", f"{path.name}: {reply['error']['message']}", took
    if status == 400:
        return "refused", reply["error"]["message"], took
    if status != 200:
        return "failed", f"{path.name}: {reply['error']['message']}", took
    choice = reply["choices"][0]
    text = choice["message"]["content"]
    why = problem(schema, text)
    if choice["finish_reason"] == "length":
        return ("incomplete", f"{path.name}: {text[-60:]}", took) if why else ("valid, cut short", text, took)
    if why is None:
        return "valid", text, took
    return ("unjudged" if why.startswith("?") else "wrong"), f"{path.name}: {why} in {text[:300]}", took


def reason_of(message):
    """What refusals have in common."""
    message = message.split(": ", 1)[-1]
    keyword = re.search(r"keyword `([^`]+)`|`(format)` at \S+ is (\S+)", message)
    if keyword:
        return " ".join(part for part in keyword.groups() if part)
    return re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"|/\S+|#\S*|\d+", "_", message)[:90]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--bantam", default=str(TARGET / "release" / "bantam"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--more-tokens", type=int, default=6144)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path,
                        help="a line of JSON for each outcome, as it comes; what is there already is not asked again")
    options = parser.parse_args()
    enter("schemas")
    paths = sorted(options.folder.rglob("*.json"))
    draw = random.Random(options.seed)
    # Each schema once before any comes twice.
    order = [path for _ in range(options.count // max(len(paths), 1) + 1) for path in draw.sample(paths, len(paths))]
    context = 1024 + max(options.max_tokens, options.more_tokens)
    server = Server(options.bantam, options.model, "--ctx", context, "--parallel", options.clients)
    outcomes, begun = known(options.out), time.monotonic()
    wanted = [item for item in enumerate(order[: options.count]) if item[0] not in outcomes]
    out = open(options.out or os.devnull, "a", buffering=1)

    def one(item):
        if time.monotonic() - begun > options.seconds:
            return
        number, path = item
        outcomes[number] = (path.name, *judged(server, options, *item))
        out.write(json.dumps([number, *outcomes[number]]) + "\n")

    try:
        with concurrent.futures.ThreadPoolExecutor(options.clients) as pool:
            list(pool.map(one, wanted))
        seconds = time.monotonic() - begun
        names = ("vllm:generation_tokens_total", "bantam:forced_tokens_total", "bantam:mask_total",
                 "bantam:mask_nanoseconds_total")
        tokens, forced, masks, nanos = (server.metric(name) for name in names)
    finally:
        server.stop()
    outcomes = list(outcomes.values())
    report(outcomes, seconds, (tokens, forced, masks, nanos))
    kinds = collections.Counter(kind for _, kind, _, _ in outcomes)
    raise SystemExit(1 if kinds["wrong"] or kinds["failed"] or kinds["endless"] else 0)


def known(out):
    """What an earlier run has found, by its number."""
    if not (out and out.exists()):
        return {}
    return {number: tuple(outcome) for number, *outcome in map(json.loads, out.read_text().splitlines())}


def report(outcomes, seconds, figures):
    kinds = collections.Counter(kind for _, kind, _, _ in outcomes)
    print(f"{len(outcomes)} requests in {seconds:.0f} s: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    for kind in ("wrong", "failed", "endless", "unjudged", "given up", "incomplete"):
        for _, _, what, _ in [outcome for outcome in outcomes if outcome[1] == kind][:8]:
            print(f"  {kind}: {what}")
    reasons = collections.Counter(reason_of(what) for _, kind, what, _ in outcomes if kind == "refused")
    for reason, count in reasons.most_common(25):
        print(f"  refused {count}: {reason}")
    slowest = max((took for _, kind, _, took in outcomes if kind == "refused"), default=0)
    tokens, forced, masks, nanos = figures
    print(f"slowest refusal {slowest:.2f} s; {tokens:.0f} tokens, of which {forced:.0f} forced "
          f"({100 * forced / max(tokens, 1):.1f} %); {nanos / max(masks, 1) / 1e3:.0f} us a mask")


if __name__ == "__main__":
    main()
