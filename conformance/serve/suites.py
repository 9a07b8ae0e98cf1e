#!/usr/bin/env python3
"""Run everybody's clients, harness and fuzzer against `bantam serve`, and print one matrix.

    suites.py [--bantam PROGRAM] [--only SUITE] [--questions FILE.jsonl] MODEL.gguf

Suites: `clients` (clients.py: the official clients in Python), `clients-js` (clients.mjs: those in JavaScript; wants
node and npm), `frameworks` (frameworks.py: LangChain), `harness` (lm-evaluation-harness with tokens made by the server; wants --questions, lines of
{"question", "choices", "answer"}), `fuzz` (schemathesis on the server's own OpenAPI document). Each has an environment
of its own, with pinned versions, beside the build's output. A suite that cannot run is a skip with its reason. Exits
with 1 if anything fails.
"""
import argparse
import collections
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv

from clients import HERE, TARGET, Server

LINE = re.compile(r"^(pass|FAIL|skip)\s+(\S+)\s+(.*)$")
PINNED = {
    "langchain": ["langchain-openai==1.7.3", "langchain-anthropic==1.7.7", "langchain-ollama==1.1.0"],
    "lm-eval": ["lm_eval[api]==0.4.13"],
    "schemathesis": ["schemathesis==4.32.5"],
}
QUESTIONS = 8
# On these log-likelihoods and those of the model's own logits agree.
TOLERANCE = 1e-4


def tool(name):
    """The folder of a pinned tool's programs."""
    folder = TARGET / f"conformance-{name}"
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *PINNED[name]], check=True)
    return folder / "bin"


def lines(command, **more):
    """The lines of a suite that prints its own; a suite that breaks off fails."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    found = [LINE.match(line) for line in ran.stdout.splitlines()]
    found = [match.groups() for match in found if match]
    if not found:
        return [("FAIL", pathlib.Path(command[1]).name, f"broke off: {ran.stdout[-400:]!r}")]
    return found


def clients(arguments, only=""):
    command = [sys.executable, HERE / "clients.py", "--bantam", arguments.bantam, "--only", only, arguments.model]
    return lines(command)


def clients_js(arguments):
    if not (shutil.which("node") and shutil.which("npm")):
        return [("skip", "javascript", "wants node and npm")]
    folder = TARGET / "conformance-js"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "clients.mjs"):
        shutil.copy(HERE / name, folder / name)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    server = Server(arguments.bantam, arguments.model, "--ctx", "2048")
    try:
        model = server.request("/v1/models")[1]["data"][0]["id"]
        return lines(["node", folder / "clients.mjs", server.url, model])
    finally:
        server.stop()


def frameworks(arguments):
    programs = tool("langchain")
    server = Server(arguments.bantam, arguments.model, "--ctx", "2048")
    try:
        model = server.request("/v1/models")[1]["data"][0]["id"]
        return lines([programs / "python", HERE / "frameworks.py", server.url, model])
    finally:
        server.stop()


def harness(arguments):
    if not arguments.questions:
        return [("skip", "lm-eval", "wants --questions")]
    programs = tool("lm-eval")
    server = Server(arguments.bantam, arguments.model, "--ctx", "2048")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return evaluate(arguments, server, programs, pathlib.Path(folder))
    finally:
        server.stop()


def evaluate(arguments, server, programs, folder):
    rows = [json.loads(line) for line in open(arguments.questions).read().splitlines()[:QUESTIONS]]
    letters = "ABCDEFGH"
    for row in rows:
        answer = row["answer"]
        row["gold"] = letters.index(answer) if isinstance(answer, str) and answer in letters else int(answer)
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "questions",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "gold",
        "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    # JSON is YAML.
    (folder / "questions.yaml").write_text(json.dumps(task))
    address = f"model=served,base_url={server.url}/v1/completions,tokenizer_backend=remote,num_concurrent=2,max_length=2048"
    model = server.request("/v1/models")[1]["data"][0]["id"]
    command = [programs / "lm-eval", "run", "--model", "local-completions", "--model_args"]
    command += [address.replace("served", model), "--tasks", "questions", "--include_path", folder]
    command += ["--output_path", folder / "out", "--log_samples"]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    ran = subprocess.run(command, env={**os.environ, **quiet}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    samples = list((folder / "out").rglob("samples_*.jsonl"))
    if ran.returncode or not samples:
        return [("FAIL", "lm-eval", f"broke off: {ran.stdout[-600:]!r}")]
    return compare(arguments, server, [json.loads(line) for line in samples[0].read_text().splitlines()])


def compare(arguments, server, samples):
    """What the harness found, beside the logits that the program computes of the same tokens."""

    def ids(text):
        return server.request("/tokenize", {"prompt": text, "add_special_tokens": False})[1]["tokens"]

    worst, right, count, greedy_differs = 0.0, 0, 0, 0
    for sample in samples:
        own = []
        pairs = [value for _, value in sorted(sample["arguments"].items())]
        for pair, reply in zip(pairs, sample["filtered_resps"]):
            before, after = pair["arg_0"], pair["arg_1"]
            whole, begin = ids(before + after), len(ids(before))
            score, is_greedy = scored(arguments, whole, begin)
            found, found_greedy = float(reply[0]), str(reply[1]) == "True"
            worst, count = max(worst, abs(score - found)), count + 1
            greedy_differs += is_greedy != found_greedy
            own.append(score)
        is_right = own.index(max(own)) == int(sample["target"])
        right += is_right == bool(sample["acc"])
    outcome = "pass" if worst < TOLERANCE and right == len(samples) and not greedy_differs else "FAIL"
    title = f"{count} log-likelihoods within {worst:.1e} of the model's own, {right} of {len(samples)} accuracies equal"
    return [(outcome, "lm-eval", title)]


def scored(arguments, ids, begin):
    """The log-likelihood of tokens from one on, and whether each is the likeliest."""
    command = [arguments.bantam, "logits", arguments.model, "--tokens", ",".join(map(str, ids)), "--json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["logits"]
    total, is_greedy = 0.0, True
    for at in range(begin, len(ids)):
        row = rows[at - 1]
        most = max(row)
        total += row[ids[at]] - most - math.log(sum(math.exp(logit - most) for logit in row))
        is_greedy &= row[ids[at]] == most
    return total, is_greedy


def fuzz(arguments):
    programs = tool("schemathesis")
    # A small context bounds how long an answer can take.
    server = Server(arguments.bantam, arguments.model, "--ctx", "64")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [programs / "schemathesis", "run", f"{server.url}/openapi.json", "--checks", checks]
    command += ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "-n", "12", "--no-color"]
    command += ["--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all"]
    try:
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500)
    finally:
        server.stop()
    (TARGET / "conformance-schemathesis.txt").write_text(ran.stdout)
    tested = re.findall(r"(\d+) generated|Test cases:\s+(.*)|Generated:\s+(.*)", ran.stdout)
    title = f"no failed answer, no undescribed one; {' '.join(map(str, tested[-1:]))}"
    if ran.returncode:
        title = f"see {TARGET / 'conformance-schemathesis.txt'}: {ran.stdout[-500:]!r}"
    return [("FAIL" if ran.returncode else "pass", "schemathesis", title)]


SUITES = {"clients": clients, "clients-js": clients_js, "frameworks": frameworks, "harness": harness, "fuzz": fuzz}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bantam", default=str(TARGET / "release" / "bantam"))
    parser.add_argument("--only", choices=sorted(SUITES))
    parser.add_argument("--questions", help="lines of {question, choices, answer}, for the harness")
    parser.add_argument("model")
    arguments = parser.parse_args()
    matrix = collections.defaultdict(collections.Counter)
    for name, suite in SUITES.items():
        if arguments.only in (None, name):
            for outcome, client, title in suite(arguments):
                matrix[client][outcome] += 1
                print(f"{outcome}  {client:12} {title}", flush=True)
    print(f"\n{'':13} {'pass':>5} {'FAIL':>5} {'skip':>5}")
    for client, counts in matrix.items():
        print(f"{client:13} {counts['pass']:5} {counts['FAIL']:5} {counts['skip']:5}")
    sys.exit(any(counts["FAIL"] for counts in matrix.values()))


if __name__ == "__main__":
    main()
