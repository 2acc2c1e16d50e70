/* The view of the license at a glance: what is used and was in the last hour, what the other models would say, the
registration, the gateway's own health. */

import { zoneName } from "./clock.js";
import { drawCluster } from "./cluster.js";
import { el, renewChildren, setChildren, setText } from "./dom.js";
import {
  asSentence, formatBytes, formatCount, formatDuration, formatPercent, modelTitle, pluralize, poolTitle, timeElement,
  toMilliseconds,
} from "./format.js";
import { drawExtensions, drawRights } from "./included.js";
import { PoolMeter } from "./pool_meter.js";
import { Recent } from "./recent.js";
import { Segments } from "./segments.js";
import { factList, table } from "./table.js";
import { WatchedList } from "./watched_list.js";

const CARDS = ["license", "others", "live", "cluster", "registration", "health", "extensions", "rights"];
const SPANS = [["5m", "5 min"], ["15m", "15 min"], ["1h", "1 h"]];

/* Of each state of the registration: its name, how good it is, and what it means. */
const REGISTRATION = {
  off: ["off", "", "This gateway does not register."],
  unregistered: ["unregistered", "bad", "The license has never been verified: nothing is granted."],
  registered: ["registered", "good", "The license is verified all the time."],
  grace: ["connection lost", "warn", "The registration server does not answer."],
  expired: ["expired", "bad", "The license has run out: client doors are closed."],
  revoked: ["revoked", "bad", "The license has been revoked: client doors are closed."],
  clock_rollback: [
    "clock set back", "bad", "The clock is behind what it was: nothing new is granted until it catches up.",
  ],
};

/** The summary. */
export class SummaryView {
  static id = "summary";
  static title = "Summary";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.meters = new Map(); // of the enforced model, by pool
    this.drawn = {}; // what each card shows, as JSON
    this.end = null; // when service ends, in milliseconds
    this.started = null; // when the gateway was whose seconds the curves have
    this.recent = new Recent("1h");
    this.watched = new WatchedList((signal) => this.load(signal), (error) => app.report(error));
  }

  open() {
    this.cards = Object.fromEntries(CARDS.map((id) =>
      [id, el("section", { class: "card", id, "aria-labelledby": `${id}-title` })]));
    const { license, others, cluster, registration, live, health, extensions, rights } = this.cards;
    this.spans = new Segments("Time of the curves", SPANS, (span) => this.chooseSpan(span));
    this.spans.show(this.recent.span);
    this.included = el("details", { class: "included" }, el("summary", {}, "What this license includes"),
      el("div", { class: "columns even" }, extensions, rights));
    setChildren(
      this.root,
      el("div", { class: "columns" },
        el("div", { class: "stack" }, license, others),
        el("div", { class: "stack" }, live, cluster, registration, health)),
      this.included,
    );
    this.timer = setInterval(() => this.drawCountdown(), 1000);
  }

  update(state) {
    const { model, edition, models, enforce, extensions, registration, connections, conferences, started } = state;
    const { overridden } = state;
    if (started !== this.started) this.recent = new Recent(this.recent.span);
    this.started = started;
    const pools = Object.keys(models[model].pools);
    // In a bad state nothing is granted, whatever is free.
    const granting = REGISTRATION[registration.state]?.[1] !== "bad";
    this.draw("license", [model, edition, enforce, granting, pools], () => this.drawLicense(state, granting));
    for (const [name, meter] of this.meters) meter.update(models[model].pools[name], granting);
    if (this.recent.isStale(state.recent.second)) this.watched.refresh();
    this.recent.add(state.recent, toMilliseconds(state.clock));
    this.drawCurves();
    const others = Object.entries(models).filter(([name]) => name !== model);
    this.draw("others", others, () => this.drawOthers(others));
    this.draw("live", [connections, conferences, started, this.traffic()], () => this.drawLive(state));
    // The gateway reckons with a clock that nobody can set back: its seconds count, not the difference of two times.
    const { seconds_left: left = null, ...registered } = registration;
    this.end = left === null ? toMilliseconds(registration.shutdown_at) : this.app.now() + left * 1000;
    this.draw("registration", [registered, overridden], () => this.drawRegistration(registered, overridden));
    this.draw("cluster", state.cluster, () => drawCluster(this.cards.cluster, state.cluster));
    this.draw("health", [state.health, state.store], () => this.drawHealth(state));
    this.draw("extensions", extensions, () => drawExtensions(this.cards.extensions, extensions));
    this.draw("rights", [state.rights, edition], () => drawRights(this.cards.rights, state));
    this.included.hidden = !extensions.length && !state.rights;
    this.drawCountdown();
  }

  close() {
    clearInterval(this.timer);
    this.watched.close();
  }

  async load(signal) {
    await this.recent.load(this.app, signal);
    if (!signal.aborted) this.drawCurves();
  }

  chooseSpan(span) {
    this.recent = new Recent(span);
    this.spans.show(span);
    this.watched.refresh();
  }

  drawCurves() {
    for (const [name, meter] of this.meters) meter.curve.update(this.recent, name);
  }

  /** Connections that came, went and were lost within the last five minutes, a minute; null before that is known. */
  traffic() {
    if (this.recent.at === null) return null;
    return ["opened", "ended", "lost"].map((name) => {
      const [sum, seconds] = this.recent.sum(this.recent.totals[name], 300);
      return sum ? (sum / seconds * 60).toFixed(1) : "0";
    });
  }

  /** Draw a card where what it shows is another than before. */
  draw(name, shown, draw) {
    const content = JSON.stringify(shown);
    if (this.drawn[name] === content) return;
    this.drawn[name] = content;
    draw();
  }

  // -- the models -----------------------------------------------------------------------------------------------------

  drawLicense(state, granting) {
    const { model, edition, enforce } = state;
    const [mood, status] = !granting
      ? ["bad", "nothing is granted"]
      : enforce ? ["good", "enforced"] : ["warn", "counted, not enforced"];
    const names = Object.keys(state.models[model].pools);
    this.meters = new Map(names.map((name) => [name, new PoolMeter(name, poolTitle(name, state))]));
    const key = (kind, text) => [el("span", { class: `key ${kind}` }), ` ${text} `];
    setChildren(
      this.cards.license,
      el("div", { class: "head" },
        el("h2", { id: "license-title" }, modelTitle(model, state)),
        edition ? el("span", { class: "tag", id: "edition" }, `edition ${edition}`) : null,
        el("span", { class: `tag ${mood}`, id: "license-status" }, status),
        this.spans.node),
      [...this.meters.values()].map((meter) => meter.node),
      el("p", { class: "keys note", "aria-hidden": "true" },
        key("used", "used"), key("reserved", "of it reserved"), key("high", "high water")),
    );
  }

  drawOthers(others) {
    const { state } = this.app;
    const row = (model, [pool, seats], index, all) =>
      el("tr", { dataset: { model, pool } },
        index ? null : el("th", { scope: "rowgroup", rowspan: all.length }, modelTitle(model, state)),
        el("td", { class: "inner" }, poolTitle(pool, state, model)),
        el("td", { class: "number" }, formatCount(seats.used)),
        el("td", { class: "number" }, seats.limit === null ? "no limit" : formatCount(seats.limit)),
        el("td", { class: "number wide-only" }, formatCount(seats.high_water)),
        el("td", { class: seats.denied ? "number warn" : "number" }, formatCount(seats.denied)));
    const columns = [
      { title: "Model" },
      { title: "Pool" },
      { title: "Used", class: "number" },
      { title: "Limit", class: "number" },
      { title: "High water", class: "number wide-only" },
      { title: "Would have refused", class: "number" },
    ];
    const rows = others.flatMap(([model, { pools }]) =>
      Object.entries(pools).map((entry, index, all) => row(model, entry, index, all)));
    renewChildren(
      this.cards.others,
      el("h2", { id: "others-title" }, "As it would be under the other models"),
      rows.length
        ? table({ caption: "The other license models, counted beside the enforced one", columns, rows })
        : el("p", { class: "note" }, "No other model is counted: the setting license.shadow names those that are."),
    );
  }

  // -- beside them ----------------------------------------------------------------------------------------------------

  drawLive({ connections, conferences, started }) {
    const traffic = this.traffic();
    const kinds = Object.entries(connections.kinds).map(([kind, number]) => `${formatCount(number)} ${kind}`);
    renewChildren(
      this.cards.live,
      el("h2", { id: "live-title" }, "Now"),
      el("div", { class: "tiles" },
        tile("connections", connections.total, "connections", "#/connections"),
        tile("accounts", connections.accounts, "accounts"),
        tile("live-conferences", conferences.live, "live conferences", "#/conferences"),
        tile("members", conferences.members, "members")),
      factList([
        ...(kinds.length ? [["Kinds", kinds.join(", ")]] : []),
        ...(traffic ? [["Last 5 min", [`${traffic[0]} came and ${traffic[1]} went a minute, `,
          el("a", { href: "#/ended" }, `${traffic[2]} dropped`)]]] : []),
        ["Asleep", formatCount(connections.asleep)],
        ["Idle", formatCount(connections.idle)],
        ["Devices", formatCount(connections.devices)],
        ["Scheduled", pluralize(conferences.scheduled, "conference")],
        ["Running since", timeElement(started)],
      ]),
    );
  }

  drawHealth({ health, store }) {
    const of = (number, limit) => `${formatCount(number)} of ${formatCount(limit)}`;
    const late = health.lag_ms;
    const [mood, word] = !store.available || late >= 1000 ? ["bad", "not well"] : late >= 250 ? ["warn", "late"] : ["good", "well"];
    renewChildren(
      this.cards.health,
      el("div", { class: "head" }, el("h2", { id: "health-title" }, "The gateway itself"),
        el("span", { class: `tag ${mood}`, id: "health-state" }, word)),
      factList([
        ["Delay", `${formatCount(late)} ms at most in the last 10 s`],
        ["Store", [store.available ? "answers" : "unavailable", `, ${pluralize(health.store_pending, "write")} waiting`,
          health.store_errors ? `, ${pluralize(health.store_errors, "failure")} since the start` : ""]],
        ["Connections", of(health.connections, health.connections_limit)],
        ...(health.files === null ? [] : [["Open files", of(health.files, health.files_limit)]]),
        ["Processor", `${formatPercent(health.cpu)} of one`],
        ...(health.memory === null ? [] : [["Memory", formatBytes(health.memory)]]),
        ["Turned away", `${pluralize(health.rejected, "socket")} since the start`],
      ]),
    );
  }

  drawRegistration(registration, overridden) {
    const { state, reason, serial, server, installation, offline } = registration;
    const { clone_suspected: clone, clock_skew_seconds: skew, shutdown_at: shutdown } = registration;
    const [title, mood, meaning] = REGISTRATION[state] ?? [state, "warn", ""];
    const due = toMilliseconds(shutdown);
    const facts = [
      ["License", serial],
      ["Server", server],
      ["Last verified", registration.last_verified && timeElement(registration.last_verified)],
      ["Lost at", registration.lost_at && timeElement(registration.lost_at)],
      ["Valid until", registration.not_after && timeElement(registration.not_after)],
      ["Installation", installation && el("code", {}, installation)],
      ["Registered", offline && "offline"],
      ["Clone", clone && el("span", { class: "tag bad" }, "another installation uses this license")],
      ["Clock", skew && `${formatCount(skew)} s off the server's`],
      ["Without effect", overridden.length > 0 && el("span", { class: "tag warn" }, overridden.join(", "))],
    ];
    const endless = state === "grace" && registration.needs_connection === false;
    renewChildren(
      this.cards.registration,
      el("div", { class: "head" },
        el("h2", { id: "registration-title" }, "Registration"),
        el("span", { class: `tag ${mood}`, id: "registration-state", dataset: { state } }, title)),
      el("p", {}, meaning),
      reason && mood === "bad" ? el("p", { class: "note" }, asSentence(reason)) : null,
      due === null ? null
        : el("div", { class: `countdown ${mood}`, id: "countdown", role: "timer", dataset: { due: shutdown } },
            el("span", {}, state === "expired" ? "Shut down at " : "Expected shutdown at "), timeElement(due), ` ${zoneName()}`,
            el("b", { id: "countdown-left" })),
      endless ? el("p", { class: "note" }, "This license does not need the connection: it goes on without it.") : null,
      factList(facts.filter(([, value]) => value)),
    );
  }

  drawCountdown() {
    const node = this.cards.registration.querySelector("#countdown-left");
    if (node === null || this.end === null) return;
    const left = (this.end - this.app.now()) / 1000;
    setText(node, left > 0 ? `in ${formatDuration(left, true)}` : `${formatDuration(-left)} ago`);
  }

}

function tile(id, number, title, address = null) {
  const content = [el("b", { id: `total-${id}` }, formatCount(number)), el("span", {}, title)];
  return address ? el("a", { class: "tile", href: address }, content) : el("div", { class: "tile" }, content);
}
