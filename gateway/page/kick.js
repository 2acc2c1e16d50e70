/* Sending a connection away, after a question. */

import { confirmDialog } from "./dialog.js";
import { el } from "./dom.js";
import { pluralize, whoIs } from "./format.js";

const BANS = [
  ["5m", "5 minutes"],
  ["1h", "1 hour"],
  ["24h", "24 hours"],
];
const WITHOUT_ACCOUNT = { sip: "endpoint", h323: "endpoint", rtsp: "endpoint", welcome: "visitor", console: "visitor" };

/** What somebody without an account is called. */
export function roleOf({ kind }) {
  return WITHOUT_ACCOUNT[kind] ?? "guest";
}

/** What whoever is connected is called. */
export function nameOf(connection) {
  const { account, home } = connection;
  return account === null ? roleOf(connection) : whoIs(account, home);
}

/** Ask what is to be done with a connection, and do it. */
export async function kickConnection(app, connection) {
  const { id, account, home, address } = connection;
  const name = nameOf(connection);
  const kept = account === null ? `guests from ${address}` : name;
  const choices = [
    ["", "Close the connection"],
    ...BANS.map(([value, duration]) => [value, `Also keep ${kept} out for ${duration}`]),
  ];
  const radio = ([value, text]) =>
    el("label", { class: "choice" }, el("input", { type: "radio", name: "ban", value, checked: value === "" }), text);
  const every = el("input", { type: "checkbox", id: "kick-all" });
  const text = el(
    "div",
    {},
    el("p", {}, `The connection of ${name} from ${address} is closed at once, and its seats are free.`),
    el("fieldset", {}, el("legend", { class: "visually-hidden" }, "What to do"), choices.map(radio)),
    account === null ? null : el("label", { class: "choice" }, every, `Every connection of ${name}`),
  );
  if (!(await confirmDialog({ title: `Kick ${name}?`, text, act: "Kick", danger: true }))) return;
  const ban = text.querySelector("input[name=ban]:checked").value;
  const query = ban ? `?ban=${ban}` : "";
  const ofHome = home === null ? query : `${query || "?"}${query && "&"}home=${encodeURIComponent(home)}`;
  await app.attempt(async () => {
    if (every.checked) {
      const { kicked } = await app.send("DELETE", `api/accounts/${encodeURIComponent(account)}/connections${ofHome}`);
      return `${pluralize(kicked, "connection")} of ${name} closed.`;
    }
    await app.send("DELETE", `api/connections/${encodeURIComponent(id)}${query}`);
    return `${name} is kicked${ban ? " and kept out" : ""}.`;
  });
}
