/* The page: it knows the views, shows the one that the address names, and hands each the state of the gateway.

A view is a module that exports `view`:
  { id, title, needs(state) -> bool, open(root, app), update(state), close() }
`needs` says whether its tab is shown; `open` builds it into an empty section; `update` is told each new state while it
is open, and once right after `open`; `close` stops its timers and requests. `app` is the object below.
*/

import { answered, ApiError, ask, hasToken, setToken } from "./api.js";
import { view as audit } from "./audit.js";
import { view as conferences } from "./conferences.js";
import { view as connections } from "./connections.js";
import { confirmDialog } from "./dialog.js";
import { el, reorderChildren, setChildren, setText } from "./dom.js";
import { formatTime, modelTitle, toMilliseconds } from "./format.js";
import { view as history } from "./history.js";
import { showLogin } from "./login.js";
import { view as pro } from "./pro.js";
import { view as registrations } from "./registrations.js";
import { Stream } from "./event_stream.js";
import { view as summary } from "./summary.js";

const VIEWS = [summary, pro, connections, conferences, history, registrations, audit];
const OVER = {
  unregistered: "The license has never been verified.",
  expired: "The license has run out.",
  revoked: "The license has been revoked.",
  clock_rollback: "The clock is behind what it was.",
};
const TOAST = 8000;
const CONNECTED = 4000;

const byId = (id) => document.getElementById(id);

class App {
  state = null;
  /** What follows the view's name in the address, such as `weekly?x=y`. */
  rest = "";
  #open = null;
  #tabs = new Map();
  #skew = 0;
  #up = null;
  #banner = 0;
  #stream = new Stream(
    (fields, first) => this.#told(fields, first),
    (up, why) => this.#turned(up, why),
    (status, why) => this.#refused(status, why),
  );

  start() {
    addEventListener("hashchange", () => this.#route());
    byId("theme").addEventListener("click", turnTheme);
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      byId("main").focus();
    });
    byId("sign-out").addEventListener("click", () => {
      setToken("");
      this.#stream.open();
    });
    this.#stream.open();
  }

  // -- for views ----------------------------------------------------------------------------------------------------

  get admin() {
    return this.state?.operator?.scope === "admin";
  }

  /** The gateway's clock, in milliseconds since the epoch. */
  now() {
    return Date.now() + this.#skew;
  }

  /** The JSON of `GET path`; `ApiError` where there is none. */
  async get(path, { signal, accept } = {}) {
    return (await this.#answered("GET", path, { signal, accept })).json();
  }

  /** Do something; what is answered, null for nothing. */
  async send(method, path, body) {
    const response = await this.#answered(method, path, { body });
    return response.status === 204 ? null : response.json();
  }

  /** Save what `GET path` answers as a file. */
  async download(path, name, accept) {
    const response = await this.#answered("GET", path, { accept });
    const address = URL.createObjectURL(await response.blob());
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  confirm(question) {
    return confirmDialog(question);
  }

  /** Say something for a while; `kind` is good, bad or note. */
  notify(text, kind = "note") {
    const toast = el("div", { class: `toast ${kind}` }, el("span", {}, text));
    const close = el("button", { type: "button", class: "quiet", "aria-label": "Close" }, "×");
    close.addEventListener("click", () => toast.remove());
    toast.append(close);
    byId("toasts").append(toast);
    setTimeout(() => toast.remove(), kind === "bad" ? 2 * TOAST : TOAST);
  }

  /** Say what went wrong, as a sentence. */
  report(error) {
    if (error.name === "AbortError" || error.status === 401) return;
    if (!(error instanceof ApiError)) console.error(error);
    this.notify(error instanceof ApiError ? error.message : `The page failed: ${error.message}`, "bad");
  }

  /** A button for an act: disabled, with the reason, for who may only look. */
  actionButton(name, attributes, ...children) {
    const may = this.admin;
    const why = may ? null : "Your token may look but not act";
    const { title = null, ...others } = attributes;
    return el("button", { type: "button", "data-act": name, disabled: !may, title: why ?? title, ...others }, ...children);
  }

  async #answered(method, path, options) {
    try {
      return await answered(await ask(method, path, options));
    } catch (error) {
      if (error.status === 401) this.#refused(401, error.message);
      throw error;
    }
  }

  // -- the stream ---------------------------------------------------------------------------------------------------

  #told(fields, first) {
    const before = this.state;
    this.state = first ? fields : { ...before, ...fields };
    const at = toMilliseconds(fields.clock);
    if (at !== null) this.#skew = at - Date.now();
    const scope = before?.operator?.scope;
    if (first && scope !== this.state.operator.scope) this.#close();
    this.#frame();
    if (this.#open === null || !this.#open.needs(this.state)) this.#route();
    else this.#update();
  }

  #turned(up, why = "") {
    const before = this.#up;
    this.#up = up;
    document.documentElement.dataset.connected = up ? "yes" : "no";
    const banner = byId("banner");
    clearTimeout(this.#banner);
    if (!up) {
      banner.className = "banner bad";
      setText(banner, why ? `${why} Trying again …` : "Connection to the gateway lost, trying again …");
    } else if (before === false) {
      banner.className = "banner good";
      setText(banner, "Connected again.");
      this.#banner = setTimeout(() => setText(banner, ""), CONNECTED);
    } else {
      setText(banner, "");
    }
  }

  #refused(status, why) {
    this.#stream.close();
    this.#close();
    this.state = null;
    this.#up = null;
    document.documentElement.dataset.connected = "no";
    setText(byId("banner"), "");
    for (const id of ["gist", "operator", "about", "notice"]) setText(byId(id), "");
    setChildren(byId("tabs"));
    this.#tabs.clear();
    byId("sign-out").hidden = true;
    const tried = hasToken();
    setToken("");
    setText(byId("title"), "Sign in");
    const problem = status === 401 && !tried ? "" : why;
    showLogin(byId("view"), problem, (secret) => {
      setToken(secret);
      this.#stream.open();
    });
  }

  // -- what is around the views -------------------------------------------------------------------------------------

  #frame() {
    const { model, edition, enforce, operator, version, draining, store, registration } = this.state;
    const about = [modelTitle(model), edition ? `edition ${edition}` : "", enforce ? "" : "not enforced"];
    setText(byId("gist"), about.filter(Boolean).join(" · "));
    setText(byId("operator"), `${operator.name} · ${operator.scope}`);
    byId("sign-out").hidden = !hasToken();
    setText(byId("about"), `tallygate ${version}`);
    const over = OVER[registration.state];
    const notes = [
      over ? `${over} Nothing is granted.` : "",
      !over && registration.shutdown_at
        ? `The registration server does not answer: service ends at ${formatTime(registration.shutdown_at)} unless it does.` : "",
      draining ? "The gateway is draining: nobody is let in any more." : "",
      store.available ? "" : "The store is unavailable: what changes now is not durable.",
    ];
    setText(byId("notice"), notes.filter(Boolean).join(" "));
    const shown = VIEWS.filter((view) => view.needs(this.state));
    for (const view of shown) {
      if (!this.#tabs.has(view.id)) {
        this.#tabs.set(view.id, el("li", {}, el("a", { href: `#/${view.id}`, id: `tab-${view.id}` }, view.title)));
      }
    }
    reorderChildren(byId("tabs"), shown.map((view) => this.#tabs.get(view.id)));
  }

  #route() {
    if (this.state === null) return;
    const [, id, rest] = /^#\/([a-z]+)\/?(.*)$/.exec(location.hash) ?? [null, VIEWS[0].id, ""];
    const view = VIEWS.find((each) => each.id === id && each.needs(this.state)) ?? VIEWS[0];
    const again = this.#open !== null;
    this.#close();
    this.rest = rest;
    this.#open = view;
    for (const [name, tab] of this.#tabs) {
      const link = tab.firstChild;
      if (name === view.id) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else {
        link.removeAttribute("aria-current");
      }
    }
    document.title = `${view.title} – tallygate`;
    setText(byId("title"), view.title);
    const root = byId("view");
    root.removeAttribute("aria-busy");
    root.dataset.view = view.id;
    setChildren(root);
    try {
      view.open(root, this);
    } catch (error) {
      this.report(error);
    }
    this.#update();
    if (again) byId("main").focus({ preventScroll: true });
  }

  #update() {
    try {
      this.#open.update(this.state);
    } catch (error) {
      this.report(error);
    }
  }

  #close() {
    if (this.#open === null) return;
    const view = this.#open;
    this.#open = null;
    try {
      view.close();
    } finally {
      setChildren(byId("view"));
    }
  }
}

function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

new App().start();
