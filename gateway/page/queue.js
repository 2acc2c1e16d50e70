/* The view of those who wait in line for a seat. */

import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, isolated, poolTitle, timeElement } from "./format.js";
import { WholeList } from "./list_view.js";
import { TimesLeft } from "./time_left.js";
import { readAll, WatchedList } from "./watched_list.js";

const REQUESTS = { hello: "to be welcomed", join: "to join", wake: "to be awake", request_pro: "for a PRO license" };
/** Who waits, in order of arrival. */
export class QueueView {
  static id = "queue";
  static title = "Waiting";
  static isShown = (state) => poolsOf(state).some(({ waiting, left }) => waiting || Object.values(left).some(Boolean));

  constructor(app, root) {
    this.app = app;
    this.root = root;
  }

  open() {
    this.left = new TimesLeft(this.app, this.root, (seconds) => formatDuration(Math.max(Math.round(seconds), 0)));
    this.list = new WholeList(this.app, {
      id: "queue",
      caption: "Requests in line",
      columns: this.columns(),
      key: ({ place }) => place,
      placeholder: "account, device, address or conference",
      textOf: ({ account, device, address, kind, conference }) => [account ?? kind, device, address, conference].join(" "),
      empty: (searching) => el("p", {}, searching ? "Nobody in line matches." : "Nobody waits in line for a seat."),
    });
    setChildren(this.root, this.list.nodes);
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.list.showFailure(error));
  }

  update(state) {
    const pools = Object.entries(state.models[state.model].pools);
    const texts = pools.filter(([, { waiting }]) => waiting).map(([name, { waiting }]) =>
      `${formatCount(waiting)} for ${poolTitle(name, state)}`);
    const served = pools.reduce((sum, [, { left }]) => sum + (left.granted ?? 0), 0);
    this.list.setFigures([...(texts.length ? texts : ["Nobody waits"]), `${formatCount(served)} served`].join(" · "));
    this.watched.update(state.generations.queue);
  }

  close() {
    this.left.close();
    this.watched.close();
    this.list.close();
  }

  async load(signal) {
    const { items, more } = await readAll(this.app, "api/queue", signal);
    if (signal.aborted) return;
    const now = Math.round(this.app.now() / 1000) * 1000;
    this.list.show({ items: items.map((item) => ({ ...item, until: now + item.wait_seconds * 1000 })), more });
  }

  columns() {
    const narrow = (text) => el("span", { class: "narrow-only" }, text);
    const titleOf = ({ pool, rule }) => `${poolTitle(pool, this.app.state)}${rule ? `, rule ${rule}` : ""}`;
    return [
      { title: "Who", class: "who", cell: whoCell },
      { title: "Position", class: "number", cell: (item) => [formatCount(item.position), narrow(` in line for ${titleOf(item)}`)] },
      { title: "Pool", class: "wide-only", cell: titleOf },
      { title: "Waits", class: "", cell: whyText },
      { title: "Since", class: "time", cell: ({ since }) => timeElement(since) },
      { title: "For at most", class: "wide-only short", cell: ({ until }) => this.left.element(until) },
    ];
  }
}

function whoCell({ account, device, address, kind }) {
  return [isolated(account ?? `a ${kind}`), el("span", { class: "soft" }, ` ${device ?? address}`)];
}

function whyText({ request, conference }) {
  return conference ? `${REQUESTS[request]} ${conference}` : REQUESTS[request];
}

function poolsOf(state) {
  return Object.values(state.models[state.model].pools);
}
