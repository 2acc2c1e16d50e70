/* The last hour as the page has it: asked for once, then carried on second by second by the stream of events. */

import { toMilliseconds } from "./format.js";

const POINTS = 450; // steps of a curve
const AGAIN = 60; // seconds after which all of it is asked for again
const LONGEST_GAP = 5; // seconds that may be missing in the stream; after more, all of it is asked for again
const TOTALS = ["opened", "ended", "lost"];

/**
 * Use of the pools and connections that came and went, in steps of `step` seconds.
 *
 * Every list has a number for each step; the last step may not be over. `begin` is the first second of the first step, by
 * the gateway's own count; `end` the second after the last one.
 */
export class Recent {
  step = 1;
  begin = 0;
  end = 0;
  /** By pool: lists `used`, `limit`, `denied`, `granted`. */
  pools = new Map();
  /** Lists `opened`, `ended`, `lost`. */
  totals = {};
  /** When `end` was, in milliseconds since the epoch; null before the first answer. */
  at = null;
  #asked = 0;

  /** @param {string} span For how long, such as "1h". */
  constructor(span) {
    this.span = span;
  }

  /** Whether all of it should be asked for: `second` is that of the stream's last state. */
  isStale(second) {
    return this.at === null || second - this.#asked >= AGAIN || Math.abs(second - this.end) > LONGEST_GAP;
  }

  /** Ask for all of it. */
  async load(app, signal) {
    const told = await app.get(`api/recent?points=${POINTS}&since=${this.span}`, { signal });
    const length = told.opened.length;
    this.step = told.step;
    this.end = this.#asked = told.second;
    this.begin = (Math.floor((told.second - 1) / told.step) - length + 1) * told.step;
    this.at = toMilliseconds(told.end);
    this.pools = new Map(told.pools.map((pool) => [pool.pool, pool]));
    this.totals = Object.fromEntries(TOTALS.map((name) => [name, told[name]]));
  }

  /** Add what the stream says of the last second, `recent` of the state; `at` is now, in milliseconds. */
  add(recent, at) {
    if (this.at === null || recent.second <= this.end) return;
    const place = Math.floor((recent.second - 1 - this.begin) / this.step);
    for (const [name, pool] of this.pools) {
      const { used, limit, denied, granted } = recent.pools[name] ?? { used: 0, limit: null, denied: 0, granted: 0 };
      extend(pool.used, place, used, Math.max);
      extend(pool.limit, place, limit, (_, now) => now);
      extend(pool.denied, place, denied, (sum, now) => sum + now, 0);
      extend(pool.granted, place, granted, (sum, now) => sum + now, 0);
    }
    for (const name of TOTALS) extend(this.totals[name], place, recent[name], (sum, now) => sum + now, 0);
    this.end = recent.second;
    this.at = at;
  }

  /** When a step begins, in milliseconds since the epoch. */
  timeOf(place) {
    return this.at - (this.end - this.begin - place * this.step) * 1000;
  }

  /** The sum of a list over its last `seconds`, and how many seconds that really are. */
  sum(list, seconds) {
    const steps = Math.min(Math.ceil(seconds / this.step), list.length);
    const sum = list.slice(list.length - steps).reduce((total, number) => total + number, 0);
    return [sum, Math.max(Math.min(steps * this.step, this.end - this.begin), 1)];
  }
}

/** Put `number` at a place of a list, joined with what is there; places between are as it, or as `between`. */
function extend(list, place, number, join, between = number) {
  while (list.length < place) list.push(between);
  if (list.length === place) list.push(number);
  else list[place] = join(list[place], number);
}
