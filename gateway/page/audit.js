/* The view of the audit log: who did what, the newest first.

Actors and subjects come from clients and operators: they are only ever text. Leases that are granted and end by
themselves are most of what is noted: the gateway is asked for them apart from acts. The search looks through the entries
that are loaded, and says so; older ones come by the page. Where all kinds are shown it is seen here whether the loaded
entries follow each other without a gap; that none was changed is a matter of hashes, which `tallygate audit verify`
checks from the first entry on.
*/

import { Choice } from "./choices.js";
import { zoneOffset } from "./clock.js";
import { showDetails } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, isolated, pluralize, timeElement } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { saveFile, toCsv } from "./panel.js";
import { Segments } from "./segments.js";
import { WatchedList } from "./watched_list.js";

const NEWEST = 200; // entries that are asked for when there are newer ones
const PAGE = 500; // older entries
const MOST = 20_000; // entries that a page which stays open keeps as newer ones come
const EXPORTED = 50_000; // entries of one file, at most
const EXPORT_PAGE = 1000;
const PAUSE = 2000; // milliseconds between two requests for newer entries
const KINDS = [["acts", "Acts"], ["leases", "Leases"], ["all", "All"]];
const TIMES = [
  ["", "all"], ["1h", "the last hour"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["days", "days …"],
];
const DAY = 86_400_000;
const RAW = ["seq", "time", "actor", "action", "subject", "detail", "previous", "hash"];
/* How long ago the entries are that are shown, in milliseconds, where that is chosen. */
const SPANS = { "1h": DAY / 24, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY };
/* Actions that somebody should look into. */
const ALARMING = new Set(["clone.suspected", "gap", "refused", "registration.mistrusted", "reload.refused"]);
const FORGOTTEN = "audit.forgotten"; // the action of the entry that says of which entries there are none any more
/* Actions after which older entries are not what they were: gone, or without a name. */
const FORGETTING = new Set([FORGOTTEN, "person.erased"]);
const BEGINNING = "0".repeat(64); // the hash that the first entry follows

/** The audit log. */
export class AuditView {
  static id = "audit";
  static title = "Audit";
  static isShown = () => true;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.entries = []; // all that are loaded, the newest first
    this.known = false; // whether the gateway has said which there are
    this.kind = "acts";
    this.source = new ItemSource(textOf, (matching) => this.drawFigures(matching));
    this.next = null; // the cursor of older entries; null where there are none
    this.requests = new AbortController();
    this.watched = new WatchedList((signal) => this.loadNewest(signal), (error) => this.list.showFailure(error), PAUSE);
  }

  open() {
    this.kinds = new Segments("Entries", KINDS, (kind) => {
      this.kind = kind;
      this.kinds.show(kind);
      this.begin();
    });
    this.kinds.show(this.kind);
    const again = () => this.begin();
    this.time = new Choice("audit-time", "Time", TIMES, "", () => {
      this.days.hidden = this.time.value !== "days";
      this.begin();
    });
    const day = (id, label) => el("div", { class: "field" }, el("label", { for: id }, label),
      el("input", { id, type: "date", onchange: again }));
    this.days = el("div", { class: "row", hidden: true }, day("audit-from", "From"), day("audit-to", "To"));
    const save = (kind) => () => this.export(kind);
    this.list = new ListView(this.app, {
      id: "audit",
      caption: "Entries of the audit log, the newest first",
      columns: this.columns(),
      key: (entry) => String(entry.seq),
      placeholder: "actor, action, subject",
      source: this.source,
      empty: (searching) => el("p", {}, this.emptyText(searching)),
      beside: [this.kinds.node, this.time.node, this.days,
        el("button", { type: "button", "data-act": "export-csv", onclick: save("csv") }, "Export CSV"),
        el("button", { type: "button", "data-act": "export-json", onclick: save("json") }, "Export JSON")],
    });
    const attributes = { type: "button", "data-act": "more", hidden: true, onclick: () => this.loadOlder() };
    this.more = el("button", attributes, "Load older entries");
    setChildren(this.root, this.list.nodes, this.more);
  }

  /** Ask anew: for something else. */
  begin() {
    this.entries = [];
    this.known = false;
    this.next = null;
    this.source.items = [];
    this.list.open();
    this.watched.refresh();
  }

  update(state) {
    const { audit, history } = state.generations; // of the minute, since times move on
    this.watched.update(this.time.value in SPANS ? `${audit} ${history}` : audit);
  }

  close() {
    this.watched.close();
    this.requests.abort();
    this.list.close();
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  /** What is asked for, as parameters of the API. */
  get asked() {
    const asked = { order: "newest", kind: this.kind };
    if (this.time.value !== "days") return this.time.value ? { ...asked, since: this.time.value } : asked;
    const [from, to] = ["audit-from", "audit-to"].map((id) => beginOfDay(this.days.querySelector(`#${id}`).value));
    if (from !== null) asked.since = new Date(from).toISOString();
    if (to !== null) asked.until = new Date(to + DAY).toISOString();
    return asked;
  }

  async loadNewest(signal) {
    const { kind } = this;
    const known = this.entries;
    const { items, next } = await this.request(known.length ? NEWEST : PAGE, null, signal);
    // Something else is asked for meanwhile.
    if (signal.aborted || kind !== this.kind || known !== this.entries) return;
    // Where more came than a page holds, or another log, what is known does not follow: begin anew.
    const newer = items.findIndex((entry) => entry.hash === known[0]?.hash);
    const follows = newer >= 0 && !items.slice(0, newer).some(({ action }) => FORGETTING.has(action));
    const begin = this.app.now() - (SPANS[this.time.value] ?? Infinity);
    const older = follows ? known.slice(items.length - newer).filter(({ time }) => Date.parse(time) >= begin) : [];
    this.entries = [...items, ...older].slice(0, MOST);
    if (!follows) this.next = next;
    else if (items.length + older.length > MOST) this.next = String(this.entries.at(-1).seq);
    this.draw();
  }

  async loadOlder() {
    const [cursor, known] = [this.next, this.entries];
    this.more.disabled = true;
    try {
      const { items, next } = await this.request(PAGE, cursor, this.requests.signal);
      if (cursor !== this.next || known.at(-1) !== this.entries.at(-1)) return;
      this.entries = [...this.entries, ...items];
      this.next = next;
      this.draw();
    } catch (error) {
      this.app.report(error);
    } finally {
      this.more.disabled = false;
    }
  }

  request(limit, cursor, signal) {
    const query = new URLSearchParams({ ...this.asked, limit, ...(cursor === null ? {} : { cursor }) });
    return this.app.get(`api/audit?${query}`, { signal });
  }

  /** Save what is asked for as a file, the oldest entry first: as a table, or as the API gives it. */
  async export(kind) {
    try {
      const items = [];
      let cursor = null;
      do {
        const page = await this.request(EXPORT_PAGE, cursor, this.requests.signal);
        items.push(...page.items);
        cursor = page.next;
      } while (cursor !== null && items.length < EXPORTED);
      items.reverse();
      const rows = items.map((entry) => RAW.map((name) => (name === "detail" ? JSON.stringify(entry.detail) : entry[name])));
      const text = kind === "csv" ? toCsv(RAW, rows) : items.map((entry) => `${JSON.stringify(entry)}\n`).join("");
      saveFile({ name: `audit-${this.kind}.${kind}`, text, type: kind === "csv" ? "text/csv" : "application/jsonl" });
      const cut = cursor === null ? "" : " There are older ones.";
      this.app.notify(`${pluralize(items.length, "entry", "entries")} saved.${cut}`, "good");
    } catch (error) {
      this.app.report(error);
    }
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  draw() {
    this.known = true;
    this.more.hidden = this.next === null;
    this.source.items = this.entries;
    this.list.refresh();
  }

  emptyText(searching) {
    if (!this.known) return "Asking the gateway …";
    if (searching && this.entries.length) return "No entry that is loaded matches.";
    return this.asked.since || this.asked.until ? "There are no such entries in this time." : "There are no such entries yet.";
  }

  drawFigures(matching) {
    const { entries } = this;
    const words = { acts: ["act"], leases: ["entry about leases", "entries about leases"], all: ["entry", "entries"] }[this.kind];
    const loaded = pluralize(entries.length, ...words);
    const which = matching === entries.length ? `The latest ${loaded}` : `${formatCount(matching)} of the latest ${loaded}`;
    // Entries of one kind, or of some days, have others between them.
    const whole = this.kind !== "all" || this.time.value !== "" || isUnbroken(entries, this.next === null);
    const chain = this.kind !== "all" || this.time.value !== "" ? ""
      : whole ? "; they follow each other without a gap" : "; but entries between them are missing or changed";
    const text = `${which}${chain}. All hashes are checked by “tallygate audit verify”.`;
    this.list.setFigures(entries.length ? text : "");
    this.list.figures.classList.toggle("broken", !whole);
  }

  columns() {
    return [
      { title: "No.", class: "wide-only number", cell: (entry) => formatCount(entry.seq) },
      { title: "Time", class: "time", cell: (entry) => timeElement(entry.time) },
      { title: "Actor", class: "actor", cell: (entry) => entry.actor },
      { title: "Action", class: "action", cell: (entry) => detailsButton(entry) },
      { title: "Subject", class: "subject", cell: (entry) => isolated(entry.subject) },
      { title: "Detail", class: "soft", cell: (entry) => detailText(entry.detail) },
    ];
  }
}

/** When a day of the clock begins, YYYY-MM-DD, in milliseconds; null for none. */
function beginOfDay(day) {
  if (!day) return null;
  const at = Date.parse(`${day}T00:00:00Z`);
  return at - zoneOffset(at);
}

function detailsButton(entry) {
  const attributes = { type: "button", class: "link", "data-act": "details", onclick: () => showEntry(entry) };
  return el("button", attributes, el("code", { class: ALARMING.has(entry.action) ? "warn" : null }, entry.action));
}

function showEntry({ seq, time, actor, action, subject, detail, previous, hash }) {
  showDetails(action, [
    ["No.", formatCount(seq)],
    ["Time", timeElement(time)],
    ["Actor", actor],
    ["Subject", isolated(subject || "–")],
    ...Object.entries(detail).map(([name, value]) => [name, valueText(value)]),
    ["Hash", el("code", {}, hash)],
    ["Follows", el("code", {}, previous)],
  ]);
}

/** What an entry is found by. */
function textOf({ actor, action, subject, detail }) {
  return `${actor} ${action} ${subject} ${detailText(detail)}`;
}

function detailText(detail) {
  const known = Object.entries(detail).filter(([, value]) => value !== null);
  return known.map(([name, value]) => `${name}=${valueText(value)}`).join(" ");
}

function valueText(value) {
  if (value === null) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Whether `entries`, newest first, are a piece of the chain without a gap; `whole`: and its beginning. */
function isUnbroken(entries, whole) {
  const linked = entries.every((entry, index) => {
    const before = entries[index + 1];
    return before === undefined || (entry.seq === before.seq + 1 && entry.previous === before.hash);
  });
  return linked && (!whole || !entries.length || begins(entries));
}

/** Whether the first of all entries is the first there ever was, or follows the last that an entry says was forgotten. */
function begins(entries) {
  const { seq, previous } = entries.at(-1);
  if (seq === 1) return previous === BEGINNING;
  return entries.some(
    ({ action, detail }) => action === FORGOTTEN && detail.through === seq - 1 && detail.hash === previous,
  );
}
