/**
 * The server: the few requests that the page makes. All paths are beside the page's own, so that it also works behind a
 * proxy that puts it into a folder.
 */

import { EventReader } from "./core/events.js";
import { Failure, retryAfter } from "./core/failures.js";

const KEY = "bantam-key";

/** The key that the server wants; gone with the tab. */
export const key = {
  get value() {
    try {
      return sessionStorage.getItem(KEY) ?? "";
    } catch {
      return key.unkept;
    }
  },
  set value(value) {
    key.unkept = value;
    try {
      if (value === "") sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, value);
    } catch {
      // Without a chat's storage it is kept until the page is loaded again.
    }
  },
  unkept: "",
};

/**
 * @returns {Promise<object[]>} the entries of `/v1/models`
 * @throws {Failure}
 */
export async function models() {
  const reply = await ask("v1/models", {});
  const { data } = await reply.json();
  return Array.isArray(data) ? data.filter((model) => typeof model?.id === "string") : [];
}

/** Whether the server answers at all. */
export async function isAlive() {
  try {
    return (await fetch(address("health"), { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/**
 * Asks for an answer and hands over each chunk of it as it comes.
 * @param {object} body a streamed chat completion
 * @param {AbortSignal} signal ends it; the server stops working on it, too
 * @param {(chunk: object) => void} take
 * @throws {Failure | DOMException} an `AbortError` if it was ended
 */
export async function complete(body, signal, take) {
  const headers = { "Content-Type": "application/json" };
  const reply = await ask("v1/chat/completions", {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal,
  });
  const events = new EventReader();
  const stream = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await stream.read().catch((error) => throwBroken(error));
    if (done) throw Failure.broken();
    for (const event of events.push(value)) {
      if (event === "[DONE]") return;
      take(parsed(event));
    }
  }
}

function throwBroken(error) {
  throw error.name === "AbortError" ? error : Failure.broken();
}

function parsed(event) {
  try {
    return JSON.parse(event);
  } catch {
    throw new Failure("server", `The server sent what is no JSON: ${event.slice(0, 200)}`);
  }
}

const address = (path) => new URL(path, document.baseURI);

async function ask(path, options) {
  const headers = new Headers(options.headers);
  if (key.value !== "") headers.set("Authorization", `Bearer ${key.value}`);
  let reply;
  try {
    reply = await fetch(address(path), { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    throw error.name === "AbortError" ? error : Failure.gone();
  }
  if (reply.ok) return reply;
  const body = await reply.json().catch(() => null);
  throw Failure.ofReply(reply.status, body, retryAfter(reply.headers.get("Retry-After")));
}
