/* A virtual list: of however many rows only those in sight are in the document, and only those are asked for.

The rows lie in a box that scrolls; above and below them two empty rows keep the place of all the others. Pages of
`PAGE` items are asked for as they come into sight, by offset. When the list has changed, what is in sight is asked for
again, at most once in `REFRESH` milliseconds and never before the last answer is there; pages out of sight are
forgotten.
*/

import { el, renewChildren, reorderChildren, setChildren } from "./dom.js";
import { failureNote } from "./table.js";

const PAGE = 100;
const MARGIN = 6; // rows that are drawn above and below those in sight
const SETTLE = 60; // milliseconds of rest in scrolling before pages are asked for
const REFRESH = 500;
const NARROW = matchMedia("(max-width: 720px)");

/** A table of many rows; its `node` is to be placed by whoever makes it. */
export class VirtualList {
  #pages = new Map();
  #requests = new Map();
  #rows = new Map();
  #total = null; // rows of the whole list; null before the first answer
  #counted = false; // whether the source counts them
  #settleTimer = 0;
  #frame = 0;
  #refreshed = -REFRESH;
  #refreshTimer = 0;
  #failure = null; // why the last request failed; null where it did not
  #closed = false;
  #hiddenChange = false; // the list has changed while the page was hidden
  #loadingChange = false; // the list has changed while it was asked for
  #round = 0; // answers to requests of an earlier round are not used

  /**
   * @param {object} options
   *   `id` of the table and its `caption`.
   *   `columns`: a list of {title, class, cell(item)}; a cell is a text, a node, or a list of them. What is in a cell may
   *   stay when the item changes: its listeners find in `item` what it is by then, except what is in the key.
   *   `key(item)`: a text that tells items apart.
   *   `heights`: pixels of a row, [wide, narrow]; the style sheet must agree.
   *   `source`: `page(offset, limit, signal)` resolves to {items, next}, with `next` null on the last page;
   *   `count(signal)` to the number of all items, or null where only the last page tells.
   *   `empty()`: what is shown where there are no items.
   *   `onError(error)`: is told why a page could not be had.
   *   `onSort(name)`: is told the `sort` of a column whose title was pressed; columns without one cannot be sorted by.
   */
  constructor({ id, caption, columns, key, heights, source, empty, onError, onSort = () => {} }) {
    Object.assign(this, { columns, key, heights, source, empty, onError });
    this.above = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length }));
    this.below = el("tr", { class: "spacer", "aria-hidden": "true" }, el("td", { colspan: columns.length }));
    this.body = el("tbody", { role: "rowgroup" }, this.above, this.below);
    const sorter = ({ title, sort }) =>
      el("button", { type: "button", class: "sorter", id: `${id}-by-${sort}`, "data-sort": sort, onclick: () => onSort(sort) }, title);
    this.titles = columns.map((column) => el("th", { scope: "col", role: "columnheader", class: column.class },
      column.sort === undefined ? column.title : sorter(column)));
    this.table = el(
      "table",
      { class: "grid windowed", id, role: "table", "aria-rowcount": "-1" },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row", "aria-rowindex": "1" }, this.titles)),
      this.body,
    );
    this.box = el("div", { class: "window", tabindex: "0", role: "region", "aria-label": caption }, this.table);
    this.nothing = el("div", { class: "empty", hidden: true });
    this.node = el("div", { class: "card flush" }, this.box, this.nothing);
    this.box.addEventListener("scroll", () => this.#drawSoon(), { passive: true });
    this.onResize = () => this.#drawSoon();
    this.onVisible = () => this.#hiddenChange && this.refresh();
    document.addEventListener("visibilitychange", this.onVisible);
    NARROW.addEventListener("change", this.onResize);
    addEventListener("resize", this.onResize);
  }

  /** Begin anew, from the top: something else is listed. */
  reset() {
    this.#forgetRequests();
    this.#rows.clear();
    this.#total = null;
    this.box.scrollTop = 0;
    this.#load();
  }

  /** Show by which column the list is sorted: its `sort`, with a "-" before it where the largest comes first. */
  showOrder(order) {
    this.columns.forEach(({ sort }, place) => {
      const direction = order === sort ? "ascending" : order === `-${sort}` ? "descending" : null;
      if (sort === undefined) return;
      if (direction === null) this.titles[place].removeAttribute("aria-sort");
      else this.titles[place].setAttribute("aria-sort", direction);
    });
  }

  /** The list may have changed: ask again for what is in sight, soon. */
  refresh() {
    if (this.#refreshTimer) return;
    const wait = Math.max(this.#refreshed + REFRESH - performance.now(), 0);
    this.#refreshTimer = setTimeout(() => {
      this.#refreshTimer = 0;
      this.#refreshed = performance.now();
      this.#hiddenChange = document.hidden;
      if (document.hidden) return;
      // Where answers take longer than changes, whoever began anew with each change would never see one.
      if (this.#requests.has("all")) this.#loadingChange = true;
      else this.#load();
    }, wait);
  }

  /** Whether the gateway could not be asked, or could not answer, for a while. */
  get isToBeTriedAgain() {
    return this.#failure?.isPassing === true;
  }

  /** Say why the list could not be had; what is known of it stays. */
  showFailure(error) {
    this.#failure = error;
    this.#draw();
    this.onError(error);
  }

  close() {
    this.#closed = true;
    this.#forgetRequests();
    for (const timer of [this.#refreshTimer, this.#settleTimer]) clearTimeout(timer);
    cancelAnimationFrame(this.#frame);
    NARROW.removeEventListener("change", this.onResize);
    removeEventListener("resize", this.onResize);
    document.removeEventListener("visibilitychange", this.onVisible);
  }

  get #height() {
    return NARROW.matches ? this.heights[1] : this.heights[0];
  }

  #forgetRequests() {
    for (const request of this.#requests.values()) request.abort();
    this.#requests.clear();
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

  #pagesInSight() {
    const [first, last] = this.#sight();
    const [from, to] = [Math.floor(first / PAGE), Math.floor((last - 1) / PAGE)];
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  }

  async #load() {
    if (this.#closed) return;
    this.#forgetRequests();
    this.#loadingChange = false;
    const round = this.#round;
    const request = new AbortController();
    this.#requests.set("all", request);
    try {
      const wanted = this.#pagesInSight();
      const [total, ...pages] = await Promise.all([
        this.source.count(request.signal),
        ...wanted.map((page) => this.source.page(page * PAGE, PAGE, request.signal)),
      ]);
      if (round !== this.#round) return;
      this.#requests.delete("all");
      this.#pages = new Map();
      pages.forEach((page, index) => this.#keep(wanted[index], page));
      this.#counted = total !== null;
      if (this.#counted) this.#total = total;
      this.#failure = null;
      this.#draw();
      this.box.setAttribute("aria-busy", "false");
      this.#loadSight(); // somebody may have scrolled on meanwhile
    } catch (error) {
      if (round !== this.#round) return;
      this.#requests.delete("all");
      this.showFailure(error);
    }
    if (this.#loadingChange) this.refresh();
  }

  #keep(number, page) {
    this.#pages.set(number, page.items);
    const known = number * PAGE + page.items.length;
    // Where nobody counts, there is at least one more as long as there is a next page.
    const seen = page.next === null ? known : Math.max(this.#total ?? 0, known + 1);
    // A page without items is beyond the end, which may be further ahead.
    if (page.next === null && !page.items.length) this.#total = Math.min(this.#total ?? known, known);
    else if (page.next === null || this.#total === null || seen > this.#total) this.#total = seen;
  }

  /** Ask for the pages in sight that are not known. */
  #loadSight() {
    for (const page of this.#pagesInSight()) this.#loadPage(page);
  }

  async #loadPage(number) {
    if (this.#pages.has(number) || this.#requests.has(number) || this.#requests.has("all")) return;
    const request = new AbortController();
    const round = this.#round;
    this.#requests.set(number, request);
    try {
      const page = await this.source.page(number * PAGE, PAGE, request.signal);
      if (round !== this.#round) return;
      const total = this.#total;
      this.#keep(number, page);
      if (this.#counted) this.#total = total;
      this.#requests.delete(number);
      this.#draw();
    } catch (error) {
      if (this.#requests.get(number) === request) this.#requests.delete(number);
      if (round === this.#round) this.showFailure(error);
    }
  }

  #drawSoon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => this.#loadSight(), SETTLE);
  }

  #draw() {
    if (this.#closed) return;
    const total = this.#total ?? 0;
    const unknown = this.#total === null;
    const instead = unknown ? this.#failure && failureNote(this.#failure) : !total && this.empty();
    setChildren(this.nothing, instead);
    this.nothing.hidden = !instead;
    this.box.hidden = !this.nothing.hidden;
    this.table.setAttribute("aria-rowcount", String(total + 1));
    const [first, last] = this.#sight();
    const rows = new Map();
    const nodes = [];
    for (let index = Math.min(first, total); index < Math.min(last, total); index += 1) {
      const row = this.#row(index, this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE], rows);
      rows.set(row.key, row);
      nodes.push(row.node);
    }
    this.#rows = rows;
    setHeight(this.above, first * this.#height);
    setHeight(this.below, Math.max(total - Math.max(last, first), 0) * this.#height);
    reorderChildren(this.body, [this.above, ...nodes, this.below]);
  }

  /**
   * The row of an item, undefined for one that is not known yet; the same node as before, with what has changed. `above`
   * are the rows above it, by key.
   */
  #row(index, item, above) {
    const known = item !== undefined;
    let key = known ? this.key(item) : `#${index}`;
    while (above.has(key)) key += "+"; // no two items share a row, even if nothing tells them apart
    const content = known ? JSON.stringify(item) : "";
    const position = String(index + 2); // the first is that of the titles
    const attributes = { role: "row", "data-key": key, class: known ? null : "waiting" };
    const row = this.#rows.get(key) ?? { key, content: null, item: {}, node: el("tr", attributes) };
    if (row.node.getAttribute("aria-rowindex") !== position) row.node.setAttribute("aria-rowindex", position);
    if (row.content === content) return row;
    row.content = content;
    for (const name of Object.keys(row.item)) delete row.item[name];
    Object.assign(row.item, item);
    renewChildren(row.node, this.columns.map((column) =>
      el("td", { role: "cell", class: column.class, "data-title": column.title }, known ? column.cell(row.item) : "…")));
    return row;
  }
}

function setHeight(spacer, pixels) {
  const height = `${pixels}px`;
  if (spacer.style.height !== height) spacer.style.height = height;
  spacer.hidden = pixels === 0;
}
