/* The view of refusals: who was refused what, when, why, and what became of it. */

import { accountAddress } from "./account.js";
import { Choice, poolOf } from "./choices.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, pluralize, poolTitle, timeElement, whoIs } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { Segments } from "./segments.js";
import { readAll, WatchedList } from "./watched_list.js";

const SPANS = [["15m", "15 min"], ["1h", "1 h"], ["24h", "24 h"], ["7d", "7 days"]];

/**
 * Refusals of the enforced model, those of the same asker that follow each other as one demand and one row; and, from
 * the events in memory, what was refused for another reason, such as a ban or a wrong token.
 */
export class RefusalsView {
  static id = "refusals";
  static title = "Refusals";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.span = "24h";
    this.pool = poolOf(app);
    this.source = new ItemSource((demand) => this.textOf(demand));
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.list.showFailure(error));
  }

  open() {
    this.spans = new Segments("Time", SPANS, (span) => this.chooseSpan(span));
    this.spans.show(this.span);
    this.list = new ListView(this.app, {
      id: "refusals",
      caption: "Refusals, the latest first",
      columns: this.columns(),
      key: (demand) => `${demand.began} ${this.poolTitleOf(demand)} ${demand.reason} ${askerOf(demand)}`,
      placeholder: "account, device, address, pool or reason",
      source: this.source,
      empty: (searching) => el("p", {}, searching ? "No refusal matches." : "Nobody was refused in this time."),
      beside: [this.choice(), this.spans.node],
    });
    this.truncation = el("div");
    setChildren(this.root, this.list.nodes, this.truncation);
  }

  /** Refusals change with the counts of them; what became of them is known some time later. */
  update({ generations }) {
    this.watched.update(`${generations.refused} ${generations.history}`);
  }

  close() {
    this.watched.close();
    this.list.close();
  }

  choice() {
    const { state } = this.app;
    const pools = Object.keys(state.models[state.model].pools).map((name) => [name, poolTitle(name, state)]);
    return new Choice("refusals-pool", "Pool", [["", "all"], ...pools], this.pool, (pool) => {
      location.hash = `#/refusals${pool && `?pool=${encodeURIComponent(pool)}`}`;
    }).node;
  }

  chooseSpan(span) {
    this.span = span;
    this.spans.show(span);
    this.watched.refresh();
  }

  async load(signal) {
    const { items, more } = await readAll(this.app, "api/denials", signal, {
      order: "newest", since: this.span, ...(this.pool ? { pool: this.pool } : {}),
    });
    const others = this.pool ? [] : await this.loadOthers(signal);
    if (signal.aborted) return;
    const total = (field) => items.reduce((sum, item) => sum + item[field], 0);
    const counts = `${pluralize(total("refusals"), "refusal")} of ${pluralize(items.length, "demand")}`;
    const apart = others.reduce((sum, item) => sum + item.refusals, 0);
    this.list.setFigures(`${counts}, ${formatCount(total("true_denials"))} truly denied`
      + (apart ? ` · ${formatCount(apart)} not by the license` : ""));
    this.source.items = [...items, ...others].sort((one, other) => (one.last < other.last ? 1 : -1));
    this.list.refresh();
    setChildren(this.truncation, more ? el("p", { class: "note cut" },
      `The latest ${formatCount(items.length)} are read here; there are older ones.`) : null);
  }

  /** What was refused, and not by the license: a row for the same asker, request and reason. */
  async loadOthers(signal) {
    const { items } = await readAll(this.app, "api/events", signal, { kind: "refused", since: this.span });
    const rows = new Map();
    for (const { time, detail } of items) {
      const key = JSON.stringify([detail.account, detail.home, detail.address, detail.request, detail.reason]);
      const row = rows.get(key) ?? { ...detail, began: time, refusals: 0 };
      rows.set(key, { ...row, last: time, refusals: row.refusals + 1 });
    }
    return [...rows.values()];
  }

  columns() {
    return [
      { title: "Who", class: "who", cell: askerCell },
      { title: "Outcome", class: "outcome", cell: outcomeCell },
      { title: "Reason", class: "wide-only", cell: (demand) => reasonOf(demand) },
      { title: "Pool or request", class: "", cell: (demand) => this.poolCell(demand) },
      { title: "First", class: "wide-only time roomy", cell: (demand) => timeElement(demand.began) },
      { title: "Last", class: "time", cell: (demand) => timeElement(demand.last) },
      { title: "Refusals", class: "wide-only number", cell: (demand) => formatCount(demand.refusals) },
    ];
  }

  /** The pool, and on a card, where there are no columns for them, the reason and how often. */
  poolCell(demand) {
    const more = ` · ${reasonOf(demand)} · ${pluralize(demand.refusals, "time")}`;
    return [this.poolTitleOf(demand), el("span", { class: "narrow-only" }, more)];
  }

  poolTitleOf({ pool, model, request }) {
    return pool === undefined ? request : poolTitle(pool, this.app.state, model);
  }

  /** What a demand is found by. */
  textOf(demand) {
    return `${askerOf(demand)} ${this.poolTitleOf(demand)} ${reasonOf(demand)}`;
  }
}

/** Who asked: by account, else device, else address. */
function askerOf({ account, home, device, address }) {
  return account === undefined ? isolated(device ?? address) : whoIs(account, home);
}

function askerCell(demand) {
  const { account, home } = demand;
  if (account === undefined) return askerOf(demand);
  return el("a", { href: accountAddress(account, home), title: "The story of this account" }, askerOf(demand));
}

/** The reason of a refusal as people read it. */
export function reasonOf({ reason }) {
  return reason.replaceAll("_", " ");
}

/** What became of a demand, where the license refused it. */
export function outcomeCell({ pool, seated, undecided, seconds_to_seat: wait }) {
  if (pool === undefined) return el("span", { class: "tag" }, "not by the license");
  if (seated) return el("span", { class: "tag good" }, `seated after ${formatDuration(wait)}`);
  return undecided ? el("span", { class: "tag" }, "not known yet") : el("span", { class: "tag bad" }, "truly denied");
}
