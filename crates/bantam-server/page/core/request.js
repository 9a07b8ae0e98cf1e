/**
 * What is asked of the server: a conversation's path and its settings as the body of a chat completion.
 */

import { NUMBERS, readSchema, readTools } from "./settings.js";

/**
 * The body of a request.
 * @param {string | null} model
 * @param {object[]} path the messages that are to be answered; if the last is an assistant's, it is continued
 * @param {object} settings
 */
export function requestBody(model, path, settings) {
  const body = {
    messages: messagesOf(path, settings.system),
    stream: true,
    stream_options: { include_usage: true },
  };
  if (model !== null) body.model = model;
  for (const { name } of NUMBERS) if (settings[name] !== null) body[name] = settings[name];
  if (settings.effort !== "") body.reasoning_effort = settings.effort;
  if (settings.top_logprobs > 0) Object.assign(body, { logprobs: true, top_logprobs: settings.top_logprobs });
  if (settings.usesSchema) body.response_format = formatOf(settings.schema);
  const { tools } = readTools(settings.tools);
  if (settings.usesTools && tools.length > 0) body.tools = tools;
  return body;
}

/** The form of an answer: by the schema, or any JSON object without one. */
function formatOf(text) {
  const { schema } = readSchema(text);
  if (schema === null) return { type: "json_object" };
  return { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
}

function messagesOf(path, system) {
  const asked = path.findLastIndex((message) => message.role === "user");
  const said = path.map((message, at) => messageOf(message, at > asked));
  return system.trim() === "" ? said : [{ role: "system", content: system }, ...said];
}

/** A message as it is sent. Models want to see what they thought between their calls, and not of earlier turns. */
function messageOf(message, isOfThisTurn) {
  if (message.role === "tool")
    return { role: "tool", tool_call_id: message.call, name: message.name, content: message.text };
  const sent = { role: message.role, content: message.text };
  if (message.role !== "assistant") return sent;
  if (isOfThisTurn && message.thinking && message.calls?.length > 0)
    sent.reasoning_content = message.thinking;
  if (message.calls?.length > 0) sent.tool_calls = message.calls.map(callOf);
  return sent;
}

function callOf(call) {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

/** What a model and its adapter are called in `/v1/models`, grouped: each base with the adapters for it. */
export function groupModels(models) {
  const bases = models.filter((model) => !model.parent || !models.some((other) => other.id === model.parent));
  return bases.map((base) => ({
    base,
    adapters: models.filter((model) => model !== base && model.parent === base.id),
  }));
}
