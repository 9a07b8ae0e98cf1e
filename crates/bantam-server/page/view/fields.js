/**
 * Fields of a form: numbers with a range, choices, and JSON that is checked while it is typed.
 */

import { within } from "../core/settings.js";
import { el } from "./dom.js";

/** A field with its name; `isUnseen` where the name is clear to the eye. */
export function labelled(name, field, { hint = null, isUnseen = false } = {}) {
  const title = el(isUnseen ? "span.unseen" : "span.field-name", {}, name);
  return el("label.field", {}, title, field, hint && el("small", {}, hint));
}

/** A number that may be empty, which is `null`; `changed` hears only of numbers in the range. */
export function numberField(number, value, changed) {
  const read = () => {
    const isEmpty = input.value.trim() === "" && input.validity.valid;
    const found = isEmpty ? null : within(number, input.valueAsNumber);
    input.setAttribute("aria-invalid", String(!isEmpty && found === null));
    if (isEmpty || found !== null) changed(found);
  };
  const input = el("input", {
    type: "number",
    min: number.min,
    max: number.max,
    step: number.isWhole ? "1" : "any",
    inputmode: number.isWhole ? "numeric" : "decimal",
    placeholder: "auto",
    value: value ?? "",
    input: read,
    keydown: (event) => number.isWhole || stepped(event, input, number),
  });
  return labelled(number.label, input, { hint: number.hint });
}

/** Arrow keys change a number by its own step; a browser's step would forbid what lies between. */
function stepped(event, input, { min, max, step }) {
  const sign = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (!sign) return;
  event.preventDefault();
  const next = (input.valueAsNumber || 0) + sign * step;
  input.value = String(Math.min(max, Math.max(min, Number(next.toFixed(4)))));
  input.dispatchEvent(new Event("input"));
}

/** One of several `[value, name]`. */
export function choiceField(name, choices, chosen, changed) {
  const options = choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  const select = el("select", { change: () => changed(select.value) }, ...options);
  return labelled(name, select);
}

/** A switch. */
export function switchField(name, isOn, changed) {
  const box = el("input", { type: "checkbox", checked: isOn, change: () => changed(box.checked) });
  return el("label.check", {}, box, name);
}

/**
 * JSON as text, with what is to be said of it.
 * @param {(text: string) => { kind: "good" | "bad" | "open", text: string }} judge
 */
export function jsonField({ name, value, example, judge, changed }) {
  const verdict = el("p.note", { role: "status" });
  const show = () => {
    const { kind, text } = judge(area.value);
    verdict.className = `note ${kind}`;
    verdict.textContent = text;
    area.setAttribute("aria-invalid", String(kind === "bad"));
  };
  const typed = () => {
    changed(area.value);
    show();
  };
  const area = el("textarea.code-field", {
    rows: "8",
    spellcheck: "false",
    value,
    "aria-label": name,
    input: typed,
  });
  const insert = () => {
    area.value = example;
    typed();
    area.focus();
  };
  show();
  return [area, verdict, el("button.small", { type: "button", click: insert }, "Insert an example")];
}
