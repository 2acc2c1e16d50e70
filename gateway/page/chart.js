/* Charts of use, drawn by hand: data in, SVG elements out.

Every chart is drawn for a width in CSS pixels, one unit for one pixel, so that its labels are as large on a phone as
on a desk; who shows it draws it anew when the width changes. A chart shows its values by pointer and by keyboard; the
same values stand in a table that the view keeps beside it.

A step is {start, end, seconds, seatSeconds, peak, limit, full, denied, missed, seated}: milliseconds UTC, then the
seconds that were watched, seat-seconds, the highest use, the limit or null, seconds at the limit, refusals, those of
them that no seat came after, and those that one did.
*/

import { svg } from "./dom.js";
import { formatCount, formatDuration } from "./format.js";
import { DAY, DAYS, formatMean, formatPeriod, HOUR, linearScale, MONDAY, ticks, timeTicks, WEEK } from "./scale.js";
import { attachCursor } from "./chart_cursor.js";

const SHADES = 8; // classes heat-1 … heat-8; heat-0 is no use at all
const STRONG = 6; // the first shade that needs a text of the other color
const GLYPH = 7; // pixels of a digit of a label, about
const LANE = 52; // pixels of a lane beneath the picture

// -- steps ------------------------------------------------------------------------------------------------------------

/** All of `steps` as one; it must not be empty. */
export function sumSteps(steps) {
  const sum = (name) => steps.reduce((total, step) => total + step[name], 0);
  return {
    start: steps[0].start,
    end: steps.at(-1).end,
    seconds: sum("seconds"),
    seatSeconds: sum("seatSeconds"),
    peak: steps.reduce((highest, step) => Math.max(highest, step.peak), 0),
    limit: steps.at(-1).limit,
    full: sum("full"),
    denied: sum("denied"),
    missed: sum("missed"),
    seated: sum("seated"),
  };
}

/** The steps put together to about `most` over the whole time, by hours, a day or a week. */
export function mergeSteps(steps, most) {
  if (!steps.length) return steps;
  const whole = steps.at(-1).end - steps[0].start;
  const lengths = [...[1, 2, 3, 6, 12].map((hours) => hours * HOUR), DAY, WEEK];
  const length = lengths.find((each) => whole / each <= most) ?? WEEK;
  const offset = length === WEEK ? MONDAY : 0;
  const found = new Map();
  for (const step of steps) {
    const number = Math.floor((step.start - offset) / length);
    if (!found.has(number)) found.set(number, []);
    found.get(number).push(step);
  }
  return [...found.values()].map(sumSteps);
}

/** A path that stays at each step's height from its start to its end, with a gap where nobody watched. */
export function stepPath(steps, x, y, value) {
  let path = "";
  let last = null;
  for (const step of steps) {
    const height = value(step);
    if (height === null) {
      last = null;
      continue;
    }
    const place = y(height).toFixed(1);
    path += last === step.start ? `V${place}` : `M${x(step.start).toFixed(1)} ${place}`;
    path += `H${x(step.end).toFixed(1)}`;
    last = step.end;
  }
  return path;
}

/** The area under a staircase, down to `floor`. */
export function stepArea(steps, x, y, value, floor) {
  return steps
    .map((step) => {
      const [left, right, top] = [x(step.start), x(step.end), y(value(step))].map((place) => place.toFixed(1));
      return `M${left} ${floor}V${top}H${right}V${floor}Z`;
    })
    .join("");
}

const meanOf = (step) => (step.seconds ? step.seatSeconds / step.seconds : 0);

// -- use over time ----------------------------------------------------------------------------------------------------

/**
 * Peak and mean use of a pool with its limit, and beneath it who was refused and how long it was full.
 *
 * `from` and `to` are the ends of the axis in milliseconds; `shadow` says that refusals are what would have been;
 * `at` is the step that is looked at first.
 */
export function useChart({ steps, from, to, width, label, shadow, at = Infinity }) {
  const highest = steps.reduce((high, step) => Math.max(high, step.peak), 0);
  const limits = steps.map((step) => step.limit).filter((limit) => limit !== null);
  const limit = limits.length ? Math.max(...limits) : null;
  const inside = limit !== null && limit <= Math.max(highest * 4, 10);
  const ceiling = Math.max(highest, inside ? limit : 0, 1) * 1.08;
  const marks = ticks(ceiling, 4).filter((mark) => mark <= ceiling);
  const left = 14 + GLYPH * Math.max(formatCount(marks.at(-1)).length, 3);
  const lanes = [
    {
      name: shadow ? "would be refused" : "refused",
      kind: "refused",
      of: (step) => step.denied,
      within: shadow ? () => 0 : (step) => step.missed,
      shown: formatCount,
    },
    { name: "at the limit", kind: "full", of: (step) => step.full, within: () => 0, shown: formatDuration },
  ].filter((lane) => steps.some((step) => lane.of(step) > 0));
  const top = inside || limit === null ? 12 : 26;
  const floor = top + (width < 640 ? 170 : 220);
  const bottom = floor + lanes.length * LANE;
  const right = width - 10;
  const x = linearScale(from, to, left, right);
  const y = linearScale(0, ceiling, floor, top);
  const drawn = mergeSteps(steps, (right - left) / 2.5).filter((step) => step.end > from);
  const root = canvas(width, bottom + 26, label);

  for (const mark of marks) {
    root.append(
      line("chart-rule", left, y(mark), right, y(mark)),
      words("chart-label chart-end", left - 6, y(mark) + 4, formatCount(mark)),
    );
  }
  for (const { at: time, text } of timeTicks(from, to, Math.floor((right - left) / 50))) {
    const place = Math.min(Math.max(x(time), left + 4), right - 12);
    root.append(
      line("chart-rule", x(time), top, x(time), bottom + 4),
      words("chart-label chart-middle", place, bottom + 18, text),
    );
  }
  root.append(
    svg("path", { class: "chart-mean", d: stepArea(drawn, x, y, meanOf, floor) }),
    svg("path", { class: "chart-peak", d: stepPath(drawn, x, y, (step) => step.peak) }),
  );
  if (inside) {
    root.append(svg("path", { class: "chart-limit", d: stepPath(drawn, x, y, (step) => step.limit) }));
  } else if (limit !== null) {
    root.append(words("chart-label chart-end", right, 14, `limit ${formatCount(limit)}, far above`));
  }
  lanes.forEach((lane, number) => root.append(...laneOf(lane, drawn, x, left, right, floor + number * LANE)));
  const spots = drawn.map((step) => ({
    x: x(step.start),
    y: top,
    width: Math.max(x(step.end) - x(step.start), 1),
    height: bottom - top,
    lines: valuesOf(step, shadow),
  }));
  return attachCursor(root, spots, width, Math.min(at, spots.length - 1));
}

function laneOf(lane, steps, x, left, right, top) {
  const base = top + LANE - 6;
  const most = steps.reduce((high, step) => Math.max(high, lane.of(step)), 0);
  // By the root, so that a single refusal is seen beside a thousand.
  const height = (value) => (value ? Math.max(Math.sqrt(value / most) * 26, 3) : 0);
  const bars = (className, value) =>
    svg("path", { class: className, d: stepArea(steps.filter(value), x, (each) => base - height(each), value, base) });
  return [
    line("chart-rule", left, base, right, base),
    words("chart-label", left, top + 15, `${lane.name}, up to ${lane.shown(most)}`),
    bars(`chart-${lane.kind}`, lane.of),
    bars("chart-missed", lane.within),
  ];
}

function valuesOf(step, shadow) {
  const lines = [
    formatPeriod(step.start, step.end),
    `peak ${formatCount(step.peak)}${step.limit === null ? "" : ` of ${formatCount(step.limit)}`}`,
    `mean ${formatMean(meanOf(step))}`,
  ];
  if (step.full) lines.push(`at the limit ${formatDuration(step.full)}`);
  if (shadow && step.denied) lines.push(`would be refused ${formatCount(step.denied)}`);
  if (!shadow && step.denied) {
    lines.push(`refused ${formatCount(step.denied)}, truly denied ${formatCount(step.missed)}`);
  }
  return lines;
}

// -- hour by weekday --------------------------------------------------------------------------------------------------

/** Mean use by weekday and hour: `week` is seven lists of 24 means, null where nobody watched. */
export function heatMapChart({ week, width, label, at = 0 }) {
  const most = Math.max(...week.flat().map((value) => value ?? 0));
  const upright = width < 640;
  const [columns, rows] = upright ? [7, 24] : [24, 7];
  const [left, top] = [upright ? 44 : 40, 22];
  const cell = { width: (width - left - 2) / columns, height: upright ? 20 : 28 };
  const root = canvas(width, top + rows * cell.height + 4, label);
  const hours = (hour) => `${String(hour).padStart(2, "0")}:00`;
  const across = upright ? (column) => DAYS[column] : (column) => String(column).padStart(2, "0");
  for (let column = 0; column < columns; column += 1) {
    root.append(words("chart-label chart-middle", left + (column + 0.5) * cell.width, 15, across(column)));
  }
  const spots = [];
  for (let row = 0; row < rows; row += 1) {
    const y = top + row * cell.height;
    root.append(words("chart-label chart-end", left - 6, y + cell.height / 2 + 4, upright ? hours(row) : DAYS[row]));
    for (let column = 0; column < columns; column += 1) {
      const [day, hour] = upright ? [column, row] : [row, column];
      const value = week[day][hour];
      const x = left + column * cell.width;
      const box = { x: x + 1, y: y + 1, width: cell.width - 2, height: cell.height - 2, rx: 2 };
      const strong = shade(value, most) >= STRONG ? " heat-strong" : "";
      root.append(
        svg("rect", { class: `heat heat-${shade(value, most)}`, ...box }),
        words(`heat-value chart-middle${strong}`, x + cell.width / 2, y + cell.height / 2 + 4, short(value)),
      );
      const says = value === null ? "not watched" : `mean ${formatMean(value)}`;
      spots.push({ x, y, ...cell, lines: [`${DAYS[day]} ${hours(hour)}–${hours((hour + 1) % 24)}`, says] });
    }
  }
  return attachCursor(root, spots, width, at, columns);
}

/** Which of the shades a value has: "none" for one that is not known, 0 for no use. */
export function shade(value, most) {
  if (value === null) return "none";
  return most ? Math.ceil((value / most) * SHADES) : 0;
}

function short(value) {
  if (value === null || value < 0.05) return "";
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10_000 ? 0 : 1)}k`;
  return value >= 9.95 ? String(Math.round(value)) : value.toFixed(1);
}

// -- seats against a limit --------------------------------------------------------------------------------------------

/** What was needed of a limit, both whole numbers; the limit stands at two thirds of the width. */
export function needBar(needed, limit, width = 150) {
  const size = { width, height: 16, viewBox: `0 0 ${width} 16` };
  const root = svg("svg", { class: "chart-need", ...size, "aria-hidden": "true" });
  const at = width * (2 / 3);
  const share = limit ? needed / limit : needed ? 1.5 : 0;
  const kind = share > 1 ? "need-over" : "need-within";
  root.append(
    svg("rect", { class: "need-ground", x: 0, y: 3, width, height: 10, rx: 2 }),
    svg("rect", { class: kind, x: 0, y: 3, width: Math.min(share * at, width), height: 10, rx: 2 }),
    line("need-limit", at, 0, at, 16),
  );
  return root;
}

// -- drawing, and values by pointer and keyboard ----------------------------------------------------------------------

function canvas(width, height, label) {
  return svg("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": label });
}

function line(className, x1, y1, x2, y2) {
  return svg("line", { class: className, x1, y1, x2, y2 });
}

function words(className, x, y, text) {
  return svg("text", { class: className, x, y }, text);
}
