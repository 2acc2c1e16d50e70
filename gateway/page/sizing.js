/* Sizing: how many seats the recorded demand would have needed, under every model. */

import { needBar } from "./chart.js";
import { el } from "./dom.js";
import { formatCount, formatDuration, formatPercent, modelTitle, poolTitle } from "./format.js";

export const SHADOW =
  "A shadow counts the same traffic under its own rules. It sees only traffic that the enforced model admitted: who " +
  "was turned away is not in its figures, and its refusals are what it would have refused.";
const SIZED = [
  ...["model", "pool", "enforced", "limit", "peak", "seats", "seats_each", "erlang_b", "busiest_hour", "demands"],
  ...["turned_away", "together", "complete", "note"],
];

/** What a panel shows of the answer of `GET /api/sizing`; the chosen pool is told first. */
export function sizingPanel({ items, share, patience_seconds: patience }, chosenModel, chosenPool, since) {
  const pools = items.flatMap(({ model, enforced, pools: each }) => each.map((pool) => ({ ...pool, model, enforced })));
  const allowed = formatPercent(share);
  const chosen = pools.find((each) => each.model === chosenModel && each.pool === chosenPool);
  const note =
    `Needed: the fewest seats that would have kept true denials at ${allowed} of the demand or under, the recorded ` +
    `demand replayed. Who finds the pool full is taken to wait up to ${formatDuration(patience)} for a seat; who was turned ` +
    "away is taken to have stayed as long as others did. A bar is what was needed, the mark on it the limit.";
  return {
    name: `seats-${since}`,
    before: [
      chosen && chosenSentence(chosen, allowed),
      el("h3", {}, "This traffic under each model"),
      el("ul", { class: "says" }, items.map(says)),
    ],
    chart: needTable(pools, chosen),
    after: [el("p", { class: "note" }, note), el("p", { class: "note" }, SHADOW)],
    raw: [SIZED, pools.map((pool) => SIZED.map((field) => pool[field]))],
  };
}

function says(model) {
  const tag = model.enforced ? el("span", { class: "tag good" }, "enforced") : el("span", { class: "tag" }, "shadow");
  return el("li", {}, model.says, " ", tag);
}

function chosenSentence(pool, allowed) {
  const name = `${modelTitle(pool.model)}, ${poolTitle(pool.pool)}`;
  if (pool.seats === null) return el("p", {}, `${name}: ${formatCount(pool.seats_each)} in each conference. ${pool.note}`);
  const enough = el("strong", {}, `${formatCount(pool.seats)} seats`);
  if (pool.demands === undefined) return el("p", {}, `${name}: `, enough, `. ${pool.note}`);
  return el(
    "p",
    {},
    `${name}: with `,
    enough,
    ` at most ${allowed} of ${formatCount(pool.demands)} demands would have been refused for good. `,
    pool.complete ? null : "Only the latest demands were replayed: there are more than fit. ",
    pool.demands ? pool.note : "Nobody asked for a seat of this pool.",
  );
}

function needTable(pools, chosen) {
  const head = ["Pool", "Needed", "Limit", "Peak", "Erlang B", "Demands"];
  const rows = [];
  let model = null;
  for (const pool of pools) {
    if (pool.model !== model) {
      ({ model } = pool);
      const title = `${modelTitle(model)}${pool.enforced ? "" : " (shadow)"}`;
      rows.push(el("tr", { class: "need-model" }, el("th", { scope: "rowgroup", colspan: head.length }, title)));
    }
    const needed = pool.seats === null ? `${formatCount(pool.seats_each)} each` : formatCount(pool.seats);
    const figures = [needed, ...[pool.limit, pool.peak, pool.erlang_b, pool.demands].map(formatCount)];
    rows.push(
      el(
        "tr",
        { class: pool === chosen ? "need-chosen" : "" },
        el("th", { scope: "row" }, poolTitle(pool.pool), against(pool)),
        figures.map((text) => el("td", { class: "number" }, text)),
      ),
    );
  }
  const titles = head.map((text, index) => el("th", { scope: "col", class: index ? "number" : "" }, text));
  const parts = [el("thead", {}, el("tr", {}, titles)), el("tbody", {}, rows)];
  const caption = el("caption", { class: "visually-hidden" }, "Seats that would have been enough, by pool");
  return el("div", { class: "box" }, el("table", { class: "grid need" }, caption, parts));
}

function against({ seats, limit }) {
  if (seats === null || limit === null) return null;
  const verdict = seats > limit ? ": more than the limit" : ": within the limit";
  return [el("span", { class: "visually-hidden" }, verdict), needBar(seats, limit)];
}
