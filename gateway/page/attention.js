/* What needs somebody now: one sentence for each thing, from the state of the gateway alone. */

import { zoneName } from "./clock.js";
import {
  formatCount, formatDuration, formatTime, isolated, pluralize, poolTitle, shortTime, toMilliseconds,
} from "./format.js";

const FRESH = 300_000; // milliseconds for which a refusal is a matter of now
const CROWDED = 0.9; // share of the connections or files that there may be
const LATE = [250, 1000]; // milliseconds by which the loop is late, for a warning and for worse
const DROPS = [10, 0.1]; // connections lost in a minute, at least, and as a share of all
const LEASED = { model: "trueconf", pool: "pro" };
const NOTHING_GRANTED = {
  unregistered: "The license has never been verified.",
  expired: "The license has run out.",
  revoked: "The license has been revoked.",
  clock_rollback: "The clock is behind what it was.",
};

/**
 * What needs somebody, the worst first.
 *
 * @param {object} state
 * @param {number} now The gateway's clock, in milliseconds.
 * @param {Map<string, object>} idle Of pools that are full, who does nothing for an hour, as `GET /api/idle` says.
 * @param {string} loaded The version of the gateway that this page is of.
 * @returns {Array<{level: string, about: string, parts: Array<string|{text, href}>}>} `level` is bad or warn; `about` tells
 *   the sentences apart, whatever their figures are; the parts are a sentence.
 */
export function attention(state, now, idle, loaded) {
  const found = [...ofLicense(state), ...ofGateway(state), ...ofPools(state, now, idle), ...ofPage(state, loaded)];
  return [...found.filter(({ level }) => level === "bad"), ...found.filter(({ level }) => level !== "bad")];
}

/** Whether the license grants nothing in its state. */
export const grantsNothing = ({ registration }) => registration.state in NOTHING_GRANTED;

const bad = (about, ...parts) => ({ level: "bad", about, parts });
const warn = (about, ...parts) => ({ level: "warn", about, parts });

function ofLicense(state) {
  const { registration } = state;
  const over = NOTHING_GRANTED[registration.state];
  const end = registration.shutdown_at;
  return [
    over && bad("license", `${over} Nothing is granted.`),
    !over && end && warn("license",
      `The registration server does not answer: service ends at ${formatTime(end)} ${zoneName()} unless it does.`),
    registration.clone_suspected && bad("clone", "Another installation uses this license."),
  ].filter(Boolean);
}

function ofGateway({ draining, store, health, connections, cluster }) {
  const late = health.lag_ms;
  const lost = health.lost_in_minute;
  const within = (share, limit) => limit > 0 && share / limit >= CROWDED;
  return [
    !store.available && bad("store", "The store is unavailable: what changes now is not durable, and no lease is granted."),
    cluster?.mismatches && bad("mismatch", "The nodes of the cluster have come to different states."),
    cluster && ["fenced", "slow"].includes(cluster.state) && bad("node", `This node of the cluster is ${cluster.state}.`),
    ...(cluster?.etcd_alarms ?? []).map((alarm) => bad(`etcd ${alarm}`, `etcd complains: ${alarm}.`)),
    ...(cluster?.nodes ?? []).filter(({ silent }) => silent > 0).map(({ name, silent }) =>
      warn(`node ${name}`, `Node ${isolated(name)} of the cluster is silent for ${formatDuration(silent)}.`)),
    draining && warn("draining", "The gateway is draining: nobody is let in any more."),
    late >= LATE[0] && (late >= LATE[1] ? bad : warn)("late",
      `The gateway answers late: up to ${formatDelay(late)} in the last ten seconds. Is the machine busy?`),
    within(health.connections, health.connections_limit) && warn("connections",
      `${formatCount(health.connections)} of ${formatCount(health.connections_limit)} connections are taken: more are refused.`),
    within(health.files, health.files_limit) && warn("files",
      `${formatCount(health.files)} of ${formatCount(health.files_limit)} files are open.`),
    lost >= Math.max(DROPS[0], connections.total * DROPS[1]) && warn("lost",
      link(`${pluralize(lost, "connection")} dropped`, "#/ended"), " in the last minute."),
  ].filter(Boolean);
}

function ofPage({ version }, loaded) {
  if (version === loaded) return [];
  return [warn("version", `The gateway is tallygate ${version} by now, and this page that of ${loaded}: load it again.`)];
}

function ofPools(state, now, idle) {
  const granted = !grantsNothing(state);
  return Object.entries(state.recent.pools)
    .map(([name, pool]) => (granted ? ofPool(name, pool, state, now, idle.get(name)) : null))
    .filter(Boolean);
}

function ofPool(name, pool, state, now, idle) {
  const title = poolTitle(name, state);
  const refusals = `#/refusals?pool=${encodeURIComponent(name)}`;
  const last = toMilliseconds(pool.last_denied);
  const fresh = last !== null && now - last < FRESH;
  const waiting = state.models[state.model].pools[name]?.waiting ?? 0;
  if (pool.full_since === null) {
    return fresh
      ? warn(`refused ${name}`, `${title}: `, link("somebody was refused", refusals), ` at ${shortTime(last, now)}; there is room now.`)
      : null;
  }
  if (pool.limit === 0 && pool.denied_since === 0) return null;
  const parts = [`${title}: full since ${shortTime(pool.full_since, now)}, `];
  parts.push(pool.denied_since ? link(`${formatCount(pool.denied_since)} refused`, refusals) : "nobody was refused");
  if (waiting) parts.push(", ", link(`${formatCount(waiting)} waiting`, "#/queue"));
  if (idle?.holders) {
    const holders = `${pluralize(idle.holders, "holder")} idle for over an hour`;
    // A license of an account is held by it even where nobody is connected.
    const leased = state.model === LEASED.model && name === LEASED.pool;
    parts.push(", ", link(holders, leased ? "#/pro" : `#/connections?pool=${encodeURIComponent(name)}&idle=1h&sort=-idle`));
  }
  parts.push(".");
  return (pool.denied_since ? bad : warn)(`full ${name}`, ...parts);
}

function link(text, href) {
  return { text, href };
}

function formatDelay(milliseconds) {
  return milliseconds >= 1000 ? formatDuration(milliseconds / 1000) : `${milliseconds} ms`;
}
