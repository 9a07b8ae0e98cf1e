/**
 * A message that is being put in other words.
 */

import { el } from "./dom.js";

/** Longer messages scroll. */
const ROWS_MAX = 12;

/**
 * A field with a message's text.
 * @param {string} text
 * @param {(text: string | null) => void} ended hears the new text, or `null` if nothing is to change
 */
export function editor(text, ended) {
  const rows = Math.min(ROWS_MAX, text.split("\n").length + 1);
  const area = el("textarea.edit", { "aria-label": "Edit message", value: text, rows });
  const save = () => ended(area.value.trim() || null);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") ended(null);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const buttons = el(
    "div.buttons",
    {},
    el("button.small", { type: "button", click: () => ended(null) }, "Cancel"),
    el("button.small.strong", { type: "button", click: save }, "Send as new branch"),
  );
  return { area, elements: [area, buttons] };
}
