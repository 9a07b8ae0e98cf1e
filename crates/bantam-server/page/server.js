/**
 * The server as the page sees it: whether it is there, what models it has, and which of them answer. Its events:
 *
 * - `models`: the models, which are chosen, or whether the server answers
 * - `key`: it wants a key, or another one
 */

import * as api from "./api.js";

/** A server that is gone is looked for this often. */
const LOOK_EVERY_MS = 4000;

export class Server extends EventTarget {
  /** @type {object[]} the entries of `/v1/models` */
  models = [];
  /** @type {string | null} the model that answers */
  model = null;
  /** @type {string | null} the one that answers beside it */
  rival = null;
  /** @type {"asked" | "there" | "locked" | "gone"} what came of the last request; locked is a server that wants a key */
  state = "asked";

  constructor(store) {
    super();
    this.store = store;
  }

  #tell(name) {
    this.dispatchEvent(new CustomEvent(name));
  }

  async start() {
    this.model ??= (await this.store.setting("model")) ?? null;
    await this.load();
  }

  /** Asks which models there are. */
  async load() {
    try {
      this.models = await api.models();
      this.state = "there";
    } catch (failure) {
      if (failure.kind === "key") this.wantsKey();
      else this.gone();
    }
    if (!this.entry()) this.model = this.models[0]?.id ?? null;
    if (!this.entry(this.rival)) this.rival = null;
    this.#tell("models");
  }

  /** The entry of a model by its name, or of the chosen one. */
  entry(id = this.model) {
    return this.models.find((model) => model.id === id) ?? null;
  }

  async choose(id) {
    this.model = id;
    this.#tell("models");
    await this.store.keepSetting("model", id);
  }

  /** Chooses a model if the server has it, as far as that is known by now. */
  chooseIfThere(id) {
    if (id !== null && (this.models.length === 0 || this.entry(id))) this.model = id;
    this.#tell("models");
  }

  chooseRival(id) {
    this.rival = id;
    this.#tell("models");
  }

  /** A request was answered. */
  answered() {
    if (this.state !== "there") this.load();
  }

  /** Nobody answered a request: from now on the server is looked for. */
  gone() {
    if (this.state === "gone") return;
    this.state = "gone";
    this.#tell("models");
    this.#look();
  }

  wantsKey() {
    this.state = "locked";
    this.#tell("key");
  }

  async #look() {
    while (this.state === "gone") {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      if (await api.isAlive()) await this.load();
    }
  }
}
