/**
 * An answer as its tokens, coloured by how likely each was. A token shows its alternatives; from any of them the answer
 * can be continued in a branch of its own.
 */

import * as figures from "../core/figures.js";
import { canBranch, meanProbability, probability, surprise, visible } from "../core/tokens.js";
import { el, fill, iconButton } from "./dom.js";

export class TokensView {
  #at = -1;
  /** Tokens that were drawn. */
  #drawn = 0;

  constructor(chat, message) {
    this.chat = chat;
    this.message = message;
    this.tokens = el("div.tokens", {
      role: "listbox",
      "aria-label": "Tokens; arrow keys move",
      tabindex: "0",
      click: (event) => this.#clicked(event),
      keydown: (event) => this.#pressed(event),
    });
    this.detail = el("div.alternatives", {
      hidden: true,
      role: "region",
      "aria-live": "polite",
      "aria-label": "Alternatives",
    });
    this.legend = el("div.legend");
    this.element = el("div.token-view", {}, this.legend, this.tokens, this.detail);
    this.update();
  }

  update() {
    const { tokens } = this.message;
    for (const token of tokens.slice(this.#drawn)) this.#draw(token);
    const mean = figures.percent(meanProbability(tokens));
    const scale = ["≥ 90 %", "≥ 60 %", "≥ 30 %", "≥ 10 %", "< 10 %"].map((text, at) =>
      el(`span.t${at}`, {}, text),
    );
    fill(
      this.legend,
      el("span", {}, `${tokens.length} tokens, on average ${mean} likely`),
      el("span.scale", {}, ...scale),
    );
  }

  #draw(token) {
    const at = this.#drawn;
    this.#drawn += 1;
    const breaks = /\n/.test(token.text);
    const span = el(
      `span.token.t${surprise(token.logprob)}`,
      {
        role: "option",
        "data-at": at,
        "aria-selected": "false",
        "aria-label": `${visible(token.text)} ${figures.percent(probability(token.logprob))}`,
        title: figures.percent(probability(token.logprob)),
      },
      breaks ? visible(token.text) : token.text,
    );
    this.tokens.append(span, ...(breaks ? [el("br")] : []));
  }

  #span(at) {
    return this.tokens.querySelector(`[data-at="${at}"]`);
  }

  #clicked(event) {
    const at = event.target.closest("[data-at]")?.dataset.at;
    if (at !== undefined) this.#select(Number(at));
  }

  #pressed(event) {
    const last = this.message.tokens.length - 1;
    const to = { ArrowRight: this.#at + 1, ArrowLeft: this.#at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#select(Math.max(0, Math.min(last, to)));
  }

  #select(at) {
    this.#span(this.#at)?.setAttribute("aria-selected", "false");
    this.#at = at;
    const span = this.#span(at);
    span.setAttribute("aria-selected", "true");
    span.scrollIntoView({ block: "nearest" });
    this.#showAlternatives(this.message.tokens[at]);
  }

  #showAlternatives(token) {
    const isTop = token.top.some((each) => each.text === token.text);
    const all = isTop ? token.top : [...token.top, token];
    const close = iconButton("close", "Close", () => (this.detail.hidden = true));
    fill(
      this.detail,
      el("div.alternatives-head", {}, el("span", {}, "What could have stood here"), close),
      ...all.map((each) => this.#row(each, token)),
    );
    this.detail.hidden = false;
  }

  #row(each, token) {
    const share = probability(each.logprob);
    const bar = el("progress", { max: "1", value: share, "aria-hidden": "true" });
    const isIt = each.text === token.text;
    const cells = [el("code", {}, visible(each.text)), bar, el("span.share", {}, figures.percent(share))];
    const isOpen = !isIt && canBranch(this.message, this.#at, each);
    if (!isOpen) return el(isIt ? "div.alternative.it" : "div.alternative", {}, ...cells);
    const go = () => this.chat.branch(this.message.id, this.#at, each);
    return el(
      "button.alternative",
      { type: "button", title: "Go on from here with this token, in a new branch", click: go },
      ...cells,
    );
  }
}
