/* The values of a chart, by pointer and by keyboard. */

import { svg } from "./dom.js";

/**
 * Let `root` tell the values of its `spots` ({x, y, width, height, lines}) under the pointer, and by the arrow keys.
 *
 * To a screen reader it is a slider: the one role whose arrow keys reach a page everywhere, with a text for each value.
 * `row` is how many spots stand beside each other.
 */
export function attachCursor(root, spots, width, first, row = 1) {
  if (!spots.length) {
    root.setAttribute("role", "img");
    return root;
  }
  const frame = svg("rect", { class: "chart-spot", rx: 2 });
  const ground = svg("rect", { class: "tip-ground", rx: 4 });
  const text = svg("text", { class: "tip-text" });
  const tip = svg("g", { class: "chart-tip" }, frame, svg("g", {}, ground, text));
  let at = first;

  function show(number) {
    at = number;
    const spot = spots[at];
    root.setAttribute("aria-valuenow", at);
    root.setAttribute("aria-valuetext", spot.lines.join(", "));
    for (const name of ["x", "y", "width", "height"]) frame.setAttribute(name, spot[name]);
    text.replaceChildren(...spot.lines.map((each, index) => svg("tspan", { x: 8, y: 17 + index * 16 }, each)));
    root.append(tip);
    const size = [text.getBBox().width + 16, spot.lines.length * 16 + 10];
    ground.setAttribute("width", size[0]);
    ground.setAttribute("height", size[1]);
    const beside = spot.x + spot.width + 6;
    const x = beside + size[0] > width ? Math.max(spot.x - size[0] - 6, 0) : beside;
    const y = Math.max(Math.min(spot.y + 4, root.viewBox.baseVal.height - size[1]), 0);
    text.parentNode.setAttribute("transform", `translate(${x} ${y})`);
  }

  function point(event) {
    const box = root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const found = spots.findIndex(
      (spot) => x >= spot.x && x < spot.x + spot.width && y >= spot.y && y < spot.y + spot.height,
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
    const ends = { Home: 0, End: spots.length - 1 };
    const next = ends[event.key] ?? at + (moves[event.key] ?? NaN);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    if (next >= 0 && next < spots.length) show(next);
  }

  for (const [name, value] of Object.entries({
    role: "slider",
    tabindex: 0,
    "aria-readonly": "true",
    "aria-valuemin": 0,
    "aria-valuemax": spots.length - 1,
    "aria-valuenow": at,
    "aria-valuetext": spots[at].lines.join(", "),
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
