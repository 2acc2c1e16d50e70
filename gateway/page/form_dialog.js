/* Dialogs that ask for something before an act, and one that shows a secret once. */

import { el, setChildren } from "./dom.js";

/**
 * Ask for what an act needs, and carry it out. A refusal is said in the dialog, which stays open.
 *
 * @param {object} options
 *   `title`; `text`, a string or a node above the fields; `act`, the word on the button that does it; `danger` where it
 *   cannot be undone.
 *   `fields`: a list of {name, label, kind, value, choices, help, required, min, max, shown}; `kind` is text, number, date,
 *   check, lines (a text on each line) or choice, whose `choices` are [value, text] each; `shown(values)` says whether the
 *   field is there.
 *   `run(values)`: does it; of a `check` a value is a boolean, of `lines` a list, of a `number` a number or null.
 * @returns {Promise<boolean>} Whether it was done.
 */
export function formDialog({ title, text = null, fields, act, danger = false, run }) {
  return new Promise((resolve) => {
    let done = false;
    const inputs = new Map(fields.map((field) => [field.name, inputOf(field)]));
    const nodes = new Map(fields.map((field) => [field.name, fieldNode(field, inputs.get(field.name))]));
    const values = () => Object.fromEntries(fields.map((field) => [field.name, valueOf(field, inputs.get(field.name))]));
    const problem = el("p", { class: "problem", role: "alert", hidden: true });
    const go = el("button", { type: "submit", class: danger ? "danger" : "primary", "data-act": "confirm" }, act);
    const close = () => box.close();
    const cancel = el("button", { type: "button", class: "quiet", "data-act": "cancel", onclick: close }, "Cancel");
    const form = el("form", { class: "asking" },
      el("h2", { id: "dialog-title" }, title),
      typeof text === "string" ? el("p", { class: "note" }, text) : text,
      [...nodes.values()], problem, el("div", { class: "row end" }, cancel, go));
    const box = el("dialog", { "aria-labelledby": "dialog-title", id: "ask" }, form);
    const show = () => {
      for (const { name, shown } of fields) if (shown) nodes.get(name).hidden = !shown(values());
    };
    form.addEventListener("input", show);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      problem.hidden = true;
      try {
        await run(values());
        done = true;
        box.close();
      } catch (error) {
        setChildren(problem, error.message);
        problem.hidden = false;
      } finally {
        go.disabled = false;
      }
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(done);
    });
    show();
    document.body.append(box);
    box.showModal();
  });
}

/**
 * A check that a form is filled in about what there is: what somebody else has done meanwhile is not undone by it.
 *
 * @param {string} what Such as "group".
 * @param {object|null} item What is changed as it is when the form opens; null for what is made.
 * @param {(name: string) => object|undefined} find What there is by now of a name.
 * @returns {(name: string) => void} Is called when the form is sent, and throws an `Error` with what to do instead.
 */
export function unchanged(what, item, find) {
  const before = JSON.stringify(item ?? undefined);
  return (name) => {
    if (JSON.stringify(find(name)) === before) return;
    throw new Error(item === null ? `There is a ${what} of this name: change that one.`
      : `Somebody has changed this ${what} meanwhile: close this, and look again.`);
  };
}

/** Show a secret this once, to be copied; resolves when the dialog is closed. */
export function secretDialog({ title, text, secret }) {
  return new Promise((resolve) => {
    const field = el("input", { type: "text", readonly: true, id: "secret", value: secret, "aria-label": title });
    const copy = el("button", {
      type: "button",
      "data-act": "copy",
      onclick: async () => {
        field.select();
        try {
          await navigator.clipboard.writeText(secret);
          setChildren(copy, "Copied");
        } catch {
          setChildren(copy, "Press Ctrl-C");
        }
      },
    }, "Copy");
    const attributes = { type: "button", class: "primary", "data-act": "close", onclick: () => box.close() };
    const box = el("dialog", { "aria-labelledby": "dialog-title", id: "secret-box" },
      el("h2", { id: "dialog-title" }, title),
      el("p", {}, text),
      el("div", { class: "row secret" }, field, copy),
      el("p", { class: "note" }, "It is shown this once: the gateway keeps no copy that can be read."),
      el("div", { class: "row end" }, el("button", attributes, "I have it")));
    box.addEventListener("close", () => {
      box.remove();
      resolve();
    });
    document.body.append(box);
    box.showModal();
    field.select();
  });
}

function inputOf({ name, kind = "text", value = "", choices = [], required = false, min = null, max = null }) {
  const id = `ask-${name}`;
  if (kind === "choice") {
    return el("select", { id }, choices.map(([each, text]) => el("option", { value: each, selected: each === value }, text)));
  }
  if (kind === "lines") return el("textarea", { id, rows: 6, spellcheck: "false", value: value.join("\n") });
  if (kind === "check") return el("input", { id, type: "checkbox", checked: value === true });
  return el("input", { id, type: kind, value: value ?? "", required, min, max, autocomplete: "off", spellcheck: "false" });
}

function fieldNode({ name, label, kind, help = null }, input) {
  const note = help && el("p", { class: "note", id: `ask-${name}-help` }, help);
  if (help) input.setAttribute("aria-describedby", `ask-${name}-help`);
  if (kind === "check") return el("div", { class: "field" }, el("label", { class: "choice" }, input, label), note);
  return el("div", { class: "field" }, el("label", { for: input.id }, label), input, note);
}

function valueOf({ kind }, input) {
  if (kind === "check") return input.checked;
  if (kind === "lines") return input.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (kind === "number") return input.value === "" ? null : Number(input.value);
  return input.value.trim();
}
