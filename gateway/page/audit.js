/* The view of the audit log: who did what, the newest first.

Actors and subjects come from clients and operators: they are only ever text. A filter looks through what is loaded,
and says so; older entries come by the page. That the entries shown follow each other without a gap is seen here; that
none was changed is a matter of hashes, which `tallygate audit verify` checks from the first entry on.
*/

import { el, setChildren } from "./dom.js";
import { formatCount, timeElement } from "./format.js";

const PAGE = 200;
const PAUSE = 2000; // milliseconds between two looks for newer entries
const BEGINNING = "0".repeat(64);

let page = null;

export const view = {
  id: "audit",
  title: "Audit",
  needs: () => true,
  open(root, app) {
    page = new Audit(root, app);
  },
  update(state) {
    page.update(state);
  },
  close() {
    page.close();
    page = null;
  },
};

class Audit {
  constructor(root, app) {
    this.app = app;
    this.entries = [];
    this.made = new WeakMap(); // the row of each entry
    this.next = null; // cursor of the next older page
    this.generation = app.state?.generations?.audit;
    this.looked = -Infinity;
    this.timer = null;
    this.requests = new AbortController();
    const search = { id: "audit-filter", type: "search", autocomplete: "off", placeholder: "actor, action, subject" };
    this.filter = el("input", { ...search, oninput: () => this.show() });
    this.status = el("p", { class: "note tally", role: "status" });
    this.rows = el("tbody");
    const press = { type: "button", "data-act": "more", hidden: true, onclick: () => this.older() };
    this.more = el("button", press, "Load older entries");
    this.empty = el("p", { class: "empty", hidden: true });
    const titles = ["No.", "Time", "Actor", "Action", "Subject", "Detail"];
    const head = titles.map((text, index) => el("th", { scope: "col", class: index ? "" : "number" }, text));
    const caption = el("caption", { class: "visually-hidden" }, "The audit log, the newest entry first");
    this.table = el("table", { class: "grid audit" }, caption, el("thead", {}, el("tr", {}, head)), this.rows);
    setChildren(
      root,
      el(
        "div",
        { class: "toolbar" },
        el("div", { class: "field grow" }, el("label", { for: this.filter.id }, "Filter"), this.filter),
        this.status,
      ),
      el("div", { class: "card flush" }, el("div", { class: "box" }, this.table), this.empty),
      this.more,
    );
    this.newest();
  }

  close() {
    clearTimeout(this.timer);
    this.requests.abort();
  }

  /** Look for newer entries when there are some, but not all the time. */
  update(state) {
    const generation = state.generations?.audit;
    if (generation === this.generation || this.timer !== null) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.generation = this.app.state?.generations?.audit;
        this.newest();
      },
      Math.max(this.looked + PAUSE - performance.now(), 0),
    );
  }

  async newest() {
    this.looked = performance.now();
    const answer = await this.ask("");
    if (answer === null) return;
    const known = this.entries[0]?.seq ?? 0;
    const newer = answer.items.filter((entry) => entry.seq > known);
    // Where more came than a page holds, what is known does not follow any more: begin again.
    const joined = newer.length < answer.items.length || !this.entries.length;
    if (joined && this.entries.length) {
      this.entries.unshift(...newer);
    } else {
      this.entries = answer.items;
      this.next = answer.next;
    }
    this.show();
  }

  async older() {
    this.more.disabled = true;
    const cursor = this.next;
    const answer = await this.ask(`&cursor=${cursor}`);
    this.more.disabled = false;
    if (answer === null || cursor !== this.next) return;
    this.entries.push(...answer.items);
    this.next = answer.next;
    this.show();
  }

  /** A page of the log, or null where it could not be had. */
  async ask(cursor) {
    try {
      return await this.app.get(`api/audit?order=newest&limit=${PAGE}${cursor}`, { signal: this.requests.signal });
    } catch (error) {
      if (error.name !== "AbortError") this.app.report(error);
      return null;
    }
  }

  show() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.entries.filter((entry) => {
      const text = `${entry.actor} ${entry.action} ${entry.subject} ${told(entry.detail)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    for (const entry of found) if (!this.made.has(entry)) this.made.set(entry, row(entry));
    setChildren(this.rows, found.map((entry) => this.made.get(entry)));
    const loaded = `${formatCount(this.entries.length)} latest entries`;
    const matching = words.length ? `${formatCount(found.length)} of the ${loaded} match` : `The ${loaded}`;
    const whole = followed(this.entries, this.next === null);
    const chain = whole ? "they follow each other without a gap" : "but entries between them are missing or changed";
    const text = `${matching}; ${chain}. All hashes are checked by “tallygate audit verify”.`;
    this.status.textContent = this.entries.length ? text : "";
    this.status.classList.toggle("broken", !whole);
    this.table.hidden = !found.length;
    this.empty.hidden = found.length > 0;
    this.empty.textContent = this.entries.length ? "No entry that is loaded matches." : "Nothing was noted yet.";
    this.more.hidden = this.next === null;
  }
}

/** Whether `entries`, newest first, are a piece of the chain; `whole` says that there are no older ones. */
function followed(entries, whole) {
  const linked = entries.every((entry, number) => {
    const before = entries[number + 1];
    return before === undefined || (entry.seq === before.seq + 1 && entry.previous === before.hash);
  });
  const first = entries.at(-1);
  return linked && (!whole || first === undefined || (first.seq === 1 && first.previous === BEGINNING));
}

function row(entry) {
  return el(
    "tr",
    {},
    el("td", { class: "number" }, formatCount(entry.seq)),
    el("td", {}, timeElement(entry.time)),
    el("td", {}, entry.actor),
    el("td", {}, el("code", {}, entry.action)),
    el("td", {}, entry.subject),
    el("td", { class: "audit-detail" }, told(entry.detail)),
  );
}

function told(detail) {
  return Object.entries(detail)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
