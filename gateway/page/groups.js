/* Groups of accounts, and the permanent PRO licenses that they give: a card that several views have. */

import { accountAddress } from "./account.js";
import { zoneName } from "./clock.js";
import { confirmDialog } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formDialog, unchanged } from "./form_dialog.js";
import { formatCount, isolated, pluralize, timeElement } from "./format.js";
import { WholeList } from "./list_view.js";

const NAMED = 4; // accounts of a group that are named
const ALLOCATED = "permanent"; // the group that is made for whoever is allocated a license first

/** The groups, searched and changed. */
export class GroupsCard {
  #due = null;

  /**
   * @param {App} app
   * @param {() => void} onChange Is told that a group was changed here.
   */
  constructor(app, onChange) {
    this.app = app;
    this.onChange = onChange;
    this.list = new WholeList(app, {
      id: "groups",
      caption: "Groups, and which have permanent PRO licenses",
      columns: this.columns(),
      key: ({ group }) => group,
      placeholder: "group or account",
      textOf: ({ group, accounts }) => `${group} ${accounts.join(" ")}`,
      empty: (searching) => el("p", {}, searching ? "No group matches." : "There are no groups."),
      beside: [
        app.actionButton("allocate", { class: "primary", onclick: () => this.allocate() }, "Allocate a permanent license …"),
        app.actionButton("new-group", { onclick: () => this.edit(null) }, "New group …"),
      ],
    });
    this.note = el("p", { class: "note" });
    this.node = el("section", { id: "groups", "aria-labelledby": "groups-title" },
      el("h2", { id: "groups-title" }, "Groups and permanent licenses"), this.note, this.list.nodes);
  }

  close() {
    this.list.close();
  }

  /** Say why the groups are not known. */
  showFailure(error) {
    this.list.showFailure(error);
  }

  /** Show the groups; `holding` are the accounts whose permanent license is in effect. */
  show(found, holding) {
    this.#due = this.app.state?.redistribute_at ?? null;
    setChildren(this.note, "Accounts of a permanent group have a PRO license of their own. A change takes effect at the next ",
      "redistribution", this.#due === null ? "." : [": ", timeElement(this.#due), ` ${zoneName()}.`]);
    const waiting = ({ accounts, permanent }) =>
      permanent ? accounts.filter((account) => !holding.has(account)).length : null;
    // A row is drawn again when its item is another one: who waits is a part of it.
    this.list.show({ ...found, items: found.items.map((group) => ({ ...group, waiting: waiting(group) })) });
  }

  columns() {
    return [
      { title: "Group", class: "who", cell: ({ group }) => isolated(group) },
      { title: "Accounts", class: "", cell: namesCell },
      { title: "PRO", class: "short", cell: ({ permanent }) =>
        el("span", { class: permanent ? "tag good" : "tag" }, permanent ? "permanent" : "temporary") },
      { title: "Takes effect", class: "wide-only", cell: effectText },
      { title: "Priority", class: "wide-only number roomy", cell: ({ priority }) => formatCount(priority) },
      { title: "Act", class: "acts wider", cell: (group) => this.buttons(group) },
    ];
  }

  buttons(group) {
    const { group: name } = group;
    return [
      this.app.actionButton("edit-group", { class: "small", "aria-label": `Change ${name}`, onclick: () => this.edit(group) },
        "Change"),
      this.app.actionButton("delete-group", { class: "small", "aria-label": `Delete ${name}`, onclick: () => this.remove(group) },
        "Delete"),
    ];
  }

  /** Make a group, or change one. */
  async edit(group) {
    const fields = [
      ...(group ? [] : [{ name: "name", label: "Name of the group", required: true }]),
      { name: "accounts", label: "Accounts, one on each line", kind: "lines", value: group?.accounts ?? [] },
      { name: "permanent", label: "Permanent PRO licenses for its accounts", kind: "check", value: group?.permanent },
      { name: "priority", label: "Priority in lines, 0 to 1000", kind: "number", value: group?.priority ?? 0, min: 0, max: 1000 },
    ];
    const title = group ? `Change the group ${group.group}` : "New group";
    // Whose licenses are in effect is nothing that anybody changes here.
    const plain = (each) => each && { ...each, waiting: undefined };
    const find = (name) => plain(this.list.source.items.find((each) => each.group === name));
    const check = unchanged("group", plain(group), find);
    const run = async ({ name = group?.group, accounts, permanent, priority }) => {
      check(name);
      await this.put(name, { accounts, permanent, priority: priority ?? 0 });
    };
    if (await formDialog({ title, fields, act: group ? "Change" : "Make", run })) this.onChange();
  }

  /** Give one account a permanent license, by a group that has such. */
  async allocate() {
    const groups = this.list.source.items.filter(({ permanent }) => permanent);
    const choices = [...groups.map(({ group }) => [group, group]), ...(groups.some(({ group }) => group === ALLOCATED) ? []
      : [[ALLOCATED, `a new group “${ALLOCATED}”`]])];
    const fields = [
      { name: "account", label: "Account", required: true },
      { name: "group", label: "By the group", kind: "choice", choices, value: choices[0][0] },
    ];
    const text = this.#due === null ? "It takes effect at the next redistribution." : el("p", { class: "note" },
      "It takes effect at ", timeElement(this.#due), ` ${zoneName()}; until then the account has a temporary one if it needs it.`);
    const run = async ({ account, group }) => {
      // Another group of that name, with other licenses, is not turned into this one.
      const known = this.list.source.items.find((each) => each.group === group);
      const { accounts, priority } = known ?? { accounts: [], priority: 0 };
      await this.put(group, { accounts: [...new Set([...accounts, account])], permanent: true, priority },
        `A permanent license is allocated to ${account}, by the group ${group}.`);
    };
    if (await formDialog({ title: "Allocate a permanent PRO license", text, fields, act: "Allocate", run })) this.onChange();
  }

  async put(name, group, said = `The group ${name} is as you want it.`) {
    await this.app.send("PUT", `api/groups/${encodeURIComponent(name)}`, group);
    this.app.notify(said, "good");
  }

  async remove({ group, accounts, permanent }) {
    const lose = permanent ? ` ${pluralize(accounts.length, "account")} will have no permanent license any more.` : "";
    const text = `Its accounts stay.${lose}`;
    if (!(await confirmDialog({ title: `Delete the group ${group}?`, text, act: "Delete", danger: true }))) return;
    await this.app.attempt(async () => {
      await this.app.send("DELETE", `api/groups/${encodeURIComponent(group)}`);
      return `The group ${group} is deleted.`;
    });
    this.onChange();
  }
}

/** When the permanent licenses of a group come: `waiting` of its accounts have none yet, null where it gives none. */
function effectText({ waiting }) {
  if (waiting === null) return "–";
  return waiting ? `${pluralize(waiting, "account")} not yet: next redistribution` : "in effect";
}

function namesCell({ accounts }) {
  const rest = accounts.length - NAMED;
  const names = accounts.slice(0, NAMED).map((account, place) =>
    [place ? ", " : "", el("a", { href: accountAddress(account, null) }, isolated(account))]);
  return rest > 0 ? [names, ` and ${formatCount(rest)} more`] : names.length ? names : "none";
}
