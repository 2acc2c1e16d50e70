/* The line above all views that says what needs somebody; the window's icon and title say whether there is anything. */

import { attention } from "./attention.js";
import { el, renewChildren, setText } from "./dom.js";

const IDLE_EVERY = 20_000; // milliseconds between two times that holders who do nothing are counted
const MOST = 4; // sentences that are shown; the others are counted
const ICONS = { "": "page/icon.svg", warn: "page/icon_warn.svg", bad: "page/icon_bad.svg" };

/**
 * Shows the sentences in a node. Their figures change from second to second: a sentence is read out once, when it comes.
 */
export class AttentionLine {
  /** The level of what is worst: bad, warn, or empty. */
  level = "";
  #drawn = "";
  #known = new Set(); // which sentences there are, whatever their figures
  #loaded = null; // the version of the gateway that this page came from
  #idle = new Map();
  #idleAsked = -Infinity;

  /**
   * @param {App} app
   * @param {HTMLElement} node
   * @param {HTMLElement} news Is read out when its text changes.
   * @param {HTMLLinkElement} icon Of the window.
   */
  constructor(app, node, news, icon) {
    Object.assign(this, { app, node, news, icon });
  }

  /** Show what the state asks for; `connected` is false while the gateway is gone. */
  update(state, connected) {
    this.#loaded ??= state?.version;
    const items = state === null ? [] : attention(state, this.app.now(), this.#idle, this.#loaded);
    const [worst] = items;
    this.level = worst?.level ?? "";
    const content = JSON.stringify(items);
    if (content !== this.#drawn) {
      this.#drawn = content;
      this.node.className = `banner ${this.level}`;
      const rest = items.length - MOST;
      renewChildren(this.node, items.slice(0, MOST).map((item) => el("p", { class: item.level }, item.parts.map(partNode))),
        rest > 0 ? el("p", {}, `And ${rest} more.`) : null);
      this.#readOut(items);
    }
    const icon = ICONS[connected === false ? "bad" : this.level];
    if (this.icon.getAttribute("href") !== icon) this.icon.setAttribute("href", icon);
    if (state !== null && connected) this.#askIdle(state);
  }

  #readOut(items) {
    const known = new Set(items.map(nameOf));
    const come = items.filter((item) => !this.#known.has(nameOf(item)));
    if (come.length || known.size < this.#known.size) setText(this.news, come.map(textOf).join(" "));
    this.#known = known;
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

/** What tells a sentence from others. */
const nameOf = ({ level, about }) => `${level} ${about}`;

/** A sentence as text. */
function textOf({ parts }) {
  return parts.map((part) => (typeof part === "string" ? part : part.text)).join("");
}

function partNode(part) {
  return typeof part === "string" ? part : el("a", { href: part.href }, part.text);
}
