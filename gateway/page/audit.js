/* The view of the audit log: who did what, the newest first.

Actors and subjects come from clients and operators: they are only ever text. The search looks through the entries that
are loaded, and says so; older ones come by the page. That the loaded entries follow each other without a gap is seen
here; that none was changed is a matter of hashes, which `tallygate audit verify` checks from the first entry on.
Leases that are granted and end by themselves are most of what is noted: they are shown apart.
*/

import { showDetails } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, isolated, pluralize, timeElement } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { Segments } from "./segments.js";
import { WatchedList } from "./watched_list.js";

const NEWEST = 200; // entries that are asked for when there are newer ones
const PAGE = 500; // older entries
const PAGES = 4; // that are asked for at once, as long as few of their entries are shown
const SCREEN = 30; // entries of which some are below the fold
const PAUSE = 2000; // milliseconds between two requests for newer entries
const KINDS = { acts: (entry) => !isLease(entry), leases: isLease, all: () => true };
/* Actions that somebody should look into. */
const ALARMING = new Set(["clone.suspected", "gap", "refused", "registration.mistrusted", "reload.refused"]);
const FORGOTTEN = "audit.forgotten"; // the action of the entry that says of which entries there are none any more
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
    this.kind = "acts";
    this.source = new ItemSource(textOf, (matching) => this.drawFigures(matching));
    this.next = null; // the cursor of older entries; null where there are none
    this.requests = new AbortController();
    this.watched = new WatchedList((signal) => this.loadNewest(signal), (error) => this.list.showFailure(error), PAUSE);
  }

  open() {
    const choices = [["acts", "Acts"], ["leases", "Leases"], ["all", "All"]];
    this.kinds = new Segments("Entries", choices, (kind) => this.chooseKind(kind));
    this.kinds.show(this.kind);
    this.list = new ListView(this.app, {
      id: "audit",
      caption: "Entries of the audit log, the newest first",
      columns: this.columns(),
      key: (entry) => String(entry.seq),
      placeholder: "actor, action, subject",
      source: this.source,
      empty: (searching) => el("p", {}, this.emptyText(searching)),
      beside: this.kinds.node,
    });
    const attributes = { type: "button", "data-act": "more", hidden: true, onclick: () => this.loadOlder() };
    this.more = el("button", attributes, "Load older entries");
    setChildren(this.root, this.list.nodes, this.more);
  }

  update(state) {
    this.watched.update(state.generations.audit);
  }

  close() {
    this.watched.close();
    this.requests.abort();
    this.list.close();
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  async loadNewest(signal) {
    const { items, next } = await this.request(NEWEST, "", signal);
    const known = this.entries;
    const newer = known.length ? items.filter((entry) => entry.seq > known[0].seq) : items;
    // Where more came than a page holds, what is known does not follow: begin anew.
    const follows = known.length > 0 && newer.length < items.length;
    this.entries = follows ? [...newer, ...known] : items;
    if (!follows) this.next = next;
    this.draw();
    if (!known.length) await this.loadPages(SCREEN, signal);
  }

  async loadOlder() {
    try {
      await this.loadPages(this.source.items.length + SCREEN, this.requests.signal);
    } catch (error) {
      this.app.report(error);
    }
  }

  /** Load older entries until `wanted` are shown, but not more than a few pages; nobody can ask for more meanwhile. */
  async loadPages(wanted, signal) {
    this.more.disabled = true;
    try {
      for (let page = 0; page < PAGES && this.next !== null && this.source.items.length < wanted; page += 1) {
        const cursor = this.next;
        const { items, next } = await this.request(PAGE, `&cursor=${cursor}`, signal);
        if (cursor !== this.next) return;
        this.entries = [...this.entries, ...items];
        this.next = next;
        this.draw();
      }
    } finally {
      this.more.disabled = false;
    }
  }

  request(limit, cursor, signal) {
    return this.app.get(`api/audit?order=newest&limit=${limit}${cursor}`, { signal });
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  chooseKind(kind) {
    this.kind = kind;
    this.kinds.show(kind);
    this.source.items = this.entries.filter(KINDS[kind]);
    this.list.open();
  }

  draw() {
    this.more.hidden = this.next === null;
    this.source.items = this.entries.filter(KINDS[this.kind]);
    this.list.refresh();
  }

  emptyText(searching) {
    if (!this.entries.length) return "There are no entries yet.";
    if (searching) return "No entry that is loaded matches.";
    return `${this.kind === "acts" ? "Every" : "No"} entry that is loaded is about a lease.`;
  }

  drawFigures(matching) {
    const { entries } = this;
    const loaded = pluralize(entries.length, "latest entry", "latest entries");
    const which = matching === entries.length ? `The ${loaded}` : `${formatCount(matching)} of the ${loaded}`;
    const whole = isUnbroken(entries, this.next === null);
    const chain = whole ? "they follow each other without a gap" : "but entries between them are missing or changed";
    const text = `${which}; ${chain}. All hashes are checked by “tallygate audit verify”.`;
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

/** Whether an entry is about a lease that was granted or has ended. */
function isLease({ action }) {
  return action.startsWith("lease.");
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
