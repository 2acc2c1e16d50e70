/* PRO licenses: who holds one, for how long, and the groups that hold theirs for good. */

import { confirmDialog } from "./dialog.js";
import { el, reorderChildren, setChildren, setText } from "./dom.js";
import { formatCount, formatDuration, pluralize, timeElement, toMilliseconds } from "./format.js";
import { readAll, truncationNote, Watch } from "./watched_list.js";

const NAMED = 4; // accounts of a group that are named

let app = null;
let watch = null;
let timer = 0;
let parts = null;
let rows = new Map();
let found = { items: [], more: false };
let sought = "";

export const view = {
  id: "pro",
  title: "PRO licenses",
  needs: (state) => "trueconf" in state.models,

  open(root, given) {
    app = given;
    rows = new Map();
    sought = "";
    const input = el("input", { id: "pro-search", type: "search", placeholder: "account", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => {
      sought = input.value.trim().toLowerCase();
      show();
    });
    parts = {
      tally: el("p", { class: "note tally", id: "pro-tally", role: "status" }),
      body: el("tbody", {}),
      empty: el("div", { class: "empty", hidden: true }),
      cut: el("div", {}),
      table: null,
      groups: el("section", { class: "card", id: "groups", "aria-labelledby": "groups-title" }),
    };
    parts.table = el("div", { class: "box" }, el("table", { class: "grid cards-narrow", id: "pro-list" },
      el("caption", { class: "visually-hidden" }, "Accounts that hold a PRO license"),
      el("thead", {}, el("tr", {}, ["Account", "License", "Since", "Expires", "In a conference", "Act"].map(head))),
      parts.body));
    setChildren(
      root,
      parts.groups,
      el("div", { class: "toolbar" },
        el("div", { class: "field grow" }, el("label", { for: "pro-search" }, "Search"), input), parts.tally),
      el("section", { class: "card flush", "aria-label": "PRO licenses" }, parts.table, parts.empty),
      parts.cut,
    );
    watch = new Watch(look, (error) => app?.report(error));
    timer = setInterval(tick, 1000);
  },

  update(state) {
    const pool = state.models.trueconf.pools.pro;
    const limit = pool.limit === null ? "no limit" : `of ${formatCount(pool.limit)}`;
    const shadow = state.model === "trueconf" ? "" : " · counted as it would be: another model is enforced";
    setText(parts.tally, `${formatCount(pool.used)} ${limit}, ${formatCount(pool.reserved)} permanent, ${formatCount(pool.denied)} refused${shadow}`);
    watch.mark(`${state.generations.pro} ${state.redistribute_at}`);
  },

  close() {
    clearInterval(timer);
    watch.close();
    app = watch = null;
  },
};

async function look(signal) {
  const [holders, groups] = await Promise.all([readAll(app, "api/pro", signal), readAll(app, "api/groups", signal)]);
  if (signal.aborted) return;
  found = holders;
  setChildren(parts.cut, truncationNote(holders.items, holders.more));
  show();
  showGroups(groups, new Set(holders.items.filter((each) => each.kind === "permanent").map((each) => each.account)));
}

function show() {
  const items = sought ? found.items.filter((item) => item.account.includes(sought)) : found.items;
  const kept = new Map();
  for (const item of items) {
    const sign = JSON.stringify(item);
    const before = rows.get(item.account);
    kept.set(item.account, before?.sign === sign ? before : { sign, item, node: row(item) });
  }
  rows = kept;
  reorderChildren(parts.body, [...rows.values()].map((each) => each.node));
  parts.table.hidden = items.length === 0;
  parts.empty.hidden = items.length > 0;
  setChildren(parts.empty, sought
    ? el("p", {}, "No account with this in its name holds a PRO license.")
    : [el("p", {}, "Nobody holds a PRO license."), el("p", { class: "note" }, "One is granted when a user joins a live group conference; a permanent group reserves them for its accounts.")]);
  tick();
}

const head = (title) => el("th", { scope: "col", class: title === "Act" ? "acts" : null }, title);

function row(item) {
  const permanent = item.kind === "permanent";
  const revoke = permanent || item.deleted
    ? el("button", { type: "button", class: "small", "data-act": "revoke", disabled: true,
        title: permanent ? "A permanent license cannot be revoked: change its group" : "The license of a deleted account cannot be revoked" }, "Revoke")
    : app.actionButton("revoke", { class: "small", "aria-label": `Revoke the license of ${item.account}`, onclick: () => revoked(item) }, "Revoke");
  return el("tr", { "data-key": item.account },
    el("th", { scope: "row", "data-title": "Account" }, item.account, " ", item.deleted ? el("span", { class: "tag warn" }, "deleted") : null),
    el("td", { "data-title": "License" }, el("span", { class: permanent ? "tag good" : "tag" }, item.kind)),
    el("td", { "data-title": "Since", class: "time" }, timeElement(item.since)),
    el("td", { "data-title": "Expires" }, el("span", { class: "expires", dataset: { due: item.expires ?? "" } })),
    el("td", { "data-title": "In a conference" }, item.in_conference ? el("span", { class: "tag good" }, "yes") : el("span", { class: "none" }, "no")),
    el("td", { class: "acts" }, revoke));
}

/** Let what runs out run on. */
function tick() {
  if (app === null) return;
  for (const { item, node } of rows.values()) {
    const place = node.querySelector(".expires");
    const due = toMilliseconds(item.expires);
    if (due === null) setText(place, item.kind === "permanent" ? "never" : "not while in a conference");
    else {
      setText(place, due >= app.now() + 1000 ? `in ${formatDuration((due - app.now()) / 1000)}` : "now");
      place.title = new Date(due).toString();
    }
  }
}

async function revoked(item) {
  const who = app;
  const text = item.in_conference
    ? `${item.account} is in a conference and will be removed from it at once. The license is free for somebody else.`
    : "The license is free for somebody else at once.";
  if (!(await confirmDialog({ title: `Revoke the PRO license of ${item.account}?`, text, act: "Revoke", danger: true }))) return;
  try {
    await who.send("DELETE", `api/pro/${encodeURIComponent(item.account)}`);
    who.notify(`The PRO license of ${item.account} is revoked.`, "good");
  } catch (error) {
    who.report(error);
  }
  watch?.again();
}

function showGroups({ items, more }, holding) {
  const due = app.state?.redistribute_at ?? null;
  const rows = items.map((group) => {
    const waiting = group.permanent ? group.accounts.filter((account) => !holding.has(account)).length : 0;
    const effect = !group.permanent ? "–" : waiting ? [`${pluralize(waiting, "account")} not yet: next redistribution`] : "in effect";
    return el("tr", { "data-key": group.group },
      el("th", { scope: "row", "data-title": "Group" }, group.group),
      el("td", { "data-title": "Accounts" }, group.accounts.length > NAMED ? `${group.accounts.slice(0, NAMED).join(", ")} and ${formatCount(group.accounts.length - NAMED)} more` : group.accounts.join(", ") || "none"),
      el("td", { "data-title": "PRO" }, el("span", { class: group.permanent ? "tag good" : "tag" }, group.permanent ? "permanent" : "temporary")),
      el("td", { "data-title": "Takes effect" }, effect));
  });
  setChildren(
    parts.groups,
    el("h2", { id: "groups-title" }, "Groups"),
    el("p", { class: "note" }, "A change of a group takes effect at the next redistribution", due === null ? "." : [": ", timeElement(due), "."]),
    rows.length
      ? el("div", { class: "box", tabindex: "0", role: "region", "aria-labelledby": "groups-title" }, el("table", { class: "grid cards-narrow", id: "groups-list" },
          el("caption", { class: "visually-hidden" }, "Groups, and which have permanent PRO licenses"),
          el("thead", {}, el("tr", {}, ["Group", "Accounts", "PRO", "Takes effect"].map((title) => el("th", { scope: "col" }, title)))),
          el("tbody", {}, rows)))
      : el("div", { class: "empty" }, el("p", {}, "There are no groups."),
          el("p", { class: "note" }, el("code", {}, "tallygate group set NAME ACCOUNT … --permanent"), " makes one.")),
    truncationNote(items, more),
  );
}
