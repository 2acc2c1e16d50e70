/* A windowed list: of however many rows only those in sight are in the document, and only those are asked for.

The rows lie in a box that scrolls; above and below them two empty rows keep the place of all the others. Pages of
`PAGE` items are fetched as they come into sight, by offset. When the list has changed, what is in sight is fetched
again, at most once a second; what was fetched for elsewhere is forgotten.
*/

import { el, reorderChildren, setChildren, setText } from "./dom.js";
import { formatCount } from "./format.js";

const PAGE = 100;
const MARGIN = 6;
const SETTLE = 60;
const REFRESH = 500;
const PAUSE = 80;
const NARROW = matchMedia("(max-width: 720px)");

export class WindowedList {
  #pages = new Map();
  #asked = new Map();
  #rows = new Map();
  #total = null;
  #settle = 0;
  #frame = 0;
  #refreshed = -REFRESH;
  #due = 0;
  #closed = false;
  #stale = false;
  #round = 0;

  /* `columns` are {title, class, cell(item)}; `fetch(offset, limit, signal)` gives {items, next}; `size(signal)` how
  many there are, null where that is known only by going on; `key(item)` tells items apart; `heights` are those of a row,
  wide and narrow, in pixels; `empty()` is shown where there are none. */
  constructor({ id, caption, columns, fetch, size, key, heights, empty, counted, fail }) {
    Object.assign(this, { columns, fetch, size, key, heights, empty, counted, fail });
    this.above = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length }));
    this.below = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length }));
    this.body = el("tbody", { role: "rowgroup" }, this.above, this.below);
    this.table = el(
      "table",
      { class: "grid windowed", id, role: "table", "aria-rowcount": "-1" },
      el("caption", { class: "visually-hidden" }, caption),
      el(
        "thead",
        { role: "rowgroup" },
        el("tr", { role: "row", "aria-rowindex": "1" }, columns.map((column) =>
          el("th", { scope: "col", role: "columnheader", class: column.class }, column.title))),
      ),
      this.body,
    );
    this.box = el("div", { class: "window", tabindex: "0", role: "region", "aria-label": caption }, this.table);
    this.nothing = el("div", { class: "empty", hidden: true });
    this.node = el("div", { class: "card flush" }, this.box, this.nothing);
    this.box.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.reshape = () => this.#draw();
    this.seen = () => this.#stale && this.changed();
    document.addEventListener("visibilitychange", this.seen);
    NARROW.addEventListener("change", this.reshape);
    addEventListener("resize", this.reshape);
  }

  /** Begin anew, from the top: something else is looked for. */
  anew() {
    this.#forget();
    this.#rows.clear();
    this.#total = null;
    this.box.scrollTop = 0;
    this.#refresh();
  }

  /** The list may have changed. */
  changed() {
    if (this.#due) return;
    const wait = Math.max(this.#refreshed + REFRESH - performance.now(), 0);
    this.#due = setTimeout(() => {
      this.#due = 0;
      this.#refreshed = performance.now();
      this.#stale = document.hidden;
      if (!document.hidden) this.#refresh();
    }, wait);
  }

  close() {
    this.#closed = true;
    this.#forget();
    for (const timer of [this.#due, this.#settle]) clearTimeout(timer);
    cancelAnimationFrame(this.#frame);
    NARROW.removeEventListener("change", this.reshape);
    removeEventListener("resize", this.reshape);
    document.removeEventListener("visibilitychange", this.seen);
  }

  get #height() {
    return NARROW.matches ? this.heights[1] : this.heights[0];
  }

  #forget() {
    for (const asked of this.#asked.values()) asked.abort();
    this.#asked.clear();
    this.#round += 1;
  }

  /** The numbers of the first row in sight and of the one after the last. */
  #sight() {
    const top = Math.max(this.box.scrollTop, 0);
    const first = Math.max(Math.floor(top / this.#height) - MARGIN, 0);
    // The box is as high as its rows, which are not there yet; it is never higher than the window.
    const last = Math.ceil((top + innerHeight) / this.#height) + MARGIN;
    return [first, Math.min(last, Math.max(this.#total ?? PAGE, 1))];
  }

  #inSight() {
    const [first, last] = this.#sight();
    const pages = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor((last - 1) / PAGE); page += 1) pages.push(page);
    return pages;
  }

  async #refresh() {
    if (this.#closed) return;
    this.#forget();
    const round = this.#round;
    const abort = new AbortController();
    this.#asked.set("all", abort);
    try {
      const wanted = this.#inSight();
      const [total, ...pages] = await Promise.all([
        this.size(abort.signal),
        ...wanted.map((page) => this.fetch(page * PAGE, PAGE, abort.signal)),
      ]);
      if (round !== this.#round) return;
      this.#pages = new Map();
      pages.forEach((page, index) => this.#keep(wanted[index], page));
      if (total !== null) this.#total = total;
      this.#show();
      this.box.setAttribute("aria-busy", "false");
    } catch (error) {
      if (round === this.#round) this.report(error);
    } finally {
      if (this.#asked.get("all") === abort) this.#asked.delete("all");
    }
  }

  #keep(number, page) {
    this.#pages.set(number, page.items);
    const known = number * PAGE + page.items.length;
    // Where nobody counts, there is at least one more as long as there is a next page.
    const seen = page.next === null ? known : Math.max(this.#total ?? 0, known + 1);
    if (page.next === null || this.#total === null || seen > this.#total) this.#total = seen;
  }

  async #want(number) {
    if (this.#pages.has(number) || this.#asked.has(number) || this.#asked.has("all")) return;
    const abort = new AbortController();
    const round = this.#round;
    this.#asked.set(number, abort);
    try {
      const page = await this.fetch(number * PAGE, PAGE, abort.signal);
      if (round !== this.#round) return;
      const total = this.#total;
      this.#keep(number, page);
      if (this.counted && total !== null) this.#total = total;
      this.#asked.delete(number);
      this.#show();
    } catch (error) {
      if (this.#asked.get(number) === abort) this.#asked.delete(number);
      if (round === this.#round) this.report(error);
    }
  }

  #draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => this.#inSight().forEach((page) => this.#want(page)), SETTLE);
  }

  #show() {
    if (this.#closed) return;
    const total = this.#total ?? 0;
    this.nothing.hidden = total > 0 || this.#total === null;
    this.box.hidden = !this.nothing.hidden;
    if (!this.nothing.hidden) setChildren(this.nothing, this.empty());
    this.table.setAttribute("aria-rowcount", String(total + 1));
    const [first, last] = this.#sight();
    const rows = new Map();
    const shown = [];
    for (let index = Math.min(first, total); index < Math.min(last, total); index += 1) {
      const item = this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE];
      const row = this.#row(index, item);
      rows.set(row.key, row);
      shown.push(row.node);
    }
    this.#rows = rows;
    stretch(this.above, first * this.#height);
    stretch(this.below, Math.max(total - Math.max(last, first), 0) * this.#height);
    reorderChildren(this.body, [this.above, ...shown, this.below]);
  }

  /** The row of an item, the same as before where nothing has changed. */
  #row(index, item) {
    const key = item === undefined ? `#${index}` : this.key(item);
    const sign = item === undefined ? "" : JSON.stringify(item);
    const before = this.#rows.get(key);
    const position = String(index + 2);
    if (before !== undefined && before.sign === sign) {
      if (before.node.getAttribute("aria-rowindex") !== position) before.node.setAttribute("aria-rowindex", position);
      return before;
    }
    const cells = this.columns.map((column) =>
      el("td", { role: "cell", class: column.class, "data-title": column.title }, item === undefined ? "…" : column.cell(item)));
    const attributes = { role: "row", "aria-rowindex": position, "data-key": key, class: item === undefined ? "waiting" : null };
    return { key, sign, node: el("tr", attributes, cells) };
  }
}

/** A search field that calls `seek(text)` when whoever types pauses. */
export function searchField({ id, label, placeholder, seek }) {
  let timer = 0;
  const input = el("input", { id, type: "search", placeholder, autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => seek(input.value.trim()), PAUSE);
  });
  return { input, node: el("div", { class: "field grow" }, el("label", { for: id }, label), input) };
}

/** Say how many there are, of how many. */
export function showTotal(node, found, all, one) {
  const of = all !== null && all !== found ? ` of ${formatCount(all)}` : "";
  setText(node, `${formatCount(found)}${of} ${found === 1 && !of ? one : `${one}s`}`);
}

function stretch(row, height) {
  const wanted = `${height}px`;
  if (row.style.height !== wanted) row.style.height = wanted;
  row.hidden = height === 0;
}
