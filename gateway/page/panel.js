/* A card of a report: a chart, the same values as a table for whoever cannot see it, and as a file to take along. */

import { el, setChildren } from "./dom.js";
import { table } from "./table.js";

const MINUTE = 60_000;

/** A card with a chart, the same as a table, and the same as a file (CSV). */
export class Panel {
  /** @param {string} title */
  constructor(title) {
    this.title = title;
    const attributes = { class: "quiet", type: "button", "data-act": "download", onclick: () => saveFile(this.file) };
    this.save = el("button", attributes, "Download CSV");
    this.before = el("div");
    this.chart = el("div", { class: "chart-holder" });
    this.after = el("div");
    this.table = el("div");
    this.details = el("details", { hidden: true }, el("summary", {}, "The same as a table"), this.table);
    // A table of a month has seven hundred rows: made for those who open it.
    this.details.addEventListener("toggle", () => this.drawTable());
    const head = el("div", { class: "panel-head" }, el("h2", {}, title), this.save);
    this.root = el("section", { class: "card panel" }, head, this.before, this.chart, this.after, this.details);
    this.showMessage("Loading…");
  }

  /** CSS pixels that a chart may be wide. */
  get width() {
    return Math.max(this.chart.clientWidth, 280);
  }

  /** The number of the chart's value that the keyboard is on; undefined for none. */
  get cursor() {
    const chart = document.activeElement;
    return this.chart.contains(chart) ? Number(chart.getAttribute("aria-valuenow")) : undefined;
  }

  /** Show `text` where a chart will stand, or would. */
  showMessage(text) {
    setChildren(this.before);
    setChildren(this.after);
    setChildren(this.chart, el("p", { class: "empty" }, text));
    this.save.hidden = this.details.hidden = true;
  }

  /**
   * Show a chart. Whoever was on the one before by keyboard stays on it.
   *
   * @param {object} content
   *   `chart`, and the nodes `before` and `after` it.
   *   `head` and `rows`: its values as a table of texts; without `head` there is no table.
   *   `name` and `raw`: of the file `name`.csv, its [head, rows].
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
    this.drawTable();
  }

  drawTable() {
    if (!this.details.open || this.details.hidden) {
      setChildren(this.table);
      return;
    }
    const { head, rows } = this.rows;
    const columns = head.map((title, index) => (index ? { title, class: "number" } : { title, isHeader: true }));
    const made = rows.map((cells) => ({ cells }));
    setChildren(this.table, table({ caption: this.title, columns, rows: made, region: `${this.title}, as a table` }));
  }
}

/** The CSV (RFC 4180) of a table; a text that a spreadsheet would take for a formula is kept a text. */
export function toCsv(head, rows) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Hand the browser a text as a file. */
export function saveFile({ name, text, type = "text/csv" }) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), MINUTE);
}
