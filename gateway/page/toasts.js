/* Short messages in a corner of the page. */

import { el } from "./dom.js";

const SHOWN = { good: 8000, note: 8000, bad: 16_000 }; // milliseconds

/** Messages that go by themselves; one that is shown already is not shown twice. */
export class Toasts {
  #shown = new Map(); // the node and the timer of each text

  /** @param {HTMLElement} root Where they are shown. */
  constructor(root) {
    this.root = root;
  }

  /** Show `text` for a while; `kind` is good, bad or note. */
  show(text, kind = "note") {
    const dismiss = () => this.remove(text);
    const shown = this.#shown.get(text);
    if (shown !== undefined) {
      clearTimeout(shown.timer);
      shown.timer = setTimeout(dismiss, SHOWN[kind]);
      return;
    }
    const close = el("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: dismiss }, "×");
    const node = el("div", { class: `toast ${kind}` }, el("span", {}, text), close);
    this.#shown.set(text, { node, timer: setTimeout(dismiss, SHOWN[kind]) });
    this.root.append(node);
  }

  /** Take away the message `text`, if it is shown. */
  remove(text) {
    const toast = this.#shown.get(text);
    if (toast === undefined) return;
    clearTimeout(toast.timer);
    toast.node.remove();
    this.#shown.delete(text);
  }
}
