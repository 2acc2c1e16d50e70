/* The view of registrations, of a gateway that is a registrar: the servers that register here, and their licenses. */

import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, modelTitle, pluralize, poolTitle, timeElement } from "./format.js";
import { sellLicense } from "./sell_license.js";
import { failureNote, table } from "./table.js";
import { WatchedList, readAll, truncationNote } from "./watched_list.js";

const SERVER_COLUMNS = [
  { title: "Server", isHeader: true },
  { title: "License" },
  { title: "State" },
  { title: "Last verified", class: "time" },
  { title: "Reported use" },
  { title: "Address" },
  { title: "Version" },
  { title: "Suspected clones" },
];
const LICENSE_COLUMNS = [
  { title: "Serial", class: "one-line", isHeader: true },
  { title: "Model", class: "one-line" },
  { title: "Limits" },
  { title: "State" },
  { title: "Valid until", class: "time" },
  { title: "Connection", class: "one-line" },
  { title: "Act", class: "acts" },
];

/** Servers and licenses of a registrar. */
export class RegistrationsView {
  static id = "registrations";
  static title = "Registrations";
  static isShown = (state) => Boolean(!state.serves_clients || state.registrar.listens || state.registrar.licenses);

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.fail(error));
  }

  open() {
    this.servers = el("section", { class: "card", id: "servers", "aria-labelledby": "servers-title" });
    this.licenses = el("section", { class: "card", id: "licenses", "aria-labelledby": "licenses-title" });
    setChildren(this.root, this.servers, this.licenses);
  }

  update(state) {
    this.watched.update(state.generations.registrations);
  }

  close() {
    this.watched.close();
  }

  /** Say what went wrong; what is shown stays. */
  fail(error) {
    for (const card of [this.servers, this.licenses]) {
      if (!card.hasChildNodes()) setChildren(card, failureNote(error));
    }
    this.app.report(error);
  }

  async load(signal) {
    const paths = ["api/registrations", "api/licenses"];
    const [servers, licenses] = await Promise.all(paths.map((path) => readAll(this.app, path, signal)));
    if (signal.aborted) return;
    const limits = new Map(licenses.items.map((license) => [license.serial, license.limits]));
    this.drawServers(servers, limits);
    this.drawLicenses(licenses);
  }

  /** Draw the servers; `limits` are those of each license, by its serial. */
  drawServers({ items, more }, limits) {
    const clones = items.reduce((sum, item) => sum + (item.clones_suspected ?? 0), 0);
    const connected = items.filter((item) => item.connected).length;
    const oneLine = (kind, text) => el("span", { class: `one-line ${kind}` }, text);
    const rows = items.map((item) => ({
      key: item.server,
      cells: [
        nameOf(item.server),
        [oneLine("", item.serial), " ", oneLine("soft", this.editionOf(item))],
        el("span", { class: item.connected ? "tag good" : "tag warn" }, item.connected ? "connected" : "away"),
        timeElement(item.last_verified),
        this.poolsText(item.model, item.used, limits.get(item.serial)),
        item.address || "–",
        item.version || "–",
        item.clones_suspected ? el("span", { class: "tag bad" }, formatCount(item.clones_suspected)) : "none",
      ],
    }));
    const caption = "Servers that register here";
    setChildren(
      this.servers,
      el("div", { class: "head" },
        el("h2", { id: "servers-title" }, "Servers"),
        el("span", { class: "tag" }, `${formatCount(connected)} connected`),
        clones ? el("span", { class: "tag bad", id: "clones" }, pluralize(clones, "suspected clone")) : null),
      rows.length
        ? table({ id: "servers-list", caption, columns: SERVER_COLUMNS, rows, asCards: true })
        : el("div", { class: "empty" },
            el("p", {}, "No server has registered yet."),
            el("p", { class: "note" },
              "A gateway registers with role = \"agent\", the serial and the key of one of the licenses below.")),
      truncationNote(items, more),
    );
  }

  drawLicenses({ items, more }) {
    const rows = items.map((item) => ({
      key: item.serial,
      cells: [
        item.serial,
        this.editionOf(item),
        this.poolsText(item.model, item.limits),
        el("span", { class: item.state === "active" ? "tag good" : "tag bad" }, item.state),
        item.not_after ? timeElement(item.not_after) : "no end",
        item.needs_connection ? "needed all the time" : "not needed",
        item.state === "revoked" ? null : [this.changeButton(item), this.revokeButton(item.serial)],
      ],
    }));
    const caption = "Licenses that servers register with";
    setChildren(
      this.licenses,
      el("div", { class: "head" },
        el("h2", { id: "licenses-title" }, "Licenses"),
        this.app.actionButton("sell", { class: "primary", onclick: () => this.sell(null) }, "Sell a license …")),
      rows.length
        ? table({ id: "licenses-list", caption, columns: LICENSE_COLUMNS, rows, asCards: true })
        : el("div", { class: "empty" },
            el("p", {}, "There are no licenses."),
            el("p", { class: "note" }, "A license has a serial and a key; a gateway registers with both.")),
      truncationNote(items, more),
    );
  }

  editionOf({ model, edition }) {
    return [modelTitle(model, this.app.state), edition].filter(Boolean).join(" ");
  }

  /** Pools and their numbers as a text, with `limits` where they are known; a pool stays on one line. */
  poolsText(model, numbers, limits = {}) {
    const texts = Object.entries(numbers ?? {}).map(([pool, number]) => {
      const limit = limits?.[pool] ?? null;
      const of = limit === null ? "" : ` of ${formatCount(limit)}`;
      return `${poolTitle(pool, this.app.state, model)} ${formatCount(number)}${of}`.replaceAll(" ", "\u00a0");
    });
    return texts.join(", ") || "–";
  }

  changeButton(license) {
    const attributes = { class: "small", "aria-label": `Change ${license.serial}`, onclick: () => this.sell(license) };
    return this.app.actionButton("change-license", attributes, "Change");
  }

  /** Sell a license, or change one. */
  async sell(license) {
    try {
      const { items } = await this.app.get("api/offers");
      if (await sellLicense(this.app, items, license)) this.watched.refresh();
    } catch (error) {
      this.app.report(error);
    }
  }

  revokeButton(serial) {
    const attributes = { class: "small", "aria-label": `Revoke ${serial}`, onclick: () => this.revoke(serial) };
    return this.app.actionButton("revoke-license", attributes, "Revoke");
  }

  async revoke(serial) {
    const text = "Every server that uses this license closes its client doors at once. This cannot be undone.";
    if (!(await confirmDialog({ title: `Revoke the license ${serial}?`, text, act: "Revoke", danger: true }))) return;
    await this.app.attempt(async () => {
      await this.app.send("POST", `api/licenses/${encodeURIComponent(serial)}/revoke`);
      return `The license ${serial} is revoked.`;
    });
    this.watched.refresh();
  }
}

/** A server is named by its operator, or by its installation. */
function nameOf(server) {
  return /^[0-9a-f]{32}$/.test(server) ? el("code", {}, server) : server || "–";
}
