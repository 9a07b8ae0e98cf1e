/**
 * Elements. Text becomes text nodes and never markup, whatever it holds.
 */

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * A new element.
 * @param {string} tag with classes behind dots: `p.note.warm`
 * @param {object} props attributes; functions are listeners of the event they are named by; `false` and `null` are absent
 * @param {...(Node | string | null | undefined | false)} children
 */
export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) setProp(element, key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function setProp(element, key, value) {
  if (typeof value === "function") element.addEventListener(key, value);
  else if (key === "value" || key === "checked") element[key] = value;
  else if (value === true) element.setAttribute(key, "");
  else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, String(value));
}

/** A drawing from our own set; it means nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon, with its meaning as label and tooltip. */
export function iconButton(name, label, click, props = {}) {
  return el(
    "button.icon-button",
    { type: "button", "aria-label": label, title: label, click, ...props },
    icon(name),
  );
}

/** Replaces what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children.filter((child) => child !== null && child !== undefined && child !== false),
  );
}

/** Runs work once before the next picture is drawn, however often it is asked for. */
export function onceAFrame(work) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    // A tab in the background draws nothing; its text should still be whole when it comes back.
    const later = document.hidden ? (run) => setTimeout(run, 200) : requestAnimationFrame;
    later(() => {
      isAsked = false;
      work();
    });
  };
}

/** Copies a text. The newer way is not there on plain-HTTP addresses of a network. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { value: text, class: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** Offers a text as a file. */
export function saveFile(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = el("a", { href, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
}

/** Tells a screen reader what happened. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}
