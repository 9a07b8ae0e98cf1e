#!/usr/bin/env python3
"""Replay the requests that Open WebUI 0.12 and Continue 1.x send to a server of one's own, and read the answers as they do.

    recorded.py URL MODEL

The requests are shapes read from their source: which paths they ask, with which fields and headers, and which parts
of an answer they look at. Prints a line for each, as clients.py does. Standard library only.
"""
import base64
import datetime
import json
import re
import struct
import sys
import urllib.error
import urllib.request

from checks import Skip, check, run_all

URL, MODEL = sys.argv[1:]
FRANCE = {"role": "user", "content": "What is the capital of France?"}
# Open WebUI sends who asks, where it is told to; a key, where it has one, or an empty one.
OF_USER = {
    "Authorization": "Bearer none",
    "X-OpenWebUI-User-Name": "Ada",
    "X-OpenWebUI-User-Id": "7b1d",
    "X-OpenWebUI-User-Email": "ada@example.com",
    "X-OpenWebUI-User-Role": "admin",
    "X-OpenWebUI-Chat-Id": "0001",
}
OF_EDITOR = {"Authorization": "Bearer none", "x-api-key": "none", "api-key": "none", "Accept": "application/json"}
CODE = {"before": "def add(a, b):\n    return ", "after": "\n\nprint(add(1, 2))\n"}
# What ends a filled gap, for a model that has such tokens.
GAP_ENDS = "<|endoftext|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>".split()
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 40}}, "required": ["place"]},
    },
}


def ask(path, body=None, headers=None, method=None):
    """Status, kind and text of a reply."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, reply.headers.get_content_type(), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read().decode()


def told(path, body=None, headers=None):
    """The JSON of an answer."""
    status, kind, text = ask(path, body, headers)
    assert status == 200, f"{status} {text[:300]}"
    assert kind == "application/json", kind
    return json.loads(text)


def events(path, body, headers=None):
    """What the `data:` lines of a stream hold, up to `[DONE]`."""
    status, kind, text = ask(path, {**body, "stream": True}, headers)
    assert (status, kind) == (200, "text/event-stream"), f"{status} {kind} {text[:300]}"
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"], lines[-1] == "[DONE]"


def lines(path, body, headers=None):
    """What the lines of a stream hold, none of them blank."""
    status, kind, text = ask(path, body, headers)
    assert (status, kind) == (200, "application/x-ndjson"), f"{status} {kind} {text[:300]}"
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def streamed(path, body, headers=None):
    """The text, the reason of its end and the usage of a streamed chat completion."""
    chunks, is_ended = events(path, body, headers)
    assert is_ended and chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, choices[-1]["finish_reason"], chunks[-1].get("usage")


# ---- Open WebUI, connected as to OpenAI

@check("open-webui", "OpenAI: the connection is tried, models are listed")
def _():
    found = told("/v1/models", headers=OF_USER)
    assert found["object"] == "list" and [model["id"] for model in found["data"]] == [MODEL]
    assert all(model["object"] == "model" and model["owned_by"] for model in found["data"])


@check("open-webui", "OpenAI: a chat, streamed, with usage")
def _():
    body = {"model": MODEL, "messages": [FRANCE], "stream_options": {"include_usage": True}, "temperature": 0, "max_tokens": 40}
    text, ended, usage = streamed("/v1/chat/completions", body, OF_USER)
    assert "Paris" in text and ended == "stop" and usage["total_tokens"] > 10
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0


@check("open-webui", "OpenAI: settings of a model and of a chat")
def _():
    settings = {
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "frequency_penalty": 0.1, "presence_penalty": 0.1,
        "repeat_penalty": 1.1, "seed": 1, "stop": ["\n\n", "User:"], "logit_bias": {"100": -100}, "num_ctx": 2048,
        "num_gpu": 1, "num_thread": 1, "keep_alive": "5m", "mirostat": 0, "reasoning_effort": "none", "max_tokens": 12,
    }
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi."}]}]
    text, ended, _ = streamed("/v1/chat/completions", {"model": MODEL, "messages": messages, **settings}, OF_USER)
    assert text and ended in ("stop", "length")


@check("open-webui", "OpenAI: a form for the answer, as a setting")
def _():
    schema = {"type": "object", "properties": {"title": {"type": "string", "maxLength": 60}}, "required": ["title"]}
    form = {"type": "json_schema", "json_schema": {"name": "title", "schema": schema}}
    body = {"model": MODEL, "messages": [FRANCE], "stream": False, "max_tokens": 200, "response_format": form}
    found = told("/v1/chat/completions", body, OF_USER)["choices"][0]["message"]["content"]
    assert isinstance(json.loads(found)["title"], str)


@check("open-webui", "OpenAI: tasks beside a chat: title, tags, questions that follow, an emoji")
def _():
    history = "<chat_history>\nUSER: What is the capital of France?\nASSISTANT: Paris.\n</chat_history>"
    for task, most in (("Make a title, as JSON: {\"title\": \"..\"}.", 1000), ("One emoji.", 4)):
        message = {"role": "user", "content": f"### Task:\n{task}\n{history}"}
        body = {"model": MODEL, "messages": [message], "stream": False, "max_tokens": most, "temperature": 0}
        reply = told("/v1/chat/completions", body, OF_USER)
        assert isinstance(reply["choices"][0]["message"]["content"], str) and reply["usage"]["completion_tokens"] <= most


@check("open-webui", "OpenAI: Continue, for an answer that was stopped")
def _():
    messages = [FRANCE, {"role": "assistant", "content": "The capital of France is"}]
    body = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 8}
    text, _, _ = streamed("/v1/chat/completions", {**body, "continue_final_message": True, "add_generation_prompt": False}, OF_USER)
    assert "Paris" in text and "The capital of" not in text, text


@check("open-webui", "OpenAI: tools, and their results")
def _():
    body = {"model": MODEL, "messages": [FRANCE], "tools": [WEATHER], "max_tokens": 40, "temperature": 0}
    chunks, is_ended = events("/v1/chat/completions", body, OF_USER)
    assert is_ended and all("index" in call for chunk in chunks for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or [])
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"place": "Paris"}'}}
    messages = [FRANCE, {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."}]
    assert events("/v1/chat/completions", {**body, "messages": messages}, OF_USER)[1]


@check("open-webui", "OpenAI: no tools at all, as an empty list")
def _():
    body = {"model": MODEL, "messages": [FRANCE], "tools": [], "max_tokens": 4}
    assert streamed("/v1/chat/completions", body, OF_USER)[0]


@check("open-webui", "OpenAI: the connection as one of the Responses kind")
def _():
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": FRANCE["content"]}]}
    body = {"model": MODEL, "input": [item], "instructions": "You are a helpful assistant.", "temperature": 0, "max_output_tokens": 40}
    found, _ = events("/v1/responses", body, OF_USER)
    text = "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
    assert "Paris" in text, text
    assert found[-1]["type"] == "response.completed" and found[-1]["response"]["usage"]["total_tokens"]


@check("open-webui", "documents: vectors, and their order")
def _():
    found = told("/v1/embeddings", {"input": ["A cat.", "A dog."], "model": MODEL}, OF_USER)["data"]
    assert all(isinstance(entry["embedding"][0], float) for entry in found) and len(found) == 2
    found = told("/api/embed", {"input": ["A cat.", "A dog."], "model": MODEL, "truncate": True}, OF_USER)
    assert len(found["embeddings"]) == 2
    body = {"model": MODEL, "query": "A pet", "documents": ["A cat.", "A train.", "A dog."], "top_n": 3}
    scores = sorted(told("/v1/rerank", body, OF_USER)["results"], key=lambda entry: entry["index"])
    assert [entry["index"] for entry in scores] == [0, 1, 2] and all(isinstance(entry["relevance_score"], float) for entry in scores)


@check("open-webui", "OpenAI: a failure is told with its status and an `error`")
def _():
    status, kind, text = ask("/v1/chat/completions", {"model": "none", "messages": [FRANCE], "stream": True}, OF_USER)
    assert (status, kind) == (404, "application/json") and json.loads(text)["error"]["message"]


# ---- Open WebUI, connected as to Ollama

@check("open-webui", "Ollama: the connection is tried, models are listed, those that are loaded too")
def _():
    assert re.match(r"\d+\.\d+\.\d+", told("/api/version", headers=OF_USER)["version"])
    for model in told("/api/tags", headers=OF_USER)["models"]:
        assert model["name"] == model["model"] == MODEL and model["digest"] is not None and model["size"] > 0
        datetime.datetime.fromisoformat(model["modified_at"].replace("Z", "+00:00"))
        assert {"format", "family", "families", "parameter_size", "quantization_level"} <= set(model["details"])
    for model in told("/api/ps", headers=OF_USER)["models"]:
        datetime.datetime.fromisoformat(model["expires_at"].replace("Z", "+00:00"))
    assert "completion" in told("/api/show", {"model": MODEL}, OF_USER)["capabilities"]


@check("open-webui", "Ollama: a chat, streamed, with options")
def _():
    options = {"temperature": 0, "num_predict": 40, "num_ctx": 2048, "repeat_last_n": 64, "use_mmap": True, "num_gpu": 1, "stop": ["User:"]}
    body = {"model": MODEL, "messages": [FRANCE], "stream": True, "options": options, "keep_alive": "5m", "think": False}
    found = lines("/api/chat", body, OF_USER)
    assert "Paris" in "".join(line["message"]["content"] for line in found)
    assert found[-1]["done"] and found[-1]["eval_count"] > 1 and found[-1]["prompt_eval_count"] > 1
    whole = told("/api/chat", {**body, "stream": False, "format": {"type": "object"}}, OF_USER)
    assert isinstance(json.loads(whole["message"]["content"]), dict) or whole["done_reason"] == "length"


@check("open-webui", "Ollama: a model is let go, and comes again")
def _():
    status, _, text = ask("/api/generate", {"model": MODEL, "keep_alive": 0, "prompt": ""}, OF_USER)
    assert status == 200 and json.loads(text)["done_reason"] == "unload", text
    body = {"model": MODEL, "messages": [FRANCE], "stream": False, "options": {"num_predict": 2}}
    assert told("/api/chat", body, OF_USER)["eval_count"] == 2


@check("open-webui", "Ollama: a failure is told with its status and an `error`")
def _():
    status, _, text = ask("/api/chat", {"model": "none", "messages": [FRANCE]}, OF_USER)
    assert status == 404 and isinstance(json.loads(text)["error"], str)


# ---- Continue

@check("continue", "Ollama: what a model is, by the old name of the field")
def _():
    found = told("/api/show", {"name": MODEL}, OF_EDITOR)
    for line in found["parameters"].split("\n"):
        assert re.match(r'^(\S+)\s+((?:".*")|\S+)$', line), line
    assert isinstance(found["template"], str)
    assert [model["name"] for model in told("/api/tags")["models"]] == [MODEL]


@check("continue", "Ollama: a chat, streamed")
def _():
    options = {"temperature": 0, "num_predict": 40, "num_ctx": 2048, "num_thread": 1, "use_mmap": True}
    found = lines("/api/chat", {"model": MODEL, "messages": [FRANCE], "options": options, "keep_alive": 1800, "stream": True}, OF_EDITOR)
    assert "Paris" in "".join(line["message"]["content"] for line in found)
    assert {line["message"]["role"] for line in found} == {"assistant"}


@check("continue", "Ollama: a chat with tools")
def _():
    body = {"model": MODEL, "messages": [FRANCE], "tools": [WEATHER], "stream": False, "options": {"num_predict": 30}}
    assert told("/api/chat", body, OF_EDITOR)["message"]["role"] == "assistant"


@check("continue", "Ollama: code goes on, with a text of the editor's own making")
def _():
    body = {"model": MODEL, "prompt": CODE["before"], "raw": True, "keep_alive": 1800, "stream": True}
    found = lines("/api/generate", {**body, "options": {"temperature": 0.01, "num_predict": 20, "stop": [*GAP_ENDS, "\n\n"]}}, OF_EDITOR)
    assert "".join(line["response"] for line in found) and found[-1]["done"]


@check("continue", "Ollama: a gap in code")
def _():
    body = {"model": MODEL, "prompt": CODE["before"], "suffix": CODE["after"], "raw": True, "stream": True}
    gap("/api/generate", body, lambda text: isinstance(json.loads(text)["error"], str))


@check("continue", "Ollama: vectors in a batch")
def _():
    texts = [f"Piece {number} of code." for number in range(16)]
    found = told("/api/embed", {"model": MODEL, "input": texts}, OF_EDITOR)["embeddings"]
    assert len(found) == len(texts) and len({len(vector) for vector in found}) == 1


@check("continue", "OpenAI: models, and a chat with usage")
def _():
    assert [model["id"] for model in told("/v1/models", headers=OF_EDITOR)["data"]] == [MODEL]
    messages = [{"role": "system", "content": " "}, FRANCE]
    body = {"messages": messages, "model": MODEL, "max_tokens": 60, "temperature": 0, "stream_options": {"include_usage": True}}
    text, _, usage = streamed("/v1/chat/completions", {**body, "stop": ["<|im_end|>"], "parallel_tool_calls": False}, OF_EDITOR)
    assert "Paris" in text and usage["completion_tokens"] > 1


@check("continue", "OpenAI: code goes on, with a text of the editor's own making")
def _():
    body = {"model": MODEL, "prompt": CODE["before"], "max_tokens": 20, "temperature": 0.01, "stop": [*GAP_ENDS, "\n\n", "```"]}
    chunks, _ = events("/v1/completions", body, OF_EDITOR)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"])


@check("continue", "OpenAI: a gap in code")
def _():
    body = {"model": MODEL, "prompt": CODE["before"], "suffix": CODE["after"], "max_tokens": 20, "stream": True}
    gap("/v1/completions", body, lambda text: json.loads(text)["error"]["param"] == "suffix")


@check("continue", "OpenAI: vectors in base64, and documents in their order")
def _():
    body = {"model": MODEL, "input": ["one piece", "another"], "encoding_format": "base64"}
    found = told("/v1/embeddings", body, OF_EDITOR)["data"]
    vectors = [struct.unpack(f"<{len(raw) // 4}f", raw) for raw in (base64.b64decode(entry["embedding"]) for entry in found)]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-4 for vector in vectors)
    body = {"model": MODEL, "query": "numbers", "documents": ["one piece", "another"]}
    found = sorted(told("/v1/rerank", body, OF_EDITOR)["results"], key=lambda entry: entry["index"])
    assert [entry["index"] for entry in found] == [0, 1]


@check("continue", "llama.cpp: a text goes on, streamed")
def _():
    body = {"prompt": "One, two, three,", "n_predict": 8, "temperature": 0, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "mirostat": 0}
    found, _ = events("/completion", {**body, "stop": ["ten"], "frequency_penalty": 0, "presence_penalty": 0}, OF_EDITOR)
    assert "four" in "".join(part["content"] for part in found) and found[-1]["stop"]


@check("continue", "llama.cpp: documents in their order")
def _():
    found = told("/rerank", {"query": "numbers", "documents": ["one piece", "another"], "top_n": 2}, OF_EDITOR)["results"]
    assert sorted(entry["index"] for entry in found) == [0, 1] and all("relevance_score" in entry for entry in found)


@check("continue", "llama.cpp: a gap in code")
def _():
    body = {"input_prefix": CODE["before"], "input_suffix": CODE["after"], "n_predict": 8, "stream": True}
    gap("/infill", body, lambda text: json.loads(text)["error"]["code"] == "unsupported_parameter")


@check("continue", "Anthropic: a chat, streamed, with a cached system prompt")
def _():
    system = [{"type": "text", "text": "You are a helpful assistant.", "cache_control": {"type": "ephemeral"}}]
    body = {"model": MODEL, "max_tokens": 40, "temperature": 0, "system": system, "messages": [FRANCE]}
    found, _ = events("/v1/messages", body, {**OF_EDITOR, "anthropic-version": "2023-06-01"})
    text = "".join(event["delta"].get("text", "") for event in found if event["type"] == "content_block_delta")
    assert "Paris" in text, text


def gap(path, body, is_told):
    """Where a model has no tokens for gaps, that is said by name, and the editor can fall back."""
    status, _, text = ask(path, body, OF_EDITOR)
    if status == 400 and "no tokens for what is before and behind a gap" in text:
        assert is_told(text), text
        raise Skip("this model has no tokens for gaps; the refusal says so, in the protocol's own form")
    assert status == 200, f"{status} {text[:300]}"


if __name__ == "__main__":
    run_all()
