/* Dialogs: a question before an act, and a box of details. */

import { el } from "./dom.js";
import { factList } from "./table.js";

/**
 * Ask before something is done.
 *
 * @param {object} options `title`; `text`, a string or a node; `act`, the word on the button that does it; `danger`
 *   where it cannot be undone.
 * @returns {Promise<boolean>} Whether it is to be done.
 */
export function confirmDialog({ title, text, act, danger = false }) {
  return new Promise((resolve) => {
    const kind = danger ? "danger" : "primary";
    const go = el("button", { type: "submit", value: "go", class: kind, "data-act": "confirm" }, act);
    const cancel = el("button", { type: "submit", value: "", class: "quiet", "data-act": "cancel" }, "Cancel");
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: "dialog-title" }, title),
      typeof text === "string" ? el("p", {}, text) : text,
      el("div", { class: "row end" }, cancel, go),
    );
    const box = el("dialog", { "aria-labelledby": "dialog-title", id: "confirm" }, form);
    // A form's own way to close a dialog would be a submission, which the page's policy forbids.
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      box.close(event.submitter?.value ?? "");
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(box.returnValue === "go");
    });
    document.body.append(box);
    box.showModal();
    cancel.focus();
  });
}

/** Close whatever dialogs are open, as Escape does. */
export function closeDialogs() {
  for (const box of document.querySelectorAll("dialog")) box.close();
}

/**
 * Show facts, [term, value] each, in a box with buttons for acts.
 *
 * @returns {() => void} Closes the box, as its own button and Escape do.
 */
export function showDetails(title, facts, ...buttons) {
  const attributes = { type: "button", class: "quiet", "data-act": "close", onclick: () => box.close() };
  const close = el("button", attributes, "Close");
  const box = el(
    "dialog",
    { "aria-labelledby": "details-title", id: "details" },
    el("h2", { id: "details-title" }, title),
    factList(facts),
    el("div", { class: "row end" }, close, buttons),
  );
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return () => box.close();
}
