/* The mark that says whether what is shown is what is: the gateway's clock while it is heard, and for how long it has
not been. */

import { Since, zoneName } from "./clock.js";
import { setText } from "./dom.js";
import { clockTime, formatDuration } from "./format.js";

const SILENT = 4000; // milliseconds; the gateway says every second what happened in it
const TICK = 1000;

/** Shows "live", "silent" or "lost" in a node, as its text and as its `data-live`; nothing before the first word. */
export class LiveMark {
  #heard = null; // since when nothing came
  #heardAt = null; // of the gateway's clock, milliseconds since the epoch
  #lost = false;

  /**
   * @param {HTMLElement} node
   * @param {() => number} now The gateway's clock, in milliseconds since the epoch.
   */
  constructor(node, now) {
    this.node = node;
    this.now = now;
    setInterval(() => this.draw(), TICK);
  }

  /** When the gateway was last heard, by its own clock; null before. */
  get heardAt() {
    return this.#heardAt;
  }

  /** Something came from the gateway. */
  heard() {
    this.#heard = new Since();
    this.#heardAt = this.now();
    this.#lost = false;
    this.draw();
  }

  /** The connection to the gateway is lost. */
  lost() {
    this.#lost = true;
    this.draw();
  }

  /** Nothing is shown of the gateway: an operator must sign in. */
  clear() {
    this.#heard = this.#heardAt = null;
    this.draw();
  }

  draw() {
    const silence = this.#heard?.elapsed;
    const state = this.#heard === null ? "" : this.#lost ? "lost" : silence < SILENT ? "live" : "silent";
    const texts = {
      live: () => `live · ${clockTime(this.now(), true)} ${zoneName()}`,
      silent: () => `silent for ${formatDuration(silence / 1000)}`,
      lost: () => `lost at ${clockTime(this.#heardAt, true)} ${zoneName()}`,
    };
    this.node.dataset.live = state;
    setText(this.node, texts[state]?.() ?? "");
  }
}
