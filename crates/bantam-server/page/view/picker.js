/**
 * Which model answers, with its adapters, and which one answers beside it.
 */

import * as figures from "../core/figures.js";
import { groupModels } from "../core/request.js";
import { el, fill, icon } from "./dom.js";
import { Menu } from "./menu.js";
import { facts } from "./welcome.js";

export class PickerView {
  constructor(session) {
    this.session = session;
    this.name = el("span.picker-name");
    this.state = el("span.dot");
    this.button = el("button.picker", { type: "button" }, this.state, this.name, icon("caret"));
    this.menu = new Menu(this.button, "Model", () => this.#choices(session.model, (id) => session.chooseModel(id)));
    this.rivalName = el("span.picker-name");
    this.rivalButton = el("button.picker.rival", { type: "button", title: "Let a second model answer, too" }, icon("compare"), this.rivalName);
    this.rival = new Menu(this.rivalButton, "Compare with", () => this.#rivals());
    document.getElementById("pickers").append(this.menu.element, this.rival.element);
    session.addEventListener("models", () => this.update());
    this.update();
  }

  update() {
    const { session } = this;
    const model = session.modelEntry();
    this.name.textContent = model ? nameOf(model) : session.isConnected ? "No model" : "Not connected";
    this.state.className = `dot ${session.isConnected ? "on" : "off"}`;
    this.button.setAttribute("aria-label", `Model: ${this.name.textContent}${session.isConnected ? "" : ", the server does not answer"}`);
    const rival = session.rival && session.modelEntry(session.rival);
    this.rivalName.textContent = rival ? nameOf(rival) : "";
    this.rivalButton.setAttribute("aria-label", rival ? `Compared with ${nameOf(rival)}` : "Compare with another model");
    this.rivalButton.setAttribute("aria-pressed", String(Boolean(rival)));
    this.rival.element.hidden = session.models.length === 0;
  }

  #choices(chosen, choose) {
    if (this.session.models.length === 0) return [el("p.menu-note", {}, "The server tells of no models.")];
    return groupModels(this.session.models).flatMap(({ base, adapters }) => [
      choice(base, base.id === chosen, () => choose(base.id)),
      ...adapters.map((adapter) => choice(adapter, adapter.id === chosen, () => choose(adapter.id), "adapter")),
    ]);
  }

  #rivals() {
    const none = { id: null, display_name: "Nobody: one answer at a time" };
    const head = el("p.menu-note", {}, "Each question is answered twice, side by side. The same model again shows what the seed changes.");
    const choose = (id) => this.session.chooseRival(id);
    return [head, choice(none, this.session.rival === null, () => choose(null)), ...this.#choices(this.session.rival, choose)];
  }
}

const nameOf = (model) => model.display_name ?? model.id;

function choice(model, isChosen, choose, kind = "model") {
  const note = [kind === "adapter" ? "adapter" : null, ...facts(model), fit(model)].filter(Boolean).join(" · ");
  const text = el("span.choice-text", {}, el("span", {}, nameOf(model)), note ? el("small", {}, note) : null);
  return el(`button.choice.${kind}`, { type: "button", role: "menuitemradio", "aria-checked": String(isChosen), click: choose }, text, isChosen ? icon("check") : null);
}

/** Whether a model fits the memory, where the server tells. */
function fit(model) {
  const { needed_bytes: needed, available_bytes: available, loaded } = model.memory ?? {};
  if (loaded === true) return "loaded";
  if (!(needed > 0 && available > 0)) return null;
  return needed <= available ? `fits: needs ${figures.bytes(needed)}` : `too large: needs ${figures.bytes(needed)} of ${figures.bytes(available)}`;
}

/** How much of the context is used. */
export class GaugeView {
  constructor(session, contextTokens) {
    this.session = session;
    this.contextTokens = contextTokens;
    this.element = document.getElementById("gauge");
    for (const name of ["path", "models"]) session.addEventListener(name, () => this.update());
    session.addEventListener("message", ({ detail }) => session.isRunning(detail) || this.update());
    this.update();
  }

  update() {
    const size = this.session.modelEntry()?.context_length;
    const last = this.session.current.path().findLast((message) => message.usage);
    const used = last ? this.contextTokens(last) : 0;
    if (!size || used === 0) return fill(this.element);
    const share = used / size;
    const text = `${figures.count(used)} of ${figures.count(size)}`;
    const meter = el("meter", { min: "0", max: String(size), value: used, low: String(size * 0.75), high: String(size * 0.9), optimum: "0", "aria-label": `Context used: ${text} tokens` });
    this.element.title = `${used} of ${size} tokens of context used (${figures.percent(share)}); ${last.usage.cached} of the last prompt’s ${last.usage.prompt} were known already`;
    return fill(this.element, meter, el("span", {}, text));
  }
}
