/* The view of conferences: who meets, live and declared; ended from here. */

import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formDialog } from "./form_dialog.js";
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
      beside: this.app.actionButton("declare", { class: "primary", onclick: () => this.declare() }, "Declare a conference …"),
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
      { title: "Mode", class: "wide-only short roomy", cell: (conference) => conference.mode },
      { title: "Hosts", class: "wide-only number", cell: (conference) => formatCount(conference.hosts.length) },
      { title: "Server", class: "wide-only", cell: serverCell },
      { title: "Act", class: "acts", cell: (conference) => this.endButton(conference) },
    ];
  }

  endButton(conference) {
    const attributes = { class: "small", "aria-label": `End ${conference.id}`, onclick: () => this.end(conference) };
    return this.app.actionButton("end", attributes, "End");
  }

  /** Say what a conference is before anybody joins it. */
  async declare() {
    const fields = [
      { name: "id", label: "Id of the conference", required: true },
      { name: "access", label: "Access", kind: "choice", choices: [["internal", "internal"], ["public", "public"]], value: "internal" },
      { name: "mode", label: "Mode", kind: "choice", choices: [["group", "group"], ["call", "call of two"]], value: "group" },
      { name: "scheduled", label: "Scheduled: members wait until it is started", kind: "check" },
      { name: "server", label: "Another server that it is on", help: "Empty: it is on this one." },
    ];
    const run = async ({ id, ...declaration }) => {
      await this.app.send("PUT", `api/conferences/${encodeURIComponent(id)}`, declaration);
      this.app.notify(`${id} is declared.`, "good");
    };
    if (await formDialog({ title: "Declare a conference", fields, act: "Declare", run })) this.list.refresh();
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
  el("p", { class: "note" }, "A conference begins when the first client joins it, or when it is declared."),
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
