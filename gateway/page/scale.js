/* Numbers and times on an axis. All times are milliseconds since the epoch; they are written by the clock that is
chosen. */

import { onClock, zoneOffset } from "./clock.js";
import { formatCount } from "./format.js";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;
export const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/** The first Monday of the epoch. */
export const MONDAY = 4 * DAY;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A function from the numbers low…high to the places from…to. */
export function linearScale(low, high, from, to) {
  const factor = (to - from) / (high - low || 1);
  return (value) => from + (value - low) * factor;
}

/** Round whole numbers from 0 to at least `high`, about `wanted` of them. */
export function ticks(high, wanted) {
  const rough = Math.max(high / Math.max(wanted, 1), 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough && Number.isInteger(each));
  return Array.from({ length: Math.ceil(Math.max(high, 1) / step) + 1 }, (_, number) => number * step);
}

/** Instants to name on an axis of time, at most `wanted`: [{at, text}]. */
export function timeTicks(from, to, wanted) {
  const spans = [1, 2, 3, 6, 12].map((hours) => hours * HOUR).concat([1, 2, 7, 14].map((days) => days * DAY));
  const step = spans.find((each) => (to - from) / each <= wanted);
  if (step === undefined) return monthTicks(from, to, wanted);
  const offset = (step > 2 * DAY ? MONDAY : 0) - zoneOffset(from);
  const found = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
    found.push({ at, text: clockOf(at) === "00:00" ? dateOf(at) : clockOf(at) });
  }
  return found;
}

function monthTicks(from, to, wanted) {
  const every = [1, 2, 3, 6, 12].find((months) => (to - from) / (months * 30.4 * DAY) <= wanted) ?? 12;
  const found = [];
  const first = new Date(from);
  for (let month = first.getUTCMonth(); ; month += 1) {
    const at = Date.UTC(first.getUTCFullYear(), month, 1);
    if (at > to) return found;
    const date = new Date(at);
    const name = date.getUTCMonth() ? MONTHS[date.getUTCMonth()] : String(date.getUTCFullYear());
    if (at >= from && date.getUTCMonth() % every === 0) found.push({ at, text: name });
  }
}

function clockOf(at) {
  return onClock(at).toISOString().slice(11, 16);
}

function dateOf(at) {
  const date = onClock(at);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

/** A step of time for people: "Mon 2 Nov, 14:00–17:00", "Mon 2 Nov", "2 Nov–9 Nov". */
export function formatPeriod(start, end) {
  const day = `${DAYS[(onClock(start).getUTCDay() + 6) % 7]} ${dateOf(start)}`;
  if (end - start > DAY) return `${dateOf(start)}–${dateOf(end)}`;
  return end - start >= DAY ? day : `${day}, ${clockOf(start)}–${clockOf(end)}`;
}

/** Mean use, with as many digits as tell something. */
export function formatMean(value) {
  if (value === null) return "–";
  return value >= 100 || Number.isInteger(value) ? formatCount(Math.round(value)) : value.toFixed(value >= 10 ? 1 : 2);
}
