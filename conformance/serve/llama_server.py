#!/usr/bin/env python3
"""Takes llama-server's flags and starts `bantam serve` in its place, for the tests of llama.cpp's server.

CONFORMANCE_BANTAM is the program, CONFORMANCE_GGUF the model, which is served under the name that the flags give.
Templates are the model's own, whatever is asked for; flags that tune llama-server are left out; what would change
answers and is not there ends it.
"""
import argparse
import os
import pathlib
import sys
import tempfile

# Flags that mean something, and have no counterpart here.
NOT_THERE = (
    "--models-dir --models-max --models-preset --no-models-autoload --lora --slot-save-path --context-shift --media-path --mcp-servers-config --mcp-servers-json --tools --ui-mcp-proxy "
    "--cors-origins --no-ui --spec-type --model-draft --sleep-idle-seconds"
).split()

# Names by which the tests call the one model, whatever it is.
NAMES = "codellama70b davinci-002 gpt-3.5-turbo gpt-3.5-turbo-instruct gpt-4.1 test text-embedding-3-small".split()


def read():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag, default in (("--port", "8080"), ("--host", "127.0.0.1"), ("--temp", "0.8"), ("--seed", "-1"), ("--alias", None)):
        parser.add_argument(flag, default=default)
    parser.add_argument("--ctx-size", type=int, default=4096)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--api-key")
    known, others = parser.parse_known_args()
    missing = [flag for flag in NOT_THERE if flag in others]
    if missing:
        sys.exit(f"not there: {', '.join(missing)}")
    return known


def named(model, alias):
    """The model's file, under the name by which it is to be known."""
    if not alias:
        return model
    path = pathlib.Path(tempfile.mkdtemp(prefix="conformance-")) / f"{alias.split(',')[0]}.gguf"
    path.symlink_to(pathlib.Path(model).resolve())
    return path


def main():
    flags = read()
    bantam, model = os.environ["CONFORMANCE_BANTAM"], os.environ["CONFORMANCE_GGUF"]
    # llama-server shares its context among the slots; here it is what each answer may have.
    context = max(flags.ctx_size // flags.parallel, 64)
    command = [bantam, "serve", named(model, flags.alias), "--quiet", "--host", flags.host.split(",")[0], "--port", flags.port]
    command += ["--ctx", context, "--parallel", flags.parallel, "--temp", flags.temp, "--seed", flags.seed]
    for name in NAMES:
        command += ["--alias", name]
    if flags.api_key:
        os.environ["BANTAM_API_KEY"] = flags.api_key
    os.execv(bantam, list(map(str, command)))


if __name__ == "__main__":
    main()
