/* The page: what is around the views, and which of them is open.

A view is a class:
  static id         its name in the address: `#/ID`
  static title      the text of its tab and its heading
  static isShown(state)  whether it can be opened
  static isInner  whether it has no tab, so that only links lead to it; `tab` is the one that is shown then
  constructor(app, root)  `app` is the `App` below, `root` an empty section
  open()            builds it, and begins to ask for what it shows
  update(state)     is called with every new state of the gateway while it is open, and once right after `open`
  close()           ends its timers and requests
The state is what `GET /api/events` sends.
*/

import { AccountView } from "./account.js";
import { ApiClient, ApiError, UNREACHABLE } from "./api.js";
import { AttentionLine } from "./attention_line.js";
import { AuditView } from "./audit.js";
import { otherZoneName, switchZone, zoneName } from "./clock.js";
import { ConferencesView } from "./conferences.js";
import { ConnectionsView } from "./connections.js";
import { closeDialogs } from "./dialog.js";
import { el, reorderChildren, setChildren, setText } from "./dom.js";
import { EndedView } from "./ended.js";
import { EventStream } from "./event_stream.js";
import { formatTime, modelTitle, toMilliseconds } from "./format.js";
import { HistoryView } from "./history.js";
import { LiveMark } from "./live_mark.js";
import { showLogin } from "./login.js";
import { PeopleView } from "./people.js";
import { ProView } from "./pro.js";
import { QueueView } from "./queue.js";
import { RefusalsView } from "./refusals.js";
import { RegistrationsView } from "./registrations.js";
import { SummaryView } from "./summary.js";
import { Theme } from "./theme.js";
import { Toasts } from "./toasts.js";
import { UsageView } from "./usage.js";

const VIEWS = [
  SummaryView, ProView, ConnectionsView, AccountView, EndedView, ConferencesView, QueueView, RefusalsView, HistoryView, UsageView,
  PeopleView, RegistrationsView, AuditView,
];
const CONNECTED = 4000; // milliseconds for which the page says that it is connected again
const ROUTE = /^#\/([a-z]+)\/?([^?]*)(?:\?(.*))?$/;

const byId = (id) => document.getElementById(id);

/** The page. Views are given it for the gateway's state, requests, messages and buttons. */
class App {
  /** The gateway's state; null before the first, and while an operator must sign in. */
  state = null;
  /** What follows the view's id in the address: `parts` of the path, decoded, and `query`. */
  route = { parts: [], query: new URLSearchParams() };
  #api = new ApiClient();
  #theme = new Theme(document.documentElement);
  #toasts = new Toasts(byId("toasts"));
  #live = new LiveMark(byId("live-mark"), () => this.now());
  #attention = new AttentionLine(this, byId("notice"), byId("news"), byId("icon"));
  #view = null;
  #tabs = new Map();
  #skew = 0;
  #connected = null;
  #bannerTimer = 0;
  #stream = new EventStream(this.#api, {
    onState: (fields, first) => this.#onState(fields, first),
    onBytes: () => this.#live.heard(),
    onOpen: () => this.#onConnection(true),
    onLost: (reason) => this.#onConnection(false, reason),
    onRefused: (status, reason) => this.#onRefused(status, reason),
  });

  start() {
    addEventListener("hashchange", () => this.#openView());
    this.#theme.restore();
    this.#drawTitle();
    byId("clock").addEventListener("click", () => this.#switchClock());
    byId("theme").addEventListener("click", () => this.#theme.toggle());
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      byId("main").focus();
    });
    byId("sign-out").addEventListener("click", () => {
      this.#api.signIn("");
      this.#stream.open();
    });
    this.#stream.open();
  }

  // -- for views ----------------------------------------------------------------------------------------------------

  /** Whether the gateway tells us what changes. */
  get isConnected() {
    return this.#connected === true;
  }

  /** Whether the operator may act. */
  get isAdmin() {
    return this.state?.operator?.scope === "admin";
  }

  /** The gateway's clock, in milliseconds since the epoch. */
  now() {
    return Date.now() + this.#skew;
  }

  /**
   * The JSON of `GET path`.
   *
   * @throws {ApiError} Where there is none; an `AbortError` where `signal` ended the request.
   */
  async get(path, { signal } = {}) {
    return (await this.#request("GET", path, { signal })).json();
  }

  /**
   * Make a request that changes something.
   *
   * @returns {Promise<object|null>} The JSON of the answer; null for none.
   * @throws {ApiError} Where it is refused.
   */
  async send(method, path, body) {
    const response = await this.#request(method, path, { body });
    return response.status === 204 ? null : response.json();
  }

  /** Carry out an act and say how it went; `run()` resolves to the sentence that says it went well. */
  async attempt(run) {
    try {
      this.notify(await run(), "good");
    } catch (error) {
      this.report(error);
    }
  }

  /** Show a message for a while; `kind` is good, bad or note. */
  notify(text, kind = "note") {
    this.#toasts.show(text, kind);
  }

  /** Show what went wrong, as a sentence; not what the page shows anyway: that it signs in, or is not connected. */
  report(error) {
    if (error.name === "AbortError" || error.status === 401) return;
    if (this.#connected === false && error.code === "unreachable" && error.method === "GET") return;
    if (!(error instanceof ApiError)) console.error(error);
    this.notify(error instanceof ApiError ? error.message : `The page failed: ${error.message}`, "bad");
  }

  /** A button for an act: disabled, with the reason, for whoever may only look. */
  actionButton(name, { title = null, ...attributes }, ...children) {
    const disabled = !this.isAdmin;
    const reason = disabled ? "Your token may look but not act" : title;
    return el("button", { type: "button", "data-act": name, disabled, title: reason, ...attributes }, ...children);
  }

  async #request(method, path, options) {
    try {
      return await this.#api.request(method, path, options);
    } catch (error) {
      if (error.status === 401) this.#onRefused(401, error.message);
      throw error;
    }
  }

  // -- the stream ---------------------------------------------------------------------------------------------------

  #onState(fields, first) {
    const before = this.state;
    this.state = first ? fields : { ...before, ...fields };
    const at = toMilliseconds(fields.clock);
    if (at !== null) this.#skew = at - Date.now();
    if (before !== null && shapeOf(before) !== shapeOf(this.state)) this.#closeView();
    this.#drawFrame();
    if (this.#view === null || !this.#view.constructor.isShown(this.state)) this.#openView();
    else this.#updateView();
  }

  #onConnection(connected, reason = "") {
    const before = this.#connected;
    this.#connected = connected;
    document.documentElement.dataset.connected = connected ? "yes" : "no";
    byId("view").classList.toggle("stale", !connected && this.state !== null);
    // The banner says it; what an act failed of meanwhile stays, however often the stream tries again.
    if (connected !== before) this.#toasts.remove(UNREACHABLE);
    clearTimeout(this.#bannerTimer);
    this.#attention.update(this.state, connected);
    if (!connected) {
      this.#live.lost();
      const at = this.#live.heardAt;
      const age = at === null ? "" : ` What is shown is as of ${formatTime(at)} ${zoneName()}.`;
      this.#drawBanner("bad", `${reason || "The connection to the gateway is lost."}${age} Trying again …`);
    } else if (before === false) {
      this.#drawBanner("good", "Connected again.");
      this.#bannerTimer = setTimeout(() => this.#drawBanner("good", ""), CONNECTED);
    } else {
      this.#drawBanner("good", "");
    }
    this.#drawTitle();
  }

  #drawBanner(kind, text) {
    byId("banner").className = `banner ${kind}`;
    setText(byId("banner"), text);
  }

  #onRefused(status, reason) {
    this.#stream.close();
    closeDialogs();
    this.#closeView();
    this.state = null;
    this.#connected = null;
    this.#live.clear();
    byId("view").classList.remove("stale");
    document.documentElement.dataset.connected = "no";
    for (const id of ["banner", "gist", "operator", "about"]) setText(byId(id), "");
    this.#attention.update(null, null);
    setChildren(byId("tabs"));
    this.#tabs.clear();
    byId("sign-out").hidden = true;
    const problem = status === 401 && !this.#api.hasToken ? "" : reason;
    this.#api.signIn("");
    setText(byId("title"), "Sign in");
    this.#drawTitle();
    showLogin(byId("view"), problem, (token, keep) => {
      this.#api.signIn(token, keep);
      this.#stream.open();
    });
  }

  // -- what is around the views -------------------------------------------------------------------------------------

  #drawFrame() {
    const { model, edition, enforce, operator, version, serves_clients: serves } = this.state;
    const gist = [modelTitle(model, this.state), edition ? `edition ${edition}` : "", enforce ? "" : "not enforced"];
    setText(byId("gist"), serves ? gist.filter(Boolean).join(" · ") : "registration server");
    setText(byId("operator"), `${operator.name} · ${operator.scope}`);
    byId("sign-out").hidden = !this.#api.hasToken;
    setText(byId("about"), `tallygate ${version} · All times are ${zoneName()}`);
    setText(byId("clock"), zoneName());
    byId("clock").title = `Times are ${zoneName()}; switch to ${otherZoneName()}`;
    this.#attention.update(this.state, this.#connected);
    this.#drawTitle();
    const shown = VIEWS.filter((view) => view.isShown(this.state) && !view.isInner);
    for (const { id, title } of shown) {
      if (this.#tabs.has(id)) continue;
      this.#tabs.set(id, el("li", {}, el("a", { href: `#/${id}`, id: `tab-${id}` }, title)));
    }
    reorderChildren(byId("tabs"), shown.map((view) => this.#tabs.get(view.id)));
  }

  /** The window's title: which gateway, and whether it needs somebody, before anything else. */
  #drawTitle() {
    const name = this.state === null || this.state.name === location.hostname ? "" : `${this.state.name} · `;
    setText(byId("gateway"), `${name}${location.host}`);
    const alarm = this.#connected === false || this.#attention.level !== "" ? "⚠ " : "";
    document.title = `${alarm}${byId("gateway").textContent} · ${byId("title").textContent}`;
  }

  /** Write all times by the other clock. */
  #switchClock() {
    switchZone();
    this.#live.draw();
    if (this.state === null) return;
    this.#drawFrame();
    this.#openView();
  }

  /** Open the view that the address names, or the first. */
  #openView() {
    if (this.state === null) return;
    const [, id, path = "", query = ""] = ROUTE.exec(location.hash) ?? [];
    const asked = VIEWS.find((each) => each.id === id && each.isShown(this.state));
    const View = asked ?? VIEWS.find((each) => each.isShown(this.state));
    if (id && asked === undefined) history.replaceState(null, "", `#/${View.id}`);
    const before = this.#view?.constructor;
    const focused = document.activeElement?.id ?? "";
    this.#closeView();
    this.route = { parts: path.split("/").map(decoded), query: new URLSearchParams(query) };
    for (const [name, tab] of this.#tabs) {
      const link = tab.firstChild;
      if (name === (View.tab ?? View.id)) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else {
        link.removeAttribute("aria-current");
      }
    }
    setText(byId("title"), View.title);
    const root = byId("view");
    root.removeAttribute("aria-busy");
    root.dataset.view = View.id;
    setChildren(root);
    this.#view = new View(this, root);
    this.#drawTitle();
    try {
      this.#view.open();
    } catch (error) {
      this.report(error);
    }
    this.#updateView();
    // Whoever chose something else of the same view goes on from there.
    if (before !== undefined) ((before === View && byId(focused)) || byId("main")).focus({ preventScroll: true });
  }

  #updateView() {
    try {
      this.#view.update(this.state);
    } catch (error) {
      this.report(error);
    }
  }

  #closeView() {
    if (this.#view === null) return;
    const view = this.#view;
    this.#view = null;
    try {
      view.close();
    } finally {
      setChildren(byId("view"));
    }
  }
}

/** What views are built by, and not only fill: who looks, and which models and pools there are. */
function shapeOf({ operator, serves_clients: serves, model, models }) {
  const pools = Object.entries(models).map(([name, each]) => [name, Object.keys(each.pools)]);
  return JSON.stringify([operator.scope, serves, model, pools]);
}

/** A part of the address as text; what is not well encoded stays as it is. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

new App().start();
