/* Sizing: how many seats the recorded demand would have needed, under every model. */

import { needBar } from "./chart.js";
import { el } from "./dom.js";
import { formatCount, formatDuration, formatPercent, modelTitle, poolTitle } from "./format.js";
import { table } from "./table.js";

export const SHADOW =
  "A shadow counts the same traffic under its own rules. It sees only traffic that the enforced model admitted: who " +
  "was turned away is not in its figures, and its refusals are what it would have refused.";
const CSV_FIELDS = [
  ...["model", "pool", "enforced", "limit", "peak", "seats", "seats_each", "erlang_b", "busiest_hour", "demands"],
  ...["turned_away", "together", "complete", "note"],
];
const COLUMNS = [
  { title: "Pool" },
  ...["Needed", "Limit", "Peak", "Erlang B", "Demands"].map((title) => ({ title, class: "number" })),
];

/**
 * What a panel shows of the answer of `GET /api/sizing`.
 *
 * @param {object} answer
 * @param {{model: string, pool: string, span: string}} chosen The pool that comes first, and the span of the answer.
 * @param {object} license The gateway's state, for titles.
 * @returns {object} For `Panel.show`.
 */
export function sizingPanel({ items, share, patience_seconds: patience }, chosen, license) {
  const pools = items.flatMap(({ model, enforced, pools: each }) => each.map((pool) => ({ ...pool, model, enforced })));
  const allowed = formatPercent(share);
  const first = pools.find((each) => each.model === chosen.model && each.pool === chosen.pool);
  const note =
    `Needed: the fewest seats that would have kept true denials at ${allowed} of the demand or under, the recorded ` +
    `demand replayed. Who finds the pool full is taken to wait up to ${formatDuration(patience)} for a seat; who was ` +
    "turned away is taken to have stayed as long as others did. A bar is what was needed, the mark on it the limit.";
  return {
    name: `seats-${chosen.span}`,
    before: [
      first && poolSentence(first, allowed, license),
      el("h3", {}, "This traffic under each model"),
      el("ul", { class: "says" }, items.map(modelSentence)),
    ],
    chart: needTable(pools, first, license),
    after: [el("p", { class: "note" }, note), el("p", { class: "note" }, SHADOW)],
    raw: [CSV_FIELDS, pools.map((pool) => CSV_FIELDS.map((field) => pool[field]))],
  };
}

function modelSentence({ says, enforced }) {
  const tag = enforced ? el("span", { class: "tag good" }, "enforced") : el("span", { class: "tag" }, "shadow");
  return el("li", {}, says, " ", tag);
}

function poolSentence(pool, allowed, license) {
  const { seats, seats_each: each, demands, complete, note } = pool;
  const name = `${modelTitle(pool.model, license)}, ${poolTitle(pool.pool, license, pool.model)}`;
  if (seats === null) return el("p", {}, `${name}: ${formatCount(each)} in each conference. ${note}`);
  const enough = el("strong", {}, `${formatCount(seats)} seats`);
  if (demands === undefined) return el("p", {}, `${name}: `, enough, `. ${note}`);
  return el(
    "p",
    {},
    `${name}: with `,
    enough,
    ` at most ${allowed} of ${formatCount(demands)} demands would have been refused for good. `,
    complete ? null : "Not all demands were replayed: there are more than fit. ",
    demands ? note : "Nobody asked for a seat of this pool.",
  );
}

function needTable(pools, first, license) {
  const rows = pools.flatMap((pool, index) => {
    const title = pool.model === pools[index - 1]?.model ? [] : [modelRow(pool, license)];
    return [...title, poolRow(pool, pool === first, license)];
  });
  const caption = "Seats that would have been enough, by pool";
  return table({ caption, columns: COLUMNS, rows, class: "need", region: "Seats by pool" });
}

function modelRow({ model, enforced }, license) {
  const title = `${modelTitle(model, license)}${enforced ? "" : " (shadow)"}`;
  return el("tr", { class: "need-model" }, el("th", { scope: "rowgroup", colspan: COLUMNS.length }, title));
}

function poolRow(pool, isChosen, license) {
  const { seats, seats_each: each, limit, peak, erlang_b: erlang, demands } = pool;
  const needed = seats === null ? `${formatCount(each)} each` : formatCount(seats);
  const figures = [needed, ...[limit, peak, erlang, demands].map(formatCount)];
  return el(
    "tr",
    { class: isChosen ? "need-chosen" : "" },
    el("th", { scope: "row" }, poolTitle(pool.pool, license, pool.model), comparison(pool)),
    figures.map((text) => el("td", { class: "number" }, text)),
  );
}

function comparison({ seats, limit }) {
  if (seats === null || limit === null) return null;
  const verdict = seats > limit ? ": more than the limit" : ": within the limit";
  return [el("span", { class: "visually-hidden" }, verdict), needBar(seats, limit)];
}
