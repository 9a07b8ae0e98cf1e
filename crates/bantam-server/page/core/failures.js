/**
 * Why there is no answer, or no whole one: what the server or the network says, sorted by what a person can do.
 */

/** A request that failed. */
export class Failure extends Error {
  /**
   * @param {"gone" | "broken" | "busy" | "key" | "context" | "refused" | "missing" | "server"} kind
   * @param {string} message what the server said, or a sentence of ours
   * @param {{ retryAfter?: number, param?: string }} more seconds until it is worth trying again; the field that is wrong
   */
  constructor(kind, message, more = {}) {
    super(message);
    this.kind = kind;
    this.retryAfter = more.retryAfter ?? null;
    this.param = more.param ?? null;
  }

  /** Nobody answers at the server's address. */
  static gone() {
    return new Failure(
      "gone",
      "The server does not answer. It may have been stopped, or the network is down.",
    );
  }

  /** The answer stopped coming before it was whole. */
  static broken() {
    return new Failure("broken", "The connection broke off before the answer was whole.");
  }

  /** What a reply with an error status says. */
  static ofReply(status, body, retryAfter) {
    const error = body?.error ?? {};
    const message =
      typeof error === "string" ? error : (error.message ?? `The server replied with status ${status}.`);
    return new Failure(kindOf(status, error), message, { retryAfter, param: error.param });
  }

  /** What is kept with a message. */
  toJSON() {
    return { kind: this.kind, message: this.message, param: this.param };
  }
}

function kindOf(status, error) {
  if (error.code === "context_length_exceeded") return "context";
  if (status === 401 || status === 403) return "key";
  if (status === 404) return "missing";
  if (status === 429 || status === 503) return "busy";
  return status >= 500 ? "server" : "refused";
}

/** A heading for each kind of failure. */
export const TITLES = {
  gone: "The server is gone",
  broken: "The answer is not whole",
  busy: "The server is busy",
  key: "The server wants a key",
  context: "The conversation no longer fits the model’s context",
  refused: "The server refused the request",
  missing: "The server does not have this model",
  server: "The server failed",
};

/** What `Retry-After` says, in seconds; a date there is of no use to a clock that may differ. */
export function retryAfter(value) {
  const seconds = Number(value);
  return value !== null && Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds, 120) : null;
}
