/**
 * Answers on their way: each is asked for, folded into its message as it comes, kept from time to time, and can be ended.
 */

import * as api from "./api.js";
import { fold } from "./core/answer.js";
import { Failure } from "./core/failures.js";

/** A busy server is asked again so often. */
const TRIES_MAX = 5;
/** Where a busy server does not say when, it is asked again after so long. */
const WAIT_S = 2;
/** An answer is kept this often, for the case that the page is closed. */
const KEEP_EVERY_MS = 2000;

export class Answering {
  /** What ends each answer, by its message. */
  #running = new Map();

  /**
   * @param {import("./server.js").Server} server
   * @param {(message: object) => void} changed after each change of a message
   * @param {(message: object) => void} keep from time to time
   */
  constructor(server, changed, keep) {
    this.server = server;
    this.changed = changed;
    this.keep = keep;
  }

  /** Whether a message is being answered. */
  has(id) {
    return this.#running.has(id);
  }

  get isIdle() {
    return this.#running.size === 0;
  }

  /** Ends the answers to messages, where they are on their way. */
  stop(messages) {
    for (const { id } of messages) this.#running.get(id)?.abort();
  }

  /** Fills a message with the answer to a request. What goes wrong stands in the message. */
  async run(message, body) {
    const controller = new AbortController();
    this.#running.set(message.id, controller);
    this.changed(message);
    try {
      await this.#tries(message, body, controller.signal);
      this.server.answered();
    } catch (error) {
      this.#failed(message, error);
    }
    this.#running.delete(message.id);
    this.changed(message);
  }

  async #tries(message, body, signal) {
    for (let tries = 1; ; tries += 1) {
      try {
        return await api.complete(body, signal, this.#taking(message));
      } catch (error) {
        if (error.kind !== "busy" || tries === TRIES_MAX) throw error;
        await this.#wait(message, error.retryAfter ?? WAIT_S, signal);
      }
    }
  }

  #taking(message) {
    let kept = Date.now();
    return (chunk) => {
      const now = Date.now();
      fold(message, chunk, now);
      this.changed(message);
      if (now - kept < KEEP_EVERY_MS) return;
      kept = now;
      this.keep(message);
    };
  }

  /** Waits until a busy server may have time; the message says so meanwhile. */
  async #wait(message, seconds, signal) {
    for (message.waiting = seconds; message.waiting > 0 && !signal.aborted; message.waiting -= 1) {
      this.changed(message);
      await pause(Math.min(1, message.waiting) * 1000, signal);
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
    if (failure.kind === "gone") this.server.gone();
    if (failure.kind === "key") this.server.wantsKey();
  }
}

/** Waits, but no longer than until a signal. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
