/* The view of sessions that ended: who, when, for which cause, from where. The gateway keeps the latest in memory. */

import { accountAddress } from "./account.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, timeElement, toMilliseconds, whoIs } from "./format.js";
import { ItemSource, ListView } from "./list_view.js";
import { WatchedList } from "./watched_list.js";

const MOST = 1000; // sessions that are asked for
const PAUSE = 3000; // milliseconds between two times that they are
const TOLD = 4; // causes and networks that are named
/* What a cause means to people, where its name does not say it. */
const CAUSES = {
  bye: "signed off",
  closed: "closed without a word",
  reset: "reset by the network",
  heartbeat_timeout: "fell silent",
  slow_consumer: "did not read",
  protocol_error: "broke the protocol",
  too_fast: "sent too fast",
  kicked: "kicked by an operator",
  replaced: "replaced by the same device",
  account_deleted: "account deleted",
  unregistered: "license not verified",
  drained: "sent away at the end",
};
const DROPPED = new Set(["closed", "reset", "heartbeat_timeout", "slow_consumer"]);

/** Sessions that ended lately, the latest first. */
export class EndedView {
  static id = "ended";
  static title = "Ended";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    this.source = new ItemSource(textOf, () => this.drawFigures());
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.list.showFailure(error), PAUSE);
  }

  open() {
    this.list = new ListView(this.app, {
      id: "ended",
      caption: "Sessions that ended, the latest first",
      columns: COLUMNS,
      key: (session) => `${session.id} ${session.ended}`,
      placeholder: "account, device, address, kind or cause",
      source: this.source,
      empty: (searching) => el("p", {}, searching ? "No session matches." : "No session has ended since the gateway was started."),
    });
    setChildren(this.root, this.list.nodes);
  }

  update(state) {
    const { connections, acts } = state.generations; // who is forgotten is forgotten here too
    this.watched.update(`${connections} ${acts}`);
  }

  close() {
    this.watched.close();
    this.list.close();
  }

  async load(signal) {
    const { items } = await this.app.get(`api/sessions/ended?limit=${MOST}`, { signal });
    if (signal.aborted) return;
    this.source.items = items;
    this.list.refresh();
  }

  /** Say which causes and which networks there are among those that are found. */
  drawFigures() {
    const { found } = this.source;
    if (!found.length) return this.list.setFigures("");
    const causes = counted(found, ({ cause }) => causeText(cause));
    const networks = counted(found.filter(({ cause }) => DROPPED.has(cause)), ({ address }) => networkOf(address));
    const from = networks.length ? `; dropped from ${named(networks, (text, number) => `${text} (${number})`)}` : "";
    return this.list.setFigures(`The latest ${formatCount(found.length)}: ${named(causes)}${from}`);
  }
}

const COLUMNS = [
  { title: "Who", class: "who", cell: whoCell },
  { title: "Cause", class: "outcome", cell: causeCell },
  { title: "Device", class: "wide-only roomy", cell: ({ device }) => isolated(device ?? "–") },
  { title: "Kind", class: "wide-only short roomy", cell: ({ kind }) => el("span", { class: "tag" }, kind) },
  { title: "Address", class: "", cell: ({ address }) => address },
  { title: "Ended", class: "time", cell: ({ ended }) => timeElement(ended) },
  { title: "Connected for", class: "wide-only", cell: lengthText },
];

function whoCell({ account, home }) {
  if (account === null) return "guest";
  return el("a", { href: accountAddress(account, home), title: "The story of this account" }, whoIs(account, home));
}

/** The cause of an end as people read it. */
export function causeText(cause) {
  return CAUSES[cause] ?? cause.replaceAll("_", " ");
}

/** The cause of an end as a tag. */
export function causeCell({ cause }) {
  return el("span", { class: DROPPED.has(cause) ? "tag warn" : "tag", title: cause }, causeText(cause));
}

/** For how long a session was connected. */
export function lengthText({ since, ended }) {
  return formatDuration((toMilliseconds(ended) - toMilliseconds(since)) / 1000);
}

function textOf({ account, home, device, kind, address, cause }) {
  return `${account ?? "guest"} ${home ?? ""} ${device ?? ""} ${kind} ${address} ${cause} ${causeText(cause)}`;
}

/** The network of an address: of IPv4 its first three numbers, of IPv6 its first four groups. */
function networkOf(address) {
  return address.includes(":") ? `${address.split(":").slice(0, 4).join(":")}::/64` : address.replace(/\.\d+$/, ".0/24");
}

/** How often each text is given by `of`, the most frequent first. */
function counted(items, of) {
  const numbers = new Map();
  for (const item of items) numbers.set(of(item), (numbers.get(of(item)) ?? 0) + 1);
  return [...numbers].sort(([, one], [, other]) => other - one);
}

/** The most frequent texts with their numbers, and how many the others are. */
function named(numbers, write = (text, number) => `${number} ${text}`) {
  const rest = numbers.slice(TOLD).reduce((sum, [, number]) => sum + number, 0);
  const texts = numbers.slice(0, TOLD).map(([text, number]) => write(text, formatCount(number)));
  return [...texts, ...(rest ? [`${formatCount(rest)} others`] : [])].join(", ");
}
