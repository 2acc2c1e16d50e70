/* The view of connections: every session, searched by the gateway and shown a window at a time. */

import { accountAddress } from "./account.js";
import { Choice, poolOf } from "./choices.js";
import { showDetails } from "./dialog.js";
import { el, renewChildren, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, pluralize, poolTitle, timeElement, whoIs } from "./format.js";
import { kickConnection, nameOf, roleOf } from "./kick.js";
import { ApiSource, ListView } from "./list_view.js";
import { table } from "./table.js";
import { WatchedList } from "./watched_list.js";

const IDLE_EVERY = 5000; // milliseconds after which the list is asked for again, for the times without a request
const BAN_COLUMNS = [
  { title: "Account or address" },
  { title: "Until", class: "time" },
  { title: "Act", class: "acts" },
];
const FILTERS = ["pool", "kind", "presence", "idle", "sort"]; // parameters of the address and of the API alike
const KINDS = ["app", "browser", "room", "videobar", "kiosk", "tv", "sdk", "sip", "h323", "rtsp", "welcome", "console"];
const PRESENCES = [["", "all"], ["awake", "awake"], ["asleep", "asleep"]];
const IDLES = [["", "any"], ["5m", "5 minutes"], ["1h", "1 hour"], ["8h", "8 hours"]];
const ORDERS = [
  ["", "first come"], ["-since", "latest come"], ["-idle", "longest idle"], ["account", "account"], ["device", "device"],
  ["kind", "kind"], ["address", "address"],
];

/** All connections, or those that the address asks for (`#/connections?pool=pro&idle=1h`), and who is kept out. */
export class ConnectionsView {
  static id = "connections";
  static title = "Connections";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.conference = app.route.query.get("conference");
    this.asked = Object.fromEntries(FILTERS.map((name) => [name, app.route.query.get(name) ?? ""]));
    this.asked.pool = poolOf(app);
    this.matching = null; // how many connections match, once the gateway has said so
    this.banned = new WatchedList((signal) => this.loadBans(signal), (error) => app.report(error));
  }

  open() {
    const conference = this.conference;
    this.source = new ApiSource(this.app, "api/connections", {
      countPath: "api/connections/count",
      parameters: this.parameters,
      onCount: (count) => {
        this.matching = count;
        this.drawTotal();
      },
    });
    this.list = new ListView(this.app, {
      id: "connections",
      caption: "List of connections",
      columns: this.columns(),
      key: (connection) => connection.id,
      placeholder: "account, device, address or kind",
      source: this.source,
      text: this.app.route.query.get("q") ?? "",
      empty: () => (this.isFiltered ? NOT_FOUND() : NONE(this.app.state)),
      beside: [this.choices(), conference === null ? [] : conferenceChip(conference)],
      onSort: (name) => this.choose("sort", this.asked.sort === name ? `-${name}` : name),
    });
    this.list.showOrder(this.asked.sort || "since");
    this.bans = el("details", { class: "card bans", id: "bans", hidden: true });
    setChildren(this.root, this.list.nodes, this.bans);
    this.list.open();
  }

  /** The fields beside the search, one for each filter. */
  choices() {
    const { state } = this.app;
    const pools = Object.keys(state.models[state.model].pools).map((name) => [name, poolTitle(name, state)]);
    const kinds = KINDS.map((kind) => [kind, kind]);
    const choice = (name, label, choices) =>
      new Choice(`connections-${name}`, label, choices, this.asked[name], (value) => this.choose(name, value)).node;
    return [
      choice("pool", "Seat", [["", "any"], ...pools]),
      choice("kind", "Kind", [["", "all"], ...kinds]),
      choice("presence", "Presence", PRESENCES),
      choice("idle", "Idle for", IDLES),
      choice("sort", "Order", ORDERS.some(([order]) => order === this.asked.sort) ? ORDERS
        : [...ORDERS, [this.asked.sort, this.asked.sort.replace("-", "backwards by ")]]),
    ];
  }

  /** Choose a filter or an order: the address says it, with what is searched for, so that it can be passed on. */
  choose(name, value) {
    const chosen = { ...this.asked, [name]: value, ...(this.conference === null ? {} : { conference: this.conference }) };
    const query = new URLSearchParams(Object.entries({ ...chosen, q: this.list.input.value.trim() }).filter(([, each]) => each !== ""));
    location.hash = `#/connections${query.size ? `?${query}` : ""}`;
  }

  /** What every request for the list asks for. */
  get parameters() {
    const asked = { ...this.asked, conference: this.conference ?? "" };
    return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ""));
  }

  get isFiltered() {
    const { sort, ...filters } = this.parameters;
    return this.source.text !== "" || Object.keys(filters).length > 0;
  }

  update(state) {
    this.drawTotal();
    const { connections, bans } = state.generations;
    this.list.update(`${connections} ${Math.floor(this.app.now() / IDLE_EVERY)}`);
    this.banned.update(bans);
  }

  close() {
    this.banned.close();
    this.list.close();
  }

  drawTotal() {
    if (this.matching === null) return;
    const all = this.app.state?.connections.total ?? null;
    const found = this.isFiltered ? this.matching : (all ?? this.matching);
    const of = all === null || all === found ? "" : `${formatCount(found)} of `;
    this.list.setFigures(`${of}${pluralize(of ? all : found, "connection")}`);
  }

  columns() {
    return [
      { title: "Account", class: "who", sort: "account", cell: (connection) => this.detailsButton(connection) },
      { title: "Device", class: "wide-only roomy", sort: "device", cell: (connection) => isolated(connection.device ?? "–") },
      { title: "Kind", class: "short", sort: "kind", cell: kindCell },
      { title: "Address", class: "", sort: "address", cell: addressCell },
      { title: "Since", class: "time", sort: "since", cell: (connection) => this.sinceCell(connection) },
      { title: "Idle", class: "wide-only number", sort: "idle", cell: idleCell },
      { title: "Conferences", class: "wide-only roomy", cell: (connection) => connection.conferences.join(", ") || "–" },
      { title: "Seats", class: "wide-only seats", cell: (connection) => this.seatsText(connection) || "–" },
      { title: "Act", class: "acts", cell: (connection) => this.kickButton(connection) },
    ];
  }

  seatsText({ seats }) {
    return seats.map((pool) => poolTitle(pool, this.app.state)).join(", ");
  }

  /** The time of connecting, and on a card, where there is no column for them, the seats. */
  sinceCell(connection) {
    const seats = this.seatsText(connection);
    return [timeElement(connection.since), seats ? el("span", { class: "narrow-only" }, ` · ${seats}`) : null];
  }

  detailsButton(connection) {
    const show = () => this.showDetails(connection);
    return el("button", { type: "button", class: "link", "data-act": "details", onclick: show }, nameOf(connection));
  }

  kickButton(connection) {
    const label = `Kick ${nameOf(connection)}`;
    const attributes = { class: "small", "aria-label": label, onclick: () => this.kick(connection) };
    return this.app.actionButton("kick", attributes, "Kick");
  }

  showDetails(connection) {
    const { id, account, home, device, kind, client, address, transport, presence, since, conferences } = connection;
    const { active } = connection;
    const seconds = (this.app.now() - Date.parse(since)) / 1000;
    const heard = connection.last_heard;
    const facts = [
      ["Session", el("code", {}, id)],
      ["Account", account === null ? `none: a ${roleOf(connection)}`
        : el("a", { href: accountAddress(account, home) }, isolated(account))],
      ["Home server", isolated(home ?? "this one")],
      ["Device", isolated(device ?? "–")],
      ["Kind", kind],
      ["Client", client || "–"],
      ["Address", `${address} by ${transport === "tcp" ? "TCP" : "WebSocket"}`],
      ["Presence", presence],
      ...(active === null ? [] : [["Used", usedText(connection)]]),
      ["Connected", [timeElement(since), ` (${formatDuration(seconds)})`]],
      ["Last heard", heard === null ? "the connection is lost; it may be resumed" : timeElement(heard)],
      ["Idle", idleText(connection)],
      ["Conferences", conferences.join(", ") || "none"],
      ["Seats", this.seatsText(connection) || "none"],
    ];
    const kick = () => {
      hide();
      this.kick(connection);
    };
    const button = this.app.actionButton("kick", { class: "danger", onclick: kick }, "Kick …");
    const hide = showDetails(nameOf(connection), facts, button);
    addEventListener("hashchange", hide, { once: true });
  }

  async kick(connection) {
    await kickConnection(this.app, connection);
    this.list.refresh();
  }

  async loadBans(signal) {
    const { items, next } = await this.app.get("api/bans?limit=100", { signal });
    if (signal.aborted) return;
    this.bans.hidden = items.length === 0;
    const rows = items.map((ban) => ({
      key: JSON.stringify([ban.kind, ban.subject, ban.home]),
      cells: [bannedName(ban), timeElement(ban.until), this.liftButton(ban)],
    }));
    renewChildren(
      this.bans,
      el("summary", {}, `Kept out: ${formatCount(items.length)}${next === null ? "" : " and more"}`),
      table({ caption: "Who is kept out, and until when", columns: BAN_COLUMNS, rows }),
    );
  }

  liftButton(ban) {
    const label = `Let ${bannedName(ban)} in again`;
    const attributes = { class: "small", "aria-label": label, onclick: () => this.liftBan(ban) };
    return this.app.actionButton("lift", attributes, "Let in");
  }

  async liftBan(ban) {
    const home = ban.home === null ? "" : `&home=${encodeURIComponent(ban.home)}`;
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/bans/${encodeURIComponent(ban.subject)}?kind=${ban.kind}${home}`);
      return `${bannedName(ban)} is let in again.`;
    });
  }
}

const NOT_FOUND = () => [
  el("p", {}, "No connection matches."),
  el("p", { class: "note" }, "The search looks for a part of the account, the device, the address or the kind."),
];
const NONE = ({ draining }) => [
  el("p", {}, "Nobody is connected."),
  draining ? null : el(
    "p",
    { class: "note" },
    "Clients connect to the ports 4307 (TCP) and 4308 (WebSocket), or those in the settings. ",
    el("code", {}, "tallygate load --connections 100"),
    " tries it out.",
  ),
];

function conferenceChip(conference) {
  const all = el("a", { href: "#/connections", "aria-label": "Show all connections" }, "show all");
  return el("p", { class: "chip", id: "connections-conference" }, "in conference ", el("b", {}, conference), " ", all);
}

/** For how long a connection asked for nothing, where it is long enough to say so. */
function idleText({ idle_seconds: idle, conferences }) {
  if (idle >= 60) return formatDuration(idle);
  return conferences.length ? "in a conference" : "–";
}

function idleCell(connection) {
  return connection.idle_seconds >= 60 ? formatDuration(connection.idle_seconds) : "–";
}

function kindCell({ kind, presence }) {
  return [el("span", { class: "tag" }, kind), presence === "asleep" ? el("span", { class: "tag" }, "asleep") : null];
}

/** Whether somebody uses it, as its client says, and for how long nobody has. */
function usedText({ active, unused_seconds: unused }) {
  if (active) return "yes";
  return unused === null ? "no, in a live conference" : `no, for ${formatDuration(unused)}`;
}

/** The address, and on a card, where there is no column for it, the device. */
function addressCell({ address, device }) {
  return [address, device === null ? null : el("span", { class: "narrow-only" }, ` · ${isolated(device)}`)];
}

function bannedName({ kind, subject, home }) {
  return kind === "guests" ? `guests from ${subject}` : whoIs(subject, home);
}
