/* Tables and lists of facts, as every view shows them, and what stands in their place. */

import { el } from "./dom.js";

/**
 * A table in a box that scrolls sideways where it must.
 *
 * @param {object} options
 *   `caption`: what it lists, for those who cannot see it.
 *   `columns`: a list of {title, class, isHeader}; cells of a column with `isHeader` name their row.
 *   `rows`: a list of {key, cells}, a cell being a text, a node or a list of them; or of rows that are made already.
 *   `id` and `class` of the table; `asCards` makes each row a card where the window is narrow.
 *   `region`: the name of the box, where it may have to be scrolled and must be reached by keys.
 * @returns {HTMLElement} The box.
 */
export function table({ caption, columns, rows, id = null, class: kind = "", asCards = false, region = null }) {
  const classes = ["grid", asCards ? "cards-narrow" : "", kind].filter(Boolean).join(" ");
  const titles = columns.map((column) => el("th", { scope: "col", class: column.class }, column.title));
  const made = rows.map((row) => (row instanceof Node ? row : tableRow(columns, row)));
  const focusable = region === null ? {} : { tabindex: "0", role: "region", "aria-label": region };
  return el(
    "div",
    { class: "box", ...focusable },
    el(
      "table",
      { class: classes, id },
      el("caption", { class: "visually-hidden" }, caption),
      el("thead", {}, el("tr", {}, titles)),
      el("tbody", {}, made),
    ),
  );
}

function tableRow(columns, { key = null, cells }) {
  const row = cells.map((cell, index) => {
    const { title, class: kind, isHeader } = columns[index];
    if (isHeader) return el("th", { scope: "row", class: kind }, cell);
    // Beside its title, on a card, a cell is one node.
    const content = Array.isArray(cell) ? el("span", {}, cell) : cell;
    return el("td", { class: kind, "data-title": kind === "acts" ? null : title }, content);
  });
  return el("tr", { "data-key": key }, row);
}

/** A list of terms and values, [term, value] each; a value is a text, a node or a list of them. */
export function factList(pairs) {
  return el("dl", { class: "facts" }, pairs.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
}

/** What stands where something would be shown of which nothing is known; `error` says why. */
export function failureNote(error) {
  return el("p", {}, `Not known: ${error.message}`);
}
