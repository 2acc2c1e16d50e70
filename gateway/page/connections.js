/* Connections: every session, searched by the gateway and shown a window at a time. */

import { confirmDialog, detailsDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, pluralize, poolTitle, timeElement } from "./format.js";
import { searchField, showTotal, WindowedList } from "./virtual_list.js";

const BANS = [
  ["5m", "5 minutes"],
  ["1h", "1 hour"],
  ["24h", "24 hours"],
];

let app = null;
let list = null;
let mark = "";
let sought = "";
let conference = null;
let found = null;
let figures = null;
let bans = null;
let abort = null;

export const view = {
  id: "connections",
  title: "Connections",
  needs: () => true,

  open(root, given) {
    app = given;
    abort = new AbortController();
    mark = sought = "";
    found = null;
    conference = new URLSearchParams(app.rest.replace(/^\?/, "")).get("conference");
    const field = searchField({
      id: "connections-search",
      label: "Search",
      placeholder: "account, device, address or kind",
      seek(text) {
        if (text === sought) return;
        sought = text;
        list?.anew(); // whoever paused may have left the view meanwhile
      },
    });
    figures = el("p", { class: "note tally", id: "connections-tally", role: "status" });
    list = new WindowedList({
      id: "connections-list",
      caption: "Connections",
      columns: COLUMNS,
      heights: [44, 112],
      key: (item) => item.id,
      counted: true,
      fetch: (offset, limit, signal) => app.get(`api/connections?${query({ offset, limit })}`, { signal }),
      async size(signal) {
        found = (await app.get(`api/connections/count?${query({})}`, { signal })).count;
        tell();
        return found;
      },
      empty: () => (sought || conference
        ? [el("p", {}, "No connection matches."), el("p", { class: "note" }, "The search looks for a part of the account, the device, the address or the kind.")]
        : [el("p", {}, "Nobody is connected."), el("p", { class: "note" }, "Clients connect to the ports 4307 (TCP) and 4308 (WebSocket), or those in the settings. ",
            el("code", {}, "tallygate load --connections 100"), " tries it out.")]),
      fail: (error) => app.report(error),
    });
    bans = el("details", { class: "card bans", id: "bans", hidden: true });
    setChildren(
      root,
      el(
        "div",
        { class: "toolbar" },
        field.node,
        conference === null ? null : el("p", { class: "chip", id: "connections-conference" }, "in conference ", el("b", {}, conference), " ",
          el("a", { href: "#/connections", "aria-label": "Show all connections" }, "show all")),
        figures,
      ),
      list.node,
      bans,
    );
    list.anew();
    showBans();
  },

  update(state) {
    tell();
    if (mark && mark !== state.generations.connections) list.changed();
    mark = state.generations.connections;
  },

  close() {
    abort.abort();
    list.close();
    list = app = null;
  },
};

const COLUMNS = [
  {
    title: "Account",
    class: "who",
    cell: (item) => el("button", { type: "button", class: "link", "data-act": "details", onclick: () => details(item) }, name(item)),
  },
  { title: "Device", class: "wide-only", cell: (item) => item.device ?? "–" },
  { title: "Kind", class: "short", cell: (item) => [el("span", { class: "tag" }, item.kind), item.presence === "asleep" ? el("span", { class: "tag" }, "asleep") : null] },
  { title: "Address", class: "", cell: (item) => item.address },
  { title: "Since", class: "time", cell: (item) => timeElement(item.since) },
  { title: "Conferences", class: "wide-only", cell: (item) => item.conferences.join(", ") || "–" },
  { title: "Seats", class: "wide-only short", cell: (item) => item.seats.join(", ") || "–" },
  {
    title: "Act",
    class: "acts",
    cell: (item) => app.actionButton("kick", { class: "small", "aria-label": `Kick ${name(item)}`, onclick: () => kick(item) }, "Kick"),
  },
];

const NAMELESS = { sip: "endpoint", h323: "endpoint", rtsp: "endpoint", welcome: "visitor", console: "visitor" };
const nobody = (item) => NAMELESS[item.kind] ?? "guest";
const name = (item) => (item.account === null ? nobody(item) : item.home ? `${item.account} (${item.home})` : item.account);

function query(more) {
  const asked = new URLSearchParams(more);
  if (sought) asked.set("q", sought);
  if (conference !== null) asked.set("conference", conference);
  return asked;
}

function tell() {
  const all = app.state?.connections.total ?? null;
  if (found !== null) showTotal(figures, sought || conference !== null ? found : all ?? found, all, "connection");
}

function details(item) {
  const heard = item.last_heard === null ? "the connection is lost; it may be resumed" : timeElement(item.last_heard);
  const facts = [
    ["Session", el("code", {}, item.id)],
    ["Account", item.account ?? `none: a ${nobody(item)}`],
    ["Home server", item.home ?? "this one"],
    ["Device", item.device ?? "–"],
    ["Kind", item.kind],
    ["Client", item.client || "–"],
    ["Address", `${item.address} by ${item.transport === "tcp" ? "TCP" : "WebSocket"}`],
    ["Presence", item.presence],
    ["Connected", [timeElement(item.since), ` (${formatDuration((app.now() - Date.parse(item.since)) / 1000)})`]],
    ["Last heard", heard],
    ["Conferences", item.conferences.join(", ") || "none"],
    ["Seats", item.seats.map(poolTitle).join(", ") || "none"],
  ];
  const hide = detailsDialog(
    name(item),
    el("dl", { class: "facts" }, facts.map(([term, value]) => [el("dt", {}, term), el("dd", {}, value)])),
    app.actionButton("kick", { class: "danger", onclick: () => { hide(); kick(item); } }, "Kick …"),
  );
}

async function kick(item) {
  const whom = item.account === null ? `guests from ${item.address}` : name(item);
  const choices = [["", "Close the connection"], ...BANS.map(([value, text]) => [value, `Also keep ${whom} out for ${text}`])]
    .map(([value, text]) => el("label", { class: "choice" }, el("input", { type: "radio", name: "ban", value, checked: value === "" }), text));
  const every = el("input", { type: "checkbox", id: "kick-all" });
  const whole = item.account !== null && item.home === null;
  const text = el(
    "div",
    {},
    el("p", {}, `The connection of ${name(item)} from ${item.address} is closed at once, and its seats are free.`),
    el("fieldset", {}, el("legend", { class: "visually-hidden" }, "What to do"), choices),
    whole ? el("label", { class: "choice" }, every, `Every connection of ${item.account}`) : null,
  );
  const who = app;
  if (!(await confirmDialog({ title: `Kick ${name(item)}?`, text, act: "Kick", danger: true }))) return;
  const span = text.querySelector("input[name=ban]:checked").value;
  const ban = span ? `?ban=${span}` : "";
  try {
    if (every.checked) {
      const { kicked } = await who.send("DELETE", `api/accounts/${encodeURIComponent(item.account)}/connections${ban}`);
      who.notify(`${pluralize(kicked, "connection")} of ${item.account} closed.`, "good");
    } else {
      await who.send("DELETE", `api/connections/${encodeURIComponent(item.id)}${ban}`);
      who.notify(`${name(item)} is kicked${span ? " and kept out" : ""}.`, "good");
    }
  } catch (error) {
    who.report(error);
  }
  list?.changed();
  if (app !== null) showBans();
}

async function showBans() {
  const { signal } = abort;
  try {
    const { items, next } = await app.get("api/bans?limit=100", { signal });
    if (signal.aborted) return;
    bans.hidden = items.length === 0;
    setChildren(
      bans,
      el("summary", {}, `Kept out: ${formatCount(items.length)}${next === null ? "" : " and more"}`),
      el("div", { class: "box" },
        el("table", { class: "grid" },
          el("caption", { class: "visually-hidden" }, "Who is kept out, and until when"),
          el("thead", {}, el("tr", {}, ["Account or address", "Until", "Act"].map((title) => el("th", { scope: "col", class: title === "Act" ? "acts" : null }, title)))),
          el("tbody", {}, items.map((ban) => el("tr", { "data-key": ban.subject },
            el("td", {}, ban.subject),
            el("td", { class: "time" }, timeElement(ban.until)),
            el("td", { class: "acts" }, app.actionButton("lift", { class: "small", "aria-label": `Let ${ban.subject} in again`, onclick: () => lift(ban.subject) }, "Let in")),
          ))))),
    );
  } catch (error) {
    app?.report(error);
  }
}

async function lift(subject) {
  try {
    await app.send("DELETE", `api/bans/${encodeURIComponent(subject)}`);
    app?.notify(`${subject} is let in again.`, "good");
  } catch (error) {
    app?.report(error);
  }
  if (app !== null) showBans();
}
