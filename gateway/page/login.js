/* Signing in: the operator's token, asked for where the gateway wants one. */

import { el, setChildren } from "./dom.js";

/**
 * Ask for a token.
 *
 * @param {HTMLElement} root Where.
 * @param {string} problem Why the last one was refused; empty for none.
 * @param {(token: string, keep: boolean) => void} onToken Is given what was entered, and whether the tab is to keep it.
 */
export function showLogin(root, problem, onToken) {
  const input = el("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-help",
  });
  const keep = el("input", { type: "checkbox", id: "keep-token" });
  const submit = el("button", { type: "submit", class: "primary" }, "Sign in");
  const form = el(
    "form",
    { id: "login", class: "card login" },
    problem ? el("p", { class: "problem", role: "alert", id: "login-problem" }, problem) : null,
    el("div", { class: "field" }, el("label", { for: "token" }, "Operator token"), input),
    el(
      "p",
      { class: "note", id: "token-help" },
      "Made on the gateway's machine by ",
      el("code", {}, "tallygate token add NAME --scope read"),
      " (or ",
      el("code", {}, "admin"),
      "). It stays in the memory of this page, and is gone when it is reloaded.",
    ),
    el("label", { class: "choice" }, keep, "Stay signed in until this tab is closed"),
    submit,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    submit.disabled = true;
    onToken(input.value, keep.checked);
  });
  root.removeAttribute("aria-busy");
  setChildren(root, form);
  input.focus();
}
