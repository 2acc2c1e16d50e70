/* Short lists of the API, read whole, and read again when the gateway says that they have changed. */

import { el } from "./dom.js";
import { formatCount } from "./format.js";

const MOST = 5000; // items; nobody reads on
const PAGE = 500;
const PAUSE = 1000; // milliseconds

/**
 * Read a list page after page.
 *
 * @param {App} app
 * @param {string} path Such as "api/groups".
 * @param {AbortSignal} signal
 * @param {object} parameters Of every request.
 * @returns {Promise<{items: object[], more: boolean}>} At most about `MOST` items, and whether there are more.
 * @throws {ApiError}
 */
export async function readAll(app, path, signal, parameters = {}) {
  const items = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ ...parameters, limit: PAGE, ...(cursor === null ? {} : { cursor }) });
    const page = await app.get(`${path}?${query}`, { signal });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && items.length < MOST);
  return { items, more: cursor !== null };
}

/** What stands under a list that has more items than were read; null where there are no more. */
export function truncationNote(items, more) {
  if (!more) return null;
  return el("p", { class: "note cut" }, `Only the first ${formatCount(items.length)} are read here; there are more.`);
}

/** Calls `load(signal)` when a mark has changed: one call at a time, with a pause after each. */
export class WatchedList {
  #mark = null;
  #failed = false; // whether the last call was in vain for a while
  #wanted = false;
  #running = false;
  #abort = new AbortController();
  #timer = 0;

  /**
   * @param {(signal: AbortSignal) => Promise<void>} load
   * @param {(error: Error) => void} onError Is told why `load` failed.
   * @param {number} pause Milliseconds.
   */
  constructor(load, onError, pause = PAUSE) {
    this.load = load;
    this.onError = onError;
    this.pause = pause;
  }

  /**
   * Load where `mark`, a text that changes with the list, is another one than before, or where loading failed; while
   * nobody sees the page not yet.
   */
  update(mark) {
    if (document.hidden) return;
    if (mark === this.#mark && !this.#failed) return;
    this.#mark = mark;
    this.refresh();
  }

  /** Load again, as soon as the pause is over. */
  refresh() {
    this.#wanted = true;
    if (!this.#running) this.#run();
  }

  close() {
    this.#abort.abort();
    clearTimeout(this.#timer);
    this.#wanted = false;
  }

  async #run() {
    const { signal } = this.#abort;
    this.#running = true;
    while (this.#wanted && !signal.aborted) {
      this.#wanted = false;
      try {
        await this.load(signal);
        this.#failed = false;
      } catch (error) {
        this.#failed = error.isPassing === true;
        if (!signal.aborted) this.onError(error);
      }
      await new Promise((resolve) => {
        this.#timer = setTimeout(resolve, this.pause);
      });
    }
    this.#running = false;
  }
}
