/* The view of PRO licenses: who holds one, for how long, and the groups that hold theirs for good. */

import { accountAddress } from "./account.js";
import { grantsNothing } from "./attention.js";
import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, poolTitle, timeElement } from "./format.js";
import { GroupsCard } from "./groups.js";
import { ItemSource, ListView } from "./list_view.js";
import { PoolMeter } from "./pool_meter.js";
import { TimesLeft } from "./time_left.js";
import { WatchedList, readAll, truncationNote } from "./watched_list.js";

const MODEL = "trueconf"; // the model whose licenses are held by accounts
const POOLS = ["pro", "online"]; // that are read side by side

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
    this.left = new TimesLeft(this.app, this.root, (seconds) => (seconds >= 1 ? `in ${formatDuration(seconds)}` : "now"));
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
    const { state } = this.app;
    this.meters = POOLS.filter((name) => name in state.models[MODEL].pools)
      .map((name) => new PoolMeter(name, poolTitle(name, state, MODEL)));
    this.groups = new GroupsCard(this.app, () => this.watched.refresh());
    setChildren(this.root,
      el("section", { class: "card", id: "pro-pools", "aria-labelledby": "pro-pools-title" },
        el("h2", { id: "pro-pools-title" }, "Licenses in use"),
        el("div", { class: "beside" }, this.meters.map((meter) => meter.node))),
      this.list.nodes, this.truncation, this.groups.node);
  }

  update(state) {
    for (const meter of this.meters) meter.update(state.models[MODEL].pools[meter.name], !grantsNothing(state));
    const { used, limit, reserved, denied } = state.models[MODEL].pools.pro;
    const of = limit === null ? "in use" : `of ${formatCount(limit)}`;
    const shadow = state.model === MODEL ? "" : " · counted as it would be: another model is enforced";
    const counts = `${formatCount(reserved)} permanent, ${formatCount(denied)} refused`;
    this.list.setFigures(`${formatCount(used)} ${of}, ${counts}${shadow}`);
    this.watched.update(`${state.generations.pro} ${state.redistribute_at}`);
  }

  close() {
    this.left.close();
    this.watched.close();
    this.list.close();
    this.groups.close();
  }

  async load(signal) {
    const paths = ["api/pro", "api/groups"];
    const [holders, groups] = await Promise.all(paths.map((path) => readAll(this.app, path, signal)));
    if (signal.aborted) return;
    this.holders.items = holders.items;
    this.list.refresh();
    setChildren(this.truncation, truncationNote(holders.items, holders.more));
    const permanent = holders.items.filter((holder) => holder.kind === "permanent");
    this.groups.show(groups, new Set(permanent.map((holder) => holder.account)));
  }

  // -- holders --------------------------------------------------------------------------------------------------------

  columns() {
    return [
      { title: "Account", class: "who", cell: accountCell },
      { title: "License", class: "short", cell: kindCell },
      { title: "Since", class: "time", cell: sinceCell },
      { title: "Expires", class: "", cell: (holder) => this.expiryCell(holder) },
      { title: "In a conference", class: "wide-only roomy", cell: conferenceCell },
      { title: "Act", class: "acts", cell: (holder) => this.revokeButton(holder) },
    ];
  }

  expiryCell({ kind, expires }) {
    const label = el("span", { class: "narrow-only" }, "expires ");
    if (expires === null) return [label, kind === "permanent" ? "never" : "not while in a conference"];
    return [label, this.left.element(expires)];
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
}

const NOT_FOUND = () => el("p", {}, "No account with this in its name holds a PRO license.");
const NONE = () => [
  el("p", {}, "Nobody holds a PRO license."),
  el("p", { class: "note" },
    "One is granted when a user joins a live group conference; a permanent group reserves them for its accounts."),
];

function accountCell({ account, deleted }) {
  return [el("a", { href: accountAddress(account, null) }, isolated(account)), " ", deleted ? el("span", { class: "tag warn" }, "deleted") : null];
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
