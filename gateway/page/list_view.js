/* What views of lists share: a search field, a line of figures, and a virtual list that follows the gateway. */

import { el, setChildren, setText } from "./dom.js";
import { VirtualList } from "./virtual_list.js";
import { truncationNote } from "./watched_list.js";

const PAUSE = 80; // milliseconds without a key before what was typed is searched for
const ROW_HEIGHTS = [44, 112]; // pixels, wide and narrow; style.css has the same

/** A list that can be searched. */
export class ListView {
  #mark = null;
  #timer = 0;

  /**
   * @param {App} app
   * @param {object} options
   *   `id`: the elements are ID-search, ID-tally and ID-list.
   *   `caption` and `columns`, `key(item)`: as for `VirtualList`.
   *   `placeholder`: what can be searched for.
   *   `source`: what is listed, an `ApiSource` or an `ItemSource`; `text`: what is searched for at first.
   *   `empty(searching)`: what is shown where there are no items, or none is found.
   *   `beside`: nodes that stand beside the search field.
   *   `onSort(name)`: as for `VirtualList`.
   */
  constructor(app, { id, caption, columns, key, placeholder, source, text = "", empty, beside = [], onSort }) {
    this.source = source;
    source.text = text;
    const attributes = { id: `${id}-search`, type: "search", placeholder, autocomplete: "off", spellcheck: "false", value: text };
    this.input = el("input", { ...attributes, oninput: () => this.#searchSoon(), onblur: () => this.#readOut(false) });
    const field = el("div", { class: "field grow" }, el("label", { for: this.input.id }, "Search"), this.input);
    this.figures = el("p", { class: "note tally", id: `${id}-tally`, role: "status", "aria-live": "off" });
    this.toolbar = el("div", { class: "toolbar" }, field, beside, this.figures);
    this.list = new VirtualList({
      id: `${id}-list`,
      caption,
      columns,
      key,
      heights: ROW_HEIGHTS,
      source,
      empty: () => empty(source.text !== ""),
      onError: (error) => app.report(error),
      onSort,
    });
    this.nodes = [this.toolbar, this.list.node];
  }

  /** Ask for the list, from its top. */
  open() {
    this.list.reset();
  }

  /** Ask again where `mark`, a text that changes with the list, is another one than before, or where asking failed. */
  update(mark) {
    if (this.list.isToBeTriedAgain || (this.#mark !== null && this.#mark !== mark)) this.list.refresh();
    this.#mark = mark;
  }

  /** Show by which column the list is sorted. */
  showOrder(order) {
    this.list.showOrder(order);
  }

  /** Ask again soon. */
  refresh() {
    this.list.refresh();
  }

  /** Say why there is no list. */
  showFailure(error) {
    this.list.showFailure(error);
  }

  /** Set the line of figures. */
  setFigures(text) {
    setText(this.figures, text);
  }

  close() {
    clearTimeout(this.#timer);
    this.list.close();
  }

  /** Whether the line of figures is read out: for whoever searches, not whenever somebody comes or goes. */
  #readOut(wanted) {
    this.figures.setAttribute("aria-live", wanted ? "polite" : "off");
  }

  #searchSoon() {
    this.#readOut(true);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const text = this.input.value.trim();
      if (text === this.source.text) return;
      this.source.text = text;
      this.list.reset();
    }, PAUSE);
  }
}

/** A list whose items are read whole, and searched here. */
export class WholeList extends ListView {
  /**
   * @param {App} app
   * @param {object} options As for `ListView`; in place of the source `textOf(item)`, what an item is found by.
   */
  constructor(app, { textOf, ...options }) {
    super(app, { ...options, source: new ItemSource(textOf) });
    this.rest = el("div");
    this.nodes = [...this.nodes, this.rest];
  }

  /** Show what was read: the items, and whether there are more. */
  show({ items, more }) {
    this.source.items = items;
    this.refresh();
    setChildren(this.rest, truncationNote(items, more));
  }
}

/** A list of the API that the gateway searches (`q`) and pages (`offset`, `limit`). */
export class ApiSource {
  /** What is searched for; empty for everything. */
  text = "";

  /**
   * @param {App} app
   * @param {string} path Such as "api/connections".
   * @param {object} options
   *   `parameters`: further parameters of every request.
   *   `countPath`: where the API says how many match; without it, `count` is null.
   *   `onCount(number)`: is told each answer of it.
   */
  constructor(app, path, { parameters = {}, countPath = null, onCount = () => {} } = {}) {
    Object.assign(this, { app, path, parameters, countPath, onCount });
  }

  page(offset, limit, signal) {
    return this.app.get(`${this.path}?${this.#query({ offset, limit })}`, { signal });
  }

  async count(signal) {
    if (this.countPath === null) return null;
    const { count } = await this.app.get(`${this.countPath}?${this.#query({})}`, { signal });
    this.onCount(count);
    return count;
  }

  #query(paging) {
    return new URLSearchParams({ ...paging, ...this.parameters, ...(this.text ? { q: this.text } : {}) });
  }
}

/** Items that are at hand: those are found whose text has every word that is searched for. */
export class ItemSource {
  /** What is searched for; empty for everything. */
  text = "";
  /** All items, in the order of the list. */
  items = [];

  /**
   * @param {(item: object) => string} textOf What an item is found by.
   * @param {(number: number) => void} onCount Is told how many items match, each time they are listed.
   */
  constructor(textOf, onCount = () => {}) {
    this.textOf = textOf;
    this.onCount = onCount;
  }

  /** The items that match. */
  get found() {
    const words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    return this.items.filter((item) => {
      const text = this.textOf(item).toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  page(offset, limit) {
    const { found } = this;
    const end = offset + limit;
    return { items: found.slice(offset, end), next: end < found.length ? String(end) : null };
  }

  count() {
    const { length } = this.found;
    this.onCount(length);
    return length;
  }
}
