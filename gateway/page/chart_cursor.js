/* A chart's cursor: the values of one place, by pointer and by keyboard. */

import { svg } from "./dom.js";

/**
 * Show the values under the pointer, and those that the arrow keys go to.
 *
 * To a screen reader the chart is a slider: the one role whose arrow keys reach a page everywhere, with a text for each
 * value.
 *
 * @param {SVGElement} root The chart.
 * @param {Array<{x, y, width, height, lines}>} places Where values are, in pixels, and the lines of text that say them.
 * @param {number} width Of the chart, in pixels.
 * @param {number} first The place that the keyboard begins at.
 * @param {number} row How many places are beside each other.
 * @returns {SVGElement} The chart.
 */
export function attachCursor(root, places, width, first, row = 1) {
  if (!places.length) {
    root.setAttribute("role", "img");
    return root;
  }
  const frame = svg("rect", { class: "chart-cursor", rx: 2 });
  const ground = svg("rect", { class: "tip-ground", rx: 4 });
  const text = svg("text", { class: "tip-text" });
  const tip = svg("g", { class: "chart-tip" }, frame, svg("g", {}, ground, text));
  let at = first;

  function show(number) {
    at = number;
    const place = places[at];
    root.setAttribute("aria-valuenow", at);
    root.setAttribute("aria-valuetext", place.lines.join(", "));
    for (const name of ["x", "y", "width", "height"]) frame.setAttribute(name, place[name]);
    text.replaceChildren(...place.lines.map((each, index) => svg("tspan", { x: 8, y: 17 + index * 16 }, each)));
    root.append(tip);
    const size = [text.getBBox().width + 16, place.lines.length * 16 + 10];
    ground.setAttribute("width", size[0]);
    ground.setAttribute("height", size[1]);
    const beside = place.x + place.width + 6;
    const x = beside + size[0] > width ? Math.max(place.x - size[0] - 6, 0) : beside;
    const y = Math.max(Math.min(place.y + 4, root.viewBox.baseVal.height - size[1]), 0);
    text.parentNode.setAttribute("transform", `translate(${x} ${y})`);
  }

  function point(event) {
    const box = root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const found = places.findIndex(
      (place) => x >= place.x && x < place.x + place.width && y >= place.y && y < place.y + place.height,
    );
    if (found >= 0) show(found);
    else tip.remove();
  }

  function press(event) {
    if (event.key === "Escape") {
      tip.remove();
      return;
    }
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, PageUp: -24, PageDown: 24 };
    const ends = { Home: 0, End: places.length - 1 };
    const next = ends[event.key] ?? at + (moves[event.key] ?? NaN);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    if (next >= 0 && next < places.length) show(next);
  }

  for (const [name, value] of Object.entries({
    role: "slider",
    tabindex: 0,
    "aria-readonly": "true",
    "aria-valuemin": 0,
    "aria-valuemax": places.length - 1,
    "aria-valuenow": at,
    "aria-valuetext": places[at].lines.join(", "),
  })) {
    root.setAttribute(name, value);
  }
  root.addEventListener("pointermove", point);
  root.addEventListener("pointerdown", point);
  root.addEventListener("pointerleave", () => tip.remove());
  root.addEventListener("keydown", press);
  root.addEventListener("focus", () => root.matches(":focus-visible") && show(at));
  root.addEventListener("blur", () => tip.remove());
  return root;
}
