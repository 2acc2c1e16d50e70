/* The stream of events: one for the page, read by fetch so that the token can be sent, and opened again when it ends.

`tell(fields, first)` is given what changed, `first` with everything after each opening; `turn(up, why)` whether there is a
stream, and why not where the gateway says so; `refuse(status)` that a token is needed.
*/

import { answered, ask } from "./api.js";

const SHORTEST = 500;
const LONGEST = 10_000;
const REFUSED = new Set([401, 403, 429]);
/* The gateway says something every 15 seconds; after three silences the line is dead, even if nobody said so. */
const SILENCE = 45_000;

export class Stream {
  #abort = null;
  #timer = 0;
  #wait = SHORTEST;

  constructor(tell, turn, refuse) {
    this.tell = tell;
    this.turn = turn;
    this.refuse = refuse;
  }

  /** Open the stream anew, now. */
  open() {
    this.close();
    this.#abort = new AbortController();
    this.#run(this.#abort);
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(abort) {
    let alarm = 0;
    let why = "";
    try {
      const response = await ask("GET", "api/events", { signal: abort.signal, accept: "text/event-stream" });
      if (REFUSED.has(response.status)) {
        const why = await answered(response).catch((error) => error);
        if (abort === this.#abort) this.refuse(response.status, why.message);
        return;
      }
      await answered(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      let first = true;
      for (;;) {
        clearTimeout(alarm);
        alarm = setTimeout(() => reader.cancel(), SILENCE);
        const { value, done } = await reader.read();
        if (done || abort.signal.aborted) break;
        text += value;
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
          text = text.slice(end + 2);
          if (!data.length || abort.signal.aborted) continue;
          if (first) this.turn(true);
          this.#wait = SHORTEST;
          this.tell(JSON.parse(data.map((line) => line.slice(6)).join("\n")), first);
          first = false;
        }
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      why = error.status ? error.message : "";
    } finally {
      clearTimeout(alarm);
    }
    if (abort !== this.#abort) return;
    this.turn(false, why);
    this.#timer = setTimeout(() => this.open(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST);
  }
}
