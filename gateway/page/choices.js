/* A field with choices of a toolbar, and what the address has chosen. */

import { el } from "./dom.js";

/** A labeled select; `node` is to be placed by whoever makes it. */
export class Choice {
  /**
   * @param {string} id Of the select.
   * @param {string} label
   * @param {Array<[string, string]>} choices The value and the text of each.
   * @param {string} chosen The value that is chosen at first.
   * @param {(value: string) => void} onChoose
   */
  constructor(id, label, choices, chosen, onChoose) {
    this.select = el("select", { id, onchange: () => onChoose(this.select.value) },
      choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
    this.node = el("div", { class: "field" }, el("label", { for: id }, label), this.select);
  }

  get value() {
    return this.select.value;
  }

  set value(value) {
    this.select.value = value;
  }
}

/** The pool of the enforced model that the address asks for; empty for any, and where there is none such any more. */
export function poolOf({ route, state }) {
  const asked = route.query.get("pool") ?? "";
  return asked in state.models[state.model].pools ? asked : "";
}
