/* One pool of the enforced model on the summary: how much of it is used, as a bar, in words, and as a curve. */

import { el, renewChildren, setText } from "./dom.js";
import { formatCount, formatPercent } from "./format.js";
import { LiveCurve } from "./live_curve.js";

export const NEARLY_FULL = 0.8; // share of a limit

/** One pool: how much of it is used, as a bar and in words. */
export class PoolMeter {
  constructor(name, title) {
    this.figure = el("span", { class: "figure" });
    this.reserved = el("div", { class: "reserved" });
    this.used = el("div", { class: "used" });
    this.high = el("div", { class: "high" });
    const attributes = { class: "bar", role: "meter", "aria-label": title, "aria-valuemin": "0" };
    this.bar = el("div", attributes, this.used, this.reserved, this.high);
    this.words = el("span");
    this.refused = el("a", { title: "Since the gateway was started" });
    const note = el("p", { class: "note" }, this.words, " · ", this.refused);
    const head = el("div", { class: "head" }, el("h3", {}, title), this.figure);
    this.name = name;
    this.curve = new LiveCurve(title);
    this.rules = el("ul", { class: "rules", "aria-label": `Rules for seats of ${title}` });
    const parts = [head, this.bar, note, this.rules, this.curve.node];
    this.node = el("div", { class: "pool", dataset: { pool: name } }, parts);
  }

  /** Show a pool as the state has it; `granting` says whether its seats are granted at all. */
  update(pool, granting) {
    const { used, limit, reserved, returning, high_water: high, denied, overdraft_used: over } = pool;
    const { available, waiting, rules } = pool;
    const scale = Math.max(limit ?? 0, used, high, 1);
    const share = limit === null ? null : limit === 0 ? (used ? 1 : 0) : used / limit;
    const figure = limit === null ? `${formatCount(used)} · no limit` : `${formatCount(used)} of ${formatCount(limit)}`;
    setText(this.figure, figure);
    this.bar.dataset.level = share === null ? "open" : share >= 1 ? "full" : share >= NEARLY_FULL ? "near" : "good";
    this.bar.setAttribute("aria-valuemax", String(limit ?? scale));
    this.bar.setAttribute("aria-valuenow", String(Math.min(used, limit ?? used)));
    this.bar.setAttribute("aria-valuetext", limit === null ? `${formatCount(used)} used, no limit` : `${figure} used`);
    this.bar.hidden = limit === null && used === 0 && high === 0;
    this.used.style.width = `${(used / scale) * 100}%`;
    this.reserved.style.width = `${(Math.min(reserved, used) / scale) * 100}%`;
    this.high.hidden = high === 0;
    this.high.style.left = `${(high / scale) * 100}%`;
    const words = [
      available === null || !granting ? null : `${formatCount(available)} available`,
      reserved ? `${formatCount(reserved)} reserved` : null,
      returning ? `${formatCount(returning)} kept for those who come back` : null,
      `high water ${formatCount(high)}`,
      waiting ? `${formatCount(waiting)} waiting` : null,
      over ? `${formatCount(over)} above the limit` : null,
      share === null || share < NEARLY_FULL ? null : formatPercent(share),
    ];
    setText(this.words, words.filter(Boolean).join(" · "));
    setText(this.refused, denied ? `${formatCount(denied)} refused` : "none refused");
    if (denied) this.refused.href = `#/refusals?pool=${encodeURIComponent(this.name)}`;
    else this.refused.removeAttribute("href");
    this.rules.hidden = !rules.length;
    renewChildren(this.rules, ...rules.map((rule) => el("li", { dataset: { rule: rule.name } }, ruleWords(rule))));
  }
}

/* A rule for seats of a pool, in words. */
function ruleWords({ name, used, limit, each, reserve, kept }) {
  const most = limit === null ? `${formatCount(used)} used` : `${formatCount(used)} of at most ${formatCount(limit)}`;
  const apart = each ? ` for each ${each}` : "";
  const keeps = reserve ? ` · ${formatCount(kept)} of ${formatCount(reserve)} kept free` : "";
  return `Rule ${name}: ${most}${apart}${keeps}`;
}
