/* The view of history: how a pool was used, who was turned away, and how many seats would have been enough.

All figures are the gateway's own. What is asked, and when: on opening and on a change of the choice, the steps of the
chosen pool, and for a new span the sums of every pool and the sizing; while the page is seen, the steps since the last
one known when they are a minute old; the sums and the sizing, which are more work, when they are ten minutes old.
*/

import { heatMapChart, sumSteps, useChart } from "./chart.js";
import { Since, zoneName, zoneOffset } from "./clock.js";
import { el, setChildren } from "./dom.js";
import { formatCount, formatDuration, formatMinute, formatPercent, modelTitle, poolTitle } from "./format.js";
import { Panel } from "./panel.js";
import { DAY, DAYS, formatMean, HOUR } from "./scale.js";
import { Segments } from "./segments.js";
import { SHADOW, sizingPanel } from "./sizing.js";

const SPANS = [
  { id: "24h", title: "24 h", length: DAY, step: "hour" },
  { id: "7d", title: "7 days", length: 7 * DAY, step: "hour" },
  { id: "30d", title: "30 days", length: 30 * DAY, step: "hour" },
  { id: "90d", title: "90 days", length: 90 * DAY, step: "day" },
  { id: "400d", title: "400 days", length: 400 * DAY, step: "day" },
];
const STEPS = { hour: HOUR, day: DAY };
const MINUTE = 60_000;
const SUMS = 10 * MINUTE; // between two times that sums and sizing are asked for
const RETRY = 2000; // milliseconds after which it is tried again where it was in vain
const RAW = [
  ...["start", "model", "pool", "limit", "seconds", "seat_seconds", "mean", "max", "p50", "p95", "p99", "full_seconds"],
  ...["grants", "denied", "true_denials", "seated"],
];

/** History of one pool of one model over one span: `#/history/MODEL/POOL?span=7d`. */
export class HistoryView {
  static id = "history";
  static title = "History";
  static isShown = (state) => state.serves_clients;

  constructor(app, root) {
    this.app = app;
    this.root = root;
    const [model = "", pool = ""] = app.route.parts;
    const span = app.route.query.get("span");
    this.span = SPANS.find((each) => each.id === span) ?? SPANS[1];
    this.model = model;
    this.pool = pool;
    this.sums = []; // one for each pool of each model, over the whole span
    this.items = []; // the chosen pool, step by step
    this.sizing = null;
    this.asked = this.summed = new Since(); // since steps, and sums, were asked for
    this.failed = false; // whether the last request for what was chosen was in vain
    this.requests = new AbortController();
  }

  open() {
    this.build();
    this.observer = new ResizeObserver(([{ contentRect }]) => this.resize(contentRect.width));
    this.observer.observe(this.body);
    this.load({ chosen: true });
  }

  /** What was is asked for by the minute, not by the state; but again where it could not be had. */
  update() {
    if (document.hidden || !this.app.isConnected || this.isLoading) return;
    const age = this.asked.elapsed;
    if (this.failed && age >= RETRY) this.load({ chosen: true });
    else if (!this.failed && age >= MINUTE) this.loadNewer();
  }

  close() {
    this.observer.disconnect();
    this.requests.abort();
  }

  // -- the skeleton ---------------------------------------------------------------------------------------------------

  build() {
    this.models = el("select", { id: "history-model", onchange: () => this.choose(this.models.value, "") });
    this.pools = el("select", { id: "history-pool", onchange: () => this.choose(this.model, this.pools.value) });
    this.spans = new Segments("Time", SPANS.map(({ id, title }) => [id, title]), (id) => this.chooseSpan(id));
    this.shadow = el("p", { class: "note", hidden: true }, SHADOW);
    this.status = el("p", { class: "note", id: "history-status" });
    this.use = new Panel("Use over time");
    this.week = new Panel("By hour and weekday");
    this.seats = new Panel("What this traffic would have needed");
    this.body = el("div", { class: "history" }, this.use.root, this.week.root, this.seats.root);
    setChildren(
      this.root,
      el(
        "div",
        { class: "toolbar" },
        el("div", { class: "field" }, el("label", { for: this.models.id }, "Model"), this.models),
        el("div", { class: "field" }, el("label", { for: this.pools.id }, "Pool"), this.pools),
        this.spans.node,
      ),
      this.shadow,
      this.status,
      this.body,
    );
  }

  // -- choosing -------------------------------------------------------------------------------------------------------

  choose(model, pool) {
    this.model = model;
    this.pool = pool;
    this.load({ all: false, chosen: true });
  }

  chooseSpan(id) {
    this.span = SPANS.find((span) => span.id === id);
    this.sums = [];
    this.sizing = null;
    this.load({ chosen: true });
  }

  offerChoices() {
    const models = [...new Set(this.sums.map((sum) => sum.model))];
    if (!models.includes(this.model)) this.model = this.app.state?.model ?? models[0];
    const pools = this.sums.filter((sum) => sum.model === this.model).map((sum) => sum.pool);
    if (!pools.includes(this.pool)) [this.pool] = pools;
    const { state } = this.app;
    const enforced = this.enforced;
    const option = (value, title) => el("option", { value }, title);
    const note = (name) => (name === enforced ? " (enforced)" : "");
    setChildren(this.models, models.map((name) => option(name, `${modelTitle(name, state)}${note(name)}`)));
    setChildren(this.pools, pools.map((name) => option(name, poolTitle(name, state, this.model))));
    this.models.value = this.model;
    this.pools.value = this.pool;
    this.shadow.hidden = this.model === enforced;
    this.spans.show(this.span.id);
    const path = [this.model, this.pool].map(encodeURIComponent).join("/");
    window.history.replaceState(null, "", `#/history/${path}?span=${this.span.id}`);
  }

  /** The enforced model: of the sums, the gateway names it first. */
  get enforced() {
    return this.sizing?.items.find((model) => model.enforced)?.model ?? this.sums[0]?.model;
  }

  // -- asking ---------------------------------------------------------------------------------------------------------

  get isLoading() {
    return this.body.hasAttribute("aria-busy");
  }

  /**
   * Ask anew: for the sums and the sizing of the span too where `all`. `chosen` says that something else is to be shown
   * than is; without it, what is shown stays where the gateway cannot be asked.
   */
  async load({ all = true, chosen = false }) {
    this.requests.abort();
    this.requests = new AbortController();
    const { signal } = this.requests;
    const since = this.span.id;
    this.body.setAttribute("aria-busy", "true");
    this.asked = new Since();
    try {
      if (all || !this.sums.length) {
        this.summed = this.asked;
        this.sums = (await this.app.get(`api/history?since=${since}&step=all`, { signal })).items;
      }
      this.offerChoices();
      this.items = await this.loadSteps(since, signal);
      this.failed = false;
      this.draw();
      if (this.sizing === null) this.seats.showMessage("Replaying the demand…");
      if (all || this.sizing === null) {
        this.sizing = await this.app.get(`api/sizing?since=${since}`, { signal });
        this.draw(); // the figures say how long a demand waits
      }
      const place = { model: this.model, pool: this.pool, span: this.span.id };
      this.seats.show(sizingPanel(this.sizing, place, this.app.state));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.showFailure(error, chosen);
    }
    this.body.removeAttribute("aria-busy");
  }

  showFailure(error, chosen) {
    this.status.textContent = `Not up to date: ${error.message}`;
    if (chosen) {
      this.failed = error.isPassing === true;
      for (const panel of [this.use, this.week, this.seats]) panel.showMessage(`Not known: ${error.message}`);
    }
    this.app.report(error);
  }

  async loadSteps(since, signal) {
    const path = `api/history?model=${encodeURIComponent(this.model)}&pool=${encodeURIComponent(this.pool)}`;
    const found = [];
    let next = "";
    do {
      const cursor = next && `&cursor=${encodeURIComponent(next)}`;
      const piece = await this.app.get(`${path}&step=${this.span.step}&since=${since}&limit=1000${cursor}`, { signal });
      found.push(...piece.items);
      next = piece.next;
    } while (next);
    return found;
  }

  async loadNewer() {
    this.asked = new Since();
    if (this.summed.elapsed >= SUMS || !this.items.length) {
      await this.load({});
      return;
    }
    const last = this.items.at(-1).start;
    try {
      const newer = await this.loadSteps(last, this.requests.signal);
      const begin = this.app.now() - this.span.length - STEPS[this.span.step];
      this.items = [...this.items.filter((item) => item.start < last && Date.parse(item.start) > begin), ...newer];
      this.draw();
    } catch (error) {
      if (error.name !== "AbortError") this.showFailure(error, false);
    }
  }

  // -- showing --------------------------------------------------------------------------------------------------------

  resize(width) {
    if (Math.round(width) === this.width) return;
    this.width = Math.round(width);
    if (this.items.length) this.draw();
  }

  draw() {
    const now = this.app.now();
    const steps = this.items.map((item) => stepOf(item, STEPS[this.span.step], now)).filter((step) => step.seconds > 0);
    if (!steps.length) {
      this.status.textContent = "";
      for (const panel of [this.use, this.week]) panel.showMessage("No history yet: it begins with the first use.");
      return;
    }
    const total = sumSteps(steps);
    const [first, last] = [steps[0].start, now].map(formatMinute);
    this.status.textContent = `${first} to ${last} ${zoneName()}, ${formatDuration(total.seconds)} of it watched.`;
    this.drawUse(steps, total, now);
    this.drawWeek();
  }

  drawUse(steps, total, now) {
    const shadow = this.model !== this.enforced;
    const { state } = this.app;
    const name = `${modelTitle(this.model, state)}, ${poolTitle(this.pool, state, this.model)}`;
    // A young gateway's few hours fill the picture.
    const from = Math.min(steps[0].start, now - 6 * STEPS[this.span.step]);
    const label = `Use of ${name} over time, peak and mean; arrow keys step through it`;
    const chart = useChart({ steps, from, to: now, width: this.use.width, label, shadow, at: this.use.cursor });
    const refused = shadow ? "Would be refused" : "Refused";
    const columns = [`From (${zoneName()})`, "Peak", "Limit", "Mean", "At the limit", refused, "Truly denied"];
    this.use.show({
      name: `use-${this.model}-${this.pool}-${this.span.id}`,
      before: this.figures(total, shadow),
      chart,
      after: legend(total, shadow),
      head: shadow ? columns.slice(0, 6) : columns,
      rows: steps.map((step) => [
        formatMinute(step.start),
        formatCount(step.peak),
        formatCount(step.limit),
        formatMean(step.seatSeconds / step.seconds),
        formatDuration(step.full),
        formatCount(step.denied),
        ...(shadow ? [] : [formatCount(step.missed)]),
      ]),
      raw: [RAW, this.items.map((item) => RAW.map((field) => item[field]))],
    });
  }

  figures(total, shadow) {
    const sum = this.sums.find((each) => each.model === this.model && each.pool === this.pool);
    const limited = total.limit !== null;
    const figure = (title, value, note) =>
      el("div", { class: "figure" }, el("dt", {}, title), el("dd", {}, value), el("dd", { class: "note" }, note));
    const waited = sum?.time_to_seat.mean;
    const parts = [
      figure("Peak", formatCount(total.peak), limited ? `limit ${formatCount(total.limit)}` : "no limit"),
      figure("Mean", formatMean(total.seatSeconds / total.seconds), "exact, over the time watched"),
      figure("95th percentile", formatCount(sum?.p95 ?? null), sum && `99th: ${formatCount(sum.p99)}`),
      limited && figure("At the limit", formatDuration(total.full), formatPercent(total.full / total.seconds)),
    ];
    if (shadow) {
      parts.push(figure("Would have refused", formatCount(total.denied), "of what was admitted"));
    } else {
      const patience = this.sizing?.patience_seconds;
      const after = waited ? `after ${formatDuration(waited)} on average` : null;
      const soon = patience ? `no seat within ${formatDuration(patience)}` : "no seat soon after";
      parts.push(
        figure("Refused", formatCount(total.denied), "every refusal, whatever came of it"),
        figure("Truly denied", formatCount(total.missed), soon),
        figure("Seated after a refusal", formatCount(total.seated), after),
      );
    }
    return el("dl", { class: "figures" }, parts);
  }

  drawWeek() {
    const sum = this.sums.find((each) => each.model === this.model && each.pool === this.pool);
    if (!sum || !sum.week.flat().some((value) => value)) {
      this.week.showMessage("Nobody used this pool in this time.");
      return;
    }
    const label = "Mean use by weekday and hour; arrow keys step through it";
    const busiest = formatMean(sum.busiest_hour);
    const { week, zone } = weekOnClock(sum.week, this.app.now());
    const hours = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0"));
    this.week.show({
      name: `week-${this.model}-${this.pool}-${this.span.id}`,
      chart: heatMapChart({ week, width: this.week.width, label, at: this.week.cursor }),
      after: el("p", { class: "note" }, `Mean use by hour, ${zone}. The busiest hour of all: ${busiest}.`),
      head: [zone, ...hours],
      rows: week.map((day, number) => [DAYS[number], ...day.map(formatMean)]),
      raw: [[`weekday ${zone}`, ...hours], week.map((day, number) => [DAYS[number], ...day])],
    });
  }
}

/** A step as the charts take it, of an item of `GET /api/history` that lasts `length` milliseconds. */
function stepOf(item, length, now) {
  const start = Date.parse(item.start);
  return {
    start,
    end: Math.max(Math.min(start + length, now), start + MINUTE),
    seconds: item.seconds,
    seatSeconds: item.seat_seconds,
    peak: item.max,
    limit: item.limit,
    full: item.full_seconds,
    denied: item.denied,
    missed: item.true_denials,
    seated: item.seated,
  };
}

/** A week of hours by the clock that is chosen; in UTC, as the gateway adds up, where that is no whole hours off. */
function weekOnClock(week, now) {
  const ahead = zoneOffset(now) / HOUR;
  if (ahead === 0 || !Number.isInteger(ahead)) return { week, zone: "UTC" };
  const hours = week.flat();
  const turned = hours.map((_, place) => hours[(place - ahead + hours.length) % hours.length]);
  return { week: week.map((_, day) => turned.slice(day * 24, day * 24 + 24)), zone: zoneName() };
}

function legend(total, shadow) {
  const swatch = (kind) => el("span", { class: `swatch swatch-${kind}`, "aria-hidden": "true" });
  const entry = (kind, text) => el("li", {}, swatch(kind), text);
  return el("ul", { class: "legend" }, [
    entry("peak", "peak"),
    entry("mean", "mean"),
    total.limit !== null && entry("limit", "limit"),
    total.full > 0 && entry("full", "time at the limit"),
    total.denied > 0 && entry("refused", shadow ? "would be refused" : "refused, seated soon after or undecided"),
    total.missed > 0 && !shadow && entry("missed", "truly denied"),
  ]);
}
