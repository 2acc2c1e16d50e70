/* Dialogs: a question before an act, and a box of details. */

import { el } from "./dom.js";

/** Ask before something is done: whether it is to be done. `text` is a string or nodes; `danger` marks the act. */
export function confirmDialog({ title, text, act, danger = false }) {
  return new Promise((resolve) => {
    const go = el("button", { type: "submit", value: "go", class: danger ? "danger" : "primary", "data-act": "confirm" }, act);
    const stay = el("button", { type: "submit", value: "", class: "quiet", "data-act": "cancel" }, "Cancel");
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: "dialog-title" }, title),
      typeof text === "string" ? el("p", {}, text) : text,
      el("div", { class: "row end" }, stay, go),
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
    stay.focus();
  });
}

/** Show a box with `content` and buttons for acts, closed by its own button, by Escape, or by what is returned. */
export function detailsDialog(title, content, ...acts) {
  const close = el("button", { type: "button", class: "quiet", "data-act": "close" }, "Close");
  const box = el(
    "dialog",
    { "aria-labelledby": "details-title", id: "details" },
    el("h2", { id: "details-title" }, title),
    content,
    el("div", { class: "row end" }, close, acts),
  );
  close.addEventListener("click", () => box.close());
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return () => box.close();
}
