#!/usr/bin/env python3
"""Lets LangChain's own classes use a running `bantam serve`; prints a line for each check, as clients.py does.

    frameworks.py URL MODEL
"""
import sys

from langchain_anthropic import ChatAnthropic
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL, MODEL = sys.argv[1:]
SAID = "What is the capital of France?"


def models():
    openai = {"base_url": f"{URL}/v1", "api_key": "none", "model": MODEL, "temperature": 0, "max_retries": 0}
    # It asks servers other than OpenAI's own for usage only when told to.
    openai["stream_usage"] = True
    yield "ChatOpenAI", ChatOpenAI(**openai, max_tokens=24)
    yield "ChatOpenAI, Responses", ChatOpenAI(**openai, max_tokens=24, use_responses_api=True)
    yield "ChatAnthropic", ChatAnthropic(base_url=URL, api_key="none", model=MODEL, temperature=0, max_tokens=24)
    yield "ChatOllama", ChatOllama(base_url=URL, model=MODEL, temperature=0, num_predict=24)


def chat(model):
    whole = model.invoke(SAID)
    parts = list(model.stream(SAID))
    total = parts[0]
    for part in parts[1:]:
        total += part
    assert "Paris" in whole.text and total.text == whole.text, (whole.text, total.text)
    assert whole.usage_metadata["output_tokens"] == total.usage_metadata["output_tokens"] > 1


def embeddings():
    texts = ["A cat.", "A dog."]
    # Its own tokens are another model's.
    openai = OpenAIEmbeddings(base_url=f"{URL}/v1", api_key="none", model=MODEL, check_embedding_ctx_length=False)
    ollama = OllamaEmbeddings(base_url=URL, model=MODEL)
    for one, other in zip(openai.embed_documents(texts), ollama.embed_documents(texts)):
        assert max(abs(a - b) for a, b in zip(one, other)) < 1e-6


def main():
    checks = [(name, lambda model=model: chat(model)) for name, model in models()]
    failed = False
    for title, run in [*checks, ("embeddings of both", embeddings)]:
        try:
            run()
            print(f"pass  langchain    {title}")
        except Exception as error:  # noqa: BLE001: whatever it raises is the finding
            failed = True
            print(f"FAIL  langchain    {title}: {type(error).__name__}: {str(error)[:300]!r}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
