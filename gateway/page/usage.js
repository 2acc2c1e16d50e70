/* The view of who used it: by account, device, group, day, week or month, under any model, as a list and as a file.

All figures are the gateway's own, added up from whole days of its time zone up to the instant at which it was asked.
They are asked for on opening, on every choice, and while the page is seen again when they are five minutes old.
*/

import { Since } from "./clock.js";
import { el, setChildren, setText } from "./dom.js";
import { formatCount, isolated, modelTitle, pluralize, poolTitle, timeElement, whoIs } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { saveFile, toCsv } from "./panel.js";
import { Segments } from "./segments.js";
import { SHADOW } from "./sizing.js";

const KINDS = [
  ["account", "Accounts"],
  ["device", "Devices"],
  ["group", "Groups"],
  ["day", "Days"],
  ["week", "Weeks"],
  ["month", "Months"],
  ["absent", "Never came"],
];
const TIMES = new Set(["day", "week", "month"]);
const SPANS = [["today", "Today"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"], ["400d", "400 days"]];
const REFRESH = 300_000; // milliseconds
const RETRY = 2000; // milliseconds after which it is tried again where it was in vain
const MOST = 20_000; // items that are asked for
const PAGE = 1000;
const HOUR = 3600;
/* What the list can be sorted by: its title, and the value of an item; the highest comes first. */
const ORDERS = {
  connected: ["Hours connected", (item) => item.connected_seconds],
  seats: ["Hours of seats", (item) => item.seatSeconds],
  sessions: ["Sessions", (item) => item.sessions],
  denied: ["Refusals", (item) => item.denied],
  last: ["Last seen", (item) => Date.parse(item.last)],
};
/* The columns of the file, those of `tallygate usage --csv`. */
const FIELDS = [
  ...["account", "home", "device", "address", "group", "begins", "users", "guests", "days", "first", "last"],
  ...["connected_seconds", "sessions", "most_sessions", "model", "pool", "pool_days", "seat_seconds", "peak", "grants"],
  ...["denials", "true_denials", "seated", "mean_time_to_seat", "max_time_to_seat"],
];

/** Use of one model over one span: `#/usage/KIND/MODEL?span=30d`. */
export class UsageView {
  static id = "usage";
  static title = "Usage";
  static isShown = (state) => Object.keys(state.models).length > 0;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    const [kind = "", model = ""] = app.route.parts;
    const span = app.route.query.get("span");
    this.kind = KINDS.some(([id]) => id === kind) ? kind : "account";
    this.model = model;
    this.span = SPANS.some(([id]) => id === span) ? span : "30d";
    this.order = TIMES.has(this.kind) ? "name" : "connected";
    this.answer = null;
    this.failed = false; // whether the last request was in vain
    this.asked = new Since(); // since it was made
    this.requests = new AbortController();
    this.source = new ItemSource(textOf, (matching) => this.drawFigures(matching));
  }

  open() {
    if (!(this.model in this.app.state.models)) this.model = this.app.state.model;
    this.spans = new Segments("Time", SPANS, (span) => this.choose({ span }));
    const change = (name) => (event) => this.choose({ [name]: event.target.value });
    const kinds = KINDS.map(([value, title]) => el("option", { value }, title));
    this.kinds = el("select", { id: "usage-kind", onchange: change("kind") }, kinds);
    this.models = el("select", { id: "usage-model", onchange: change("model") }, this.modelOptions());
    this.models.value = this.model;
    this.orders = el("select", { id: "usage-order", onchange: (event) => this.sort(event.target.value) });
    const onclick = () => saveFile({ name: `usage-${this.kind}-${this.span}.csv`, text: this.csv() });
    this.save = el("button", { type: "button", "data-act": "download", onclick }, "Download CSV");
    const field = (title, control) => el("div", { class: "field" }, el("label", { for: control.id }, title), control);
    this.shadow = el("p", { class: "note", hidden: true }, SHADOW);
    this.status = el("p", { class: "note", role: "status" });
    this.body = el("div", { id: "usage" });
    setChildren(
      this.root,
      el(
        "div",
        { class: "toolbar" },
        [field("Use by", this.kinds), field("Model", this.models), field("Sorted by", this.orders)],
        [this.spans.node, this.save],
      ),
      this.shadow,
      this.status,
      this.body,
    );
    this.build();
  }

  /** What was is asked for by the clock, not by the state; but again where it could not be had. */
  update() {
    if (document.hidden || !this.app.isConnected || this.isLoading) return;
    if (this.asked.elapsed >= (this.failed ? RETRY : REFRESH)) this.load();
  }

  close() {
    this.requests.abort();
    this.list.close();
  }

  modelOptions() {
    const { state } = this.app;
    const note = (name) => (name === state.model ? " (enforced)" : "");
    return Object.keys(state.models).map((name) =>
      el("option", { value: name }, `${modelTitle(name, state)}${note(name)}`));
  }

  // -- choosing -------------------------------------------------------------------------------------------------------

  choose(chosen) {
    if (chosen.kind) this.order = TIMES.has(chosen.kind) || chosen.kind === "absent" ? "name" : "connected";
    Object.assign(this, chosen);
    this.list.close();
    this.build();
  }

  sort(order) {
    this.order = order;
    this.arrange();
    this.list.open();
  }

  /** Build the list of what is chosen, and ask for it. */
  build() {
    this.answer = null;
    this.source.items = [];
    this.source.text = "";
    this.kinds.value = this.kind;
    this.spans.show(this.span);
    this.shadow.hidden = this.isAbsent || this.model === this.app.state.model;
    this.models.parentElement.hidden = this.orders.parentElement.hidden = this.isAbsent;
    const named = TIMES.has(this.kind) ? "Time" : "Name";
    const orders = [["name", named], ...Object.entries(ORDERS).map(([id, [title]]) => [id, title])];
    setChildren(this.orders, orders.map(([id, title]) => el("option", { value: id }, title)));
    this.orders.value = this.order;
    this.save.disabled = true;
    window.history.replaceState(null, "", `#/usage/${this.kind}/${encodeURIComponent(this.model)}?span=${this.span}`);
    this.list = new ListView(this.app, {
      id: "usage",
      caption: `Use by ${this.isAbsent ? "nobody" : this.kind}`,
      columns: this.isAbsent ? [{ title: "Account", class: "who", cell: (item) => isolated(item.account) }] : this.columns(),
      key: (item) => item.key,
      placeholder: TIMES.has(this.kind) ? "2026-11" : "name",
      source: this.source,
      empty: (searching) => el("p", {}, this.emptyText(searching)),
    });
    this.list.setFigures("Adding up…");
    setChildren(this.body, this.list.nodes);
    this.load();
  }

  get isAbsent() {
    return this.kind === "absent";
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  get isLoading() {
    return this.body.hasAttribute("aria-busy");
  }

  async load() {
    this.requests.abort();
    this.requests = new AbortController();
    const { signal } = this.requests;
    this.body.setAttribute("aria-busy", "true");
    this.asked = new Since();
    try {
      this.answer = await this.readAll(signal);
      this.failed = false;
      setText(this.status, "");
      this.save.disabled = false;
      this.arrange();
      this.list.refresh();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.failed = error.isPassing === true;
      setText(this.status, `Not up to date: ${error.message}`);
      if (this.answer === null) {
        this.list.setFigures("");
        this.list.showFailure(error);
      } else {
        this.app.report(error);
      }
    }
    this.body.removeAttribute("aria-busy");
  }

  /** All items, up to `MOST`. */
  async readAll(signal) {
    const parameters = { since: this.span === "today" ? "1s" : this.span, limit: PAGE };
    if (!this.isAbsent) Object.assign(parameters, { by: this.kind, model: this.model });
    const path = this.isAbsent ? "api/usage/absent" : "api/usage";
    let items = [];
    let answer = { next: null };
    do {
      const cursor = answer.next === null ? {} : { cursor: answer.next };
      answer = await this.app.get(`${path}?${new URLSearchParams({ ...parameters, ...cursor })}`, { signal });
      items = [...items, ...answer.items];
    } while (answer.next !== null && items.length < MOST);
    return { ...answer, items: items.map((item) => this.prepared(item)) };
  }

  /** An item with what the list reads of it again and again. */
  prepared(item) {
    if (this.isAbsent) return { ...item, key: item.account };
    const sum = (name) => item.pools.reduce((total, pool) => total + pool[name], 0);
    const key = ["account", "home", "device", "address", "group", "begins"].map((name) => item[name] ?? "").join("\n");
    return { ...item, key, seatSeconds: sum("seat_seconds"), denied: sum("denials"), missed: sum("true_denials") };
  }

  arrange() {
    const items = [...(this.answer?.items ?? [])];
    const [, value] = ORDERS[this.order] ?? [];
    if (value) items.sort((one, other) => value(other) - value(one));
    else if (TIMES.has(this.kind)) items.reverse();
    this.source.items = items;
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  columns() {
    const { state } = this.app;
    const number = (title, value, kind = "") => ({ title, class: `number ${kind}`.trim(), cell: value });
    const ofTimes = TIMES.has(this.kind);
    const counted = ofTimes || this.kind === "group";
    const pools = Object.keys(state.models[this.model].pools);
    const hours = (pool) => (item) => formatHours(item.pools.find((each) => each.pool === pool)?.seat_seconds);
    return [
      { title: ofTimes ? "From" : this.title, class: "who", cell: (item) => this.whoCell(item, pools) },
      ...(this.kind === "device" ? [{ title: "Device", class: "subject", cell: deviceOf }] : []),
      ...(counted ? [number("Users", (item) => formatCount(item.users), "wide-only"), number("Guests", (item) => formatCount(item.guests), "wide-only")] : []),
      ...(counted ? [] : [number("Days", (item) => formatCount(item.days), "wide-only roomy")]),
      number("Connected", (item) => formatHours(item.connected_seconds), "wide-only"),
      number("Sessions", (item) => formatCount(item.sessions), "wide-only roomy"),
      ...pools.map((pool) => number(poolTitle(pool, state, this.model), hours(pool), "wide-only")),
      number("Refused", (item) => (item.denied ? formatCount(item.denied) : "–"), "wide-only"),
      ...(ofTimes ? [] : [{ title: "Last seen", class: "time", cell: (item) => timeElement(item.last) }]),
    ];
  }

  get title() {
    return { account: "Account", device: "Account", group: "Group" }[this.kind];
  }

  nameOf(item) {
    if (TIMES.has(this.kind)) return this.kind === "month" ? item.begins.slice(0, "2026-11".length) : item.begins;
    if (this.kind === "group") return item.group === null ? el("i", {}, "in no group") : isolated(item.group);
    if (item.account !== null) return whoIs(item.account, item.home);
    return el("i", {}, this.kind === "device" ? "guest" : "guests");
  }

  /** Who it is or when it was; on a card, where there is no room for columns, with all figures. */
  whoCell(item, pools) {
    return [this.nameOf(item), el("span", { class: "soft narrow-only" }, this.inShort(item, pools))];
  }

  /** The figures of a card, where there is no room for columns. */
  inShort(item, pools) {
    const seats = pools
      .map((pool) => [pool, item.pools.find((each) => each.pool === pool)?.seat_seconds])
      .filter(([, seconds]) => seconds)
      .map(([pool, seconds]) => `${poolTitle(pool, this.app.state, this.model)} ${formatHours(seconds)} h`);
    const refused = item.denied ? [`${formatCount(item.denied)} refused`] : [];
    const users = item.users === undefined ? [] : [pluralize(item.users, "user")];
    return [...users, `${formatHours(item.connected_seconds)} h connected`, ...seats, ...refused].join(" · ");
  }

  emptyText(searching) {
    if (searching) return "Nothing here matches.";
    return this.isAbsent ? "Everybody who is registered or in a group came." : "Nobody was here in this time.";
  }

  drawFigures(matching) {
    if (this.answer === null) return;
    const { items, next, first_day: first, last_day: last, timezone } = this.answer;
    const shown = matching === items.length ? "" : `${formatCount(matching)} of `;
    const more = next === null ? "" : "the first ";
    if (this.isAbsent) {
      this.list.setFigures(`${shown}${more}${pluralize(items.length, "account")} known and never seen`);
      return;
    }
    const sum = (name) => items.reduce((total, item) => total + item[name], 0);
    const what = { account: "account", device: "device", group: "group" }[this.kind] ?? this.kind;
    const figures = [
      `${shown}${more}${pluralize(items.length, what)}, ${first} to ${last} (${timezone})`,
      // An account may be in several groups.
      ...(this.kind === "group" ? [] : [`${formatHours(sum("connected_seconds"))} h connected`]),
      ...(this.kind === "group" ? [] : [pluralize(sum("denied"), "refusal")]),
      "connected and pools in hours",
    ];
    this.list.setFigures(figures.join(" · "));
  }

  csv() {
    if (this.isAbsent) return toCsv(["account"], this.answer.items.map((item) => [item.account]));
    const rows = this.answer.items.flatMap((item) => {
      const pools = item.pools.length ? item.pools : [{}];
      return pools.map(({ days: pool_days, time_to_seat: waited, ...pool }) => {
        const times = { mean_time_to_seat: waited?.mean, max_time_to_seat: waited?.max };
        const row = { ...item, ...pool, ...times, days: item.days, pool_days };
        return FIELDS.map((field) => row[field]);
      });
    });
    return toCsv(FIELDS, rows);
  }
}

/** Hours with one digit; a dash for none. */
function formatHours(seconds) {
  if (!seconds) return "–";
  const hours = seconds / HOUR;
  return hours < 0.05 ? "< 0.1" : hours.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

function deviceOf({ device, address }) {
  return isolated(device ?? address ?? "–");
}

/** What an item is found by. */
function textOf({ account, home, device, address, group, begins }) {
  return [account, home, device, address, group, begins].filter(Boolean).join(" ");
}
