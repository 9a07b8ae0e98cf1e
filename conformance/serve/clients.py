#!/usr/bin/env python3
"""Let the official clients of OpenAI, Anthropic and Ollama use `bantam serve`, and print what passes.

    clients.py [--bantam PROGRAM] [--only WORD] MODEL.gguf

Makes a virtual environment of its own beside the build's output and installs the clients there, at the versions of
pinned.py. Starts servers of its own on free ports. The model should be small and know how to chat. Prints a line for
each check, then a matrix of client x pass, fail, skip, and exits with 1 if a check fails.
"""
import argparse
import collections
import json
import math
import subprocess
import sys
import time

from checks import CHECKS, Skip, check, outcome_of
from pinned import enter
from server import TARGET, Server

KEY, OTHER_KEY = "conformance-key", "another-conformance-key"


# Exact keys and values, in the server and in `bantam logits`, which its scores are held against.
EXACT = ("--kv", "f32")


class Bench:
    """What the checks use."""

    def __init__(self, program, model):
        import anthropic
        import ollama
        import openai

        self.program, self.file = program, model
        self.server = Server(program, model, *EXACT, "--ctx", 2048, "--alias", "gpt-4o-mini")
        keys = {"BANTAM_API_KEY": KEY, "BANTAM_ADMIN_KEY": OTHER_KEY}
        self.locked = Server(program, model, *EXACT, "--ctx", 512, environment=keys)
        self.model = self.server.model()
        self.openai_module, self.anthropic_module, self.ollama_module = openai, anthropic, ollama
        self.openai = openai.OpenAI(base_url=self.server.url + "/v1", api_key="none", max_retries=0)
        self.anthropic = anthropic.Anthropic(base_url=self.server.url, api_key="none", max_retries=0)
        self.ollama = ollama.Client(host=self.server.url)

    def locked_client(self, key):
        """Of the server that wants a key."""
        return self.openai_module.OpenAI(base_url=self.locked.url + "/v1", api_key=key, max_retries=0)

    def ask(self, text, **more):
        return {"model": self.model, "messages": [{"role": "user", "content": text}], **more}


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"wanted {kind.__name__}, and it was answered")


GREEDY = {"temperature": 0, "max_tokens": 24}
# Its newest client has no argument for it.
ANTHROPIC_GREEDY = {"max_tokens": 24, "extra_body": {"temperature": 0}}


@check("openai", "models: list, retrieve by name and by alias")
def _(b):
    assert [model.id for model in b.openai.models.list()] == [b.model]
    assert b.openai.models.retrieve(b.model).id == b.model
    assert b.openai.models.retrieve("gpt-4o-mini").id == b.model
    raises(b.openai_module.NotFoundError, lambda: b.openai.models.retrieve("org/none:tag"))


@check("openai", "chat: an answer, its end, its usage")
def _(b):
    reply = b.openai.chat.completions.create(**b.ask("What is the capital of France?", **GREEDY))
    assert "Paris" in reply.choices[0].message.content, reply
    assert reply.choices[0].finish_reason == "stop" and reply.object == "chat.completion"
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 10


@check("openai", "chat: the stream is the answer, role first, usage and [DONE] last")
def _(b):
    ask = b.ask("Name three colours.", **GREEDY)
    whole = b.openai.chat.completions.create(**ask)
    chunks = list(b.openai.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


@check("openai", "chat: the helper that assembles a stream")
def _(b):
    with b.openai.chat.completions.stream(**b.ask("Say hello.", **GREEDY)) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and "content.done" in kinds
    assert final.choices[0].message.content and final.choices[0].finish_reason


@check("openai", "chat: a seed gives the same answer, another one another")
def _(b):
    def answer(seed):
        ask = b.ask("Tell me a story.", temperature=1.0, max_tokens=24, seed=seed)
        return b.openai.chat.completions.create(**ask).choices[0].message.content

    assert answer(1) == answer(1) != answer(2)


@check("openai", "chat: n answers, all different, none in the wrong place")
def _(b):
    ask = b.ask("Tell me a story.", temperature=1.0, max_tokens=12, seed=7, n=4)
    reply = b.openai.chat.completions.create(**ask)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    texts = [choice.message.content for choice in reply.choices]
    assert len(set(texts)) == 4
    streamed = collections.defaultdict(str)
    for chunk in b.openai.chat.completions.create(**ask, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [streamed[index] for index in range(4)] == texts


@check("openai", "chat: stop strings, length")
def _(b):
    ask = b.ask("Count from 1 to 9, with spaces between.", temperature=0, max_tokens=40)
    free = b.openai.chat.completions.create(**ask).choices[0].message.content
    stop = free[6:9]
    cut = b.openai.chat.completions.create(**ask, stop=[stop, "never"])
    assert cut.choices[0].message.content == free[: free.index(stop)] and cut.choices[0].finish_reason == "stop"
    short = b.openai.chat.completions.create(**{**ask, "max_tokens": 3})
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3


@check("openai", "chat: log-probabilities")
def _(b):
    ask = b.ask("Say hello.", **GREEDY, logprobs=True, top_logprobs=5)
    choice = b.openai.chat.completions.create(**ask).choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
    for token in tokens:
        assert len(token.top_logprobs) == 5 and token.top_logprobs[0].logprob == token.logprob <= 0


@check("openai", "chat: parts of content, developer and system roles, unknown fields")
def _(b):
    reply = b.openai.chat.completions.create(
        model=b.model,
        messages=[
            {"role": "developer", "content": "You are brief."},
            {"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]},
        ],
        **GREEDY,
        user="someone",
        extra_body={"something_new": 1, "min_p": 0.1, "top_k": 5},
    )
    assert reply.choices[0].message.content


@check("openai", "completions: text, list, tokens; stream")
def _(b):
    create = b.openai.completions.create
    prompt = "The capital of France is"
    text = create(model=b.model, prompt=prompt, **GREEDY).choices[0].text
    ids = b.server.request("/tokenize", {"content": prompt})[1]["tokens"]
    assert create(model=b.model, prompt=ids, **GREEDY).choices[0].text == text
    both = create(model=b.model, prompt=[prompt, "One, two,"], **GREEDY).choices
    assert [choice.index for choice in both] == [0, 1] and both[0].text == text
    streamed = create(model=b.model, prompt=prompt, **GREEDY, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == text


@check("openai", "completions: a prompt scored as lm-evaluation-harness asks, equal to the model's own logits")
def _(b):
    ids = b.server.request("/tokenize", {"content": "The quick brown fox jumps over the lazy dog."})[1]["tokens"]
    reply = b.openai.completions.create(
        model=b.model, prompt=[ids, ids[:5]], temperature=0, max_tokens=1, logprobs=1, seed=1234, echo=True
    )
    own = subprocess.run(
        [b.program, "logits", b.file, *EXACT, "--tokens", ",".join(map(str, ids)), "--json"],
        check=True,
        capture_output=True,
    )
    rows = json.loads(own.stdout)["logits"]
    for choice, count in zip(reply.choices, (len(ids), 5)):
        told = choice.logprobs
        assert len(told.token_logprobs) == len(told.tokens) == count + 1 and told.token_logprobs[0] is None
        for at in range(1, count):
            most = max(rows[at - 1])
            total = most + math.log(sum(math.exp(logit - most) for logit in rows[at - 1]))
            assert abs(told.token_logprobs[at] - (rows[at - 1][ids[at]] - total)) < 1e-4
            is_greedy = rows[at - 1][ids[at]] == most
            assert (told.token_logprobs[at] == max(told.top_logprobs[at].values())) == is_greedy


@check("openai", "embeddings: base64 and floats, lists, token ids, dimensions")
def _(b):
    create = lambda **ask: b.openai.embeddings.create(model=b.model, **ask)
    texts = ["The cat sat on the mat.", "A kitten lay on the rug."]
    by_base64, by_float = create(input=texts), create(input=texts, encoding_format="float")
    assert [entry.embedding for entry in by_base64.data] == [entry.embedding for entry in by_float.data]
    assert [entry.index for entry in by_float.data] == [0, 1]
    first = by_float.data[0].embedding
    assert abs(sum(x * x for x in first) - 1) < 1e-5
    body = {"prompt": texts[0], "add_special_tokens": True}
    ids = b.server.request("/tokenize", body)[1]["tokens"]
    assert create(input=[ids]).data[0].embedding == create(input=ids).data[0].embedding == first
    short = create(input=texts[0], dimensions=8).data[0].embedding
    length = math.sqrt(sum(x * x for x in first[:8]))
    assert max(abs(a - x / length) for a, x in zip(short, first)) < 1e-5 and len(short) == 8
    assert by_float.usage.prompt_tokens == by_float.usage.total_tokens > 10
    error = raises(b.openai_module.BadRequestError, lambda: create(input="word " * 3000))
    assert error.code == "context_length_exceeded"


@check("openai", "responses: whole, the helper that asserts the order of a stream, items")
def _(b):
    ask = {"model": b.model, "input": "What is the capital of France?", "temperature": 0, "max_output_tokens": 24}
    whole = b.openai.responses.create(**ask)
    assert "Paris" in whole.output_text and whole.status == "completed" and whole.usage.output_tokens > 1
    with b.openai.responses.stream(**ask) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text and names[0] == "response.created"
    items = [{"role": "user", "content": [{"type": "input_text", "text": ask["input"]}]}]
    assert b.openai.responses.create(**{**ask, "input": items}).output_text == whole.output_text
    chat = b.openai.chat.completions.create(**b.ask(ask["input"], **GREEDY))
    assert chat.choices[0].message.content == whole.output_text
    cut = b.openai.responses.create(**{**ask, "max_output_tokens": 2})
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@check("openai", "responses: kept, gone on with, listed, deleted")
def _(b):
    ask = {"model": b.model, "temperature": 0, "max_output_tokens": 16}
    first = b.openai.responses.create(**ask, input="My name is Ada.")
    second = b.openai.responses.create(**ask, input="What is my name?", previous_response_id=first.id)
    said = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "What is my name?"},
    ]
    assert b.openai.responses.create(**ask, input=said, store=False).output_text == second.output_text
    assert b.openai.responses.retrieve(first.id).output_text == first.output_text
    items = list(b.openai.responses.input_items.list(first.id))
    assert items[0].content[0].text == "My name is Ada."
    b.openai.responses.delete(first.id)
    missing = b.openai_module.NotFoundError
    raises(missing, lambda: b.openai.responses.retrieve(first.id))
    raises(missing, lambda: b.openai.responses.create(**ask, input="x", previous_response_id=first.id))


@check("openai", "conversations: made, gone on with, listed, changed, deleted")
def _(b):
    conversations, missing = b.openai.conversations, b.openai_module.NotFoundError
    ask = {"model": b.model, "temperature": 0, "max_output_tokens": 16}
    made = conversations.create(metadata={"topic": "names"}, items=[{"role": "user", "content": "My name is Ada."}])
    assert made.object == "conversation" and made.metadata == {"topic": "names"}
    assert conversations.retrieve(made.id) == made
    first = b.openai.responses.create(**ask, conversation=made.id)
    assert first.conversation.id == made.id
    stream = b.openai.responses.create(**ask, conversation={"id": made.id}, input="What is my name?", stream=True)
    second = list(stream)[-1].response
    said = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "What is my name?"},
    ]
    alone = b.openai.responses.create(**ask, input=said, store=False)
    assert alone.output_text == second.output_text and alone.usage.input_tokens == second.usage.input_tokens
    items = list(conversations.items.list(made.id, order="asc", limit=3))
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant"], "two pages"
    assert items[3].id == second.output[0].id and items[3].content[0].text == second.output_text
    newest = next(iter(conversations.items.list(made.id)))
    assert newest.id == items[3].id and conversations.items.retrieve(newest.id, conversation_id=made.id).id == newest.id
    added = conversations.items.create(made.id, items=[{"role": "user", "content": "And now?"}])
    assert added.data[0].content[0].text == "And now?" and added.first_id == added.last_id == added.data[0].id
    assert conversations.items.delete(added.first_id, conversation_id=made.id).id == made.id
    raises(missing, lambda: conversations.items.retrieve(added.first_id, conversation_id=made.id))
    assert conversations.update(made.id, metadata={"topic": "none"}).metadata == {"topic": "none"}
    both = {"conversation": made.id, "previous_response_id": second.id}
    raises(b.openai_module.BadRequestError, lambda: b.openai.responses.create(**ask, **both, input="x"))
    deleted = conversations.delete(made.id)
    assert deleted.deleted and deleted.object == "conversation.deleted"
    raises(missing, lambda: conversations.retrieve(made.id))
    raises(missing, lambda: b.openai.responses.create(**ask, conversation=made.id, input="x"))


@check("openai", "conversations: those of one key are not there for another")
def _(b):
    made = b.locked_client(KEY).conversations.create()
    other = b.locked_client(OTHER_KEY).conversations
    raises(b.openai_module.NotFoundError, lambda: other.retrieve(made.id))
    raises(b.openai_module.NotFoundError, lambda: other.items.list(made.id))
    assert b.locked_client(KEY).conversations.retrieve(made.id).id == made.id


@check("openai", "a deadline ends an answer with what there is, in the prompt too")
def _(b):
    more = {"extra_body": {"timeout_ms": 700, "ignore_eos": True}, "max_tokens": 1500, "temperature": 0}
    choice = b.openai.chat.completions.create(**b.ask("Count to a thousand.", **more)).choices[0]
    assert choice.finish_reason == "length" and choice.expired
    fresh = str(time.time()) + "".join(f" {number}" for number in range(400))
    begun = time.monotonic()
    try:
        choice = b.openai.chat.completions.create(**b.ask(fresh, **{**more, "extra_body": {"timeout_ms": 20}})).choices[0]
        assert choice.expired and not choice.message.content
    except b.openai_module.APIStatusError as refused:
        assert refused.code == "deadline_too_short"
    assert time.monotonic() - begun < 5


@check("openai", "errors: types, and messages that name the field")
def _(b):
    module, create = b.openai_module, b.openai.chat.completions.create
    error = raises(module.NotFoundError, lambda: create(**{**b.ask("x"), "model": "none"}))
    assert error.code == "model_not_found" and b.model in str(error)
    error = raises(module.BadRequestError, lambda: create(**b.ask("x", temperature=-1)))
    assert error.param == "temperature"
    error = raises(module.BadRequestError, lambda: create(**b.ask("word " * 3000)))
    assert error.code == "context_length_exceeded" and "2048" in str(error)


CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 40}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
    "additionalProperties": False,
}


def is_city(text):
    city = json.loads(text)
    return set(city) == {"city", "big"} and isinstance(city["city"], str) and isinstance(city["big"], bool)


@check("openai", "structured output: schemas, any object, choices, parsed by the client")
def _(b):
    import pydantic

    create = b.openai.chat.completions.create
    schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": CITY}}
    reply = create(**b.ask("Tell me about Paris.", temperature=0, response_format=schema))
    assert is_city(reply.choices[0].message.content) and reply.choices[0].finish_reason == "stop", reply
    chunks = create(**b.ask("Tell me about Paris.", temperature=0, response_format=schema), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == reply.choices[0].message.content
    reply = create(**b.ask("A colour.", max_tokens=100, response_format={"type": "json_object"}))
    assert isinstance(json.loads(reply.choices[0].message.content), dict)
    reply = create(**b.ask("Is 7 prime?", extra_body={"guided_choice": ["yes", "no"]}))
    assert reply.choices[0].message.content in ("yes", "no")
    cut = create(**b.ask("Write.", max_tokens=8, extra_body={"guided_regex": "[a-z]{200}"}))
    assert cut.choices[0].finish_reason == "length"

    class City(pydantic.BaseModel):
        city: str = pydantic.Field(max_length=40)
        big: bool

    parsed = b.openai.chat.completions.parse(**b.ask("Tell me about Paris.", temperature=0), response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


@check("openai", "structured output: what cannot be held to is named")
def _(b):
    schema = {"type": "object", "properties": {"a": {"not": {"type": "null"}}}}
    ask = b.ask("x", response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    error = raises(b.openai_module.BadRequestError, lambda: b.openai.chat.completions.create(**ask))
    assert error.param == "response_format.json_schema.schema" and "`not`" in str(error) and "#/properties/a" in str(error)


PLAN = {
    "name": "plan_trip",
    "description": "Plan a trip to a city.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome", "Oslo"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "by_train": {"type": "boolean"},
        },
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "clock", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": function} for function in (PLAN, CLOCK)]
TRIP = "Plan a trip of three days to Rome."


def is_plan(arguments):
    """Whether arguments hold to the schema of PLAN."""
    return (
        arguments.get("city") in ("Paris", "Rome", "Oslo")
        and isinstance(arguments.get("days"), int)
        and 1 <= arguments["days"] <= 14
        and isinstance(arguments.get("by_train", True), bool)
        and set(arguments) <= {"city", "days", "by_train"}
    )


@check("openai", "tools that are not strict: any schema is taken, and what it is not held to is told")
def _(b):
    days = {"type": "array", "uniqueItems": True, "minItems": 2, "maxItems": 2, "items": {"type": "integer", "maximum": 9}}
    parameters = {"type": "object", "properties": {"days": days}, "required": ["days"], "not": {"required": ["x"]}}
    function = {"name": "plan", "parameters": parameters}
    ask = b.ask(TRIP, temperature=0, max_tokens=100, tool_choice="required")
    create = b.openai.chat.completions.with_raw_response.create
    raw = create(**ask, tools=[{"type": "function", "function": function}])
    call = raw.parse().choices[0].message.tool_calls[0].function
    held = json.loads(call.arguments)["days"]
    assert len(held) == 2 and all(isinstance(day, int) and day <= 9 for day in held), call
    told = raw.headers["x-bantam-warning"]
    assert "`uniqueItems` at #/properties/days" in told and "`not` at #" in told, told
    strict = [{"type": "function", "function": {**function, "strict": True}}]
    error = raises(b.openai_module.BadRequestError, lambda: create(**ask, tools=strict))
    assert "uniqueItems" in str(error)


@check("openai", "tools: a call that must come comes, and its arguments hold to the schema")
def _(b):
    create = b.openai.chat.completions.create
    named = {"type": "function", "function": {"name": "plan_trip"}}
    for choice in ("required", named):
        for seed in range(4):
            ask = b.ask(TRIP, temperature=1.0, seed=seed, max_tokens=200, tools=TOOLS, tool_choice=choice)
            reply = create(**ask, parallel_tool_calls=False).choices[0]
            assert reply.finish_reason == "tool_calls" and len(reply.message.tool_calls) == 1, reply
            call = reply.message.tool_calls[0]
            assert call.type == "function" and call.id and reply.message.content is None
            arguments = json.loads(call.function.arguments)
            if choice == named:
                assert call.function.name == "plan_trip"
            assert is_plan(arguments) if call.function.name == "plan_trip" else arguments == {}, call
    many = create(**b.ask(TRIP, temperature=1.0, seed=3, max_tokens=400, tools=TOOLS, tool_choice="required"))
    ids = [call.id for call in many.choices[0].message.tool_calls or []]
    assert len(set(ids)) == len(ids)


@check("openai", "tools: the stream is the answer: name and id once, index always; the helper assembles it")
def _(b):
    named = {"type": "function", "function": {"name": "plan_trip"}}
    ask = b.ask(TRIP, temperature=0, max_tokens=200, tools=TOOLS, tool_choice=named, parallel_tool_calls=False)
    whole = b.openai.chat.completions.create(**ask).choices[0].message.tool_calls[0]
    chunks = list(b.openai.chat.completions.create(**ask, stream=True))
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "plan_trip" and deltas[0].id and deltas[0].function.arguments == ""
    assert all(delta.id is None and delta.function.name is None for delta in deltas[1:])
    assert all(delta.index == 0 for delta in deltas) and len(deltas) > 3
    assert "".join(delta.function.arguments for delta in deltas) == whole.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    with b.openai.chat.completions.stream(**ask) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds and "tool_calls.function.arguments.done" in kinds
    assert final.choices[0].message.tool_calls[0].function.arguments == whole.function.arguments


@check("openai", "responses: a call that must come, whole, streamed, its result sent back")
def _(b):
    ask = {"model": b.model, "input": TRIP, "temperature": 0, "max_output_tokens": 200, "parallel_tool_calls": False}
    tools = {"tools": [{"type": "function", **function, "strict": True} for function in (PLAN, CLOCK)]}
    named = {"tool_choice": {"type": "function", "name": "plan_trip"}}
    whole = b.openai.responses.create(**ask, **tools, **named)
    (call,) = whole.output
    assert whole.status == "completed" and call.type == "function_call" and call.name == "plan_trip", whole
    assert is_plan(json.loads(call.arguments)), call
    with b.openai.responses.stream(**ask, **tools, **named) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= kinds
    assert final.output[0].arguments == call.arguments
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Booked: Hotel Roma, 300 euros."}
    more = {**ask, "input": [result], "previous_response_id": whole.id, "max_output_tokens": 24}
    reply = b.openai.responses.create(**more, **tools)
    assert reply.output and reply.status in ("completed", "incomplete")


@check("openai", "tools: results go back, none means none, a text that is no call stays one")
def _(b):
    create = b.openai.chat.completions.create
    ask = b.ask(TRIP, temperature=0, max_tokens=200, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    said = create(**ask).choices[0].message
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "Booked: Hotel Roma, 300 euros."}
    messages = [*ask["messages"], said.model_dump(exclude_none=True), result]
    reply = create(model=b.model, messages=messages, tools=TOOLS, temperature=0, max_tokens=24)
    assert reply.choices[0].finish_reason in ("stop", "length") and reply.choices[0].message.content
    prompt = b.server.request("/apply-template", {"messages": messages, "tools": TOOLS})[1]["prompt"]
    assert "Hotel Roma" in prompt and "plan_trip" in prompt
    none = create(**b.ask("Say hello.", **GREEDY, tools=TOOLS, tool_choice="none")).choices[0]
    assert none.message.tool_calls is None and none.message.content
    short = create(**b.ask(TRIP, temperature=0, max_tokens=8, tools=TOOLS, tool_choice="required")).choices[0]
    assert short.finish_reason == "length" and short.message.tool_calls is None and short.message.content
    error = raises(b.openai_module.BadRequestError, lambda: create(**b.ask("x", tool_choice="required")))
    assert error.param == "tool_choice"


@check("openai", "a client that goes away ends its answer")
def _(b):
    stream = b.openai.chat.completions.create(
        **b.ask("Count to a thousand.", max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
    )
    next(iter(stream))
    assert b.server.running() == 1
    stream.close()
    begun = time.monotonic()
    while b.server.running():
        assert time.monotonic() - begun < 5, "still running"
        time.sleep(0.01)


@check("openai", "keys: wrong ones are refused, the right one is taken")
def _(b):
    raises(b.openai_module.AuthenticationError, lambda: list(b.locked_client("wrong-key").models.list()))
    assert list(b.locked_client(KEY).models.list())


@check("anthropic", "messages: an answer, its end, its usage")
def _(b):
    reply = b.anthropic.messages.create(**b.ask("What is the capital of France?", **ANTHROPIC_GREEDY))
    assert "Paris" in reply.content[0].text and reply.stop_reason == "end_turn" and reply.type == "message"
    assert reply.usage.output_tokens > 1


@check("anthropic", "messages: the helper that asserts the order of a stream")
def _(b):
    ask = b.ask("Name three colours.", **ANTHROPIC_GREEDY, system="You are brief.")
    whole = b.anthropic.messages.create(**ask)
    with b.anthropic.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == whole.content[0].text
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


@check("anthropic", "messages: raw events")
def _(b):
    events = [event.type for event in b.anthropic.messages.create(**b.ask("Hi.", **ANTHROPIC_GREEDY), stream=True)]
    assert events[0] == "message_start" and events[-2:] == ["message_delta", "message_stop"]
    assert events.count("content_block_start") == events.count("content_block_stop") == 1


@check("anthropic", "messages: stop sequences, length, blocks, an answer that has begun")
def _(b):
    blocks = [{"type": "text", "text": "Count from 1 to 9.", "cache_control": {"type": "ephemeral"}}]
    messages = [{"role": "user", "content": blocks}, {"role": "assistant", "content": "1, 2, 3,"}]
    reply = b.anthropic.messages.create(
        model=b.model, messages=messages, max_tokens=20, extra_body={"temperature": 0}, stop_sequences=["6"]
    )
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "6") and "4" in reply.content[0].text
    short = b.anthropic.messages.create(**b.ask("Tell me a story.", max_tokens=2))
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 2


@check("anthropic", "messages: tokens counted, models listed")
def _(b):
    count = b.anthropic.messages.count_tokens(**b.ask("Hello there.")).input_tokens
    usage = b.anthropic.messages.create(**b.ask("Hello there.", max_tokens=1)).usage
    assert count == usage.input_tokens + usage.cache_read_input_tokens
    assert [model.id for model in b.anthropic.models.list()] == [b.model]


@check("anthropic", "errors and keys")
def _(b):
    module = b.anthropic_module
    raises(module.NotFoundError, lambda: b.anthropic.messages.create(**{**b.ask("x", max_tokens=1), "model": "none"}))
    raises(module.BadRequestError, lambda: b.anthropic.messages.create(**b.ask("word " * 3000, max_tokens=1)))
    locked = module.Anthropic(base_url=b.locked.url, api_key="wrong-key", max_retries=0)
    raises(module.AuthenticationError, lambda: locked.messages.create(**b.ask("x", max_tokens=1)))
    right = module.Anthropic(base_url=b.locked.url, api_key=KEY, max_retries=0)
    assert right.messages.create(**b.ask("Hi.", max_tokens=1)).content


ANTHROPIC_TOOLS = [
    {"name": function["name"], "description": function["description"], "input_schema": function["parameters"]}
    for function in (PLAN, CLOCK)
]


@check("anthropic", "tools: any and by name, whole and streamed, results sent back")
def _(b):
    named = {"type": "tool", "name": "plan_trip", "disable_parallel_tool_use": True}
    ask = b.ask(TRIP, max_tokens=200, tools=ANTHROPIC_TOOLS, extra_body={"temperature": 0})
    whole = b.anthropic.messages.create(**ask, tool_choice=named)
    assert whole.stop_reason == "tool_use" and [block.type for block in whole.content] == ["tool_use"]
    assert whole.content[0].name == "plan_trip" and is_plan(whole.content[0].input), whole
    with b.anthropic.messages.stream(**ask, tool_choice=named) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_message()
    assert "input_json" in kinds and final.content[0].input == whole.content[0].input
    assert final.stop_reason == "tool_use"
    some = b.anthropic.messages.create(**ask, tool_choice={"type": "any"})
    assert some.content and all(block.type == "tool_use" for block in some.content)
    result = {"type": "tool_result", "tool_use_id": whole.content[0].id, "content": "Booked."}
    messages = [
        *ask["messages"],
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in whole.content]},
        {"role": "user", "content": [result, {"type": "text", "text": "Thanks. Is it done?"}]},
    ]
    reply = b.anthropic.messages.create(**{**ask, "messages": messages, "max_tokens": 24})
    assert reply.content and reply.stop_reason in ("end_turn", "max_tokens", "tool_use")


@check("anthropic", "thinking: asked for or not, a model that does not think answers")
def _(b):
    for thinking in ({"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}):
        reply = b.anthropic.messages.create(**b.ask("Say hello.", **ANTHROPIC_GREEDY), thinking=thinking)
        assert [block.type for block in reply.content] == ["text"]


OLLAMA_GREEDY = {"temperature": 0, "num_predict": 24}


@check("ollama", "chat: an answer, and its stream")
def _(b):
    ask = b.ask("What is the capital of France?", options=OLLAMA_GREEDY)
    reply = b.ollama.chat(**ask)
    assert "Paris" in reply.message.content and reply.done and reply.done_reason == "stop"
    parts = list(b.ollama.chat(**ask, stream=True))
    assert "".join(part.message.content for part in parts) == reply.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    last = parts[-1]
    assert last.eval_count == reply.eval_count > 1 and last.total_duration > last.eval_duration > 0


@check("ollama", "generate: a question, a raw text, stop, length")
def _(b):
    reply = b.ollama.generate(model=b.model, prompt="Say hello.", system="You are brief.", options=OLLAMA_GREEDY)
    assert reply.response and reply.prompt_eval_count > 5
    raw = b.ollama.generate(model=b.model, prompt="One, two, three,", raw=True, options=OLLAMA_GREEDY)
    assert "four" in raw.response
    cut = b.ollama.generate(
        model=b.model, prompt="One, two, three,", raw=True, options={**OLLAMA_GREEDY, "stop": ["five"]}
    )
    assert cut.response == raw.response[: raw.response.index("five")] and cut.done_reason == "stop"
    short = b.ollama.generate(model=b.model, prompt="Tell me a story.", options={"num_predict": 2})
    assert short.eval_count == 2 and short.done_reason == "length"


@check("ollama", "list, show, ps")
def _(b):
    assert [model.model for model in b.ollama.list().models] == [b.model]
    show = b.ollama.show(b.model)
    assert "completion" in show.capabilities and show.details.quantization_level and show.template
    assert show.modelinfo["general.parameter_count"] > 1e6
    assert [model.model for model in b.ollama.ps().models] == [b.model]


@check("ollama", "errors and keys")
def _(b):
    error = raises(b.ollama_module.ResponseError, lambda: b.ollama.chat(**{**b.ask("x"), "model": "none"}))
    assert error.status_code == 404
    locked = b.ollama_module.Client(host=b.locked.url)
    assert raises(b.ollama_module.ResponseError, locked.list).status_code == 401
    right = b.ollama_module.Client(host=b.locked.url, headers={"Authorization": f"Bearer {KEY}"})
    assert right.list().models


@check("ollama", "structured output")
def _(b):
    reply = b.ollama.chat(**b.ask("Tell me about Paris."), format=CITY)
    assert is_city(reply.message.content) and reply.done_reason == "stop", reply
    reply = b.ollama.generate(model=b.model, prompt="A colour.", format="json", options={"num_predict": 100})
    assert isinstance(json.loads(reply.response), dict)
    schema = {"type": "array", "uniqueItems": True}
    error = raises(b.ollama_module.ResponseError, lambda: b.ollama.chat(**b.ask("x"), format=schema))
    assert error.status_code == 400 and "uniqueItems" in str(error)


@check("ollama", "tools: offered, called, results sent back; think")
def _(b):
    offered = b.ollama.chat(**b.ask("Say hello."), tools=TOOLS, options=OLLAMA_GREEDY)
    assert offered.message.content or offered.message.tool_calls
    # Its client has no argument for what must be called.
    more = {"tools": TOOLS, "tool_choice": "required", "stream": False, "options": {"temperature": 0}}
    status, reply = b.server.request("/api/chat", b.ask(TRIP, **more, parallel_tool_calls=False))
    assert status == 200, reply
    reply = b.ollama_module.ChatResponse(**reply)
    call = reply.message.tool_calls[0].function
    assert reply.done and is_plan(call.arguments) if call.name == "plan_trip" else call.arguments == {}, reply
    messages = [
        *b.ask(TRIP)["messages"],
        reply.message,
        {"role": "tool", "tool_name": call.name, "content": "Booked: Hotel Roma."},
    ]
    answer = b.ollama.chat(model=b.model, messages=messages, tools=TOOLS, options=OLLAMA_GREEDY, think=False)
    assert answer.done and (answer.message.content or answer.message.tool_calls)


@check("ollama", "embed")
def _(b):
    texts = ["The cat sat on the mat.", "word " * 3000]
    reply = b.ollama.embed(model=b.model, input=texts)
    assert len(reply.embeddings) == 2 and reply.prompt_eval_count > 2048
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-5 for vector in reply.embeddings)
    old = b.ollama.embeddings(model=b.model, prompt=texts[0]).embedding
    length = math.sqrt(sum(x * x for x in old))
    assert max(abs(x / length - y) for x, y in zip(old, reply.embeddings[0])) < 1e-5
    error = raises(b.ollama_module.ResponseError, lambda: b.ollama.embed(b.model, texts, truncate=False))
    assert error.status_code == 400


@check("server", "eight clients at once get what each gets alone")
def _(b):
    import concurrent.futures

    prompts = [f"Write one sentence about the number {number}." for number in range(8)]

    def answer(prompt):
        return b.openai.chat.completions.create(**b.ask(prompt, **GREEDY)).choices[0].message.content

    alone = [answer(prompt) for prompt in prompts]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(answer, prompts)) == alone


@check("server", "a name of another site is refused, and types other than JSON")
def _(b):
    assert b.server.request("/v1/models", headers={"Host": "evil.example"})[0] == 403
    assert b.server.request("/v1/models", headers={"Origin": "https://evil.example"})[0] == 403
    status, _ = b.server.request("/v1/chat/completions", b.ask("x"), headers={"Content-Type": "text/plain"})
    assert status == 415


@check("server", "SIGTERM lets a running answer end, and the program ends with 0")
def _(b):
    server = Server(b.program, b.file, *EXACT, "--ctx", 512)
    client = b.openai_module.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    stream = iter(
        client.chat.completions.create(**b.ask("Tell me a story.", temperature=0, max_tokens=60), stream=True)
    )
    next(stream)
    server.process.terminate()
    assert list(stream)[-1].choices[0].finish_reason
    assert server.process.wait(timeout=60) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bantam", default=str(TARGET / "release" / "bantam"))
    parser.add_argument("--only", default="", help="only checks whose client or title holds this")
    parser.add_argument("model")
    arguments = parser.parse_args()
    enter("clients")
    bench = Bench(arguments.bantam, arguments.model)
    matrix = collections.defaultdict(collections.Counter)
    for client, title, function in CHECKS:
        if arguments.only not in client and arguments.only not in title:
            continue
        matrix[client][outcome_of(client, title, lambda: function(bench), 9)] += 1
    bench.server.stop()
    bench.locked.stop()
    print(f"\n{'client':10} {'pass':>5} {'FAIL':>5} {'skip':>5}")
    for client, counts in matrix.items():
        print(f"{client:10} {counts['pass']:5} {counts['FAIL']:5} {counts['skip']:5}")
    sys.exit(any(counts["FAIL"] for counts in matrix.values()))


if __name__ == "__main__":
    main()
