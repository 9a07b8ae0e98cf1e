/**
 * What an empty conversation shows.
 */

import * as figures from "../core/figures.js";
import { el } from "./dom.js";

const BEGINNINGS = [
  "Explain why the sky is blue, in two sentences",
  "Write a haiku about small models",
  "Give me five names for a rooster, as a table with reasons",
];

export function welcome(chat) {
  const model = chat.server.entry();
  const begin = (text) => el("button.beginning", { type: "button", click: () => chat.send(text) }, text);
  return el(
    "div.welcome",
    {},
    el("img", { src: "page/icon.svg", alt: "", width: "56", height: "56" }),
    el("h1", {}, model ? `Ask ${model.display_name ?? model.id}` : "Ask a model"),
    el("p", {}, model ? facts(model).join(" · ") : "No model is there yet."),
    model ? el("div.beginnings", {}, ...BEGINNINGS.map(begin)) : null,
  );
}

/** What is worth knowing of a model. */
export function facts(model) {
  const facts = [];
  if (model.meta?.n_params) facts.push(`${figures.count(model.meta.n_params)} parameters`);
  if (model.meta?.size) facts.push(figures.bytes(model.meta.size));
  if (model.context_length) facts.push(`context of ${figures.count(model.context_length)} tokens`);
  return facts;
}
