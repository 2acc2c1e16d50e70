/* The view of the license at a glance: what is used, what the other models would say, the registration, the rights. */

import { el, setChildren, setText } from "./dom.js";
import {
  asSentence, formatCount, formatDuration, formatPercent, modelTitle, pluralize, poolTitle, timeElement, toMilliseconds,
} from "./format.js";
import { factList, table } from "./table.js";

const NEARLY_FULL = 0.8; // share of a limit
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
const RIGHTS = {
  p2p_call: "One-to-one calls",
  p2p_collaboration: "Collaboration in calls",
  messenger: "Messenger",
  finished_conference_chat: "Chats of finished conferences",
  address_book: "Address book",
  schedule_conference: "Scheduling conferences",
  prepare_slides: "Preparing slides",
  join_public_conference: "Joining public conferences",
  public_conference_chat: "Chat in public conferences",
  public_conference_collaboration: "Collaboration in public conferences",
  moderate_public_conference: "Moderating public conferences",
  internal_conference_chat: "Chat in internal conferences",
  join_internal_conference: "Joining internal conferences",
  moderate_internal_conference: "Moderating internal conferences",
  internal_conference_collaboration: "Collaboration in internal conferences",
  instant_conference: "Instant conferences",
};

/* What a node of a cluster says of itself and of the others. */
function describeCluster({ state, name, nodes, mismatches }) {
  const held = nodes.map(([node, connections], index) =>
    `${node} ${formatCount(connections)}${index ? "" : " (leads)"}`);
  const differ = mismatches ? "; nodes have come to different states" : "";
  return `node ${name} is ${state}; sessions: ${held.join(", ") || "none"}${differ}`;
}

/** The summary. */
export class SummaryView {
  static id = "summary";
  static title = "Summary";
  static isShown = () => true;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.meters = new Map(); // of the enforced model, by pool
    this.drawn = {}; // what each card shows, as JSON
    this.end = null; // when service ends, in milliseconds
  }

  open() {
    this.cards = Object.fromEntries(["license", "others", "registration", "live", "extensions", "rights"].map((id) =>
      [id, el("section", { class: "card", id, "aria-labelledby": `${id}-title` })]));
    const { license, others, registration, live, extensions, rights } = this.cards;
    setChildren(
      this.root,
      el("div", { class: "columns" },
        el("div", { class: "stack" }, license, others),
        el("div", { class: "stack" }, registration, live)),
      el("div", { class: "columns even" }, extensions, rights),
    );
    this.timer = setInterval(() => this.drawCountdown(), 1000);
  }

  update(state) {
    const { model, edition, models, enforce, extensions, registration, connections, conferences, started } = state;
    const pools = Object.keys(models[model].pools);
    // In a bad state nothing is granted, whatever is free.
    const granting = REGISTRATION[registration.state]?.[1] !== "bad";
    this.draw("license", [model, edition, enforce, granting, pools], () => this.drawLicense(state, granting));
    for (const [name, meter] of this.meters) meter.update(models[model].pools[name], granting);
    const others = Object.entries(models).filter(([name]) => name !== model);
    this.draw("others", others, () => this.drawOthers(others));
    this.draw("live", [connections, conferences, started, state.cluster], () => this.drawLive(state));
    // The gateway reckons with a clock that nobody can set back: its seconds count, not the difference of two times.
    const { seconds_left: left = null, ...registered } = registration;
    this.end = left === null ? toMilliseconds(registration.shutdown_at) : this.app.now() + left * 1000;
    this.draw("registration", registered, () => this.drawRegistration(registered));
    this.draw("extensions", extensions, () => this.drawExtensions(extensions));
    this.draw("rights", [state.rights, edition], () => this.drawRights(state));
    this.drawCountdown();
  }

  close() {
    clearInterval(this.timer);
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
        el("span", { class: `tag ${mood}`, id: "license-status" }, status)),
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
    setChildren(
      this.cards.others,
      el("h2", { id: "others-title" }, "As it would be under the other models"),
      rows.length
        ? table({ caption: "The other license models, counted beside the enforced one", columns, rows })
        : el("p", { class: "note" }, "No other model is counted: the setting license.shadow names those that are."),
    );
  }

  // -- beside them ----------------------------------------------------------------------------------------------------

  drawLive({ connections, conferences, started, cluster }) {
    const kinds = Object.entries(connections.kinds).map(([kind, number]) => `${formatCount(number)} ${kind}`);
    setChildren(
      this.cards.live,
      el("h2", { id: "live-title" }, "Now"),
      el("div", { class: "tiles" },
        tile("connections", connections.total, "connections", "#/connections"),
        tile("accounts", connections.accounts, "accounts"),
        tile("live-conferences", conferences.live, "live conferences", "#/conferences"),
        tile("members", conferences.members, "members")),
      factList([
        ...(kinds.length ? [["Kinds", kinds.join(", ")]] : []),
        ["Asleep", formatCount(connections.asleep)],
        ["Devices", formatCount(connections.devices)],
        ["Scheduled", pluralize(conferences.scheduled, "conference")],
        ["Running since", timeElement(started)],
        ...(cluster ? [["Cluster", describeCluster(cluster)]] : []),
      ]),
    );
  }

  drawRegistration(registration) {
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
    ];
    const endless = state === "grace" && registration.needs_connection === false;
    setChildren(
      this.cards.registration,
      el("div", { class: "head" },
        el("h2", { id: "registration-title" }, "Registration"),
        el("span", { class: `tag ${mood}`, id: "registration-state", dataset: { state } }, title)),
      el("p", {}, meaning),
      reason && mood === "bad" ? el("p", { class: "note" }, asSentence(reason)) : null,
      due === null ? null
        : el("div", { class: `countdown ${mood}`, id: "countdown", role: "timer", dataset: { due: shutdown } },
            el("span", {}, state === "expired" ? "Shut down at " : "Expected shutdown at "), timeElement(due), " UTC",
            el("b", { id: "countdown-left" })),
      endless ? el("p", { class: "note" }, "This license does not need the connection: it goes on without end.") : null,
      factList(facts.filter(([, value]) => value)),
    );
  }

  drawCountdown() {
    const node = this.cards.registration.querySelector("#countdown-left");
    if (node === null || this.end === null) return;
    const left = (this.end - this.app.now()) / 1000;
    setText(node, left > 0 ? `in ${formatDuration(left, true)}` : `${formatDuration(-left)} ago`);
  }

  // -- what the license includes --------------------------------------------------------------------------------------

  drawExtensions(extensions) {
    const columns = [
      { title: "Extension", isHeader: true },
      { title: "Terms", class: "soft" },
      { title: "This license" },
    ];
    const included = (licensed) =>
      el("span", { class: licensed ? "tag good" : "tag" }, licensed ? "included" : "not included");
    const rows = extensions.map(({ title, terms, licensed }) => ({ cells: [title, terms, included(licensed)] }));
    const caption = "Extensions, their terms, and whether this license has them";
    this.cards.extensions.hidden = !rows.length;
    setChildren(
      this.cards.extensions,
      el("h2", { id: "extensions-title" }, "Extensions"),
      table({ caption, columns, rows, asCards: true }),
    );
  }

  drawRights(state) {
    const { rights, edition } = state;
    this.cards.rights.hidden = !rights;
    if (!rights) return;
    const pools = Object.keys(rights);
    const columns = [{ title: "Right", isHeader: true }, ...pools.map((pool) => ({ title: poolTitle(pool, state) }))];
    const names = [...new Set(Object.values(rights).flat())];
    const rows = names.map((name) => ({
      cells: [RIGHTS[name] ?? name, ...pools.map((pool) => tick(rights[pool].includes(name)))],
    }));
    setChildren(
      this.cards.rights,
      el("h2", { id: "rights-title" }, "Rights"),
      edition === "enterprise" ? el("p", { class: "note" }, "In this edition every user has the rights of PRO.") : null,
      table({ caption: "What users may do, by license", columns, rows, class: "ticks" }),
    );
  }
}

/** One pool: how much of it is used, as a bar and in words. */
class PoolMeter {
  constructor(name, title) {
    this.figure = el("span", { class: "figure" });
    this.reserved = el("div", { class: "reserved" });
    this.used = el("div", { class: "used" });
    this.high = el("div", { class: "high" });
    const attributes = { class: "bar", role: "meter", "aria-label": title, "aria-valuemin": "0" };
    this.bar = el("div", attributes, this.used, this.reserved, this.high);
    this.words = el("span");
    this.refused = el("a", { title: "Since the gateway was started" });
    const note = el("p", { class: "note" }, this.words, " · ", this.refused);
    const head = el("div", { class: "head" }, el("h3", {}, title), this.figure);
    this.node = el("div", { class: "pool", dataset: { pool: name } }, head, this.bar, note);
  }

  /** Show a pool as the state has it; `granting` says whether its seats are granted at all. */
  update({ used, limit, reserved, high_water: high, denied, overdraft_used: over, available, waiting }, granting) {
    const scale = Math.max(limit ?? 0, used, high, 1);
    const share = limit === null ? null : limit === 0 ? (used ? 1 : 0) : used / limit;
    const figure = limit === null ? `${formatCount(used)} · no limit` : `${formatCount(used)} of ${formatCount(limit)}`;
    setText(this.figure, figure);
    this.bar.dataset.level = share === null ? "open" : share >= 1 ? "full" : share >= NEARLY_FULL ? "near" : "good";
    this.bar.setAttribute("aria-valuemax", String(limit ?? scale));
    this.bar.setAttribute("aria-valuenow", String(Math.min(used, limit ?? used)));
    this.bar.setAttribute("aria-valuetext", limit === null ? `${formatCount(used)} used, no limit` : `${figure} used`);
    this.bar.hidden = limit === null && used === 0 && high === 0;
    this.used.style.width = `${(used / scale) * 100}%`;
    this.reserved.style.width = `${(Math.min(reserved, used) / scale) * 100}%`;
    this.high.hidden = high === 0;
    this.high.style.left = `${(high / scale) * 100}%`;
    const words = [
      available === null || !granting ? null : `${formatCount(available)} available`,
      reserved ? `${formatCount(reserved)} reserved` : null,
      `high water ${formatCount(high)}`,
      waiting ? `${formatCount(waiting)} waiting` : null,
      over ? `${formatCount(over)} above the limit` : null,
      share === null || share < NEARLY_FULL ? null : formatPercent(share),
    ];
    setText(this.words, words.filter(Boolean).join(" · "));
    setText(this.refused, denied ? `${formatCount(denied)} refused` : "none refused");
    if (denied) this.refused.href = "#/refusals";
    else this.refused.removeAttribute("href");
  }
}

function tile(id, number, title, address = null) {
  const content = [el("b", { id: `total-${id}` }, formatCount(number)), el("span", {}, title)];
  return address ? el("a", { class: "tile", href: address }, content) : el("div", { class: "tile" }, content);
}

function tick(yes) {
  return yes
    ? el("span", { class: "yes", role: "img", "aria-label": "yes" }, "✓")
    : el("span", { class: "none", role: "img", "aria-label": "no" }, "–");
}
