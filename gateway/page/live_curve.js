/* The curve of a pool: its use in the last hour, the limit as a line, and refusals as ticks on the ground. */

import { el, setText, svg } from "./dom.js";
import { clockTime, formatCount, pluralize } from "./format.js";
import { linearScale } from "./scale.js";

const HEIGHT = 96; // pixels of the picture, without the times beneath it
const FOOT = 18; // pixels of the times
const TICKS = 16; // pixels of the highest tick of a refusal
const LABEL = 74; // pixels between two times, at least

/** Draws itself anew with every `update`; its `node` is to be placed by whoever makes it. */
export class LiveCurve {
  #recent = null;
  #name = "";
  #pointer = null; // pixels from the left, while the pointer is on it

  /** @param {string} title What people call the pool. */
  constructor(title) {
    this.title = title;
    this.rules = svg("g", {});
    this.area = svg("path", { class: "chart-mean" });
    this.line = svg("path", { class: "chart-peak" });
    this.limit = svg("path", { class: "chart-limit" });
    this.refused = svg("path", { class: "curve-refused" });
    this.mark = svg("line", { class: "curve-mark" });
    this.picture = svg("svg", { class: "chart curve", role: "img" },
      this.rules, this.area, this.limit, this.line, this.refused, this.mark);
    this.values = el("p", { class: "curve-values note" });
    this.node = el("div", { class: "curve-box", hidden: true }, this.picture, this.values);
    this.picture.addEventListener("pointermove", (event) => this.#point(event));
    this.picture.addEventListener("pointerdown", (event) => this.#point(event));
    this.picture.addEventListener("pointerleave", () => {
      this.#pointer = null;
      this.#drawValues();
    });
  }

  /** Draw the pool `name` of `recent`. */
  update(recent, name) {
    this.#recent = recent;
    this.#name = name;
    const pool = recent.pools.get(name);
    // A pool that nobody has used is a line at the ground, which says nothing.
    this.node.hidden = pool === undefined || !(pool.used.some(Boolean) || pool.denied.some(Boolean));
    if (this.node.hidden) return;
    const width = Math.max(this.node.clientWidth, 240);
    const { used, limit, denied } = pool;
    const highest = Math.max(...used, 1);
    const last = limit.at(-1) ?? null;
    // A limit far above would press the curve to the ground.
    const inside = last !== null && last <= Math.max(highest * 4, 10);
    const ceiling = Math.max(highest, inside ? last : 0) * 1.12;
    const x = linearScale(0, used.length, 0, width);
    const y = linearScale(0, ceiling, HEIGHT, 4);
    const number = (value) => value.toFixed(1);
    const course = used.map((value, place) => `${place ? "V" : "M0 "}${number(y(value))}H${number(x(place + 1))}`).join("");
    const tallest = Math.max(...denied, 1);
    const ticks = denied.map((value, place) => (value
      ? `M${number(x(place + 0.5))} ${HEIGHT}V${number(HEIGHT - Math.max(Math.sqrt(value / tallest) * TICKS, 5))}` : ""));
    this.picture.setAttribute("width", width);
    this.picture.setAttribute("height", HEIGHT + FOOT);
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT + FOOT}`);
    this.line.setAttribute("d", course);
    this.area.setAttribute("d", `${course}V${HEIGHT}H0Z`);
    this.limit.setAttribute("d", inside ? limitPath(limit, x, y, number) : "");
    this.refused.setAttribute("d", ticks.join(""));
    this.#drawTimes(width, x);
    const refusals = denied.reduce((sum, value) => sum + value, 0);
    const of = last === null ? "no limit" : `limit ${formatCount(last)}`;
    this.picture.setAttribute("aria-label", `${this.title} since ${clockTime(recent.timeOf(0), true)}: now ` +
      `${formatCount(used.at(-1))}, highest ${formatCount(Math.max(...used))}, ${of}, ${formatCount(refusals)} refused`);
    this.#drawValues();
  }

  #drawTimes(width, x) {
    const recent = this.#recent;
    const steps = recent.pools.get(this.#name).used.length;
    const wanted = Math.max(Math.floor(width / LABEL), 2);
    const nodes = [svg("line", { class: "chart-rule", x1: 0, x2: width, y1: HEIGHT, y2: HEIGHT })];
    const times = wholeTimes(recent.timeOf(0), recent.timeOf(steps), wanted);
    const exact = times.some((at) => at % 60_000 !== 0);
    for (const at of times) {
      const place = x((at - recent.timeOf(0)) / 1000 / recent.step);
      if (place < 20 || place > width - 20) continue;
      nodes.push(svg("line", { class: "chart-rule", x1: place, x2: place, y1: 0, y2: HEIGHT + 4 }),
        svg("text", { class: "chart-label chart-middle", x: place, y: HEIGHT + FOOT - 3 }, clockTime(at, exact)));
    }
    this.rules.replaceChildren(...nodes);
  }

  #point(event) {
    this.#pointer = event.clientX - this.picture.getBoundingClientRect().left;
    this.#drawValues();
  }

  /** Say in words what is under the pointer, or what was in the whole time. */
  #drawValues() {
    const recent = this.#recent;
    const pool = recent?.pools.get(this.#name);
    if (pool === undefined) return;
    const width = Math.max(this.node.clientWidth, 240);
    const steps = pool.used.length;
    const place = this.#pointer === null ? -1 : Math.min(Math.max(Math.floor((this.#pointer / width) * steps), 0), steps - 1);
    for (const name of ["x1", "x2"]) this.mark.setAttribute(name, place < 0 ? -9 : ((place + 0.5) / steps) * width);
    this.mark.setAttribute("y1", 0);
    this.mark.setAttribute("y2", HEIGHT);
    if (place >= 0) {
      const of = pool.limit[place] === null ? "" : ` of ${formatCount(pool.limit[place])}`;
      setText(this.values, `${clockTime(recent.timeOf(place), true)} · ${formatCount(pool.used[place])}${of} · ` +
        `${formatCount(pool.granted[place])} granted · ${formatCount(pool.denied[place])} refused`);
      return;
    }
    const perMinute = (list) => {
      const [sum, seconds] = recent.sum(list, 300);
      return sum === 0 ? "0" : (sum / seconds * 60).toFixed(sum / seconds * 60 < 10 ? 1 : 0);
    };
    const refusals = pool.denied.reduce((sum, value) => sum + value, 0);
    const trend = trendOf(recent, pool);
    setText(this.values, [
      `since ${clockTime(recent.timeOf(0))}: highest ${formatCount(Math.max(...pool.used))}`,
      pluralize(refusals, "refusal"),
      `last 5 min: ${perMinute(pool.granted)} granted and ${perMinute(pool.denied)} refused a minute`,
      trend,
    ].filter(Boolean).join(" · "));
  }
}

/** When the pool will be full, if it goes on as in the last ten minutes; empty where it will not be soon. */
export function trendOf(recent, { used, limit }) {
  const last = limit.at(-1);
  const steps = Math.min(Math.round(600 / recent.step), used.length - 1);
  if (last === null || last === undefined || steps * recent.step < 300 || used.at(-1) >= last) return "";
  const growth = (used.at(-1) - used[used.length - 1 - steps]) / (steps * recent.step);
  const minutes = (last - used.at(-1)) / growth / 60;
  return growth > 0 && minutes <= 240 ? `full in about ${pluralize(Math.max(Math.round(minutes), 1), "minute")} if it goes on so` : "";
}

function limitPath(limit, x, y, number) {
  let path = "";
  let before = null;
  limit.forEach((value, place) => {
    if (value === null) before = null;
    else {
      path += before === null ? `M${number(x(place))} ${number(y(value))}` : value === before ? "" : `V${number(y(value))}`;
      if (value !== limit[place + 1]) path += `H${number(x(place + 1))}`;
      before = value;
    }
  });
  return path;
}

/** Whole times between two instants, at most `wanted`, in milliseconds. */
function wholeTimes(from, to, wanted) {
  const minute = 60_000;
  const step = [0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 240].map((each) => each * minute).find((each) => (to - from) / each <= wanted);
  if (step === undefined) return [];
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) found.push(at);
  return found;
}
