/**
 * What keys do.
 */

import { el, fill, iconButton } from "./dom.js";

const MOD = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘" : "Ctrl";

/** Keys as they are told, and what they do. */
const TABLE = [
  [
    "Writing",
    [
      ["Enter", "Send"],
      ["Shift Enter", "New line"],
      ["↑", "Edit your last message, when the field is empty"],
      ["Esc", "Stop answering"],
    ],
  ],
  [
    "Anywhere",
    [
      ["/", "To the message field"],
      [`${MOD} K`, "Search conversations"],
      [`${MOD} Shift O`, "New chat"],
      [`${MOD} .`, "Settings"],
      [`${MOD} B`, "Show or hide conversations"],
      ["?", "These shortcuts"],
    ],
  ],
  [
    "On a message",
    [
      ["Alt ↑ ↓", "Go from message to message"],
      ["E", "Edit"],
      ["R", "Answer again"],
      ["C", "Copy"],
      ["T", "Tokens and probabilities"],
      ["← →", "Other versions"],
    ],
  ],
];

/**
 * Makes the page listen to keys.
 * @param {object} work what each key does, by name
 */
export function listenToKeys(chat, conversation, work) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    const done = anywhere(event, chat, conversation, work) || onMessage(event, chat, conversation);
    if (done) event.preventDefault();
  });
}

function anywhere(event, chat, conversation, work) {
  const { key, shiftKey, altKey } = event;
  if (event.ctrlKey || event.metaKey) {
    const found = { k: work.search, o: shiftKey && work.begin, ".": work.settings, b: work.sidebar }[
      key.toLowerCase()
    ];
    if (found) found();
    return Boolean(found);
  }
  if (key === "Escape") return work.escape();
  if (altKey && (key === "ArrowUp" || key === "ArrowDown")) {
    conversation.move(key === "ArrowUp" ? -1 : 1);
    return true;
  }
  if (isTyping()) return false;
  const found = { "/": work.write, "?": work.shortcuts }[key];
  if (found) found();
  return Boolean(found);
}

/** Keys for the message that has the focus. */
function onMessage(event, chat, conversation) {
  const view = conversation.focused();
  if (!view || document.activeElement !== view.element || event.ctrlKey || event.metaKey || event.altKey)
    return false;
  const { message } = view;
  const turn = (step) => {
    const versions = chat.current.versions(message.id);
    const next = versions[versions.indexOf(message) + step];
    if (!next) return;
    chat.choose(next.id);
    document.getElementById(`m-${next.id}`)?.focus();
  };
  const found = {
    e: message.role === "user" && (() => view.edit()),
    r: message.role === "assistant" && (() => chat.regenerate(message.id)),
    c: () => view.copy(),
    t: () => view.toggleTokens(),
    ArrowLeft: () => turn(-1),
    ArrowRight: () => turn(1),
  }[event.key];
  if (found) found();
  return Boolean(found);
}

function isTyping() {
  const { tagName, type } = document.activeElement ?? {};
  return tagName === "TEXTAREA" || tagName === "SELECT" || (tagName === "INPUT" && type !== "checkbox");
}

/** Shows the list. */
export function showShortcuts() {
  const dialog = document.getElementById("shortcuts");
  const keys = (text) => text.split(" ").map((each) => el("kbd", {}, each));
  const group = ([title, rows]) =>
    el(
      "section",
      {},
      el("h3", {}, title),
      el("dl", {}, ...rows.flatMap(([text, does]) => [el("dt", {}, ...keys(text)), el("dd", {}, does)])),
    );
  fill(
    dialog,
    el(
      "div.dialog-head",
      {},
      el("h2", { id: "shortcuts-title" }, "Keyboard shortcuts"),
      iconButton("close", "Close", () => dialog.close()),
    ),
    ...TABLE.map(group),
  );
  dialog.showModal();
}
