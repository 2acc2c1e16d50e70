/* How figures, times and names are written. Times are those of the clock that is chosen. */

import { onClock } from "./clock.js";
import { el } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en-US");

/** 15,000; a dash for null and undefined. */
export const formatCount = (number) => (number === null || number === undefined ? "–" : WHOLE.format(number));

/** 7 connections, 1 connection. */
export const pluralize = (number, one, many = `${one}s`) => `${formatCount(number)} ${number === 1 ? one : many}`;

/** A text with a capital and a full stop. */
export function asSentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** A share such as 0.256 as 25.6 %; a dash for null and undefined. */
export function formatPercent(share) {
  return share === null || share === undefined ? "–" : `${+(share * 100).toFixed(1)}\u00a0%`;
}

/** Bytes as 256 MB. */
export function formatBytes(bytes) {
  return `${WHOLE.format(Math.round(bytes / 1_000_000))}\u00a0MB`;
}

/** What people call a model; `license` is the state, or the answer of `GET /api/license`. */
export function modelTitle(model, license) {
  return license?.titles?.[model]?.title ?? model;
}

/** What people call a pool of `model`, the enforced one unless it is given. */
export function poolTitle(pool, license, model = license?.model) {
  return license?.titles?.[model]?.pools[pool] ?? pool;
}

/** Milliseconds since the epoch of a time, RFC 3339 or milliseconds; null for none. */
export function toMilliseconds(time) {
  if (time === null || time === undefined || time === "") return null;
  const found = typeof time === "number" ? time : Date.parse(time);
  return Number.isNaN(found) ? null : found;
}

/** 2026-11-21 14:03:05; a dash for none. */
export function formatTime(time) {
  const found = toMilliseconds(time);
  return found === null ? "–" : onClock(found).toISOString().slice(0, "2026-11-21T14:03:05".length).replace("T", " ");
}

/** The time of day of an instant, 14:03, or 14:03:05 where `exact`. */
export function clockTime(time, exact = false) {
  return formatTime(time).slice("2026-11-21 ".length, exact ? undefined : "2026-11-21 14:03".length);
}

/** When something was, as short as it is plain at `now`: the time of day, with the day where that is another one. */
export function shortTime(time, now) {
  const text = formatTime(time);
  return text.slice(0, 10) === formatTime(now).slice(0, 10) ? clockTime(time) : text.slice(0, "2026-11-21 14:03".length);
}

/** 2026-11-21 14:03; a dash for none. */
export const formatMinute = (time) => formatTime(time).slice(0, "2026-11-21 14:03".length);

/** A <time>; its title is the same in UTC and in the time zone of whoever looks. */
export function timeElement(time) {
  const found = toMilliseconds(time);
  if (found === null) return el("span", { class: "none" }, "–");
  const at = new Date(found);
  return el("time", { datetime: at.toISOString(), title: `${at.toISOString().slice(0, 19)}Z, ${at}` }, formatTime(found));
}

/** Seconds as 2 h 5 min; with seconds where `exact`, or below two minutes. */
export function formatDuration(seconds, exact = false) {
  if (seconds === null || seconds === undefined) return "–";
  const left = Math.max(Math.floor(seconds), 0);
  const parts = [
    [Math.floor(left / 86400), "d"],
    [Math.floor(left / 3600) % 24, "h"],
    [Math.floor(left / 60) % 60, "min"],
    [left % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return "0 s";
  const last = exact ? 4 : first === 3 ? 4 : Math.min(first + 2, left >= 120 ? 3 : 4);
  const shown = parts.slice(first, last).filter(([number], index) => exact || number > 0 || index === 0);
  return shown.map(([number, unit]) => `${number} ${unit}`).join(" ");
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** A name within a text; one that is written from right to left leaves the order of what is around it alone. */
export function isolated(name) {
  return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
}

/** An account, with its home where that is another server. */
export function whoIs(account, home) {
  return home ? `${isolated(account)} (${isolated(home)})` : isolated(account);
}
