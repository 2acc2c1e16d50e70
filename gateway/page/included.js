/* What the license includes beside its seats: extensions, and what users may do. It hardly ever changes. */

import { el, setChildren } from "./dom.js";
import { poolTitle } from "./format.js";
import { table } from "./table.js";

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

/** Draw the extensions into a card. */
export function drawExtensions(card, extensions) {
  const columns = [
    { title: "Extension", isHeader: true },
    { title: "Terms", class: "soft" },
    { title: "This license" },
  ];
  const included = (licensed) =>
    el("span", { class: licensed ? "tag good" : "tag" }, licensed ? "included" : "not included");
  const rows = extensions.map(({ title, terms, licensed }) => ({ cells: [title, terms, included(licensed)] }));
  const caption = "Extensions, their terms, and whether this license has them";
  card.hidden = !rows.length;
  setChildren(card, el("h2", { id: "extensions-title" }, "Extensions"), table({ caption, columns, rows, asCards: true }));
}

/** Draw what users may do into a card. */
export function drawRights(card, state) {
  const { rights, edition } = state;
  card.hidden = !rights;
  if (!rights) return;
  const pools = Object.keys(rights);
  const columns = [{ title: "Right", isHeader: true }, ...pools.map((pool) => ({ title: poolTitle(pool, state) }))];
  const names = [...new Set(Object.values(rights).flat())];
  const rows = names.map((name) => ({
    cells: [RIGHTS[name] ?? name, ...pools.map((pool) => tick(rights[pool].includes(name)))],
  }));
  setChildren(
    card,
    el("h2", { id: "rights-title" }, "Rights"),
    edition === "enterprise" ? el("p", { class: "note" }, "In this edition every user has the rights of PRO.") : null,
    table({ caption: "What users may do, by license", columns, rows, class: "ticks" }),
  );
}

function tick(yes) {
  return yes
    ? el("span", { class: "yes", role: "img", "aria-label": "yes" }, "✓")
    : el("span", { class: "none", role: "img", "aria-label": "no" }, "–");
}
