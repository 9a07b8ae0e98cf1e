/**
 * A menu below a button: opens on click, closes on Escape, on a choice and on a click elsewhere; arrow keys move in it.
 */

import { el, fill } from "./dom.js";

export class Menu {
  /**
   * @param {HTMLButtonElement} button
   * @param {string} label
   * @param {() => Node[]} content made anew each time it opens; its buttons are the choices
   */
  constructor(button, label, content) {
    this.button = button;
    this.content = content;
    this.box = el("div.menu", {
      role: "menu",
      "aria-label": label,
      hidden: true,
      keydown: (event) => this.#pressed(event),
      click: (event) => this.#clicked(event),
    });
    button.setAttribute("aria-haspopup", "menu");
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => (this.box.hidden ? this.open() : this.close()));
    button.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.open();
      else return;
      event.preventDefault();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.box.hidden && !this.box.contains(event.target) && !button.contains(event.target))
        this.close(false);
    });
    this.element = el("div.menu-place", {}, button, this.box);
  }

  #choices() {
    return [...this.box.querySelectorAll("button:not(:disabled)")];
  }

  open() {
    fill(this.box, ...this.content());
    this.box.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    const choices = this.#choices();
    (choices.find((choice) => choice.getAttribute("aria-checked") === "true") ?? choices[0])?.focus();
  }

  close(isFocused = true) {
    this.box.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (isFocused) this.button.focus();
  }

  #clicked(event) {
    if (event.target.closest("button")) this.close();
  }

  #pressed(event) {
    const choices = this.#choices();
    const at = choices.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + choices.length, Home: 0, End: choices.length - 1 }[
      event.key
    ];
    if (to !== undefined) choices[to % choices.length].focus();
    else if (event.key === "Escape") this.close();
    else if (event.key === "Tab") return this.close(false);
    else return undefined;
    event.preventDefault();
    event.stopPropagation();
    return undefined;
  }
}
