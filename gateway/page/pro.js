/* The view of PRO licenses: who holds one, for how long, and the groups that hold theirs for good. */

import { zoneName } from "./clock.js";
import { confirmDialog } from "./dialog.js";
import { el, setChildren, setText } from "./dom.js";
import {
  formatCount, formatDuration, formatTime, isolated, pluralize, timeElement, toMilliseconds,
} from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { table } from "./table.js";
import { WatchedList, readAll, truncationNote } from "./watched_list.js";

const MODEL = "trueconf"; // the model whose licenses are held by accounts
const NAMED = 4; // accounts of a group that are named
const GROUP_COLUMNS = [
  { title: "Group", isHeader: true },
  { title: "Accounts" },
  { title: "PRO" },
  { title: "Takes effect" },
];

/** Holders of PRO licenses, and groups. */
export class ProView {
  static id = "pro";
  static title = "PRO licenses";
  static isShown = (state) => state.serves_clients && MODEL in state.models;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.holders = new ItemSource((holder) => holder.account);
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.list.showFailure(error));
  }

  open() {
    this.list = new ListView(this.app, {
      id: "pro",
      caption: "Accounts that hold a PRO license",
      columns: this.columns(),
      key: (holder) => holder.account,
      placeholder: "account",
      source: this.holders,
      empty: (searching) => (searching ? NOT_FOUND() : NONE()),
    });
    this.truncation = el("div");
    this.groups = el("section", { class: "card", id: "groups", "aria-labelledby": "groups-title" });
    setChildren(this.root, this.list.nodes, this.truncation, this.groups);
    this.timer = setInterval(() => this.drawRemaining(), 1000);
  }

  update(state) {
    const { used, limit, reserved, denied } = state.models[MODEL].pools.pro;
    const of = limit === null ? "no limit" : `of ${formatCount(limit)}`;
    const shadow = state.model === MODEL ? "" : " · counted as it would be: another model is enforced";
    const counts = `${formatCount(reserved)} permanent, ${formatCount(denied)} refused`;
    this.list.setFigures(`${formatCount(used)} ${of}, ${counts}${shadow}`);
    this.watched.update(`${state.generations.pro} ${state.redistribute_at}`);
  }

  close() {
    clearInterval(this.timer);
    this.watched.close();
    this.list.close();
  }

  async load(signal) {
    const paths = ["api/pro", "api/groups"];
    const [holders, groups] = await Promise.all(paths.map((path) => readAll(this.app, path, signal)));
    if (signal.aborted) return;
    this.holders.items = holders.items;
    this.list.refresh();
    setChildren(this.truncation, truncationNote(holders.items, holders.more));
    this.drawGroups(groups);
  }

  // -- holders --------------------------------------------------------------------------------------------------------

  columns() {
    return [
      { title: "Account", class: "who", cell: accountCell },
      { title: "License", class: "short", cell: kindCell },
      { title: "Since", class: "time", cell: sinceCell },
      { title: "Expires", class: "", cell: (holder) => this.expiryCell(holder) },
      { title: "In a conference", class: "wide-only", cell: conferenceCell },
      { title: "Act", class: "acts", cell: (holder) => this.revokeButton(holder) },
    ];
  }

  /** When a license ends; `drawRemaining` lets the time run. */
  expiryCell({ kind, expires }) {
    const label = el("span", { class: "narrow-only" }, "expires ");
    if (expires === null) return [label, kind === "permanent" ? "never" : "not while in a conference"];
    const attributes = { class: "remaining", title: `${formatTime(expires)} ${zoneName()}`, dataset: { due: expires } };
    return [label, el("span", attributes, this.remainingText(expires))];
  }

  remainingText(expires) {
    const left = toMilliseconds(expires) - this.app.now();
    return left >= 1000 ? `in ${formatDuration(left / 1000)}` : "now";
  }

  drawRemaining() {
    for (const node of this.root.querySelectorAll(".remaining")) setText(node, this.remainingText(node.dataset.due));
  }

  revokeButton(holder) {
    const attributes = { class: "small", "aria-label": `Revoke the license of ${holder.account}` };
    if (holder.kind !== "permanent" && !holder.deleted) {
      return this.app.actionButton("revoke", { ...attributes, onclick: () => this.revoke(holder) }, "Revoke");
    }
    const title = holder.deleted
      ? "The license of a deleted account cannot be revoked"
      : "A permanent license cannot be revoked: change its group";
    return el("button", { type: "button", "data-act": "revoke", disabled: true, title, ...attributes }, "Revoke");
  }

  async revoke({ account, in_conference: inConference }) {
    const text = inConference
      ? `${account} is in a conference and will be removed from it at once. The license is free for somebody else.`
      : "The license is free for somebody else at once.";
    const title = `Revoke the PRO license of ${account}?`;
    if (!(await confirmDialog({ title, text, act: "Revoke", danger: true }))) return;
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/pro/${encodeURIComponent(account)}`);
      return `The PRO license of ${account} is revoked.`;
    });
    this.watched.refresh();
  }

  // -- groups ---------------------------------------------------------------------------------------------------------

  drawGroups({ items, more }) {
    const due = this.app.state?.redistribute_at ?? null;
    const permanent = this.holders.items.filter((holder) => holder.kind === "permanent");
    const holding = new Set(permanent.map((holder) => holder.account));
    const rows = items.map((group) => ({ key: group.group, cells: groupCells(group, holding) }));
    const caption = "Groups, and which have permanent PRO licenses";
    const region = "List of groups";
    setChildren(
      this.groups,
      el("h2", { id: "groups-title" }, "Groups"),
      el("p", { class: "note" }, "A change of a group takes effect at the next redistribution",
        due === null ? "." : [": ", timeElement(due), ` ${zoneName()}.`]),
      rows.length
        ? table({ id: "groups-list", caption, columns: GROUP_COLUMNS, rows, asCards: true, region })
        : el("div", { class: "empty" },
            el("p", {}, "There are no groups."),
            el("p", { class: "note" },
              el("code", {}, "tallygate group set NAME ACCOUNT … --permanent"), " makes one.")),
      truncationNote(items, more),
    );
  }
}

const NOT_FOUND = () => el("p", {}, "No account with this in its name holds a PRO license.");
const NONE = () => [
  el("p", {}, "Nobody holds a PRO license."),
  el("p", { class: "note" },
    "One is granted when a user joins a live group conference; a permanent group reserves them for its accounts."),
];

function accountCell({ account, deleted }) {
  return [isolated(account), " ", deleted ? el("span", { class: "tag warn" }, "deleted") : null];
}

function kindCell({ kind, in_conference: inConference }) {
  const tag = el("span", { class: kind === "permanent" ? "tag good" : "tag" }, kind);
  return inConference ? [tag, el("span", { class: "tag good narrow-only" }, "in a conference")] : tag;
}

function sinceCell({ since }) {
  return [el("span", { class: "narrow-only" }, "since "), timeElement(since)];
}

function conferenceCell({ in_conference: inConference }) {
  return inConference ? el("span", { class: "tag good" }, "yes") : el("span", { class: "none" }, "no");
}

/** The cells of a group; `holding` are the accounts whose permanent license is in effect. */
function groupCells({ group, accounts, permanent }, holding) {
  const rest = accounts.length - NAMED;
  const first = accounts.slice(0, NAMED).map(isolated).join(", ");
  const names = rest > 0 ? `${first} and ${formatCount(rest)} more` : first || "none";
  const waiting = accounts.filter((account) => !holding.has(account)).length;
  const effect = waiting ? `${pluralize(waiting, "account")} not yet: next redistribution` : "in effect";
  return [
    group,
    names,
    el("span", { class: permanent ? "tag good" : "tag" }, permanent ? "permanent" : "temporary"),
    permanent ? effect : "–",
  ];
}
