#!/usr/bin/env python3
"""Cases of the Open Responses compliance suite that `llm-comply` lacks, and what else its specification says.

    open_responses.py URL MODEL

Runs where `llm-comply` is installed, whose copy of the published OpenAPI document all replies and events are held
against. Prints a line for each check, as clients.py does.
"""
import json
import pathlib
import sys
import urllib.error
import urllib.request

import checks
import jsonschema
import llm_comply
from llm_comply.schema import SSE_EVENT_TO_SCHEMA, SpecLoader

URL, MODEL = sys.argv[1:]
SPECIFICATION = SpecLoader(str(pathlib.Path(llm_comply.__file__).parent / "specs" / "openresponses.json"))
SAY = "Say one word."
FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "maxLength": 40}}, "required": ["place"]},
}


def check(function):
    return checks.check("open-responses", function.__name__.replace("_", " "))(function)


def post(**body):
    """A reply that the specification allows."""
    reply = raw(body)
    told = json.loads(reply.read())
    # The document has null in the place of a schema, where its own prose has the schema.
    form = {name: value for name, value in told["text"]["format"].items() if name != "schema"}
    form |= {"schema": None} if form["type"] == "json_schema" else {}
    holds({**told, "text": {**told["text"], "format": form}}, "ResponseResource")
    return told


def raw(body):
    data = json.dumps({"model": MODEL, "temperature": 0, **body}).encode()
    request = urllib.request.Request(f"{URL}/v1/responses", data, {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=300)


def holds(value, name):
    problems = SPECIFICATION.validate(value, name)
    assert not problems, f"{name}: {problems[:3]}"


def events(**body):
    """Events that the specification allows, in their order."""
    found = []
    with raw({**body, "stream": True}) as reply:
        for frame in reply.read().decode().split("\n\n"):
            named = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line)
            if named.get("data", "[DONE]") == "[DONE]":
                continue
            event = json.loads(named["data"])
            assert named["event"] == event["type"], "an event whose name is not its type"
            holds(event, SSE_EVENT_TO_SCHEMA[event["type"]])
            found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def said(response):
    return "".join(part["text"] for item in response["output"] for part in item.get("content", []))


def refused(**body):
    try:
        raw(body)
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())["error"]
        assert 400 <= error.code < 500 and told["message"] and told["type"], told
        return told
    raise AssertionError("it was answered")


@check
def a_text_as_input():
    assert post(input=SAY)["output"]


@check
def every_event_of_a_stream_is_allowed_and_adds_up():
    found = events(input="Name three colours.", max_output_tokens=60)
    last = found[-1]["response"]
    deltas = "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
    assert deltas == said(last) and found[-1]["type"] in ("response.completed", "response.incomplete")
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]


@check
def a_stream_that_is_cut_ends_as_incomplete():
    last = events(input="Tell me a story.", max_output_tokens=4)[-1]
    assert last["type"] == "response.incomplete" and last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"]["reason"] == "max_output_tokens"


@check
def previous_response_id_goes_on():
    first = post(input="Remember this code word: papaya. Answer only OK.", max_output_tokens=30)
    second = post(input="What was the code word?", previous_response_id=first["id"], max_output_tokens=30)
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + first["usage"]["output_tokens"]


@check
def what_was_not_stored_is_not_there():
    first = post(input=SAY, store=False, max_output_tokens=8)
    refused(input=SAY, previous_response_id=first["id"])


@check
def settings_come_back():
    asked = {"instructions": "You are brief.", "metadata": {"a": "b"}, "top_p": 0.5, "max_output_tokens": 9}
    told = post(input=SAY, **asked)
    assert {name: told[name] for name in asked} == asked
    assert told["text"]["format"] == {"type": "text"} and told["tools"] == []


@check
def a_schema_holds():
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": False}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    told = post(input="Is 7 a prime?", text={"format": form})
    jsonschema.validate(json.loads(said(told)), schema)
    assert told["text"]["format"]["type"] == "json_schema"


@check
def log_probabilities_are_included():
    told = post(input=SAY, include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=8)
    found = told["output"][0]["content"][0]["logprobs"]
    assert found and all(len(entry["top_logprobs"]) == 2 for entry in found)


@check
def a_phase_of_the_assistant_is_taken():
    items = [
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": "Four."},
        {"type": "message", "role": "user", "content": "Say it again."},
    ]
    assert post(input=items, max_output_tokens=20)["output"]


@check
def wrong_types_are_refused():
    for body in ({"input": 5}, {"input": SAY, "temperature": "hot"}, {"input": [{"type": "message", "role": "root", "content": "x"}]}):
        refused(**body)


@check
def a_file_is_read_or_refused_by_its_name():
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    refused(input=[{"type": "message", "role": "user", "content": [part]}])


@check
def tools_that_others_run_are_refused_or_left_out():
    for tool in ({"type": "file_search", "vector_store_ids": ["x"]}, {"type": "web_search"}):
        try:
            post(input=SAY, tools=[tool], max_output_tokens=8)
        except urllib.error.HTTPError as error:
            assert error.code == 400


@check
def a_function_that_is_named_is_called():
    told = post(input="The weather in Paris, please.", tools=[FUNCTION], tool_choice={"type": "function", "name": "get_weather"})
    called(told)


@check
def a_call_that_is_streamed_adds_up():
    found = events(input="The weather in Paris, please.", tools=[FUNCTION], tool_choice="required")
    call = called(found[-1]["response"])
    kinds = [event["type"] for event in found]
    deltas = [event["delta"] for event in found if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call["arguments"] and "response.function_call_arguments.done" in kinds
    assert any(event.get("item", {}).get("type") == "function_call" for event in found)


@check
def what_a_function_gave_is_taken():
    items = [
        {"type": "message", "role": "user", "content": "The weather in Paris, please."},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"place": "Paris"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Sunny, 25 degrees."},
    ]
    assert said(post(input=items, tools=[FUNCTION], max_output_tokens=60))


def called(response):
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert calls and calls[0]["name"] == "get_weather" and calls[0]["call_id"], response["output"]
    jsonschema.validate(json.loads(calls[0]["arguments"]), FUNCTION["parameters"])
    return calls[0]


if __name__ == "__main__":
    checks.run_all()
