#!/usr/bin/env python3
"""Lets LangChain's own classes use a running `bantam serve`; prints a line for each check, as clients.py does.

    frameworks.py URL MODEL
"""
import sys

from checks import check, run_all
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
    for name, model in models():
        check("langchain", name)(lambda model=model: chat(model))
    check("langchain", "embeddings of both")(embeddings)
    run_all()


if __name__ == "__main__":
    main()
