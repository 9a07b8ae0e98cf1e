#!/usr/bin/env python3
"""Ask `bantam serve` for a long time, badly: clients that go away, that send rubbish, that are killed.

    soak.py [--bantam PROGRAM] [--requests 10000] [--workers 16] MODEL.gguf

Every worker is a process of its own, so that it can be killed. What answers whole must be the very answer that the same
request got alone; nothing may be a server error, stay behind or keep running; memory must not grow between the first
fifth and the end; and a client that goes away must have stopped its work within --cancel-ms, measured at the end, on a
server with nothing else to do. Prints figures, and exits with 1 if one of these does not hold. Standard library only.
"""
import argparse
import json
import math
import multiprocessing
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

from server import TARGET, Server

SYSTEM = "You are a helpful assistant who answers in a few words, and says so when there is nothing to say. " * 6
WORDS = "river stone bread night window seven garden letter green morning salt engine paper cloud".split()
PROMPTS = 40
EXPECTED = {200, 400, 404, 405, 408, 411, 413, 415, 422, 431, 503}
RSS_GROWTH_MAX = 24 << 20


# ---- what is asked

def question(model, number):
    """One of a few requests, always the same for its number."""
    path, body = question_of(number)
    return path, {"model": model, **body}


def question_of(number):
    draw = random.Random(number)
    text = " ".join(draw.choices(WORDS, k=draw.randint(3, 60)))
    sampling = {"temperature": draw.choice([0, 0.9]), "seed": number, "max_tokens": draw.randint(1, 12)}
    messages = [{"role": "system", "content": SYSTEM}] * (number % 2) + [{"role": "user", "content": text}]
    match number % 4:
        case 0:
            return "/v1/completions", {"prompt": text, **sampling, "n": 1 + number % 3}
        case 1:
            return "/v1/chat/completions", {"messages": messages, **sampling}
        case 2:
            options = {"temperature": sampling["temperature"], "seed": number, "num_predict": sampling["max_tokens"]}
            return "/api/chat", {"messages": messages, "stream": False, "options": options}
        case _:
            user = [{"role": "user", "content": text}]
            return "/v1/messages", {"messages": user, "system": SYSTEM, "max_tokens": sampling["max_tokens"], "temperature": 0}


def answer_of(path, reply):
    """What must be the same each time."""
    if path == "/v1/completions":
        return [choice["text"] for choice in reply["choices"]]
    if path == "/v1/chat/completions":
        return reply["choices"][0]["message"]["content"]
    return reply["message"]["content"] if path == "/api/chat" else [part.get("text") for part in reply["content"]]


def ask(port, path, body):
    """Status and JSON."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def send(port, path, body, length=None, kind="application/json"):
    """A connection on which a request was sent, be it wrong."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=300)
    connection.sendall(head.encode() + body)
    return connection


def hang_up(connection, abruptly):
    if abruptly:  # A reset in place of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# ---- what workers do

def whole(port, draw, expected):
    number = draw.randrange(PROMPTS)
    path, body = question(expected[-1], number)
    status, reply = ask(port, path, body)
    if status == 200 and answer_of(path, reply) != expected[number]:
        return "wrong", f"{path} {number}: {answer_of(path, reply)!r}, alone {expected[number]!r}"
    return status, "" if status in EXPECTED else str(reply)


def leave(port, draw, _):
    """Goes away: at once, in the prompt, or after some of a long answer."""
    text = " ".join(draw.choices(WORDS, k=draw.choice([3, 300])))
    body = {"messages": [{"role": "user", "content": text}], "stream": draw.random() < 0.8, "max_tokens": 400, "ignore_eos": True}
    connection = send(port, "/v1/chat/completions", json.dumps(body).encode())
    connection.settimeout(draw.choice([0.001, 0.05, 0.3]))
    try:
        for _ in range(draw.choice([0, 1, 5])):
            connection.recv(500)
    except TimeoutError:
        pass
    hang_up(connection, draw.random() < 0.5)
    return "left", ""


def rubbish(port, draw, _):
    """Sends what is no request."""
    good = json.dumps({"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}).encode()
    bad = [b"", b"{", b"null", b"[]", b'{"messages": 3}', b'{"messages": [{"role": "user"}]}', b"\xff\xfe\x00", good[:-1],
           b'{"messages": [], "max_tokens": -1}', good.replace(b"1}", b"1e999}"), b"[" * 10000, good.replace(b"1}", b'1, "n": 99999}'),
           good.replace(b"1}", b'1, "temperature": "hot"}'), good.replace(b"1}", b'1, "logit_bias": {"x": 1}}')]
    path = draw.choice(["/v1/chat/completions", "/v1/completions", "/api/chat", "/v1/messages", "/tokenize", "/nothing"])
    if draw.random() < 0.2:  # More is promised than comes.
        hang_up(send(port, path, good[:20], length=5000), draw.random() < 0.5)
        return "left", ""
    kind = draw.choice(["application/json"] * 4 + ["text/plain"])
    connection = send(port, path, draw.choice(bad), kind=kind)
    try:
        status = int(connection.recv(200).split(b" ")[1])
    except (IndexError, ValueError, ConnectionError):
        status = "closed"
    hang_up(connection, draw.random() < 0.5)
    return status, f"rubbish to {path}"


def work(port, seed, share, expected, results):
    draw = random.Random(seed)
    while True:
        with share.get_lock():
            if share.value <= 0:
                return
            share.value -= 1
        kind = draw.choices([whole, leave, rubbish], [5, 3, 2])[0]
        try:
            results.put((kind.__name__, *kind(port, draw, expected)))
        except (OSError, ValueError) as error:
            results.put((kind.__name__, "error", repr(error)))


# ---- the run

def soak(server, a, expected):
    """Counts of what came, complaints, and the server's figures in the meantime."""
    share, results = multiprocessing.Value("l", a.requests), multiprocessing.SimpleQueue()
    draw, counts, complaints, samples, kills = random.Random(a.seed), {}, [], [], 0
    start = lambda seed: multiprocessing.Process(target=work, args=(server.port, seed, share, expected, results), daemon=True)
    # A worker that is killed while it holds a lock would stop all: those to be killed have their own.
    workers = [start(a.seed * 1000 + place) for place in range(a.workers)]
    for worker in workers:
        worker.start()
    victims, begin = [], time.monotonic()
    next_kill = begin
    is_over = False
    while not is_over:
        # What they said last is read once more after they have ended.
        is_over = not any(worker.is_alive() for worker in workers)
        while not results.empty():
            name, status, text = results.get()
            counts[name, status] = counts.get((name, status), 0) + 1
            if status in ("wrong", "error") or (isinstance(status, int) and status not in EXPECTED):
                complaints.append(f"{name}: {status} {text}")
        if time.monotonic() - begin > a.seconds:
            with share.get_lock():
                a.requests -= share.value
                share.value = 0
        if time.monotonic() > next_kill:
            for victim in victims:
                victim.kill()
                victim.wait()
            kills += len(victims)
            victims = [spawn_victim(server.port, draw) for _ in range(2)]
            next_kill = time.monotonic() + draw.uniform(0.1, 1.0)
            samples.append((a.requests - share.value, server.status()))
        time.sleep(0.01)
    for victim in victims:
        victim.kill()
        victim.wait()
    return counts, complaints, samples, kills


def spawn_victim(port, draw):
    """A client, a program of its own, that asks for much and is killed."""
    body = json.dumps({"prompt": " ".join(draw.choices(WORDS, k=200)), "max_tokens": 900, "stream": True, "ignore_eos": True})
    code = ("import socket,sys\n"
            f"s=socket.create_connection(('127.0.0.1',{port}))\n"
            "b=sys.argv[1].encode()\n"
            "s.sendall(b'POST /v1/completions HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n'"
            "b'Content-Length: %d\\r\\n\\r\\n' % len(b) + b)\n"
            "while s.recv(1000): pass\n")
    return subprocess.Popen([sys.executable, "-c", code, body], stderr=subprocess.DEVNULL)


def quiet_after(server, most_s):
    """Seconds until the server has nothing more to do; infinity if that takes longer than allowed."""
    begin = time.monotonic()
    while time.monotonic() - begin < most_s:
        if server.busy() == 0:
            return time.monotonic() - begin
        time.sleep(0.001)
    return math.inf


def cancel_times(server, count):
    """How long the server goes on after its only client went away, half of them in the prompt."""
    times = []
    for place in range(count):
        in_prompt = place % 2 == 0
        words = random.Random(place).choices(WORDS, k=600 if in_prompt else 5)
        body = {"prompt": " ".join(words), "max_tokens": 900, "stream": True, "ignore_eos": True}
        connection = send(server.port, "/v1/completions", json.dumps(body).encode())
        while server.running() == 0:
            pass
        if not in_prompt:
            connection.recv(1000)
        hang_up(connection, place % 4 < 2)
        times.append(quiet_after(server, 30))
    return sorted(times)


def growth(samples, requests):
    """Anonymous memory at the end over that after a fifth, highest of a few samples each."""
    early = [s["anonymous_bytes"] for done, s in samples if requests * 0.15 <= done <= requests * 0.3]
    late = [s["anonymous_bytes"] for done, s in samples if done >= requests * 0.85]
    return (max(late) - max(early)) if early and late else 0


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--bantam", default=TARGET / "debug" / "bantam", type=pathlib.Path)
    p.add_argument("--requests", type=int, default=10000)
    p.add_argument("--seconds", type=float, default=math.inf, help="fewer requests, if they take longer than this")
    p.add_argument("--workers", type=int, default=16)
    p.add_argument("--cancels", type=int, default=100)
    p.add_argument("--cancel-ms", type=float, default=50)
    p.add_argument("--cache", type=int, default=32, help="the server's, in megabytes: soon full")
    p.add_argument("--threads", type=int, default=0, help="the server's; 1 where others use the machine, too")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


def main():
    a = arguments()
    server = Server(a.bantam, a.model, "--ctx", 2048, "--parallel", 8, "--queue", 256, "--cache", a.cache,
                    "--threads", a.threads)
    model = server.model()
    expected = []
    for number in range(PROMPTS):
        path, body = question(model, number)
        status, reply = ask(server.port, path, body)
        if status != 200:
            raise SystemExit(f"{path} alone: {status} {reply}")
        expected.append(answer_of(path, reply))
    begin = time.monotonic()
    counts, complaints, samples, kills = soak(server, a, [*expected, model])
    wall = time.monotonic() - begin
    quiet = quiet_after(server, 30)
    for (name, status), count in sorted(counts.items(), key=str):
        print(f"{count:7}  {name:8} {status}")
    answered = sum(counts.values())
    grown, times, last = growth(samples, a.requests), cancel_times(server, a.cancels), server.status()
    p99_ms = 1000 * times[min(int(len(times) * 0.99), len(times) - 1)]
    first = samples[min(2, len(samples) - 1)][1]
    status = server.stop()
    checks = [
        (not complaints, f"{answered} requests, {kills} clients killed, {wall:.0f} s: {len(complaints)} wrong or failed"),
        (answered == a.requests, f"{a.requests - answered} requests without an end"),
        (quiet < 30, f"nothing runs or waits {quiet:.3f} s after the last"),
        (grown < RSS_GROWTH_MAX, f"memory grew by {grown / 2**20:.1f} MiB from the first fifth to the end; {last['anonymous_bytes'] / 2**20:.0f} MiB"),
        (last["files"] <= first["files"] + 4, f"{last['files']} files open, {last['threads']} threads"),
        (p99_ms < a.cancel_ms, f"who goes away is done with after {1000 * times[len(times) // 2]:.1f} ms (median), {p99_ms:.1f} ms (p99) of {len(times)}"),
        (status == 0, f"it ended with status {status}"),
    ]
    for complaint in complaints[:20]:
        print("    " + complaint[:300])
    for holds, text in checks:
        print(("pass  " if holds else "FAIL  ") + text)
    raise SystemExit(0 if all(holds for holds, _ in checks) else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without its server
    main()
