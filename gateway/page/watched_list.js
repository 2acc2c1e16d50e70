/* A short list of the API, read whole: page after page, up to a number beyond which nobody would read on. */

import { el } from "./dom.js";
import { formatCount } from "./format.js";

const MOST = 5000;

/** The items of a list, and whether there were more. */
export async function readAll(app, path, signal) {
  const items = [];
  let cursor = null;
  do {
    const asked = new URLSearchParams({ limit: "500", ...(cursor === null ? {} : { cursor }) });
    const page = await app.get(`${path}?${asked}`, { signal });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && items.length < MOST);
  return { items, more: cursor !== null };
}

/** What is said under a list of which there is more than was read. */
export const truncationNote = (items, more) => (more ? el("p", { class: "note cut" }, `Only the first ${formatCount(items.length)} are read here; there are more.`) : null);

/* Asks again when a mark of the state has changed: at most once in `rest` milliseconds, one request at a time. */
export class Watch {
  #mark = null;
  #wanted = false;
  #running = false;
  #abort = new AbortController();
  #timer = 0;

  constructor(look, fail, rest = 1000) {
    this.look = look;
    this.fail = fail;
    this.rest = rest;
  }

  /** What is looked at may have changed. */
  mark(mark) {
    if (mark === this.#mark) return;
    this.#mark = mark;
    this.again();
  }

  again() {
    this.#wanted = true;
    if (!this.#running) this.#run();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#timer);
    this.#wanted = false;
  }

  async #run() {
    this.#running = true;
    while (this.#wanted && !this.#abort.signal.aborted) {
      this.#wanted = false;
      try {
        await this.look(this.#abort.signal);
      } catch (error) {
        if (!this.#abort.signal.aborted) this.report(error);
      }
      await new Promise((resolve) => {
        this.#timer = setTimeout(resolve, this.rest);
      });
    }
    this.#running = false;
  }
}
