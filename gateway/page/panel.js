/* A card of a report: a chart, the same values as a table for whoever cannot see it, and as a file to take along. */

import { el, setChildren } from "./dom.js";

const MINUTE = 60_000;

/** A card with a chart, the same as a table, and the same as a file. */
export class Panel {
  constructor(title) {
    this.title = title;
    const attributes = { class: "quiet", type: "button", "data-act": "download", onclick: () => save(this.file) };
    this.save = el("button", attributes, "Download CSV");
    this.before = el("div");
    this.chart = el("div", { class: "chart-holder" });
    this.after = el("div");
    this.table = el("div", { class: "box" });
    this.details = el("details", { hidden: true }, el("summary", {}, "The same as a table"), this.table);
    // A table of a month has seven hundred rows: made for those who open it.
    this.details.addEventListener("toggle", () => this.list());
    const head = el("div", { class: "panel-head" }, el("h2", {}, title), this.save);
    this.root = el("section", { class: "card panel" }, head, this.before, this.chart, this.after, this.details);
    this.wait("Loading…");
  }

  /** CSS pixels that a chart may be wide. */
  get width() {
    return Math.max(this.chart.clientWidth, 280);
  }

  /** Which of the chart's values is looked at by keyboard; undefined where none is. */
  get at() {
    const chart = document.activeElement;
    return this.chart.contains(chart) ? Number(chart.getAttribute("aria-valuenow")) : undefined;
  }

  /** Say `text` where a chart will stand, or would. */
  wait(text) {
    setChildren(this.before);
    setChildren(this.after);
    setChildren(this.chart, el("p", { class: "empty" }, text));
    this.save.hidden = this.details.hidden = true;
  }

  /**
   * Show `chart` between `before` and `after`; `head` and `rows` are its values as a table of text, and `raw` is [head,
   * rows] of the file `name`.csv. Who stood on the chart by keyboard stays on it.
   */
  show({ name, before, chart, after, head, rows, raw }) {
    const focused = this.chart.contains(document.activeElement);
    setChildren(this.before, before);
    setChildren(this.chart, chart);
    setChildren(this.after, after);
    if (focused) chart.focus({ preventScroll: true });
    this.file = { name: `${name}.csv`, text: toCsv(...raw) };
    this.rows = { head, rows };
    this.save.hidden = false;
    this.details.hidden = head === undefined;
    this.list();
  }

  list() {
    if (!this.details.open || this.details.hidden) {
      setChildren(this.table);
      return;
    }
    const { head, rows } = this.rows;
    const number = (index) => (index ? "number" : "");
    const titles = head.map((text, index) => el("th", { scope: "col", class: number(index) }, text));
    const cells = (row) =>
      row.map((value, index) => (index ? el("td", { class: "number" }, value) : el("th", { scope: "row" }, value)));
    setChildren(
      this.table,
      el(
        "table",
        { class: "grid" },
        el("caption", { class: "visually-hidden" }, this.title),
        el("thead", {}, el("tr", {}, titles)),
        el("tbody", {}, rows.map((row) => el("tr", {}, cells(row)))),
      ),
    );
  }
}

/** CSV (RFC 4180) of a table; a text that a spreadsheet would take for a formula is kept a text. */
export function toCsv(head, rows) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Hand the browser a text as a file. */
function save({ name, text }) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), MINUTE);
}
