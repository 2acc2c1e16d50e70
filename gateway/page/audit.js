/* The view of the audit log: who did what, the newest first.

Actors and subjects come from clients and operators: they are only ever text. The search looks through the entries that
are loaded, and says so; older ones come by the page. That the loaded entries follow each other without a gap is seen
here; that none was changed is a matter of hashes, which `tallygate audit verify` checks from the first entry on.
*/

import { showDetails } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, timeElement } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { WatchedList } from "./watched_list.js";

const PAGE = 200;
const PAUSE = 2000; // milliseconds between two requests for newer entries
const BEGINNING = "0".repeat(64); // the hash that the first entry follows

/** The audit log. */
export class AuditView {
  static id = "audit";
  static title = "Audit";
  static isShown = () => true;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.source = new ItemSource(textOf, (matching) => this.drawFigures(matching));
    this.next = null; // the cursor of older entries; null where there are none
    this.requests = new AbortController();
    this.watched = new WatchedList((signal) => this.loadNewest(signal), (error) => this.list.showFailure(error), PAUSE);
  }

  open() {
    this.list = new ListView(this.app, {
      id: "audit",
      caption: "Entries of the audit log, the newest first",
      columns: this.columns(),
      key: (entry) => String(entry.seq),
      placeholder: "actor, action, subject",
      source: this.source,
      empty: (searching) => el("p", {}, searching ? "No entry that is loaded matches." : "There are no entries yet."),
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
    const { items, next } = await this.request("", signal);
    const known = this.source.items;
    const newer = known.length ? items.filter((entry) => entry.seq > known[0].seq) : items;
    // Where more came than a page holds, what is known does not follow: begin anew.
    if (known.length && newer.length < items.length) {
      this.source.items = [...newer, ...known];
    } else {
      this.source.items = items;
      this.next = next;
    }
    this.draw();
  }

  async loadOlder() {
    const cursor = this.next;
    this.more.disabled = true;
    try {
      const { items, next } = await this.request(`&cursor=${cursor}`, this.requests.signal);
      if (cursor === this.next) {
        this.source.items = [...this.source.items, ...items];
        this.next = next;
        this.draw();
      }
    } catch (error) {
      this.app.report(error);
    }
    this.more.disabled = false;
  }

  request(cursor, signal) {
    return this.app.get(`api/audit?order=newest&limit=${PAGE}${cursor}`, { signal });
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  draw() {
    this.more.hidden = this.next === null;
    this.list.refresh();
  }

  drawFigures(matching) {
    const entries = this.source.items;
    const loaded = `${formatCount(entries.length)} latest entries`;
    const which = this.source.text ? `${formatCount(matching)} of the ${loaded} match` : `The ${loaded}`;
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
      { title: "Subject", class: "subject", cell: (entry) => entry.subject },
      { title: "Detail", class: "soft", cell: (entry) => detailText(entry.detail) },
    ];
  }
}

function detailsButton(entry) {
  const attributes = { type: "button", class: "link", "data-act": "details", onclick: () => showEntry(entry) };
  return el("button", attributes, el("code", {}, entry.action));
}

function showEntry({ seq, time, actor, action, subject, detail, previous, hash }) {
  showDetails(action, [
    ["No.", formatCount(seq)],
    ["Time", timeElement(time)],
    ["Actor", actor],
    ["Subject", subject || "–"],
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
  return Object.entries(detail).map(([name, value]) => `${name}=${valueText(value)}`).join(" ");
}

function valueText(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Whether `entries`, newest first, are a piece of the chain without a gap; `whole`: and its beginning. */
function isUnbroken(entries, whole) {
  const linked = entries.every((entry, index) => {
    const before = entries[index + 1];
    return before === undefined || (entry.seq === before.seq + 1 && entry.previous === before.hash);
  });
  const first = entries.at(-1);
  return linked && (!whole || first === undefined || (first.seq === 1 && first.previous === BEGINNING));
}
