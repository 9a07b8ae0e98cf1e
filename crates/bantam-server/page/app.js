/**
 * Puts the page together: opens the store, starts the chat, hangs the views onto it.
 */

import { contextTokens } from "./core/answer.js";
import { Chat } from "./chat.js";
import { Server } from "./server.js";
import { openStore } from "./store.js";
import { ComposerView } from "./view/composer.js";
import { ConversationView } from "./view/conversation.js";
import { announce, icon, saveFile } from "./view/dom.js";
import { NoticesView, toast } from "./view/notices.js";
import { GaugeView, PickerView } from "./view/picker.js";
import { SettingsView } from "./view/settings.js";
import { listenToKeys, showShortcuts } from "./view/shortcuts.js";
import { SidebarView } from "./view/sidebar.js";
import { nextTheme } from "./view/theme.js";

const store = await openStore();
const server = new Server(store);
const chat = new Chat(store, server);
for (const button of document.querySelectorAll("[data-icon]")) {
  button.prepend(icon(button.dataset.icon));
  if (button.ariaLabel && !button.title) button.title = button.ariaLabel;
}

const conversation = new ConversationView(chat);
const composer = new ComposerView(chat, { openSettings: (part) => toggleSettings(true, part), editLast });
const settings = new SettingsView(chat, { close: () => toggleSettings(false), removeAll });
new PickerView(server);
new GaugeView(chat, contextTokens);
new NoticesView(chat);
new SidebarView(chat, { opened, exportOne: (about) => exportTo(about.title, about.id), removeOne });

const file = document.getElementById("file");
const phone = matchMedia("(max-width: 800px)");

const WORK = {
  new: begin,
  theme: () => announce(`Colours: ${nextTheme()}`),
  shortcuts: showShortcuts,
  sidebar: toggleSidebar,
  settings: () => toggleSettings(),
  stop: () => chat.stop(),
  latest: () => conversation.toLatest(),
  import: () => file.click(),
  "export-all": () => exportTo("conversations"),
};
document.addEventListener("click", (event) => WORK[event.target.closest("[data-do]")?.dataset.do]?.());
file.addEventListener("change", () => importFile());
document
  .querySelector(".main")
  .addEventListener("pointerdown", () => phone.matches && document.body.classList.remove("with-sidebar"));

listenToKeys(chat, conversation, {
  search: () => {
    toggleSidebar(true);
    document.getElementById("search").focus();
  },
  begin,
  settings: () => toggleSettings(),
  sidebar: () => toggleSidebar(),
  write: () => composer.focus(),
  shortcuts: showShortcuts,
  escape,
});

await chat.start(location.hash.slice(1));
await server.start();
chat.addEventListener("list", keepAddress);
keepAddress();
addEventListener("hashchange", openAddress);
document.addEventListener("visibilitychange", () => document.hidden || chat.refresh());

/** The open conversation stands in the address, so that loading the page again and going back lead there. */
function keepAddress() {
  const { current } = chat;
  const hash = current.isEmpty ? "" : `#${current.id}`;
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname);
  document.title = current.about.title === "" ? "bantam" : `${current.about.title} · bantam`;
}

function openAddress() {
  const id = location.hash.slice(1);
  if (id === chat.current.id) return;
  if (chat.list.some((about) => about.id === id)) chat.open(id);
  else chat.begin();
}

function begin() {
  chat.begin();
  if (phone.matches) toggleSidebar(false);
  composer.focus();
}

/** After a conversation was opened from the list. */
function opened(message) {
  if (phone.matches) toggleSidebar(false);
  if (!message) return composer.focus();
  const element = document.getElementById(`m-${message.id}`);
  element?.focus();
  return element?.scrollIntoView({ block: "center" });
}

function toggleSidebar(isOpen) {
  const name = phone.matches ? "with-sidebar" : "without-sidebar";
  const isShown =
    document.body.classList.contains("with-sidebar") ||
    (!phone.matches && !document.body.classList.contains("without-sidebar"));
  const willBe = typeof isOpen === "boolean" ? isOpen : !isShown;
  document.body.classList.toggle(name, phone.matches ? willBe : !willBe);
}

function toggleSettings(isOpen, part) {
  const { element } = settings;
  const willBe = isOpen ?? element.hidden;
  element.hidden = !willBe;
  const button = document.querySelector("[data-do=settings]");
  button.setAttribute("aria-expanded", String(willBe));
  document.body.classList.toggle("with-settings", willBe);
  if (!willBe) return button.focus();
  if (part) return settings.show(part);
  return element.querySelector("textarea").focus();
}

/** Ends what is going on, the nearest first; whether there was something. */
function escape() {
  if (chat.isBusy()) chat.stop();
  else if (!settings.element.hidden) toggleSettings(false);
  else if (document.activeElement !== composer.draft) composer.focus();
  else return false;
  return true;
}

function editLast() {
  conversation.last("user")?.edit();
}

async function exportTo(title, id = null) {
  const name =
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .slice(0, 40) || "conversation";
  saveFile(`bantam-${name}.json`, await chat.exported(id));
}

async function importFile() {
  const [chosen] = file.files;
  file.value = "";
  if (!chosen) return;
  try {
    const count = await chat.imported(await chosen.text());
    toast(`${count} conversation${count === 1 ? "" : "s"} imported`);
  } catch (error) {
    chat.notice("file", `“${chosen.name}” was not imported. ${error.message}`);
  }
}

async function removeOne(about) {
  const undo = await chat.forget(about.id);
  toast("Conversation deleted", { name: "Undo", work: undo });
}

async function removeAll() {
  const undos = [];
  for (const about of [...chat.list]) undos.push(await chat.forget(about.id));
  toast(`${undos.length} conversations deleted`, {
    name: "Undo",
    work: () => undos.forEach((undo) => undo()),
  });
}
