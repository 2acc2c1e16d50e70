/* The view of one account: what it holds now, and its story: sessions, refusals, leases, use, acts. Links lead to it. */

import { el, renewChildren, setChildren } from "./dom.js";
import {
  formatCount, formatDuration, isolated, modelTitle, pluralize, poolTitle, timeElement, toMilliseconds, whoIs,
} from "./format.js";
import { kickConnection } from "./kick.js";
import { confirmDialog } from "./dialog.js";
import { causeCell, lengthText } from "./ended.js";
import { outcomeCell, reasonOf } from "./refusals.js";
import { factList, failureNote, table } from "./table.js";
import { truncationNote, WatchedList } from "./watched_list.js";

const MOST = 100; // entries of each part of the story
const SPAN = "30d";

/** The address of the page of an account. */
export function accountAddress(account, home) {
  const query = home ? `?home=${encodeURIComponent(home)}` : "";
  return `#/account/${encodeURIComponent(account)}${query}`;
}

/** One account: `#/account/NAME?home=HOME`. */
export class AccountView {
  static id = "account";
  static title = "Account";
  static isInner = true;
  static tab = "connections";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    [this.account = ""] = app.route.parts;
    this.home = app.route.query.get("home");
    this.watched = new WatchedList((signal) => this.load(signal), (error) => app.report(error), 2000);
  }

  open() {
    const card = (id, title) => el("section", { class: "card", id: `account-${id}`, "aria-labelledby": `account-${id}-title` },
      el("h2", { id: `account-${id}-title` }, title), el("div", { class: "body" }, el("p", { class: "note" }, "Asking the gateway …")));
    this.cards = {
      now: card("now", whoIs(this.account, this.home)),
      connections: card("connections", "Connections"),
      refusals: card("refusals", "Refusals of the last 30 days"),
      ended: card("ended", "Sessions that ended"),
      use: card("use", "Use of the last 30 days"),
      acts: card("acts", "Acts and leases in the audit log"),
    };
    setChildren(this.root, Object.values(this.cards));
  }

  update(state) {
    const { connections, history, pro, acts, audit, refused, bans } = state.generations;
    this.watched.update([connections, history, pro, acts, audit, refused, bans].join(" "));
  }

  close() {
    this.watched.close();
  }

  fill(card, ...content) {
    renewChildren(card.querySelector(".body"), content);
  }

  async load(signal) {
    const name = encodeURIComponent(this.account);
    const home = this.home ? `&home=${encodeURIComponent(this.home)}` : "";
    const parts = {
      now: [`api/accounts/${name}/now?${home.slice(1)}`, (found) => this.drawNow(found)],
      connections: [`api/connections?account=${name}${home}&limit=${MOST}`, (found) => this.drawConnections(found)],
      refusals: [
        `api/denials?account=${name}${home}&order=newest&since=${SPAN}&limit=${MOST}`, (found) => this.drawRefusals(found),
      ],
      ended: [`api/sessions/ended?account=${name}${home}&limit=${MOST}`, (found) => this.drawEnded(found)],
      use: [`api/usage?by=account&account=${name}${home}&since=${SPAN}`, (found) => this.drawUse(found)],
      acts: [`api/audit?account=${name}${home}&order=newest&limit=${MOST}`, (found) => this.drawActs(found)],
    };
    const asked = await Promise.allSettled(Object.entries(parts).map(([id, [path, draw]]) => this.loadPart(id, path, draw, signal)));
    const failed = asked.find(({ status }) => status === "rejected");
    if (failed) throw failed.reason;
  }

  /** Show one part of the story: what of it is in the file of the gateway may not be had where the others can. */
  async loadPart(id, path, draw, signal) {
    const card = this.cards[id];
    try {
      const found = await this.app.get(path, { signal });
      if (signal.aborted) return;
      draw(found);
      card.dataset.known = "";
    } catch (error) {
      if (!signal.aborted && card.dataset.known === undefined) this.fill(card, failureNote(error));
      throw error;
    }
  }

  drawNow({ connections, registered, tokens, groups, banned_until: banned, pro, host_since: host }) {
    this.pro = pro;
    const license = pro === null ? "none" : [
      el("span", { class: pro.kind === "permanent" ? "tag good" : "tag" }, pro.kind), " since ", timeElement(pro.since),
      pro.expires === null ? (pro.kind === "permanent" ? "" : ", not ending while in a conference")
        : [", until ", timeElement(pro.expires)],
    ];
    const acts = [
      pro?.kind === "temporary" ? this.app.actionButton("revoke", { onclick: () => this.revoke() }, "Revoke PRO …") : null,
      banned ? this.app.actionButton("lift", { onclick: () => this.liftBan() }, "Let in again") : null,
    ].filter(Boolean);
    this.fill(this.cards.now, factList([
      ["Now", connections ? pluralize(connections, "connection") : "not connected"],
      ["Registered", registered ? `yes, with ${pluralize(tokens, "token")}` : "no"],
      ["Groups", groups.join(", ") || "none"],
      ["PRO license", license],
      ...(host ? [["Named host", ["since ", timeElement(host)]]] : []),
      ...(banned ? [["Kept out", el("span", { class: "tag bad" }, "until ", timeElement(banned))]] : []),
    ]), acts.length ? el("div", { class: "row end" }, acts) : null);
  }

  drawConnections(found) {
    const columns = ["Device", "Kind", "Address", "Since", "Idle", "Conferences", "Seats", "Act"].map(columnOf);
    const seats = (connection) => connection.seats.map((pool) => poolTitle(pool, this.app.state)).join(", ");
    const kick = async (connection) => {
      await kickConnection(this.app, connection);
      this.watched.refresh();
    };
    const cells = (connection) => [
      isolated(connection.device ?? "–"), connection.kind, connection.address, timeElement(connection.since),
      connection.idle_seconds >= 60 ? formatDuration(connection.idle_seconds) : "–",
      connection.conferences.join(", ") || "–", seats(connection) || "–",
      this.app.actionButton("kick", { class: "small", onclick: () => kick(connection) }, "Kick"),
    ];
    this.table("connections", columns, found, "It is not connected.", cells, ({ id }) => id);
  }

  drawRefusals(found) {
    const columns = ["Last", "Pool", "Reason", "Refusals", "Outcome"].map(columnOf);
    this.table("refusals", columns, found, "It was not refused.", (demand) => [
      timeElement(demand.last), poolTitle(demand.pool, this.app.state, demand.model), reasonOf(demand),
      formatCount(demand.refusals), outcomeCell(demand),
    ]);
  }

  drawEnded(found) {
    const columns = ["Ended", "Connected for", "Cause", "Device", "Address"].map(columnOf);
    const none = "None of its sessions is among the latest that ended.";
    this.table("ended", columns, found, none, (session) => [
      timeElement(session.ended), lengthText(session), causeCell(session), isolated(session.device ?? "–"), session.address,
    ]);
  }

  drawUse({ items }) {
    const enforced = this.app.state?.model;
    const pools = (items[0]?.pools ?? []).sort((one, other) => (other.model === enforced) - (one.model === enforced));
    const columns = ["Pool", "Model", "Days", "Seat hours", "Highest", "Grants", "Refused"].map(columnOf);
    this.table("use", columns, { items: pools, next: null }, "It used nothing.", (use) => [
      poolTitle(use.pool, this.app.state, use.model), modelTitle(use.model, this.app.state), formatCount(use.days),
      (use.seat_seconds / 3600).toFixed(1), formatCount(use.peak), formatCount(use.grants), formatCount(use.denials),
    ]);
  }

  drawActs(found) {
    const columns = ["Time", "Actor", "Action"].map(columnOf);
    this.table("acts", columns, found, "The audit log has nothing about it.", ({ time, actor, action }) => [
      timeElement(time), actor, el("code", {}, action),
    ]);
  }

  table(name, columns, { items, next }, none, cellsOf, keyOf = () => null) {
    const card = this.cards[name];
    const { textContent: caption } = card.querySelector("h2");
    const rows = items.map((item) => ({ key: keyOf(item), cells: cellsOf(item) }));
    this.fill(card,
      rows.length ? table({ caption, columns, rows, asCards: true, region: `${caption}, list` }) : el("p", { class: "note" }, none),
      truncationNote(items, next !== null));
  }

  async revoke() {
    const name = whoIs(this.account, this.home);
    const text = this.pro?.in_conference ? `${name} is in a conference and will be removed from it at once.` : "The license is free at once.";
    if (!(await confirmDialog({ title: `Revoke the PRO license of ${name}?`, text, act: "Revoke", danger: true }))) return;
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/pro/${encodeURIComponent(this.account)}`);
      return `The PRO license of ${name} is revoked.`;
    });
    this.watched.refresh();
  }

  async liftBan() {
    const home = this.home ? `&home=${encodeURIComponent(this.home)}` : "";
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/bans/${encodeURIComponent(this.account)}?kind=account${home}`);
      return `${whoIs(this.account, this.home)} is let in again.`;
    });
    this.watched.refresh();
  }
}

function columnOf(title) {
  const kinds = { Act: "acts", Refusals: "number", Days: "number", Grants: "number", Refused: "number", Highest: "number" };
  return { title, class: kinds[title] ?? "" };
}
