"""LangChain's standard tests of its own classes against a running server, for pytest.

    CONFORMANCE_URL=.. CONFORMANCE_MODEL=.. pytest -p matrix --lines FILE --client langchain langchain_standard.py

The classes say what the server can do; what the tests check is LangChain's.
"""
import os

from langchain_anthropic import ChatAnthropic
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

URL, MODEL = os.environ["CONFORMANCE_URL"], os.environ["CONFORMANCE_MODEL"]
# Enough for an object of two free texts, of which a small model makes long ones.
TOKENS = 400


class OfSmallModels(ChatModelIntegrationTests):
    """What holds for all protocols."""

    protocol = {}

    @property
    def chat_model_params(self):
        return {"model": MODEL, "temperature": 0, "max_tokens": TOKENS, "max_retries": 0, **self.protocol}

    @property
    def supports_model_override(self):
        # One model is served.
        return False

    @property
    def structured_output_kwargs(self):
        return {"method": "json_schema"}


class TestOpenAIChat(OfSmallModels):
    chat_model_class = ChatOpenAI
    protocol = {"base_url": f"{URL}/v1", "api_key": "none", "stream_usage": True}
    supports_json_mode = True
    returns_usage_metadata = True


class TestOpenAIResponses(OfSmallModels):
    chat_model_class = ChatOpenAI
    protocol = {"base_url": f"{URL}/v1", "api_key": "none", "use_responses_api": True}


class TestAnthropic(OfSmallModels):
    chat_model_class = ChatAnthropic
    protocol = {"base_url": URL, "api_key": "none"}
    supports_anthropic_inputs = True


class TestOllama(OfSmallModels):
    chat_model_class = ChatOllama
    supports_json_mode = True
    # The protocol has none.
    has_tool_choice = False

    @property
    def chat_model_params(self):
        return {"base_url": URL, "model": MODEL, "temperature": 0, "num_predict": TOKENS}


class TestOpenAIEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = OpenAIEmbeddings
    # Its own tokens are another model's.
    embedding_model_params = {
        "base_url": f"{URL}/v1",
        "api_key": "none",
        "model": MODEL,
        "check_embedding_ctx_length": False,
    }


class TestOllamaEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = OllamaEmbeddings
    embedding_model_params = {"base_url": URL, "model": MODEL}
