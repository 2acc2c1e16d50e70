/* The gateway's stream of events (`GET /api/events`): read by fetch, so that the token can be sent; opened again when
it ends. */

import { refusal } from "./api.js";
import { Since } from "./clock.js";

const SHORTEST_WAIT = 500; // milliseconds before the stream is opened again, at first
const LONGEST_WAIT = 10_000;
const REFUSALS = new Set([401, 403, 429]);
/* The gateway sends at least a comment every 15 seconds. Where two of them did not come the connection is dead, even if
nothing has closed it. */
const SILENCE = 35_000;
const LOOK = 1000; // milliseconds between two looks at whether it is; a machine that has slept finds out at once

/** The page's one stream of events, kept open until `close`. */
export class EventStream {
  #abort = null;
  #timer = 0;
  #wait = SHORTEST_WAIT;

  /**
   * @param {ApiClient} api
   * @param {object} handlers
   *   `onState(fields, first)`: fields of the state that have changed; `first` with all of them, after each opening.
   *   `onBytes()`: something came, if only a comment.
   *   `onOpen()`: the stream is open, before its first state.
   *   `onLost(reason)`: it ended and will be opened again; `reason` is a sentence, empty where the gateway gave none.
   *   `onRefused(status, reason)`: it needs a token, or another one, and is not opened again.
   */
  constructor(api, handlers) {
    this.api = api;
    this.handlers = handlers;
  }

  /** Open the stream anew, at once. */
  open() {
    this.close();
    this.#abort = new AbortController();
    this.#read(this.#abort);
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #read(abort) {
    let looking = 0;
    let reason = "";
    try {
      const response = await this.api.send("GET", "api/events", { signal: abort.signal, accept: "text/event-stream" });
      if (!response.ok) {
        const error = await refusal("GET", response);
        if (!REFUSALS.has(response.status)) throw error;
        if (abort === this.#abort) this.handlers.onRefused(response.status, error.message);
        return;
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      let first = true;
      let heard = new Since();
      looking = setInterval(() => heard.elapsed >= SILENCE && reader.cancel(), LOOK);
      for (;;) {
        const { value, done } = await reader.read();
        if (done || abort.signal.aborted) break;
        heard = new Since();
        this.handlers.onBytes();
        const events = (text + value).split("\n\n");
        text = events.pop();
        for (const data of events.map(dataOf).filter(Boolean)) {
          if (abort.signal.aborted) return;
          if (first) this.handlers.onOpen();
          this.#wait = SHORTEST_WAIT;
          this.handlers.onState(JSON.parse(data), first);
          first = false;
        }
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      reason = error.status ? error.message : "";
    } finally {
      clearInterval(looking);
    }
    if (abort !== this.#abort) return;
    this.handlers.onLost(reason);
    this.#timer = setTimeout(() => this.open(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }
}

/** The data of one event (HTML standard, 9.2); empty for a comment. */
function dataOf(event) {
  const lines = event.split("\n").filter((line) => line.startsWith("data: "));
  return lines.map((line) => line.slice("data: ".length)).join("\n");
}
