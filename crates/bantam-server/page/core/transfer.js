/**
 * Conversations as files: what is written, and what is taken from a file that may hold anything.
 */

import { readSettings } from "./settings.js";
import { Conversation, newId, titleOf } from "./tree.js";

const FORMAT = "bantam-conversations";
const ROLES = ["system", "user", "assistant", "tool"];

/** Conversations as the text of a file. */
export function toFile(conversations) {
  const told = conversations.map((conversation) => ({
    ...conversation.about,
    messages: conversation.messages(),
  }));
  return JSON.stringify({ format: FORMAT, version: 1, conversations: told }, null, 1);
}

/**
 * The conversations in a file: of this page, or a list of messages as the chat completions API has them. All get new
 * identifiers, so that a file can be taken in twice.
 * @throws {Error} with a sentence about what the file is instead
 */
export function fromFile(text, now) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("The file is no JSON.");
  }
  if (value?.format === FORMAT && Array.isArray(value.conversations))
    return value.conversations.map((each) => whole(each, now));
  const messages = Array.isArray(value) ? value : value?.messages;
  if (Array.isArray(messages) && messages.every((each) => ROLES.includes(each?.role)))
    return [listed(messages, now)];
  throw new Error("The file holds no conversations: wanted an export of this page, or a list of messages.");
}

function whole(value, now) {
  const id = newId();
  const ids = new Map();
  const given = Array.isArray(value?.messages)
    ? value.messages.filter((each) => ROLES.includes(each?.role))
    : [];
  for (const message of given) ids.set(message.id, newId());
  const messages = given.map((message) => ({
    ...messageOf(message, now),
    id: ids.get(message.id),
    conversation: id,
    parent: message.parent === null ? null : (ids.get(message.parent) ?? ""),
    chosen: ids.get(message.chosen) ?? null,
  }));
  const about = {
    id,
    title: texts(value?.title).slice(0, 200),
    created: time(value?.created, now),
    updated: time(value?.updated, now),
    chosen: ids.get(value?.chosen) ?? null,
    model: typeof value?.model === "string" ? value.model : null,
    settings: readSettings(value?.settings),
  };
  return new Conversation(about, messages);
}

function listed(messages, now) {
  const conversation = Conversation.begin(now, { model: null, settings: readSettings(null) });
  let parent = null;
  for (const [at, message] of messages.entries()) {
    const text = texts(message.content);
    if (message.role === "system") {
      conversation.about.settings.system = text;
      continue;
    }
    const calls = Array.isArray(message.tool_calls) ? message.tool_calls.map(callOf) : [];
    const more = {
      thinking: texts(message.reasoning_content),
      calls,
      call: texts(message.tool_call_id),
      name: texts(message.name),
    };
    parent = conversation.add(parent, message.role, { text, ...more }, now + at).id;
  }
  conversation.about.title = titleOf(
    conversation.path().find((message) => message.role === "user")?.text ?? "",
  );
  return conversation;
}

/** What a message may hold, each of the type that the page counts on. */
function messageOf(message, now) {
  const read = { role: message.role, text: texts(message.text), created: time(message.created, now) };
  if (message.role === "tool") return { ...read, call: texts(message.call), name: texts(message.name) };
  if (message.role !== "assistant") return read;
  return {
    ...read,
    model: texts(message.model),
    thinking: texts(message.thinking),
    calls: list(message.calls).map((call) => ({
      id: texts(call?.id),
      name: texts(call?.name),
      arguments: texts(call?.arguments),
    })),
    tokens: Array.isArray(message.tokens) ? message.tokens.map(tokenOf) : null,
    usage: numbers(message.usage, ["prompt", "cached", "answer"]),
    times: numbers(message.times, ["asked", "first", "thought", "last", "pieces"]),
    finish: typeof message.finish === "string" ? message.finish : null,
    failure: message.failure
      ? { kind: texts(message.failure.kind), message: texts(message.failure.message) }
      : null,
    round: typeof message.round === "string" ? message.round : null,
    format: typeof message.format === "string" ? message.format : null,
  };
}

function tokenOf(token) {
  const top = list(token?.top).map((each) => ({
    text: texts(each?.text),
    logprob: number(each?.logprob) ?? -9999,
  }));
  return {
    text: texts(token?.text),
    logprob: number(token?.logprob) ?? -9999,
    bytes: list(token?.bytes).filter(Number.isInteger),
    top,
  };
}

function callOf(call) {
  return {
    id: texts(call?.id),
    name: texts(call?.function?.name),
    arguments: texts(call?.function?.arguments),
  };
}

const list = (value) => (Array.isArray(value) ? value : []);
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const time = (value, now) => number(value) ?? now;

/** A text, or the texts of a message's parts. */
function texts(value) {
  if (Array.isArray(value))
    return value.map((part) => (typeof part?.text === "string" ? part.text : "")).join("");
  return typeof value === "string" ? value : "";
}

function numbers(value, names) {
  if (typeof value !== "object" || value === null) return null;
  return Object.fromEntries(names.map((name) => [name, number(value[name])]));
}
