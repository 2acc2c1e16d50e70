/* The view of registrations, of a gateway that is a registrar: the servers that register here, and their licenses. */

import { confirmDialog, showDetails } from "./dialog.js";
import { el, setChildren, setText } from "./dom.js";
import { formatCount, modelTitle, pluralize, poolTitle, timeElement } from "./format.js";
import { WholeList } from "./list_view.js";
import { sellLicense } from "./sell_license.js";
import { WatchedList, readAll } from "./watched_list.js";

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
    this.servers = this.serverList();
    this.licenses = this.licenseList();
    this.clones = el("span", { class: "tag bad", id: "clones", hidden: true });
    const part = (id, title, list, ...beside) => el("section", { id, class: "part", "aria-labelledby": `${id}-title` },
      el("div", { class: "head" }, el("h2", { id: `${id}-title` }, title), beside), list.nodes);
    setChildren(
      this.root,
      part("servers", "Servers", this.servers, this.clones),
      part("licenses", "Licenses", this.licenses),
    );
  }

  update(state) {
    const { registrations, history } = state.generations; // of the minute, since licenses end by themselves
    this.watched.update(`${registrations} ${history}`);
  }

  close() {
    this.watched.close();
    this.servers.close();
    this.licenses.close();
  }

  /** Say what went wrong; what is shown stays. */
  fail(error) {
    this.servers.showFailure(error);
    this.licenses.showFailure(error);
  }

  async load(signal) {
    const paths = ["api/registrations", "api/licenses"];
    const [servers, licenses] = await Promise.all(paths.map((path) => readAll(this.app, path, signal)));
    if (signal.aborted) return;
    const limits = new Map(licenses.items.map((license) => [license.serial, license.limits]));
    // With what a server may use: it is shown anew where its license is changed.
    const items = servers.items.map((server) => ({ ...server, limits: limits.get(server.serial) ?? {} }));
    const clones = items.reduce((sum, item) => sum + (item.clones_suspected ?? 0), 0);
    this.clones.hidden = clones === 0;
    setText(this.clones, pluralize(clones, "suspected clone"));
    this.servers.setFigures(`${formatCount(items.filter((item) => item.connected).length)} of ${formatCount(items.length)} connected`);
    this.servers.show({ ...servers, items });
    this.licenses.setFigures(pluralize(licenses.items.length, "license"));
    this.licenses.show(licenses);
  }

  serverList() {
    const useOf = (item) => this.poolsText(item.model, item.used, item.limits);
    const clonesTag = (count) => el("span", { class: "tag bad narrow-only" }, pluralize(count, "suspected clone"));
    return new WholeList(this.app, {
      id: "servers",
      caption: "Servers that register here",
      columns: [
        { title: "Server", class: "who", cell: (item) => linkButton(nameOf(item.server), () => this.showServer(item)) },
        { title: "License", class: "license", cell: (item) => [item.serial, el("span", { class: "soft" }, ` ${this.editionOf(item)}`)] },
        { title: "State", class: "short", cell: (item) =>
          [connectedTag(item), item.clones_suspected ? clonesTag(item.clones_suspected) : null] },
        { title: "Last verified", class: "wide-only time roomy", cell: (item) => timeElement(item.last_verified) },
        { title: "Reported use", class: "pools", cell: useOf },
        { title: "Address", class: "wide-only short roomy", cell: (item) => item.address || "–" },
        { title: "Clones", class: "wide-only number", cell: clonesCell },
      ],
      key: ({ server }) => server,
      placeholder: "server, serial or address",
      textOf: ({ server, serial, address, connected }) => [server, serial, address, connected ? "connected" : "away"].join(" "),
      empty: (searching) => (searching ? el("p", {}, "No server matches.") : [
        el("p", {}, "No server has registered yet."),
        el("p", { class: "note" },
          "A gateway registers with role = \"agent\", the serial and the key of one of the licenses below."),
      ]),
    });
  }

  licenseList() {
    return new WholeList(this.app, {
      id: "licenses",
      caption: "Licenses that servers register with",
      columns: [
        { title: "Serial", class: "who", cell: (item) => linkButton(item.serial, () => this.showLicense(item)) },
        { title: "Model", class: "", cell: (item) => this.editionOf(item) },
        { title: "Limits", class: "pools", cell: (item) => this.poolsText(item.model, item.limits) },
        { title: "State", class: "short", cell: stateTag },
        { title: "Valid until", class: "wide-only time", cell: endCell },
        { title: "Act", class: "acts wider", cell: (item) =>
          (item.state === "revoked" ? null : [this.changeButton(item), this.revokeButton(item.serial)]) },
      ],
      key: ({ serial }) => serial,
      placeholder: "serial, model or state",
      textOf: (item) => [item.serial, this.editionOf(item), item.state].join(" "),
      empty: (searching) => (searching ? el("p", {}, "No license matches.") : [
        el("p", {}, "There are no licenses."),
        el("p", { class: "note" }, "A license has a serial and a key; a gateway registers with both."),
      ]),
      beside: this.app.actionButton("sell", { class: "primary", onclick: () => this.sell(null) }, "Sell a license …"),
    });
  }

  showServer(item) {
    const hide = showDetails(nameOf(item.server), [
      ["License", `${item.serial}, ${this.editionOf(item)}`],
      ["State", connectedTag(item)],
      ["Last verified", timeElement(item.last_verified)],
      ["Reported use", this.poolsText(item.model, item.used, item.limits)],
      ["Address", item.address || "–"],
      ["Version", item.version || "–"],
      ["Suspected clones", clonesCell(item)],
    ]);
    addEventListener("hashchange", hide, { once: true });
  }

  showLicense(item) {
    const hide = showDetails(item.serial, [
      ["Model", this.editionOf(item)],
      ["Limits", this.poolsText(item.model, item.limits)],
      ["State", stateTag(item)],
      ["Valid until", endCell(item)],
      ["Connection", item.needs_connection ? "needed all the time" : "not needed"],
    ]);
    addEventListener("hashchange", hide, { once: true });
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
      const find = (serial) => this.licenses.source.items.find((each) => each.serial === serial);
      if (await sellLicense(this.app, items, license, find)) this.watched.refresh();
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

const connectedTag = ({ connected }) =>
  el("span", { class: connected ? "tag good" : "tag warn" }, connected ? "connected" : "away");
const stateTag = ({ state }) => el("span", { class: state === "active" ? "tag good" : "tag bad" }, state);
const clonesCell = ({ clones_suspected: clones }) =>
  (clones ? el("span", { class: "tag bad" }, formatCount(clones)) : "none");
const endCell = ({ not_after: end }) => (end ? timeElement(end) : "no end");
const linkButton = (name, onclick) => el("button", { type: "button", class: "link", "data-act": "details", onclick }, name);

/** A server is named by its operator, or by its installation. */
function nameOf(server) {
  return /^[0-9a-f]{32}$/.test(server) ? el("code", {}, server) : server || "–";
}
