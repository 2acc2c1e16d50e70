/* The view of those who wait in line for a seat. */

import { el, setChildren, setText } from "./dom.js";
import { formatCount, formatDuration, pluralize, poolTitle, timeElement } from "./format.js";
import { table } from "./table.js";
import { readAll, truncationNote, WatchedList } from "./watched_list.js";

const REQUESTS = { hello: "to be welcomed", join: "to join", wake: "to be awake", request_pro: "for a PRO license" };
const COLUMNS = [
  { title: "Position", class: "number" },
  { title: "Who", isHeader: true },
  { title: "Pool" },
  { title: "Waits" },
  { title: "Since", class: "time" },
  { title: "For at most" },
];

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
    this.figures = el("p", { class: "note tally", id: "queue-tally", role: "status" });
    this.list = el("div", { class: "card", id: "queue-list" });
    setChildren(this.root, this.figures, this.list);
    this.watched = new WatchedList((signal) => this.load(signal), (error) => this.app.report(error));
  }

  update(state) {
    const pools = Object.entries(state.models[state.model].pools);
    const texts = pools.filter(([, { waiting }]) => waiting).map(([name, { waiting }]) =>
      `${formatCount(waiting)} for ${poolTitle(name, state)}`);
    const served = pools.reduce((sum, [, { left }]) => sum + (left.granted ?? 0), 0);
    setText(this.figures, [...(texts.length ? texts : ["Nobody waits"]), `${formatCount(served)} served`].join(" · "));
    this.watched.update(state.generations.queue);
  }

  close() {
    this.watched.close();
  }

  async load(signal) {
    const { items, more } = await readAll(this.app, "api/queue", signal);
    const rows = items.map((item) => ({ cells: this.cells(item) }));
    setChildren(
      this.list,
      rows.length
        ? table({ caption: `${pluralize(items.length, "request")} in line`, columns: COLUMNS, rows, asCards: true })
        : el("p", { class: "note" }, "Nobody waits in line for a seat."),
      truncationNote(items, more),
    );
  }

  cells(item) {
    const { position, account, device, address, kind, pool, rule, request, conference, since } = item;
    return [
      formatCount(position),
      [account ?? `a ${kind}`, el("span", { class: "soft" }, ` ${device ?? address}`)],
      rule ? `${poolTitle(pool, this.app.state)}, rule ${rule}` : poolTitle(pool, this.app.state),
      conference ? `${REQUESTS[request]} ${conference}` : REQUESTS[request],
      timeElement(since),
      formatDuration(item.wait_seconds),
    ];
  }
}

function poolsOf(state) {
  return Object.values(state.models[state.model].pools);
}
