/* Signing in: the operator's token, asked for where the gateway wants one. */

import { el, setChildren } from "./dom.js";

/**
 * Ask for a token.
 *
 * @param {HTMLElement} root Where.
 * @param {string} problem Why the last one was refused; empty for none.
 * @param {(token: string) => void} onToken Is given what was entered.
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
      "). It stays in the memory of this page.",
    ),
    submit,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    submit.disabled = true;
    onToken(input.value);
  });
  root.removeAttribute("aria-busy");
  setChildren(root, form);
  input.focus();
}
