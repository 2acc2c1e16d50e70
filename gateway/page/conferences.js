/* The view of conferences: who meets, live and declared; ended from here. */

import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formatCount, isolated, pluralize } from "./format.js";
import { ApiSource, ListView } from "./list_view.js";

/** All conferences, searched by id. */
export class ConferencesView {
  static id = "conferences";
  static title = "Conferences";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
  }

  open() {
    this.list = new ListView(this.app, {
      id: "conferences",
      caption: "List of conferences",
      columns: this.columns(),
      key: (conference) => conference.id,
      placeholder: "id of a conference",
      source: new ApiSource(this.app, "api/conferences"),
      empty: (searching) => (searching ? NOT_FOUND() : NONE()),
    });
    setChildren(this.root, this.list.nodes);
    this.list.open();
  }

  update(state) {
    const { live, scheduled, members, waiting } = state.conferences;
    const waits = waiting ? ` with ${formatCount(waiting)} waiting` : "";
    const texts = [
      `${formatCount(live)} live with ${pluralize(members, "member")}`,
      `${formatCount(scheduled)} scheduled${waits}`,
    ];
    this.list.setFigures(texts.join(" · "));
    this.list.update(state.generations.conferences);
  }

  close() {
    this.list.close();
  }

  columns() {
    return [
      { title: "Conference", class: "who", cell: nameCell },
      { title: "State", class: "short", cell: stateCell },
      { title: "Members", class: "number", cell: membersCell },
      { title: "Access", class: "wide-only short", cell: (conference) => conference.access },
      { title: "Mode", class: "wide-only short", cell: (conference) => conference.mode },
      { title: "Hosts", class: "wide-only number", cell: (conference) => formatCount(conference.hosts.length) },
      { title: "Server", class: "wide-only", cell: serverCell },
      { title: "Act", class: "acts", cell: (conference) => this.endButton(conference) },
    ];
  }

  endButton(conference) {
    const attributes = { class: "small", "aria-label": `End ${conference.id}`, onclick: () => this.end(conference) };
    return this.app.actionButton("end", attributes, "End");
  }

  async end({ id, members }) {
    const text = !members
      ? "It has no members; its declaration is removed."
      : members === 1
        ? "1 member is removed from it and stays connected."
        : `${formatCount(members)} members are removed from it and stay connected.`;
    if (!(await confirmDialog({ title: `End ${id}?`, text, act: "End", danger: true }))) return;
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/conferences/${encodeURIComponent(id)}`);
      return `${id} has ended.`;
    });
    this.list.refresh();
  }
}

const NOT_FOUND = () => el("p", {}, "No conference has this in its id.");
const NONE = () => [
  el("p", {}, "There is no conference."),
  el("p", { class: "note" }, "A conference begins when the first client joins it, or when it is declared: ",
    el("code", {}, "PUT /api/conferences/ID"), "."),
];

function nameCell({ id, members }) {
  if (!members) return isolated(id);
  const address = `#/connections?conference=${encodeURIComponent(id)}`;
  return el("a", { href: address, title: "Show the connections in it" }, isolated(id));
}

function stateCell({ state }) {
  return el("span", { class: state === "live" ? "tag good" : "tag" }, state);
}

function membersCell({ members }) {
  return [formatCount(members), el("span", { class: "narrow-only" }, members === 1 ? " member" : " members")];
}

function serverCell({ server, declared }) {
  return [server ?? "this one", " ", declared ? el("span", { class: "tag" }, "declared") : null];
}
