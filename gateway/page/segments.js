/* A row of buttons of which one is chosen. */

import { el } from "./dom.js";

/** Buttons beside each other; `node` is to be placed by whoever makes them. */
export class Segments {
  /**
   * @param {string} label What is chosen.
   * @param {Array<[string, string]>} choices The id and the text of each; the `data-act` of a button is "choose-ID".
   * @param {(id: string) => void} onChoose Is told what is pressed; the first is not chosen by itself.
   */
  constructor(label, choices, onChoose) {
    this.buttons = new Map(choices.map(([id, text]) =>
      [id, el("button", { type: "button", "data-act": `choose-${id}`, onclick: () => onChoose(id) }, text)]));
    this.node = el("div", { class: "segments", role: "group", "aria-label": label }, [...this.buttons.values()]);
  }

  /** Show which one is chosen. */
  show(chosen) {
    for (const [id, button] of this.buttons) button.setAttribute("aria-pressed", String(id === chosen));
  }
}
