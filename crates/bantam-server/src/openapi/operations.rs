//! All operations.

use super::fields::Kind::*;
use super::fields::Presence::{Free, Needed};
use super::fields::{Field, Kind};
use super::{Operation, Reply};

const MODEL: &[Field] = &[("model", Text, Free)];
const MODEL_NEEDED: &[Field] = &[("model", Text, Needed)];
const STREAM: &[Field] = &[("stream", Flag, Free)];
const TIME: &[Field] = &[("timeout_ms", Whole(-1, 86_400_000), Free)];
const MESSAGES: &[Field] = &[("messages", Kind::Messages, Needed)];
const TOOLS: &[Field] =
    &[("tools", Objects, Free), ("tool_choice", TextOrObject, Free), ("parallel_tool_calls", Flag, Free)];

/// As `sampling` reads them.
const SAMPLING: &[Field] = &[
    ("temperature", Number(0.0, 2.0), Free),
    ("top_p", Number(0.0, 1.0), Free),
    ("min_p", Number(0.0, 1.0), Free),
    ("typical_p", Number(0.0, 1.0), Free),
    ("top_k", Whole(-1, 1000), Free),
    ("repeat_penalty", Number(0.5, 2.0), Free),
    ("repeat_last_n", Whole(-1, 4096), Free),
    ("presence_penalty", Number(-2.0, 2.0), Free),
    ("frequency_penalty", Number(-2.0, 2.0), Free),
    ("seed", Whole(-1, 1 << 53), Free),
];

/// What chat completions and completions share.
const OPENAI: &[Field] = &[
    ("n", Whole(1, 128), Free),
    ("stop", Texts, Free),
    ("logit_bias", Object, Free),
    ("repetition_penalty", Number(0.5, 2.0), Free),
    ("ignore_eos", Flag, Free),
    ("stream_options", Object, Free),
    ("response_format", Object, Free),
    ("structured_outputs", Object, Free),
    ("guided_json", Object, Free),
    ("guided_regex", Text, Free),
    ("guided_choice", Texts, Free),
    ("guided_grammar", Text, Free),
    ("json_schema", Object, Free),
    ("grammar", Text, Free),
];

const CHAT: &[Field] = &[
    ("max_tokens", Whole(-1, 1 << 20), Free),
    ("max_completion_tokens", Whole(1, 1 << 20), Free),
    ("logprobs", Flag, Free),
    ("top_logprobs", Whole(0, 20), Free),
    ("reasoning_effort", Text, Free),
    ("enable_thinking", Flag, Free),
    ("chat_template_kwargs", Object, Free),
];

const CHAT_COMPLETION: &[&[Field]] = &[MODEL, ADAPTED, MESSAGES, TOOLS, SAMPLING, OPENAI, CHAT, STREAM, TIME];

const COMPLETION: &[Field] = &[
    ("prompt", Prompts, Free),
    ("suffix", Text, Free),
    ("max_tokens", Whole(-1, 1 << 20), Free),
    ("logprobs", Whole(0, 20), Free),
    ("echo", Flag, Free),
];

const EMBEDDINGS: &[Field] = &[
    ("input", Prompts, Needed),
    ("encoding_format", Word(&["float", "base64"]), Free),
    ("dimensions", Whole(1, 65_536), Free),
    ("pooling", Word(&["mean", "last", "cls"]), Free),
];

const RESPONSE: &[Field] = &[
    ("input", Items, Free),
    ("conversation", TextOrObject, Free),
    ("instructions", Text, Free),
    ("max_output_tokens", Whole(1, 1 << 20), Free),
    ("previous_response_id", Text, Free),
    ("store", Flag, Free),
    ("include", Texts, Free),
    ("top_logprobs", Whole(0, 20), Free),
    ("reasoning", Object, Free),
    ("metadata", Object, Free),
];

const METADATA: &[Field] = &[("metadata", Object, Needed)];

const CONVERSATION: &[Field] = &[("items", Objects, Free), ("metadata", Object, Free)];

/// As `listing` reads them.
const PART: &[Field] =
    &[("after", Text, Free), ("limit", Whole(1, 100), Free), ("order", Word(&["asc", "desc"]), Free)];

const RERANK: &[Field] = &[
    ("query", Text, Needed),
    ("documents", Documents, Free),
    ("texts", Documents, Free),
    ("return_text", Flag, Free),
    ("top_n", Whole(0, 2048), Free),
    ("return_documents", Flag, Free),
    ("method", Word(&["cosine", "yes_no"]), Free),
    ("pooling", Word(&["mean", "last", "cls"]), Free),
];

const ANTHROPIC: &[Field] = &[
    ("system", Texts, Free),
    ("thinking", Object, Free),
    ("tools", Objects, Free),
    ("tool_choice", Object, Free),
    ("stop_sequences", Texts, Free),
    ("temperature", Number(0.0, 2.0), Free),
    ("top_p", Number(0.0, 1.0), Free),
    ("top_k", Whole(0, 1000), Free),
];

const OLLAMA: &[Field] = &[
    ("options", Object, Free),
    ("think", FlagOrText, Free),
    ("keep_alive", NumberOrText, Free),
    ("logprobs", Flag, Free),
    ("top_logprobs", Whole(0, 20), Free),
];

const GENERATE: &[Field] =
    &[("prompt", Text, Free), ("system", Text, Free), ("suffix", Text, Free), ("raw", Flag, Free)];

const INFILL: &[Field] = &[
    ("input_prefix", Text, Free),
    ("input_suffix", Text, Free),
    ("input_extra", Documents, Free),
    ("prompt", Text, Free),
    ("n_predict", Whole(-1, 1 << 20), Free),
    ("t_max_predict_ms", Whole(0, 86_400_000), Free),
    ("stop", Texts, Free),
];

const CONTINUATION: &[Field] = &[
    ("prompt", Prompts, Needed),
    ("n_predict", Whole(-1, 1 << 20), Free),
    ("t_max_predict_ms", Whole(0, 86_400_000), Free),
    ("n_probs", Whole(0, 20), Free),
    ("return_tokens", Flag, Free),
];

const NATIVE_COMPLETION: &[&[Field]] = &[MODEL, ADAPTED, CONTINUATION, SAMPLING, OPENAI, STREAM, TIME];

const TOKENIZE: &[Field] = &[
    ("content", Text, Free),
    ("prompt", Text, Free),
    ("add_special", Flag, Free),
    ("add_special_tokens", Flag, Free),
    ("parse_special", Flag, Free),
    ("with_pieces", Flag, Free),
];

/// What a model that is made consists of.
const CREATE: &[Field] = &[
    ("from", Text, Free),
    ("files", Object, Free),
    ("adapters", Object, Free),
    ("template", Text, Free),
    ("system", Text, Free),
    ("parameters", Object, Free),
    ("messages", Kind::Messages, Free),
    ("modelfile", Text, Free),
];

const ADAPTER: &[Field] = &[
    ("lora_name", Text, Needed),
    ("lora_path", Text, Needed),
    ("base_model_name", Text, Free),
    ("load_inplace", Flag, Free),
];

/// Which adapters change the model for a request.
const ADAPTED: &[Field] = &[("adapter", Text, Free), ("lora", Adapters, Free)];

const fn get(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "get", path, summary, query: &[], body: &[], reply: Reply::Json }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    reply: Reply,
    body: &'static [&'static [Field]],
) -> Operation {
    Operation { method: "post", path, summary, query: &[], body, reply }
}

const fn delete(path: &'static str, summary: &'static str) -> Operation {
    Operation { method: "delete", ..get(path, summary) }
}

/// A list that is told in parts.
const fn list(path: &'static str, summary: &'static str) -> Operation {
    Operation { query: PART, ..get(path, summary) }
}

/// In the order of the router's groups.
pub(super) const OPERATIONS: &[Operation] = &[
    get("/v1/models", "The models"),
    get("/v1/models/{name}", "One model, by any of its names"),
    post("/v1/chat/completions", "Answers a conversation", Reply::Events, CHAT_COMPLETION),
    post(
        "/v1/completions",
        "Continues texts",
        Reply::Events,
        &[MODEL, ADAPTED, COMPLETION, SAMPLING, OPENAI, STREAM, TIME],
    ),
    post("/v1/embeddings", "Texts as vectors", Reply::Json, &[MODEL, EMBEDDINGS]),
    post(
        "/v1/responses",
        "Answers items, and keeps the conversation",
        Reply::Events,
        &[MODEL, ADAPTED, RESPONSE, TOOLS, SAMPLING, STREAM, TIME],
    ),
    get("/v1/responses/{id}", "A response that is kept"),
    delete("/v1/responses/{id}", "Forgets a response"),
    list("/v1/responses/{id}/input_items", "What a response answered"),
    post("/v1/conversations", "Begins a conversation that is kept", Reply::Json, &[CONVERSATION]),
    get("/v1/conversations/{id}", "A conversation that is kept"),
    post("/v1/conversations/{id}", "Changes its metadata", Reply::Json, &[METADATA]),
    delete("/v1/conversations/{id}", "Forgets a conversation"),
    list("/v1/conversations/{id}/items", "What a conversation consists of"),
    post(
        "/v1/conversations/{id}/items",
        "Adds to a conversation",
        Reply::Json,
        &[&[("items", Objects, Needed)]],
    ),
    get("/v1/conversations/{id}/items/{item}", "An item of a conversation"),
    delete("/v1/conversations/{id}/items/{item}", "Takes an item out of a conversation"),
    post(
        "/v1/messages",
        "Answers a conversation, as Anthropic has it",
        Reply::Events,
        &[MODEL_NEEDED, MESSAGES, &[("max_tokens", Whole(1, 1 << 20), Needed)], ANTHROPIC, STREAM, TIME],
    ),
    post(
        "/v1/messages/count_tokens",
        "The tokens of a conversation",
        Reply::Json,
        &[MODEL_NEEDED, MESSAGES, ANTHROPIC],
    ),
    post(
        "/api/chat",
        "Answers a conversation, as Ollama has it",
        Reply::Lines,
        &[MODEL_NEEDED, &[("messages", Kind::Messages, Free)], TOOLS, OLLAMA, STREAM, TIME],
    ),
    post(
        "/api/generate",
        "Answers a question, as Ollama has it",
        Reply::Lines,
        &[MODEL_NEEDED, GENERATE, OLLAMA, STREAM, TIME],
    ),
    post(
        "/api/embed",
        "Texts as vectors, as Ollama has it",
        Reply::Json,
        &[MODEL_NEEDED, &[("input", Texts, Free), ("truncate", Flag, Free)]],
    ),
    post(
        "/api/embeddings",
        "A text as a vector, as Ollama had it before",
        Reply::Json,
        &[MODEL_NEEDED, &[("prompt", Text, Free)]],
    ),
    post("/api/show", "What a model is", Reply::Json, &[MODEL_NEEDED]),
    get("/api/tags", "The models, as Ollama lists them"),
    get("/api/ps", "The models that are loaded"),
    post("/api/pull", "Fetches a model", Reply::Lines, &[MODEL_NEEDED, STREAM]),
    post(
        "/api/create",
        "Makes a model of another, or of blobs",
        Reply::Lines,
        &[MODEL_NEEDED, CREATE, STREAM],
    ),
    post(
        "/api/copy",
        "Gives a model another name, too",
        Reply::Nothing,
        &[&[("source", Text, Needed), ("destination", Text, Needed)]],
    ),
    Operation { method: "delete", ..post("/api/delete", "Removes a model", Reply::Nothing, &[MODEL_NEEDED]) },
    Operation { reply: Reply::Nothing, ..get("/api/blobs/{digest}", "Whether a blob is there") },
    post("/api/blobs/{digest}", "Takes in a blob", Reply::Created, &[]),
    get("/api/version", "The version of Ollama whose clients are understood"),
    post("/completion", "Continues texts, as llama.cpp has it", Reply::Events, NATIVE_COMPLETION),
    post("/completions", "Continues texts, as llama.cpp has it", Reply::Events, NATIVE_COMPLETION),
    post("/chat/completions", "Answers a conversation", Reply::Events, CHAT_COMPLETION),
    get("/models", "The models"),
    get("/props", "The first model and its settings, as llama.cpp tells them"),
    get("/health", "Whether the program lives"),
    get("/ready", "Whether it takes requests"),
    Operation { reply: Reply::Text, ..get("/metrics", "Figures for Prometheus") },
    get("/openapi.json", "This document"),
    get("/tokenizer_info", "What a harness must know of the tokeniser"),
    post("/infill", "Fills a gap in a text", Reply::Events, &[MODEL, INFILL, SAMPLING, STREAM, TIME]),
    post("/rerank", "Documents in the order in which they answer", Reply::Json, &[MODEL, RERANK]),
    post("/v1/rerank", "Documents in the order in which they answer", Reply::Json, &[MODEL, RERANK]),
    post("/v2/rerank", "Documents in the order in which they answer", Reply::Json, &[MODEL, RERANK]),
    get("/lora-adapters", "The adapters"),
    post("/v1/load_lora_adapter", "Takes in an adapter", Reply::Text, &[ADAPTER]),
    post("/v1/unload_lora_adapter", "Forgets an adapter", Reply::Text, &[&[("lora_name", Text, Needed)]]),
    post("/tokenize", "A text as tokens", Reply::Json, &[MODEL, TOKENIZE]),
    post("/detokenize", "Tokens as a text", Reply::Json, &[MODEL, &[("tokens", Ids, Needed)]]),
    post("/apply-template", "A conversation as a text", Reply::Json, &[MODEL, MESSAGES, TOOLS]),
];
