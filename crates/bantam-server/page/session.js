/**
 * What the page works on: the conversation that is open, the answers that are on their way, the models that are there.
 * Knows nothing of how it is shown; views listen to its events:
 *
 * - `list`: the conversations, or which one is open
 * - `path`: the messages that are shown
 * - `message`: one message, whose id is the event's detail
 * - `models`: the models, or which is chosen
 * - `settings`: the settings of the open conversation
 * - `notice`: something that the reader should know, `{ kind, text }`
 */

import * as api from "./api.js";
import { fold, unanswered } from "./core/answer.js";
import { Failure } from "./core/failures.js";
import { requestBody } from "./core/request.js";
import { hasAll, RESULTS_MAX } from "./core/search.js";
import { defaults, readSettings } from "./core/settings.js";
import { textBefore } from "./core/tokens.js";
import { fromFile, toFile } from "./core/transfer.js";
import { Conversation, newId, titleOf } from "./core/tree.js";

/** A busy server is asked again so often. */
const TRIES_MAX = 5;
/** An answer on its way is kept this often, for the case that the page is closed. */
const KEEP_EVERY_MS = 2000;
/** A server that is gone is looked for this often. */
const LOOK_EVERY_MS = 4000;

export class Session extends EventTarget {
  /** @type {object[]} all conversations without their messages, the newest first */
  list = [];
  /** @type {Conversation} */
  current;
  /** @type {object[]} */
  models = [];
  /** Whether the server answered last time. */
  isConnected = true;
  /** The second model that answers each question, or `null`. */
  rival = null;
  /** Answers on their way: the controller that ends each, by its message. */
  #running = new Map();
  /** Conversations with answers on their way, which must not be read anew. */
  #busy = new Map();
  #defaults = defaults();

  constructor(store) {
    super();
    this.store = store;
    this.current = this.#blank();
  }

  async start() {
    this.#defaults = readSettings(await this.store.setting("defaults"));
    this.model = (await this.store.setting("model")) ?? null;
    this.list = (await this.store.conversations()).sort((a, b) => b.updated - a.updated);
    this.current = this.#blank();
    this.#tell("list");
    this.#tell("path");
    this.#tell("settings");
    await this.loadModels();
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  notice(kind, text) {
    this.#tell("notice", { kind, text });
  }

  #blank() {
    return Conversation.begin(Date.now(), { model: null, settings: { ...this.#defaults } });
  }

  // Models

  async loadModels() {
    try {
      this.models = await api.models();
      this.#connected(true);
    } catch (failure) {
      if (failure.kind === "gone") this.#connected(false);
      else this.notice(failure.kind, failure.message);
    }
    if (!this.models.some((model) => model.id === this.model)) this.model = this.models[0]?.id ?? null;
    this.#tell("models");
  }

  /** The entry of the chosen model, or of one by its name. */
  modelEntry(id = this.model) {
    return this.models.find((model) => model.id === id) ?? null;
  }

  async chooseModel(id) {
    this.model = id;
    if (this.rival === id) this.rival = null;
    this.#tell("models");
    await this.store.keepSetting("model", id);
  }

  chooseRival(id) {
    this.rival = id;
    this.#tell("models");
  }

  #connected(isConnected) {
    const isNew = this.isConnected !== isConnected;
    this.isConnected = isConnected;
    if (isNew) this.#tell("models");
    if (isNew && !isConnected) this.#lookForServer();
  }

  async #lookForServer() {
    while (!this.isConnected) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      if (await api.isAlive()) await this.loadModels();
    }
  }

  // Conversations

  begin() {
    this.current = this.#blank();
    this.#opened();
  }

  async open(id) {
    const about = this.list.find((each) => each.id === id);
    if (!about) return;
    this.current = this.#busy.get(id) ?? new Conversation(about, await this.store.messages(id));
    this.current.about.settings = readSettings(this.current.about.settings);
    const { model } = this.current.about;
    if (this.modelEntry(model)) this.model = model;
    this.#opened();
  }

  #opened() {
    this.#tell("list");
    this.#tell("models");
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
    const about = this.list.find((each) => each.id === id);
    const conversation = this.#busy.get(id) ?? new Conversation(about, await this.store.messages(id));
    this.stop(conversation);
    await this.store.forget(id);
    this.list = this.list.filter((each) => each.id !== id);
    if (this.current.id === id) this.begin();
    else this.#tell("list");
    return () => this.#take([conversation]);
  }

  async #take(conversations) {
    for (const conversation of conversations) {
      await this.#keep(conversation, conversation.messages());
      this.#enlist(conversation.about);
    }
    this.#tell("list");
  }

  #enlist(about) {
    this.list = [about, ...this.list.filter((each) => each.id !== about.id)].sort((a, b) => b.updated - a.updated);
  }

  /** The text of a file with all conversations, or with one. */
  async exported(id = null) {
    const abouts = this.list.filter((about) => id === null || about.id === id);
    const conversations = [];
    for (const about of abouts) conversations.push(new Conversation(about, await this.store.messages(about.id)));
    return toFile(conversations);
  }

  /** @throws {Error} with a sentence for the reader */
  async imported(text) {
    const conversations = fromFile(text, Date.now());
    await this.#take(conversations);
    if (conversations.length > 0) await this.open(conversations[0].id);
    return conversations.length;
  }

  /** Messages and titles with all of the words, the newest first. */
  async search(words) {
    const found = this.list.filter((about) => hasAll(about.title, words)).map((about) => ({ about, message: null }));
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

  async reset() {
    await this.change(defaults());
  }

  // Messages

  isRunning(id) {
    return this.#running.has(id);
  }

  /** Whether an answer is on its way in a conversation. */
  isAnswering(conversation = this.current) {
    return conversation.messages().some((message) => this.#running.has(message.id));
  }

  /** Whether an answer is on its way in a conversation that need not be open. */
  isBusy(id) {
    return this.#busy.has(id);
  }

  choose(id) {
    const changed = this.current.choose(id);
    this.#tell("path");
    return this.#keep(this.current, changed);
  }

  /** Says something behind the last message that is shown, and asks for answers. */
  async send(text) {
    const conversation = this.current;
    await this.#say(conversation, conversation.path().at(-1)?.id ?? null, text);
  }

  /** Says something in other words, in a branch of its own. */
  async edit(id, text) {
    await this.#say(this.current, this.current.message(id).parent, text);
  }

  async #say(conversation, parent, text) {
    const message = conversation.add(parent, "user", { text }, Date.now());
    if (conversation.about.title === "") conversation.about.title = titleOf(text);
    this.#enlist(conversation.about);
    this.#tell("list");
    await this.#keep(conversation, this.#withParent(conversation, message));
    await this.#answers(conversation, message.id);
  }

  /** Another answer in the place of one. */
  async regenerate(id) {
    const message = this.current.message(id);
    const model = this.modelEntry() ? this.model : message.model;
    await this.#answer(this.current, message.parent, model, this.settings);
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
    const conversation = this.current;
    const message = conversation.message(id);
    const before = message.tokens.slice(0, at);
    const chosen = { ...message.tokens[at], text: alternative.text, logprob: alternative.logprob, bytes: alternative.bytes };
    const tokens = [...before, chosen];
    const fields = { ...unanswered(message.model, Date.now()), tokens, text: textBefore(tokens, tokens.length) };
    const other = conversation.add(message.parent, "assistant", fields, Date.now());
    this.#tell("path");
    await this.#generate(conversation, other, { ...this.settings, top_logprobs: this.settings.top_logprobs || 5 });
  }

  /** Keeps what a tool gave back; when all calls of an answer have results, the model goes on. */
  async giveResult(id, call, text) {
    const conversation = this.current;
    const message = conversation.message(id);
    const path = conversation.path();
    const results = path.slice(path.indexOf(message) + 1);
    const result = conversation.add(results.at(-1)?.id ?? id, "tool", { text, call: call.id, name: call.name }, Date.now());
    await this.#keep(conversation, this.#withParent(conversation, result));
    this.#tell("path");
    const given = [...results, result].map((each) => each.call);
    if (message.calls.every((each) => given.includes(each.id))) await this.#answers(conversation, result.id);
  }

  async remove(id) {
    const { parent } = this.current.message(id);
    const gone = this.current.remove(id);
    for (const each of gone) this.#running.get(each)?.abort();
    await this.store.forgetMessages(gone);
    this.#tell("path");
    const before = parent === null ? [] : [this.current.message(parent)];
    await this.#keep(this.current, before);
  }

  /** Ends all answers of a conversation that are on their way. */
  stop(conversation = this.current) {
    for (const message of conversation.messages()) this.#running.get(message.id)?.abort();
  }

  #withParent(conversation, message) {
    const parent = conversation.message(message.parent);
    return parent ? [parent, message] : [message];
  }

  /** Answers of the chosen model, and of its rival beside it. */
  async #answers(conversation, parent) {
    conversation.about.model = this.model;
    if (this.rival === null) return this.#answer(conversation, parent, this.model, conversation.about.settings);
    const round = newId();
    // The same luck for both, so that the models are what differs.
    const seed = conversation.about.settings.seed ?? Math.floor(Math.random() * 2 ** 31);
    const settings = { ...conversation.about.settings, seed };
    const rival = this.#answer(conversation, parent, this.rival, settings, round);
    return Promise.all([this.#answer(conversation, parent, this.model, settings, round), rival]);
  }

  async #answer(conversation, parent, model, settings, round = null) {
    const format = settings.usesSchema ? settings.schema || "{}" : null;
    const fields = { ...unanswered(model, Date.now()), round, format };
    const message = conversation.add(parent, "assistant", fields, Date.now());
    this.#tell("path");
    await this.#generate(conversation, message, settings);
  }

  async #generate(conversation, message, settings) {
    const controller = new AbortController();
    this.#running.set(message.id, controller);
    this.#busy.set(conversation.id, conversation);
    this.#tell("list");
    this.#tell("message", message.id);
    const path = message.text === "" ? conversation.pathTo(message.parent) : conversation.pathTo(message.id);
    try {
      await this.#stream(conversation, message, requestBody(message.model, path, settings), controller.signal);
      this.#connected(true);
    } catch (error) {
      this.#failed(message, error);
    }
    this.#running.delete(message.id);
    if (!this.isAnswering(conversation)) this.#busy.delete(conversation.id);
    await this.#keep(conversation, this.#withParent(conversation, message));
    this.#tell("message", message.id);
    this.#tell("list");
  }

  async #stream(conversation, message, body, signal) {
    let kept = Date.now();
    const take = (chunk) => {
      const now = Date.now();
      fold(message, chunk, now);
      this.#tell("message", message.id);
      if (now - kept < KEEP_EVERY_MS) return;
      kept = now;
      this.#keep(conversation, [message]);
    };
    for (let tries = 1; ; tries += 1) {
      try {
        return await api.chat(body, signal, take);
      } catch (error) {
        if (error.kind !== "busy" || tries === TRIES_MAX) throw error;
        await this.#wait(message, error.retryAfter ?? 2, signal);
      }
    }
  }

  /** Waits until a busy server may have time; the message says so meanwhile. */
  async #wait(message, seconds, signal) {
    message.waiting = seconds;
    while (message.waiting > 0 && !signal.aborted) {
      this.#tell("message", message.id);
      await new Promise((resolve) => setTimeout(resolve, Math.min(1, message.waiting) * 1000));
      message.waiting = Math.max(0, message.waiting - 1);
    }
    delete message.waiting;
    signal.throwIfAborted();
  }

  #failed(message, error) {
    if (error.name === "AbortError") {
      message.finish = "cancelled";
      return;
    }
    const failure = error instanceof Failure ? error : new Failure("server", error.message);
    message.failure = failure.toJSON();
    if (failure.kind === "gone") this.#connected(false);
    if (failure.kind === "key") this.notice("key", failure.message);
  }
}
