"""`bantam serve` on a free port, for whatever asks it things. Standard library only."""
import atexit
import json
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# What others have set for servers of their own must not reach this one, and neither must the models of whoever runs this.
OTHERS = ("OLLAMA_", "BANTAM_API", "BANTAM_CONFIG")


class Server:
    """A server of its own, which ends with the program that began it."""

    def __init__(self, program, model, *arguments, environment=None):
        command = [program, "serve", model, "--port", "0", "--quiet", *map(str, arguments)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
        self.home = tempfile.TemporaryDirectory()
        own = {"BANTAM_HOME": self.home.name, "OLLAMA_MODELS": self.home.name}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**clean, **own, **(environment or {})}
        )
        atexit.register(self.process.kill)
        self.url = self.listening()
        self.port = int(self.url.rsplit(":", 1)[1])
        # What it says later must not fill the pipe. No thread: programs that fork use this, too.
        self.drain = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def listening(self):
        said = []
        for line in self.process.stderr:
            said.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                return found.group(1)
        raise SystemExit(f"the server did not start:\n{''.join(said)}")

    def stop(self):
        """Its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def request(self, path, body=None, headers=None, timeout=300):
        """Status and JSON."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def model(self):
        """The name of the first model."""
        return self.request("/v1/models")[1]["data"][0]["id"]

    def metric(self, name):
        """A figure of /metrics by its whole name, over all models."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as reply:
            found = re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", reply.read().decode(), re.MULTILINE)
        return sum(map(float, found))

    def running(self):
        """Requests that are computed."""
        return self.metric("vllm:num_requests_running")

    def busy(self):
        """Requests that are computed or wait."""
        return self.running() + self.metric("vllm:num_requests_waiting")

    def status(self):
        """Of the process: its own memory, threads, open files."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        anonymous = int(re.search(r"RssAnon:\s+(\d+)", text).group(1)) * 1024
        threads = int(re.search(r"Threads:\s+(\d+)", text).group(1))
        return {"anonymous_bytes": anonymous, "threads": threads, "files": len(os.listdir(f"/proc/{self.process.pid}/fd"))}
