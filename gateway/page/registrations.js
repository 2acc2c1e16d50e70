/* Registrations: for a gateway that is a registrar, the servers that register here and the licenses they register. */

import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, modelTitle, pluralize, poolTitle, timeElement } from "./format.js";
import { readAll, truncationNote, Watch } from "./watched_list.js";

let app = null;
let watch = null;
let parts = null;

export const view = {
  id: "registrations",
  title: "Registrations",
  needs: (state) => Boolean(state.registrar?.licenses || state.registrar?.servers),

  open(root, given) {
    app = given;
    parts = {
      servers: el("section", { class: "card", id: "servers", "aria-labelledby": "servers-title" }),
      licenses: el("section", { class: "card", id: "licenses", "aria-labelledby": "licenses-title" }),
    };
    setChildren(root, parts.servers, parts.licenses);
    watch = new Watch(look, (error) => app?.report(error));
  },

  update(state) {
    watch.mark(state.generations.registrations);
  },

  close() {
    watch.close();
    app = watch = null;
  },
};

async function look(signal) {
  const [servers, licenses] = await Promise.all([readAll(app, "api/registrations", signal), readAll(app, "api/licenses", signal)]);
  if (signal.aborted) return;
  showServers(servers);
  showLicenses(licenses);
}

/** A pool and its number stay on one line. */
const pools = (found) => Object.entries(found ?? {}).map(([pool, number]) => `${poolTitle(pool)} ${formatCount(number)}`.replaceAll(" ", "\u00a0")).join(", ") || "–";

/** A server is named by its operator, or by its installation. */
const named = (server) => (/^[0-9a-f]{32}$/.test(server) ? el("code", {}, server) : server || "–");

const edition = ({ model, edition: name }) => [modelTitle(model), name].filter(Boolean).join(" ");

const table = (id, caption, titles, rows) => el("div", { class: "box" }, el("table", { class: "grid cards-narrow", id },
  el("caption", { class: "visually-hidden" }, caption),
  el("thead", {}, el("tr", {}, titles.map((title) => el("th", { scope: "col", class: title === "Act" ? "acts" : null }, title)))),
  el("tbody", {}, rows)));

function showServers({ items, more }) {
  const suspected = items.reduce((sum, item) => sum + (item.clones_suspected ?? 0), 0);
  setChildren(
    parts.servers,
    el("div", { class: "head" }, el("h2", { id: "servers-title" }, "Servers"),
      el("span", { class: "tag" }, `${formatCount(items.filter((item) => item.connected).length)} connected`),
      suspected ? el("span", { class: "tag bad", id: "clones" }, pluralize(suspected, "suspected clone")) : null),
    items.length
      ? table("servers-list", "Servers that register here", ["Server", "License", "State", "Last verified", "Reported use", "Address", "Version", "Suspected clones"],
          items.map((item) => el("tr", { "data-key": item.server },
            el("th", { scope: "row", "data-title": "Server" }, named(item.server)),
            el("td", { "data-title": "License" }, el("span", {}, el("span", { class: "serial" }, item.serial), " ", el("span", { class: "soft" }, edition(item)))),
            el("td", { "data-title": "State" }, el("span", { class: item.connected ? "tag good" : "tag warn" }, item.connected ? "connected" : "away")),
            el("td", { "data-title": "Last verified", class: "time" }, timeElement(item.last_verified)),
            el("td", { "data-title": "Reported use" }, pools(item.used)),
            el("td", { "data-title": "Address" }, item.address || "–"),
            el("td", { "data-title": "Version" }, item.version || "–"),
            el("td", { "data-title": "Suspected clones" }, item.clones_suspected ? el("span", { class: "tag bad" }, formatCount(item.clones_suspected)) : "none"))))
      : el("div", { class: "empty" }, el("p", {}, "No server has registered yet."),
          el("p", { class: "note" }, "A gateway registers with role = \"agent\", the serial and the key of one of the licenses below.")),
    truncationNote(items, more),
  );
}

function showLicenses({ items, more }) {
  setChildren(
    parts.licenses,
    el("h2", { id: "licenses-title" }, "Licenses"),
    items.length
      ? table("licenses-list", "Licenses that servers register with", ["Serial", "Model", "Limits", "State", "Valid until", "Connection", "Act"],
          items.map((item) => el("tr", { "data-key": item.serial },
            el("th", { scope: "row", class: "serial", "data-title": "Serial" }, item.serial),
            el("td", { "data-title": "Model" }, edition(item)),
            el("td", { "data-title": "Limits" }, pools(item.limits)),
            el("td", { "data-title": "State" }, el("span", { class: item.state === "active" ? "tag good" : "tag bad" }, item.state)),
            el("td", { "data-title": "Valid until", class: "time" }, item.not_after ? timeElement(item.not_after) : "no end"),
            el("td", { "data-title": "Connection" }, item.needs_connection ? "needed all the time" : "not needed"),
            el("td", { class: "acts" }, item.state === "revoked" ? null
              : app.actionButton("revoke-license", { class: "small", "aria-label": `Revoke ${item.serial}`, onclick: () => revoke(item) }, "Revoke")))))
      : el("div", { class: "empty" }, el("p", {}, "There are no licenses."),
          el("p", { class: "note" }, el("code", {}, "tallygate license add SERIAL --edition free"), " makes one and shows its key once.")),
    truncationNote(items, more),
  );
}

async function revoke(item) {
  const who = app;
  const text = "Every server that uses this license closes its client doors at once. This cannot be undone.";
  if (!(await confirmDialog({ title: `Revoke the license ${item.serial}?`, text, act: "Revoke", danger: true }))) return;
  try {
    await who.send("POST", `api/licenses/${encodeURIComponent(item.serial)}/revoke`);
    who.notify(`The license ${item.serial} is revoked.`, "good");
  } catch (error) {
    who.report(error);
  }
  watch?.again();
}
