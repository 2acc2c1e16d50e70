/* The line above all views that says what needs somebody; the window's icon and title say whether there is anything. */

import { attention } from "./attention.js";
import { el, setChildren } from "./dom.js";

const IDLE_EVERY = 20_000; // milliseconds between two times that holders who do nothing are counted
const MOST = 4; // sentences that are shown; the others are counted
const ICONS = { "": "page/icon.svg", warn: "page/icon_warn.svg", bad: "page/icon_bad.svg" };

/** Shows the sentences in a node. */
export class AttentionLine {
  /** The level of what is worst: bad, warn, or empty. */
  level = "";
  /** The first sentence; empty where nothing needs anybody. */
  first = "";
  #drawn = "";
  #idle = new Map();
  #idleAsked = -Infinity;

  /**
   * @param {App} app
   * @param {HTMLElement} node
   * @param {HTMLLinkElement} icon Of the window.
   */
  constructor(app, node, icon) {
    Object.assign(this, { app, node, icon });
  }

  /** Show what the state asks for; `connected` is false while the gateway is gone. */
  update(state, connected) {
    const items = state === null ? [] : attention(state, this.app.now(), this.#idle);
    const [worst] = items;
    this.level = worst?.level ?? "";
    this.first = worst === undefined ? "" : textOf(worst);
    const content = JSON.stringify(items);
    if (content !== this.#drawn) {
      this.#drawn = content;
      this.node.className = `banner ${this.level}`;
      const rest = items.length - MOST;
      setChildren(this.node, items.slice(0, MOST).map((item) => el("p", { class: item.level }, item.parts.map(partNode))),
        rest > 0 ? el("p", {}, `And ${rest} more.`) : null);
    }
    const icon = ICONS[connected === false ? "bad" : this.level];
    if (this.icon.getAttribute("href") !== icon) this.icon.setAttribute("href", icon);
    if (state !== null && connected) this.#askIdle(state);
  }

  /** Count those who do nothing, while a pool is full: that is when somebody looks for a seat. */
  async #askIdle(state) {
    const full = Object.values(state.recent.pools).some((pool) => pool.full_since !== null);
    if (!full) this.#idle.clear();
    if (!full || document.hidden || performance.now() - this.#idleAsked < IDLE_EVERY) return;
    this.#idleAsked = performance.now();
    try {
      const { items } = await this.app.get("api/idle?for=1h");
      this.#idle = new Map(items.map((item) => [item.pool, item]));
    } catch (error) {
      this.app.report(error);
    }
  }
}

/** A sentence as text. */
export function textOf({ parts }) {
  return parts.map((part) => (typeof part === "string" ? part : part.text)).join("");
}

function partNode(part) {
  return typeof part === "string" ? part : el("a", { href: part.href }, part.text);
}
