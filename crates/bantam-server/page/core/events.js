/**
 * Server-sent events out of a stream of text. What comes out does not depend on where the stream was cut.
 */

export class EventReader {
  #rest = "";
  #data = [];

  /**
   * Takes in more of the stream.
   * @param {string} text
   * @returns {string[]} the data of each event that ended with it
   */
  push(text) {
    const events = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      const event = this.#line(line);
      if (event !== null) events.push(event);
    }
    return events;
  }

  /** The data of the event that a line ends, or `null`. */
  #line(line) {
    if (line !== "") {
      const found = /^data:? ?(.*)$/.exec(line);
      if (found) this.#data.push(found[1]);
      return null;
    }
    if (this.#data.length === 0) return null;
    const event = this.#data.join("\n");
    this.#data = [];
    return event;
  }
}
