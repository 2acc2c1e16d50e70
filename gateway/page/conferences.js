/* Conferences: who meets, live and declared; ended from here. */

import { confirmDialog } from "./dialog.js";
import { el, setChildren, setText } from "./dom.js";
import { formatCount, pluralize } from "./format.js";
import { searchField, WindowedList } from "./virtual_list.js";

let app = null;
let list = null;
let mark = "";
let sought = "";
let figures = null;

export const view = {
  id: "conferences",
  title: "Conferences",
  needs: () => true,

  open(root, given) {
    app = given;
    mark = sought = "";
    const field = searchField({
      id: "conferences-search",
      label: "Search",
      placeholder: "id of a conference",
      seek(text) {
        if (text === sought) return;
        sought = text;
        list?.anew(); // whoever paused may have left the view meanwhile
      },
    });
    figures = el("p", { class: "note tally", id: "conferences-tally", role: "status" });
    list = new WindowedList({
      id: "conferences-list",
      caption: "Conferences",
      columns: COLUMNS,
      heights: [44, 112],
      key: (item) => item.id,
      counted: false,
      fetch: (offset, limit, signal) => app.get(`api/conferences?${query({ offset, limit })}`, { signal }),
      size: async () => null,
      empty: () => (sought
        ? [el("p", {}, "No conference has this in its id.")]
        : [el("p", {}, "There is no conference."), el("p", { class: "note" }, "A conference begins when the first client joins it, or when it is declared: PUT /api/conferences/ID.")]),
      fail: (error) => app.report(error),
    });
    setChildren(root, el("div", { class: "toolbar" }, field.node, figures), list.node);
    list.anew();
  },

  update(state) {
    const { live, scheduled, members, waiting } = state.conferences;
    const parts = [`${formatCount(live)} live with ${pluralize(members, "member")}`, `${formatCount(scheduled)} scheduled${waiting ? ` with ${formatCount(waiting)} waiting` : ""}`];
    setText(figures, parts.join(" · "));
    if (mark && mark !== state.generations.conferences) list.changed();
    mark = state.generations.conferences;
  },

  close() {
    list.close();
    list = app = null;
  },
};

const COLUMNS = [
  { title: "Conference", class: "who", cell: (item) => (item.members ? el("a", { href: `#/connections?conference=${encodeURIComponent(item.id)}`, title: "Show the connections in it" }, item.id) : item.id) },
  { title: "State", class: "short", cell: (item) => el("span", { class: item.state === "live" ? "tag good" : "tag" }, item.state) },
  { title: "Members", class: "number", cell: (item) => [formatCount(item.members), el("span", { class: "unit" }, item.members === 1 ? " member" : " members")] },
  { title: "Access", class: "wide-only short", cell: (item) => item.access },
  { title: "Mode", class: "wide-only short", cell: (item) => item.mode },
  { title: "Hosts", class: "wide-only number", cell: (item) => formatCount(item.hosts.length) },
  { title: "Server", class: "wide-only", cell: (item) => [item.server ?? "this one", " ", item.declared ? el("span", { class: "tag" }, "declared") : null] },
  { title: "Act", class: "acts", cell: (item) => app.actionButton("end", { class: "small", "aria-label": `End ${item.id}`, onclick: () => end(item) }, "End") },
];

function query(more) {
  const asked = new URLSearchParams(more);
  if (sought) asked.set("q", sought);
  return asked;
}

async function end(item) {
  const who = app;
  const text = item.members
    ? `${pluralize(item.members, "member")} ${item.members === 1 ? "is" : "are"} removed from it and stay${item.members === 1 ? "s" : ""} connected.`
    : "It has no members; its declaration is removed.";
  if (!(await confirmDialog({ title: `End ${item.id}?`, text, act: "End", danger: true }))) return;
  try {
    await who.send("DELETE", `api/conferences/${encodeURIComponent(item.id)}`);
    who.notify(`${item.id} has ended.`, "good");
  } catch (error) {
    who.report(error);
  }
  list?.changed();
}
