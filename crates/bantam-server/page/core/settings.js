/**
 * How answers are asked for: the settings of a conversation, their ranges, and what is wrong with them.
 *
 * An empty number is `null` and means that the server decides.
 */

import { schemaProblem } from "./schema.js";

/** The numbers, as they are shown and sent. */
export const NUMBERS = [
  {
    name: "temperature",
    label: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    hint: "0 always takes the likeliest token",
  },
  {
    name: "top_p",
    label: "Top-p",
    min: 0,
    max: 1,
    step: 0.01,
    hint: "the likeliest tokens that together have this share",
  },
  {
    name: "top_k",
    label: "Top-k",
    min: 0,
    max: 1000,
    step: 1,
    isWhole: true,
    hint: "so many of the likeliest tokens; 0 for all",
  },
  {
    name: "min_p",
    label: "Min-p",
    min: 0,
    max: 1,
    step: 0.01,
    hint: "tokens at least this likely, measured by the likeliest",
  },
  {
    name: "repeat_penalty",
    label: "Repeat penalty",
    min: 0.5,
    max: 2,
    step: 0.01,
    hint: "above 1 makes repetition less likely",
  },
  {
    name: "seed",
    label: "Seed",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    step: 1,
    isWhole: true,
    hint: "the same seed gives the same answer; empty for another each time",
  },
  {
    name: "max_tokens",
    label: "Max tokens",
    min: 1,
    max: 1000000,
    step: 1,
    isWhole: true,
    hint: "empty for as many as the context holds",
  },
];

/** How much a model may think; the empty one leaves it to the model. */
export const EFFORTS = [
  ["", "Default"],
  ["none", "Off"],
  ["low", "Low"],
  ["medium", "Medium"],
  ["high", "High"],
];

/** Settings that change nothing. */
export function defaults() {
  return {
    system: "",
    ...Object.fromEntries(NUMBERS.map(({ name }) => [name, null])),
    effort: "",
    top_logprobs: 0,
    schema: "",
    usesSchema: false,
    tools: "",
    usesTools: false,
  };
}

/** Settings out of anything: what is not there or of another type is as by default. */
export function readSettings(value) {
  const settings = defaults();
  if (typeof value !== "object" || value === null) return settings;
  for (const name of ["system", "schema", "tools"])
    if (typeof value[name] === "string") settings[name] = value[name];
  for (const name of ["usesSchema", "usesTools"]) settings[name] = value[name] === true;
  for (const number of NUMBERS) settings[number.name] = within(number, value[number.name]);
  if (EFFORTS.some(([effort]) => effort === value.effort)) settings.effort = value.effort;
  settings.top_logprobs = within({ min: 0, max: 20, isWhole: true }, value.top_logprobs) ?? 0;
  return settings;
}

/** The number if it lies in the range, else `null`. */
export function within({ min, max, isWhole }, value) {
  const isIt =
    typeof value === "number" && value >= min && value <= max && (!isWhole || Number.isInteger(value));
  return isIt ? value : null;
}

/**
 * What the schema's text says.
 * @returns {{ schema: object | null, problem: string | null }}
 */
export function readSchema(text) {
  const { value, problem } = readObject(text);
  if (problem !== null || value === undefined) return { schema: null, problem };
  const wrong = schemaProblem(value);
  return wrong === null ? { schema: value, problem: null } : { schema: null, problem: wrong };
}

/**
 * What the tools' text says: a list of functions, each `{ name, description, parameters }` or in OpenAI's wrapping.
 * @returns {{ tools: object[], problem: string | null }}
 */
export function readTools(text) {
  const { value, problem } = readObject(text);
  if (problem !== null || value === undefined) return { tools: [], problem };
  const tools = [];
  for (const item of Array.isArray(value) ? value : [value]) {
    const tool = item?.function ?? item;
    const wrong = toolProblem(tool);
    if (wrong !== null) return { tools: [], problem: wrong };
    tools.push({ type: "function", function: tool });
  }
  const names = tools.map((tool) => tool.function.name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  return twice === undefined
    ? { tools, problem: null }
    : { tools: [], problem: `Two tools are called “${twice}”.` };
}

function toolProblem(tool) {
  if (typeof tool !== "object" || tool === null || Array.isArray(tool))
    return "A tool is an object with a name.";
  if (typeof tool.name !== "string" || !/^[\w-]{1,64}$/.test(tool.name))
    return "A tool has a “name” of letters, digits, “_” and “-”.";
  if (tool.parameters === undefined) return null;
  const problem = schemaProblem(tool.parameters);
  return problem && `Parameters of “${tool.name}”: ${problem}`;
}

function readObject(text) {
  if (text.trim() === "") return { value: undefined, problem: null };
  try {
    return { value: JSON.parse(text), problem: null };
  } catch (error) {
    return { value: undefined, problem: `This is no JSON: ${error.message}` };
  }
}
