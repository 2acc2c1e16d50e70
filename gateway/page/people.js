/* The view of whom the gateway knows: accounts, groups, named hosts, who is kept out, and operators. */

import { accountAddress } from "./account.js";
import { confirmDialog, showDetails } from "./dialog.js";
import { el, setChildren } from "./dom.js";
import { formDialog, secretDialog } from "./form_dialog.js";
import { formatCount, isolated, pluralize, timeElement, whoIs } from "./format.js";
import { GroupsCard } from "./groups.js";
import { WholeList } from "./list_view.js";
import { Segments } from "./segments.js";
import { readAll, WatchedList } from "./watched_list.js";

const HOSTS_MODEL = "nefsis-named"; // the model whose hosts are named
const BAN_TIMES = [["5m", "5 minutes"], ["1h", "1 hour"], ["24h", "24 hours"], ["7d", "7 days"], ["365d", "a year"]];
const SCOPES = [["read", "read: may look"], ["admin", "admin: may look and act"]];

const PAUSE = 2000; // milliseconds between two times that a list is read, whole as it is

/** One kind of people at a time: `#/people/KIND`. */
export class PeopleView {
  static id = "people";
  static title = "People";
  static isShown = () => true;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    const { state } = app;
    this.kinds = {
      ...(state.serves_clients ? { accounts: ACCOUNTS, groups: GROUPS } : {}),
      ...(HOSTS_MODEL in state.models && state.serves_clients ? { hosts: HOSTS } : {}),
      ...(state.serves_clients ? { bans: BANS } : {}),
      ...(app.isAdmin ? { operators: OPERATORS } : {}),
    };
    const [asked] = app.route.parts;
    this.kind = asked in this.kinds ? asked : Object.keys(this.kinds)[0];
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.part?.showFailure(error), PAUSE);
  }

  open() {
    const choices = Object.entries(this.kinds).map(([kind, { title }]) => [kind, title]);
    const segments = new Segments("Kind", choices, (kind) => {
      location.hash = `#/people/${kind}`;
    });
    if (!choices.length) {
      setChildren(this.root, el("p", { class: "empty" }, "Only operators with the scope admin see who may operate this gateway."));
      return;
    }
    segments.show(this.kind);
    this.part = this.kind === "groups" ? new GroupsCard(this.app, () => this.watched.refresh()) : this.simplePart();
    setChildren(this.root, el("div", { class: "toolbar" }, segments.node), this.part.node);
  }

  update(state) {
    if (this.part) this.watched.update(this.kinds[this.kind].mark(state));
  }

  close() {
    this.watched.close();
    this.part?.close();
  }

  async load(signal) {
    const { path } = this.kinds[this.kind];
    const found = await readAll(this.app, path, signal);
    if (signal.aborted) return;
    if (this.kind === "groups") {
      const { items } = await readAll(this.app, "api/pro", signal);
      const permanent = items.filter((holder) => holder.kind === "permanent");
      if (!signal.aborted) this.part.show(found, new Set(permanent.map((holder) => holder.account)));
    } else {
      this.part.show(found);
    }
  }

  /** A list of one kind, with the button that adds to it. */
  simplePart() {
    const kind = this.kinds[this.kind];
    const again = () => this.watched.refresh();
    const act = (run) => async (...given) => {
      if (await run(this.app, ...given)) again();
    };
    const list = new WholeList(this.app, {
      id: this.kind,
      caption: `List of ${kind.title.toLowerCase()}`,
      columns: kind.columns(this.app, act),
      key: kind.key,
      placeholder: kind.placeholder,
      textOf: kind.textOf,
      empty: (searching) => [el("p", {}, searching ? "Nothing matches." : kind.none), el("p", { class: "note" }, kind.about)],
      beside: this.app.actionButton("add", { class: "primary", onclick: act(kind.add) }, kind.addText),
    });
    return {
      node: el("div", {}, list.nodes),
      show: (found) => {
        list.setFigures(pluralize(found.items.length, ...kind.words));
        list.show(found);
      },
      showFailure: (error) => list.showFailure(error),
      close: () => list.close(),
    };
  }
}

const small = (app, act, label, text, onclick) => app.actionButton(act, { class: "small", "aria-label": label, onclick }, text);
const path = (...steps) => steps.map(encodeURIComponent).join("/");

/** Ask, and carry out; resolves to whether it was asked for. */
async function confirmed(app, title, text, act, run) {
  if (!(await confirmDialog({ title, text, act, danger: true }))) return false;
  await app.attempt(run);
  return true;
}

// -- accounts ---------------------------------------------------------------------------------------------------------

const ACCOUNTS = {
  title: "Accounts",
  words: ["registered account", "registered accounts"],
  path: "api/accounts",
  mark: ({ generations }) => `${generations.acts} ${generations.connections}`,
  key: ({ account }) => account,
  textOf: ({ account, groups }) => `${account} ${groups.join(" ")}`,
  placeholder: "account or group",
  none: "No account is registered.",
  about: "Where accounts need no proof, whoever names an account has it; a registered one may have tokens that prove it.",
  addText: "Register an account …",
  add: (app) => formDialog({
    title: "Register an account",
    fields: [
      { name: "account", label: "Account", required: true },
      { name: "token", label: "Make a token for it", kind: "check", value: true, help: "The client shows the token to prove who it is." },
    ],
    act: "Register",
    run: async ({ account, token }) => {
      await app.send("PUT", `api/accounts/${path(account)}`, {});
      if (token) await makeToken(app, account);
    },
  }),
  columns: (app, act) => [
    { title: "Account", class: "who", cell: ({ account }) => el("a", { href: accountAddress(account, null) }, isolated(account)) },
    { title: "Tokens", class: "number", cell: ({ tokens }) => [formatCount(tokens.length), narrow(" tokens")] },
    { title: "Connections", class: "wide-only number", cell: ({ connections }) => formatCount(connections) },
    { title: "Groups", class: "wide-only", cell: ({ groups }) => groups.join(", ") || "–" },
    { title: "Act", class: "acts wider", cell: (item) => [
      small(app, "tokens", `Tokens of ${item.account}`, "Tokens", act(() => showTokens(app, item, act))),
      small(app, "delete-account", `Delete ${item.account}`, "Delete", act(() => confirmed(app,
        `Delete the account ${item.account}?`, "Its sessions are closed, and its tokens prove nothing any more.", "Delete",
        async () => {
          await app.send("DELETE", `api/accounts/${path(item.account)}`);
          return `The account ${item.account} is deleted.`;
        }))),
    ] },
  ],
};

async function makeToken(app, account) {
  const { token } = await app.send("POST", `api/accounts/${path(account)}/token`, {});
  await secretDialog({ title: `Token of ${account}`, text: "Give it to whoever uses this account.", secret: token });
}

async function showTokens(app, { account, tokens }, act) {
  const revoke = (fingerprint) => act(() => confirmed(app, `Revoke a token of ${account}?`,
    "Sessions that it proved are closed.", "Revoke", async () => {
      await app.send("DELETE", `api/accounts/${path(account)}/token/${path(fingerprint)}`);
      return "The token is revoked.";
    }));
  const facts = tokens.map(({ fingerprint, created }) => [el("code", {}, fingerprint),
    ["made ", timeElement(created), " ", small(app, "revoke-token", `Revoke ${fingerprint}`, "Revoke", () => {
      hide();
      revoke(fingerprint)();
    })]]);
  const make = app.actionButton("new-token", { onclick: async () => {
    hide();
    try {
      await makeToken(app, account);
      await act(() => true)();
    } catch (error) {
      app.report(error);
    }
  } }, "Make a token …");
  const hide = showDetails(`Tokens of ${account}`, facts.length ? facts : [["Tokens", "none"]], make);
  return false;
}

// -- groups, hosts, bans ----------------------------------------------------------------------------------------------

const GROUPS = {
  title: "Groups",
  path: "api/groups",
  mark: ({ generations, redistribute_at: due }) => `${generations.acts} ${due}`,
};

const HOSTS = {
  title: "Named hosts",
  words: ["named host", "named hosts"],
  path: "api/hosts",
  mark: ({ generations }) => `${generations.acts} ${generations.connections}`,
  key: ({ account, home }) => `${account} ${home}`,
  textOf: ({ account, home }) => `${account} ${home ?? ""}`,
  placeholder: "account",
  none: "No host is named.",
  about: "A named host may hold conferences under Nefsis' licenses by name; the first who starts one is named by it.",
  addText: "Name a host …",
  add: (app) => formDialog({
    title: "Name a host",
    fields: [{ name: "account", label: "Account", required: true }],
    act: "Name",
    run: async ({ account }) => {
      await app.send("PUT", `api/hosts/${path(account)}`);
      app.notify(`${account} is a named host.`, "good");
    },
  }),
  columns: (app, act) => [
    { title: "Account", class: "who", cell: ({ account, home }) => el("a", { href: accountAddress(account, home) }, whoIs(account, home)) },
    { title: "Now", class: "short", cell: ({ hosting }) => el("span", { class: hosting ? "tag good" : "tag" }, hosting ? "hosts" : "idle") },
    { title: "Since", class: "time", cell: ({ since }) => timeElement(since) },
    { title: "Act", class: "acts", cell: ({ account, home }) =>
      small(app, "free-host", `Free ${account}`, "Free", act(() => confirmed(app, `Free the name of ${account}?`,
        "It is a host no longer; its conferences go on, and somebody else can be named.", "Free", async () => {
          await app.send("DELETE", `api/hosts/${path(account)}${home ? `?home=${encodeURIComponent(home)}` : ""}`);
          return `${account} is no named host any more.`;
        }))) },
  ],
};

const BANS = {
  title: "Kept out",
  words: ["ban", "bans"],
  path: "api/bans",
  mark: ({ generations }) => generations.bans,
  key: ({ kind, subject, home }) => `${kind} ${subject} ${home}`,
  textOf: ({ kind, subject, home }) => `${kind} ${subject} ${home ?? ""}`,
  placeholder: "account, address or network",
  none: "Nobody is kept out.",
  about: "An account, an address or a network can be kept out for a while; sessions of it are closed.",
  addText: "Keep somebody out …",
  add: (app) => formDialog({
    title: "Keep somebody out",
    fields: [
      { name: "subject", label: "Account, address or network", required: true, help: "Such as ann, 192.0.2.7 or 192.0.2.0/24." },
      { name: "span", label: "For how long", kind: "choice", choices: BAN_TIMES, value: "1h" },
    ],
    act: "Keep out",
    danger: true,
    run: async ({ subject, span }) => {
      const { kicked } = await app.send("PUT", `api/bans/${path(subject)}`, { for: span });
      app.notify(`${subject} is kept out; ${pluralize(kicked, "connection")} closed.`, "good");
    },
  }),
  columns: (app, act) => [
    { title: "Who", class: "who", cell: ({ kind, subject, home }) => (kind === "account"
      ? el("a", { href: accountAddress(subject, home) }, whoIs(subject, home)) : subject) },
    { title: "Kind", class: "short", cell: ({ kind }) => el("span", { class: "tag" }, kind) },
    { title: "Until", class: "time", cell: ({ until }) => timeElement(until) },
    { title: "Act", class: "acts", cell: ({ kind, subject, home }) =>
      small(app, "lift", `Let ${subject} in again`, "Let in", act(() => confirmed(app, `Let ${subject} in again?`,
        "It can connect at once.", "Let in", async () => {
          const query = `?kind=${kind}${home ? `&home=${encodeURIComponent(home)}` : ""}`;
          await app.send("DELETE", `api/bans/${path(subject)}${query}`);
          return `${subject} is let in again.`;
        }))) },
  ],
};

// -- operators --------------------------------------------------------------------------------------------------------

const OPERATORS = {
  title: "Operators",
  words: ["operator", "operators"],
  path: "api/tokens",
  mark: ({ generations }) => generations.acts,
  key: ({ name }) => name,
  textOf: ({ name, tokens }) => `${name} ${tokens.map(({ scope }) => scope).join(" ")}`,
  placeholder: "name or scope",
  none: "No operator has a token.",
  about: "Programs of this machine need none; whoever comes from elsewhere signs in with a token.",
  addText: "Make an operator's token …",
  add: (app) => formDialog({
    title: "Make an operator's token",
    fields: [
      { name: "name", label: "Name of the operator", required: true, help: "The audit log names it with everything that is done by it." },
      { name: "scope", label: "What it may do", kind: "choice", choices: SCOPES, value: "read" },
    ],
    act: "Make",
    run: async ({ name, scope }) => {
      const { token } = await app.send("POST", `api/tokens/${path(name)}`, { scope });
      await secretDialog({ title: `Token of ${name}`, text: "It signs in on this page and at the API.", secret: token });
    },
  }),
  columns: (app, act) => [
    { title: "Operator", class: "who", cell: ({ name }) => isolated(name) },
    { title: "Tokens", class: "", cell: ({ tokens }) =>
      tokens.map(({ scope, fingerprint }) => el("span", { class: scope === "admin" ? "tag warn" : "tag", title: fingerprint }, scope)) },
    { title: "Latest", class: "time", cell: ({ tokens }) => timeElement(tokens.at(-1)?.created) },
    { title: "Act", class: "acts", cell: ({ name }) =>
      small(app, "revoke-operator", `Revoke all tokens of ${name}`, "Revoke", act(() => confirmed(app,
        `Revoke all tokens of ${name}?`, "Whoever signs in by them is signed out at once.", "Revoke", async () => {
          await app.send("DELETE", `api/tokens/${path(name)}`);
          return `${name} has no token any more.`;
        }))) },
  ],
};

function narrow(text) {
  return el("span", { class: "narrow-only" }, text);
}
