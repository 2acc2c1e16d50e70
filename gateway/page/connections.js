/* The view of connections: every session, searched by the gateway and shown a window at a time. */

import { confirmDialog, showDetails } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, pluralize, poolTitle, timeElement, whoIs } from "./format.js";
import { ApiSource, ListView } from "./list_view.js";
import { table } from "./table.js";

const BANS = [
  ["5m", "5 minutes"],
  ["1h", "1 hour"],
  ["24h", "24 hours"],
];
const BAN_COLUMNS = [
  { title: "Account or address" },
  { title: "Until", class: "time" },
  { title: "Act", class: "acts" },
];
const WITHOUT_ACCOUNT = { sip: "endpoint", h323: "endpoint", rtsp: "endpoint", welcome: "visitor", console: "visitor" };

/** All connections, or those in one conference (`#/connections?conference=ID`), and who is kept out. */
export class ConnectionsView {
  static id = "connections";
  static title = "Connections";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.conference = app.route.query.get("conference");
    this.matching = null; // how many connections match, once the gateway has said so
    this.requests = new AbortController();
  }

  open() {
    const conference = this.conference;
    this.source = new ApiSource(this.app, "api/connections", {
      countPath: "api/connections/count",
      parameters: conference === null ? {} : { conference },
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
      empty: (searching) => (searching || conference !== null ? NOT_FOUND() : NONE(this.app.state)),
      beside: conference === null ? [] : conferenceChip(conference),
    });
    this.bans = el("details", { class: "card bans", id: "bans", hidden: true });
    setChildren(this.root, this.list.nodes, this.bans);
    this.list.open();
    this.loadBans();
  }

  update(state) {
    this.drawTotal();
    this.list.update(state.generations.connections);
  }

  close() {
    this.requests.abort();
    this.list.close();
  }

  drawTotal() {
    if (this.matching === null) return;
    const all = this.app.state?.connections.total ?? null;
    const filtered = this.source.text !== "" || this.conference !== null;
    const found = filtered ? this.matching : (all ?? this.matching);
    const of = all === null || all === found ? "" : `${formatCount(found)} of `;
    this.list.setFigures(`${of}${pluralize(of ? all : found, "connection")}`);
  }

  columns() {
    return [
      { title: "Account", class: "who", cell: (connection) => this.detailsButton(connection) },
      { title: "Device", class: "wide-only", cell: (connection) => isolated(connection.device ?? "–") },
      { title: "Kind", class: "short", cell: kindCell },
      { title: "Address", class: "", cell: addressCell },
      { title: "Since", class: "time", cell: (connection) => this.sinceCell(connection) },
      { title: "Conferences", class: "wide-only", cell: (connection) => connection.conferences.join(", ") || "–" },
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
    const seconds = (this.app.now() - Date.parse(since)) / 1000;
    const heard = connection.last_heard;
    const facts = [
      ["Session", el("code", {}, id)],
      ["Account", account === null ? `none: a ${roleOf(connection)}` : isolated(account)],
      ["Home server", isolated(home ?? "this one")],
      ["Device", isolated(device ?? "–")],
      ["Kind", kind],
      ["Client", client || "–"],
      ["Address", `${address} by ${transport === "tcp" ? "TCP" : "WebSocket"}`],
      ["Presence", presence],
      ["Connected", [timeElement(since), ` (${formatDuration(seconds)})`]],
      ["Last heard", heard === null ? "the connection is lost; it may be resumed" : timeElement(heard)],
      ["Conferences", conferences.join(", ") || "none"],
      ["Seats", this.seatsText(connection) || "none"],
    ];
    const kick = () => {
      hide();
      this.kick(connection);
    };
    const button = this.app.actionButton("kick", { class: "danger", onclick: kick }, "Kick …");
    const hide = showDetails(nameOf(connection), facts, button);
  }

  async kick(connection) {
    const { id, account, home, address } = connection;
    const name = nameOf(connection);
    const kept = account === null ? `guests from ${address}` : name;
    const choices = [
      ["", "Close the connection"],
      ...BANS.map(([value, duration]) => [value, `Also keep ${kept} out for ${duration}`]),
    ];
    const radio = ([value, text]) =>
      el("label", { class: "choice" }, el("input", { type: "radio", name: "ban", value, checked: value === "" }), text);
    const every = el("input", { type: "checkbox", id: "kick-all" });
    const text = el(
      "div",
      {},
      el("p", {}, `The connection of ${name} from ${address} is closed at once, and its seats are free.`),
      el("fieldset", {}, el("legend", { class: "visually-hidden" }, "What to do"), choices.map(radio)),
      account === null ? null : el("label", { class: "choice" }, every, `Every connection of ${name}`),
    );
    if (!(await confirmDialog({ title: `Kick ${name}?`, text, act: "Kick", danger: true }))) return;
    const ban = text.querySelector("input[name=ban]:checked").value;
    const query = ban ? `?ban=${ban}` : "";
    const ofHome = home === null ? query : `${query || "?"}${query && "&"}home=${encodeURIComponent(home)}`;
    await this.app.attempt(async () => {
      if (every.checked) {
        const path = `api/accounts/${encodeURIComponent(account)}/connections${ofHome}`;
        const { kicked } = await this.app.send("DELETE", path);
        return `${pluralize(kicked, "connection")} of ${name} closed.`;
      }
      await this.app.send("DELETE", `api/connections/${encodeURIComponent(id)}${query}`);
      return `${name} is kicked${ban ? " and kept out" : ""}.`;
    });
    this.list.refresh();
    this.loadBans();
  }

  async loadBans() {
    const { signal } = this.requests;
    if (signal.aborted) return;
    try {
      const { items, next } = await this.app.get("api/bans?limit=100", { signal });
      this.bans.hidden = items.length === 0;
      const rows = items.map((ban) => ({
        key: JSON.stringify([ban.kind, ban.subject, ban.home]),
        cells: [bannedName(ban), timeElement(ban.until), this.liftButton(ban)],
      }));
      setChildren(
        this.bans,
        el("summary", {}, `Kept out: ${formatCount(items.length)}${next === null ? "" : " and more"}`),
        table({ caption: "Who is kept out, and until when", columns: BAN_COLUMNS, rows }),
      );
    } catch (error) {
      this.app.report(error);
    }
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
    this.loadBans();
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

function kindCell({ kind, presence }) {
  return [el("span", { class: "tag" }, kind), presence === "asleep" ? el("span", { class: "tag" }, "asleep") : null];
}

/** The address, and on a card, where there is no column for it, the device. */
function addressCell({ address, device }) {
  return [address, device === null ? null : el("span", { class: "narrow-only" }, ` · ${isolated(device)}`)];
}

/** What somebody without an account is called. */
function roleOf({ kind }) {
  return WITHOUT_ACCOUNT[kind] ?? "guest";
}

function nameOf(connection) {
  const { account, home } = connection;
  if (account === null) return roleOf(connection);
  return whoIs(account, home);
}

function bannedName({ kind, subject, home }) {
  return kind === "guests" ? `guests from ${subject}` : whoIs(subject, home);
}
