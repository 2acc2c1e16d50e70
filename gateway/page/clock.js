/* Which clock the page writes times by: UTC, until whoever looks chooses that of the place; and how long ago things were. */

const KEY = "tallygate.clock";
const MINUTE = 60_000;

const root = document.documentElement;
root.dataset.clock = stored() === "local" ? "local" : "utc";

/** The name of the clock: UTC, or a time zone such as Europe/Berlin. */
export function zoneName() {
  return isLocal() ? placeName() : "UTC";
}

/** The name of the clock that is not chosen. */
export function otherZoneName() {
  return isLocal() ? "UTC" : placeName();
}

/** Choose the other clock; the browser keeps the choice, for this gateway's address. */
export function switchZone() {
  root.dataset.clock = isLocal() ? "utc" : "local";
  try {
    localStorage.setItem(KEY, root.dataset.clock);
  } catch (error) {
    console.info(`The browser keeps nothing, so the clock lasts as long as the page: ${error.message}`);
  }
}

/** Milliseconds by which the clock is ahead of UTC at an instant. */
export function zoneOffset(at) {
  return isLocal() ? -new Date(at).getTimezoneOffset() * MINUTE : 0;
}

/** An instant as a Date whose fields of UTC are those of the clock. */
export function onClock(at) {
  return new Date(at + zoneOffset(at));
}

/**
 * How long ago something was. Of two clocks the one counts that says more: the page's own stands still while the machine
 * sleeps, the machine's may be set back.
 */
export class Since {
  #own = performance.now();
  #machine = Date.now();

  /** Milliseconds. */
  get elapsed() {
    return Math.max(performance.now() - this.#own, Date.now() - this.#machine);
  }
}

function isLocal() {
  return root.dataset.clock === "local";
}

function placeName() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
}

/** The clock that was kept; null where there is none, or where the browser keeps nothing. */
function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
