/**
 * The conversations, the one that is open, and what is said in it. Knows nothing of how it is shown; views listen to its
 * events:
 *
 * - `list`: the conversations, which one is open, or where answers are on their way
 * - `path`: the messages that are shown; the detail says `isOther` for another conversation, `isBegun` for a new answer
 * - `message`: one message, whose id is the detail
 * - `settings`: the settings of the open conversation
 * - `notice`: something that the reader should know, `{ kind, text }`
 */

import { Answering } from "./answering.js";
import { unanswered } from "./core/answer.js";
import { requestBody } from "./core/request.js";
import { hasAll, RESULTS_MAX } from "./core/search.js";
import { defaults, readSettings } from "./core/settings.js";
import { textBefore } from "./core/tokens.js";
import { fromFile, toFile } from "./core/transfer.js";
import { Conversation, newId, titleOf } from "./core/tree.js";

export class Chat extends EventTarget {
  /** @type {object[]} all conversations without their messages, the newest first */
  list = [];
  /** @type {Conversation} */
  current;
  /** Conversations with answers on their way, which are not read anew. */
  #busy = new Map();
  #defaults = defaults();

  constructor(store, server) {
    super();
    this.store = store;
    this.server = server;
    const changed = (message) => this.#tell("message", message.id);
    const keep = (message) => this.#keep(this.#busy.get(message.conversation), [message]);
    this.answering = new Answering(server, changed, keep);
    this.current = this.#blank();
  }

  /** Reads what is kept, and opens a conversation if it is there. */
  async start(id) {
    this.#defaults = readSettings(await this.store.setting("defaults"));
    await this.#readList();
    if (this.list.some((about) => about.id === id)) await this.open(id);
    else this.begin();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  notice(kind, text) {
    this.#tell("notice", { kind, text });
  }

  // Conversations

  #blank() {
    return Conversation.begin(Date.now(), { model: null, settings: { ...this.#defaults } });
  }

  async #readList() {
    this.list = (await this.store.conversations()).sort((a, b) => b.updated - a.updated);
  }

  /** Sees what other tabs have kept meanwhile. */
  async refresh() {
    if (!this.answering.isIdle) return;
    await this.#readList();
    const { about } = this.current;
    const at = this.list.findIndex((each) => each.id === about.id);
    const isOlder = at !== -1 && this.list[at].updated > about.updated;
    if (at !== -1 && !isOlder) this.list[at] = about;
    if (isOlder) await this.open(about.id);
    else this.#tell("list");
  }

  begin() {
    this.#show(this.#blank());
  }

  async open(id) {
    const about = this.list.find((each) => each.id === id);
    if (!about) return;
    const conversation = await this.#read(about);
    conversation.about.settings = readSettings(conversation.about.settings);
    this.server.chooseIfThere(conversation.about.model);
    this.#show(conversation);
  }

  async #read(about) {
    return this.#busy.get(about.id) ?? new Conversation(about, await this.store.messages(about.id));
  }

  #show(conversation) {
    this.current = conversation;
    this.#tell("list");
    this.#tell("settings");
    this.#tell("path", { isOther: true });
  }

  /** Opens the conversation of a message and turns its path there. */
  async show(conversation, message) {
    if (this.current.id !== conversation) await this.open(conversation);
    if (this.current.message(message)) this.choose(message);
  }

  async rename(id, title) {
    const about = this.list.find((each) => each.id === id);
    about.title = title;
    await this.#keep({ about });
    this.#tell("list");
  }

  /**
   * Takes a conversation away.
   * @returns {Promise<() => Promise<void>>} what brings it back
   */
  async forget(id) {
    const conversation = await this.#read(this.list.find((each) => each.id === id));
    this.answering.stop(conversation.messages());
    await this.store.forget(id);
    this.list = this.list.filter((each) => each.id !== id);
    if (this.current.id === id) this.begin();
    else this.#tell("list");
    return () => this.#takeIn([conversation]);
  }

  async #takeIn(conversations) {
    for (const conversation of conversations) {
      await this.#keep(conversation, conversation.messages());
      this.#enlist(conversation.about);
    }
    this.#tell("list");
  }

  #enlist(about) {
    this.list = [about, ...this.list.filter((each) => each.id !== about.id)].sort(
      (a, b) => b.updated - a.updated,
    );
  }

  /** The text of a file with all conversations, or with one. */
  async exported(id = null) {
    const conversations = [];
    for (const about of this.list)
      if (id === null || about.id === id) conversations.push(await this.#read(about));
    return toFile(conversations);
  }

  /**
   * Takes in a file, and opens what was in it.
   * @throws {Error} with a sentence for the reader
   */
  async imported(text) {
    const conversations = fromFile(text, Date.now());
    await this.#takeIn(conversations);
    if (conversations.length > 0) await this.open(conversations[0].id);
    return conversations.length;
  }

  /** Messages and titles with all of the words, the newest first. */
  async search(words) {
    const found = this.list
      .filter((about) => hasAll(about.title, words))
      .map((about) => ({ about, message: null }));
    const messages = (await this.store.allMessages()).sort((a, b) => b.created - a.created);
    for (const message of messages) {
      if (found.length >= RESULTS_MAX) break;
      const about = this.list.find((each) => each.id === message.conversation);
      if (about && hasAll(message.text, words)) found.push({ about, message });
    }
    return found;
  }

  async #keep(conversation, messages = []) {
    try {
      await this.store.keep(conversation.about, messages);
    } catch (error) {
      this.notice("store", `The browser did not keep this: ${error.message}`);
    }
  }

  // Settings

  get settings() {
    return this.current.about.settings;
  }

  async change(settings) {
    Object.assign(this.settings, settings);
    this.#tell("settings");
    if (!this.current.isEmpty) await this.#keep(this.current);
  }

  async useForNew() {
    this.#defaults = { ...this.settings };
    await this.store.keepSetting("defaults", this.#defaults);
  }

  // Messages

  isRunning(id) {
    return this.answering.has(id);
  }

  /** Whether an answer is on its way in a conversation, which need not be open. */
  isBusy(id = this.current.id) {
    return this.#busy.has(id);
  }

  stop() {
    this.answering.stop(this.current.messages());
  }

  choose(id) {
    const changed = this.current.choose(id);
    this.#tell("path");
    return this.#keep(this.current, changed);
  }

  /** Says something behind the last message that is shown, and asks for answers. */
  async send(text) {
    await this.#say(this.current.path().at(-1)?.id ?? null, text);
  }

  /** Says something in other words, in a branch of its own. */
  async edit(id, text) {
    await this.#say(this.current.message(id).parent, text);
  }

  async #say(parent, text) {
    const conversation = this.current;
    const message = conversation.add(parent, "user", { text }, Date.now());
    if (conversation.about.title === "") conversation.about.title = titleOf(text);
    this.#enlist(conversation.about);
    await this.#keepAdded(conversation, message);
    await this.#answers(conversation, message.id);
  }

  /** Keeps a message that was added: the one before it has changed, too, since the path goes on from it. */
  #keepAdded(conversation, message) {
    const parent = conversation.message(message.parent);
    return this.#keep(conversation, parent ? [parent, message] : [message]);
  }

  /** Another answer in the place of one. */
  async regenerate(id) {
    const message = this.current.message(id);
    await this.#answer(this.current, message.parent, this.server.model ?? message.model, this.settings);
  }

  /** Goes on with an answer that ended too early. */
  async goOn(id) {
    const message = this.current.message(id);
    const { times } = unanswered(message.model, Date.now());
    Object.assign(message, { finish: null, failure: null, usage: null, timings: null, times });
    await this.#generate(this.current, message, this.settings);
  }

  /** Another answer that begins as one did, up to a token, and goes on with one of its alternatives. */
  async branch(id, at, alternative) {
    const message = this.current.message(id);
    const { text, logprob, bytes } = alternative;
    const tokens = [...message.tokens.slice(0, at), { ...message.tokens[at], text, logprob, bytes }];
    const settings = { ...this.settings, top_logprobs: this.settings.top_logprobs || 5 };
    const begun = { tokens, text: textBefore(tokens, tokens.length) };
    await this.#answer(this.current, message.parent, message.model, settings, begun);
  }

  /** Keeps what a tool gave back; when all calls of an answer have results, the model goes on. */
  async giveResult(id, call, text) {
    const conversation = this.current;
    const message = conversation.message(id);
    const path = conversation.path();
    const results = path.slice(path.indexOf(message) + 1);
    const fields = { text, call: call.id, name: call.name };
    const result = conversation.add(results.at(-1)?.id ?? id, "tool", fields, Date.now());
    this.#tell("path");
    await this.#keepAdded(conversation, result);
    const given = [...results, result].map((each) => each.call);
    if (message.calls.every((each) => given.includes(each.id))) await this.#answers(conversation, result.id);
  }

  /**
   * Takes a message away, with all that follows it.
   * @returns {Promise<() => Promise<void>>} what brings it back
   */
  async remove(id) {
    const conversation = this.current;
    const { parent } = conversation.message(id);
    const gone = conversation.remove(id);
    this.answering.stop(gone);
    this.#tell("path");
    await this.store.forgetMessages(gone.map((message) => message.id));
    await this.#keep(conversation, parent === null ? [] : [conversation.message(parent)]);
    return async () => {
      conversation.restore(gone);
      this.#tell("path");
      await this.#keep(conversation, gone);
    };
  }

  /** Answers of the chosen model, and of its rival beside it. */
  async #answers(conversation, parent) {
    const { model, rival } = this.server;
    conversation.about.model = model;
    const { settings } = conversation.about;
    if (rival === null) return this.#answer(conversation, parent, model, settings);
    // The same luck for both, so that the models are what differs.
    const shared = { ...settings, seed: settings.seed ?? Math.floor(Math.random() * 2 ** 31) };
    const round = newId();
    const first = this.#begin(conversation, parent, model, shared, { round });
    const second = this.#begin(conversation, parent, rival, shared, { round });
    conversation.choose(first.id);
    this.#tell("path", { isBegun: true });
    return Promise.all([first, second].map((message) => this.#generate(conversation, message, shared)));
  }

  async #answer(conversation, parent, model, settings, more) {
    const message = this.#begin(conversation, parent, model, settings, more);
    this.#tell("path", { isBegun: true });
    await this.#generate(conversation, message, settings);
  }

  /** Puts an answer into its place, of which nothing or only a beginning is there. */
  #begin(conversation, parent, model, settings, more = {}) {
    const format = settings.usesSchema ? settings.schema || "{}" : null;
    const fields = { ...unanswered(model, Date.now()), format, ...more };
    this.#busy.set(conversation.id, conversation);
    return conversation.add(parent, "assistant", fields, Date.now());
  }

  /** Asks for an answer, or for the rest of one. */
  async #generate(conversation, message, settings) {
    this.#busy.set(conversation.id, conversation);
    const path = conversation.pathTo(message.text === "" ? message.parent : message.id);
    const running = this.answering.run(message, requestBody(message.model, path, settings));
    this.#tell("list");
    await running;
    if (!conversation.messages().some(({ id }) => this.answering.has(id))) this.#busy.delete(conversation.id);
    // It may have been deleted meanwhile.
    const isThere =
      this.list.some((about) => about.id === conversation.id) && conversation.message(message.id);
    if (isThere) await this.#keepAdded(conversation, message);
    this.#tell("list");
  }
}
