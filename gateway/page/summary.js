/* Summary: the license at a glance - what is used, what the other models would say, the registration, the rights. */

import { el, setChildren, setText } from "./dom.js";
import { asSentence, formatCount, formatDuration, formatPercent, modelTitle, pluralize, poolTitle, timeElement, toMilliseconds } from "./format.js";

const NEAR = 0.8;
const STATES = {
  off: ["off", "", "This gateway does not register."],
  unregistered: ["unregistered", "bad", "The license has never been verified: nothing is granted."],
  registered: ["registered", "good", "The license is verified all the time."],
  grace: ["connection lost", "warn", "The registration server does not answer."],
  expired: ["expired", "bad", "The license has run out: client doors are closed."],
  revoked: ["revoked", "bad", "The license has been revoked: client doors are closed."],
  clock_rollback: ["clock set back", "bad", "The clock is behind what it was: nothing new is granted until it catches up."],
};
const RIGHTS = {
  p2p_call: "One-to-one calls",
  p2p_collaboration: "Collaboration in calls",
  messenger: "Messenger",
  finished_conference_chat: "Chats of finished conferences",
  address_book: "Address book",
  schedule_conference: "Scheduling conferences",
  prepare_slides: "Preparing slides",
  join_public_conference: "Joining public conferences",
  public_conference_chat: "Chat in public conferences",
  public_conference_collaboration: "Collaboration in public conferences",
  moderate_public_conference: "Moderating public conferences",
  internal_conference_chat: "Chat in internal conferences",
  join_internal_conference: "Joining internal conferences",
  moderate_internal_conference: "Moderating internal conferences",
  internal_conference_collaboration: "Collaboration in internal conferences",
  instant_conference: "Instant conferences",
};

let app = null;
let parts = null;
let meters = new Map();
let drawn = {};
let timer = 0;
let end = null;

export const view = {
  id: "summary",
  title: "Summary",
  needs: () => true,

  open(root, given) {
    app = given;
    meters = new Map();
    drawn = {};
    parts = {
      pools: el("section", { class: "card", id: "license", "aria-labelledby": "license-title" }),
      live: el("section", { class: "card", id: "live", "aria-labelledby": "live-title" }),
      registration: el("section", { class: "card", id: "registration", "aria-labelledby": "registration-title" }),
      others: el("section", { class: "card", id: "others", "aria-labelledby": "others-title" }),
      extensions: el("section", { class: "card", id: "extensions", "aria-labelledby": "extensions-title", hidden: true }),
      rights: el("section", { class: "card", id: "rights", "aria-labelledby": "rights-title", hidden: true }),
    };
    setChildren(
      root,
      el("div", { class: "columns" },
        el("div", { class: "stack" }, parts.pools, parts.others),
        el("div", { class: "stack" }, parts.registration, parts.live)),
      el("div", { class: "columns even" }, parts.extensions, parts.rights),
    );
    timer = setInterval(countDown, 1000);
  },

  update(state) {
    pools(state);
    const { model, models, edition, extensions, rights, registration, connections, conferences } = state;
    const others = Object.fromEntries(Object.entries(models).filter(([name]) => name !== model));
    redraw("others", others, otherModels);
    redraw("live", [connections, conferences, state.started], live);
    // The gateway reckons with a clock that nobody can set back: its seconds count, not the difference of two times.
    const { seconds_left: left = null, ...registered } = registration;
    end = left === null ? toMilliseconds(registration.shutdown_at) : app.now() + left * 1000;
    redraw("registration", registered, showRegistration);
    redraw("extensions", extensions, extended);
    redraw("rights", [rights, edition], entitled);
  },

  close() {
    clearInterval(timer);
    app = parts = null;
  },
};

/** Draw a part where what it shows is another than before. */
function redraw(name, shown, draw) {
  const sign = JSON.stringify(shown);
  if (drawn[name] === sign) return;
  drawn[name] = sign;
  draw(parts[name], shown);
}

// -- the enforced model ---------------------------------------------------------------------------------------------

function pools(state) {
  const law = state.models[state.model];
  const sign = JSON.stringify([state.model, state.edition, state.enforce, Object.keys(law.pools)]);
  if (drawn.pools !== sign) {
    drawn.pools = sign;
    meters = new Map(Object.keys(law.pools).map((name) => [name, new Meter(name)]));
    const what = state.enforce ? "enforced" : "counted, not enforced";
    setChildren(
      parts.pools,
      el("div", { class: "head" },
        el("h2", { id: "license-title" }, modelTitle(state.model)),
        state.edition ? el("span", { class: "tag", id: "edition" }, `edition ${state.edition}`) : null,
        el("span", { class: state.enforce ? "tag good" : "tag warn" }, what)),
      [...meters.values()].map((meter) => meter.node),
      el("p", { class: "keys note", "aria-hidden": "true" },
        el("span", { class: "key used" }), " used ", el("span", { class: "key reserved" }), " of it reserved ",
        el("span", { class: "key high" }), " high water"),
    );
  }
  for (const [name, meter] of meters) meter.show(law.pools[name]);
}

/* One pool: how much of it is used, as a bar and in words. */
class Meter {
  constructor(name) {
    this.title = poolTitle(name);
    this.figure = el("span", { class: "figure" });
    this.reserved = el("div", { class: "reserved" });
    this.used = el("div", { class: "used" });
    this.high = el("div", { class: "high" });
    this.bar = el("div", { class: "bar", role: "meter", "aria-label": this.title, "aria-valuemin": "0" }, this.used, this.reserved, this.high);
    this.words = el("p", { class: "note" });
    this.node = el("div", { class: "pool", dataset: { pool: name } },
      el("div", { class: "head" }, el("h3", {}, this.title), this.figure), this.bar, this.words);
  }

  show(pool) {
    const { used, limit, reserved, high_water: high, denied, overdraft_used: over, available } = pool;
    const scale = Math.max(limit ?? 0, used, high, 1);
    const share = limit === null ? null : limit === 0 ? (used ? 1 : 0) : used / limit;
    setText(this.figure, limit === null ? `${formatCount(used)} · no limit` : `${formatCount(used)} of ${formatCount(limit)}`);
    this.bar.dataset.level = share === null ? "open" : share >= 1 ? "full" : share >= NEAR ? "near" : "good";
    this.bar.setAttribute("aria-valuemax", String(limit ?? scale));
    this.bar.setAttribute("aria-valuenow", String(Math.min(used, limit ?? used)));
    this.bar.setAttribute("aria-valuetext", limit === null ? `${formatCount(used)} used, no limit` : `${formatCount(used)} of ${formatCount(limit)} used`);
    this.bar.hidden = limit === null && used === 0 && high === 0;
    this.used.style.width = `${(used / scale) * 100}%`;
    this.reserved.style.width = `${(Math.min(reserved, used) / scale) * 100}%`;
    this.high.hidden = high === 0;
    this.high.style.left = `${(high / scale) * 100}%`;
    const words = [
      available === null ? null : `${formatCount(available)} available`,
      reserved ? `${formatCount(reserved)} reserved` : null,
      `high water ${formatCount(high)}`,
      denied ? `${formatCount(denied)} refused` : "none refused",
      over ? `${formatCount(over)} above the limit` : null,
      share === null || share < NEAR ? null : formatPercent(share),
    ];
    setText(this.words, words.filter(Boolean).join(" · "));
  }
}

function otherModels(node, models) {
  const rows = Object.entries(models).flatMap(([model, { pools: found }]) =>
    Object.entries(found).map(([pool, seats], index, all) =>
      el("tr", { dataset: { model, pool } },
        index ? null : el("th", { scope: "rowgroup", rowspan: all.length }, modelTitle(model)),
        el("td", { class: "inner" }, poolTitle(pool)),
        el("td", { class: "number" }, formatCount(seats.used)),
        el("td", { class: "number" }, seats.limit === null ? "no limit" : formatCount(seats.limit)),
        el("td", { class: "number wide-only" }, formatCount(seats.high_water)),
        el("td", { class: seats.denied ? "number warn" : "number" }, formatCount(seats.denied)))));
  setChildren(
    node,
    el("h2", { id: "others-title" }, "As it would be under the other models"),
    rows.length
      ? el("div", { class: "box" }, el("table", { class: "grid" },
          el("caption", { class: "visually-hidden" }, "The other license models, counted beside the enforced one"),
          el("thead", {}, el("tr", {},
            [["Model", ""], ["Pool", ""], ["Used", "number"], ["Limit", "number"], ["High water", "number wide-only"], ["Would have refused", "number"]]
              .map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
          el("tbody", {}, rows)))
      : el("p", { class: "note" }, "No other model is counted: the setting license.shadow names those that are."),
  );
}

// -- beside it ------------------------------------------------------------------------------------------------------

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, ...value]) => [el("dt", {}, term), el("dd", {}, value)]));
}

function live(node, [connections, conferences, started]) {
  const kinds = Object.entries(connections.kinds ?? {}).map(([kind, number]) => `${formatCount(number)} ${kind}`).join(", ");
  setChildren(
    node,
    el("h2", { id: "live-title" }, "Now"),
    el("div", { class: "tiles" },
      tile("connections", connections.total, "connections", "#/connections"),
      tile("accounts", connections.accounts, "accounts"),
      tile("live-conferences", conferences.live, "live conferences", "#/conferences"),
      tile("members", conferences.members, "members")),
    facts([
      kinds ? ["Kinds", kinds] : null,
      ["Asleep", formatCount(connections.asleep)],
      ["Devices", formatCount(connections.devices)],
      ["Scheduled", pluralize(conferences.scheduled, "conference")],
      ["Running since", timeElement(started)],
    ]),
  );
}

function tile(id, number, title, link) {
  const inside = [el("b", { id: `total-${id}` }, formatCount(number)), el("span", {}, title)];
  return link ? el("a", { class: "tile", href: link }, inside) : el("div", { class: "tile" }, inside);
}

function showRegistration(node, found) {
  const [title, mood, words] = STATES[found.state] ?? [found.state, "warn", ""];
  const due = toMilliseconds(found.shutdown_at);
  setChildren(
    node,
    el("div", { class: "head" }, el("h2", { id: "registration-title" }, "Registration"),
      el("span", { class: `tag ${mood}`, id: "registration-state", dataset: { state: found.state } }, title)),
    el("p", {}, words),
    found.reason && mood === "bad" ? el("p", { class: "note" }, asSentence(found.reason)) : null,
    due === null ? null : el("div", { class: `countdown ${mood}`, id: "countdown", role: "timer", dataset: { due: found.shutdown_at } },
      el("span", {}, found.state === "expired" ? "Shut down at " : "Expected shutdown at "), timeElement(due),
      el("b", { id: "countdown-left" }, "")),
    found.state === "grace" && found.needs_connection === false ? el("p", { class: "note" }, "This license does not need the connection: it goes on without end.") : null,
    facts([
      found.serial ? ["License", found.serial] : null,
      found.server ? ["Server", found.server] : null,
      found.last_verified ? ["Last verified", timeElement(found.last_verified)] : null,
      found.lost_at ? ["Lost at", timeElement(found.lost_at)] : null,
      found.not_after ? ["Valid until", timeElement(found.not_after)] : null,
      found.installation ? ["Installation", el("code", {}, found.installation)] : null,
      found.offline ? ["Registered", "offline"] : null,
      found.clone_suspected ? ["Clone", el("span", { class: "tag bad" }, "another installation uses this license")] : null,
      found.clock_skew_seconds ? ["Clock", `${formatCount(found.clock_skew_seconds)} s off the server's`] : null,
    ]),
  );
  countDown();
}

function countDown() {
  const node = document.getElementById("countdown-left");
  if (node === null || app === null || end === null) return;
  const left = (end - app.now()) / 1000;
  setText(node, left > 0 ? `in ${formatDuration(left, true)}` : `${formatDuration(-left)} ago`);
}

function extended(node, extensions) {
  node.hidden = extensions.length === 0;
  setChildren(
    node,
    el("h2", { id: "extensions-title" }, "Extensions"),
    el("div", { class: "box" }, el("table", { class: "grid cards-narrow" },
      el("caption", { class: "visually-hidden" }, "Extensions, their terms, and whether this license has them"),
      el("thead", {}, el("tr", {}, ["Extension", "Terms", "This license"].map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, extensions.map(({ title, terms, licensed }) => el("tr", {},
        el("th", { scope: "row" }, title), el("td", { class: "soft", "data-title": "Terms" }, terms),
        el("td", { "data-title": "This license" }, el("span", { class: licensed ? "tag good" : "tag" }, licensed ? "included" : "not included"))))))),
  );
}

function entitled(node, [rights, edition]) {
  node.hidden = !rights;
  if (!rights) return;
  const columns = [["pro", "PRO"], ["online", "Online"], ["guest", "Guest"]];
  const order = [...new Set([...rights.online, ...rights.guest, ...rights.pro])];
  setChildren(
    node,
    el("h2", { id: "rights-title" }, "Rights"),
    edition === "enterprise" ? el("p", { class: "note" }, "In this edition every user has the rights of PRO.") : null,
    el("div", { class: "box" }, el("table", { class: "grid ticks" },
      el("caption", { class: "visually-hidden" }, "What users may do, by license"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Right"), columns.map(([, title]) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, order.map((right) => el("tr", {},
        el("th", { scope: "row" }, RIGHTS[right] ?? right),
        columns.map(([who]) => el("td", {}, rights[who].includes(right)
          ? el("span", { class: "yes", role: "img", "aria-label": "yes" }, "✓")
          : el("span", { class: "none", role: "img", "aria-label": "no" }, "–")))))))),
  );
}
