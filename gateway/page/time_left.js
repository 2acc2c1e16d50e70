/* Times that run out: what is left of each is written anew every second. */

import { zoneName } from "./clock.js";
import { el, setText } from "./dom.js";
import { formatTime, toMilliseconds } from "./format.js";

const TICK = 1000; // milliseconds

/** What is left until some instants, as texts that run while they are in a part of the page. */
export class TimesLeft {
  /**
   * @param {App} app
   * @param {HTMLElement} root The part of the page.
   * @param {(seconds: number) => string} words What is said of so many seconds; below zero once the instant is over.
   */
  constructor(app, root, words) {
    Object.assign(this, { app, root, words });
    this.timer = setInterval(() => this.#draw(), TICK);
  }

  /** What is left until an instant, RFC 3339 or milliseconds. */
  element(due) {
    const at = toMilliseconds(due);
    return el("span", { class: "remaining", title: `${formatTime(at)} ${zoneName()}`, dataset: { due: at } }, this.#textOf(at));
  }

  close() {
    clearInterval(this.timer);
  }

  #draw() {
    for (const node of this.root.querySelectorAll(".remaining")) setText(node, this.#textOf(Number(node.dataset.due)));
  }

  #textOf(at) {
    return this.words((at - this.app.now()) / 1000);
  }
}
