"""What is known to fail, and why: a failure that is listed here is a skip with its reason."""
import re

TEXT_ONLY = "text only: images and files are refused by name"
FIRST_MODEL = "a request that names no model is for the first one"
OWN_ACCORD = "whether a tool is called is the model's choice, and one this small calls none"
VALUES = "which values a call has is the model's choice, and one this small does not read them out of the question"

# Whose test, a pattern that its title matches, and the reason.
EXPECTED = [
    ("open-responses", r"llm-comply: image-input", TEXT_ONLY),
    ("openai", r"llm-comply: chat-image-input", TEXT_ONLY),
    ("anthropic", r"llm-comply: anth-image-input", TEXT_ONLY),
    ("open-responses", r"llm-comply: compact-", "conversations are not compacted: contexts are the client's"),
    ("open-responses", r"llm-comply: error-handling", FIRST_MODEL),
    ("openai", r"llm-comply: chat-error-handling", FIRST_MODEL),
    ("llama-server", r"test_anthropic_empty_messages", "Anthropic's own API wants at least one message"),
    ("llama-server", r"test_invalid_chat_completion_req\[messages7", "an answer may stand behind another: the last goes on"),
    ("llama-server", r"test_completion\[Write a joke", "another model ends its text before it is cut"),
    ("llama-server", r"test_logprobs_stream", "a stream begins with an empty text, as OpenAI's own does, not with null"),
    ("llama-server", r"test_context_size_exceeded", "the type and the code of the error are OpenAI's"),
    ("llama-server", r"test_embedding_error_prompt_too_long", "the message has other words"),
    ("llama-server", r"test_nocache_long_input_prompt", "the prompt has 224 tokens here and fits; theirs has more"),
    ("llama-server", r"test_completion_with_tokens_input", "texts and tokens are not mixed within one prompt"),
    ("langchain", r"test_json_mode", "any object will do for `json_object`: which names it has is the model's choice"),
    ("langchain", r"test_agent_loop|TestOllama test_(tool_calling|bind_runnables|unicode_tool)", OWN_ACCORD),
    ("langchain", r"test_tool_calling(_async|\[)|test_unicode_tool_call", VALUES),
    ("langchain", r"test_structured_output_pydantic_2_v1", "their client cannot make a schema of pydantic's first form"),
]


def reason_of(client, title):
    """Why a failure was to be expected; None if it was not."""
    return next((why for whose, pattern, why in EXPECTED if whose == client and re.search(pattern, title)), None)
