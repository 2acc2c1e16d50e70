/**
 * The client of tallygate for JavaScript: what an application speaks to the gateway to be counted, over WebSocket. One
 * file without dependencies, for browsers and for Node; where there is no `WebSocket` (Node before 22), give one.
 *
 *     import { Client, Denied } from "./client.js";
 *
 *     const client = new Client("ws://127.0.0.1:4308/ws", { account: "ann@example.org", device: "laptop" });
 *     client.on("removed", (message) => console.log("no member any more:", message.conference, message.reason));
 *     await client.connect();
 *     try {
 *       await client.join("weekly", { host: true });
 *     } catch (fault) {
 *       if (fault instanceof Denied) console.log(`${fault.reason}: ${fault.used} of ${fault.limit} in use`);
 *     }
 *     await client.bye();
 *
 * It does what PROTOCOL.md, Client duties, asks of a client: it says hello, beats, comes back with full jitter after a
 * loss, resumes its session, and joins its conferences again where the gateway did not resume it.
 *
 * @typedef {{type: string, id?: string | number, [field: string]: any}} Message  PROTOCOL.md, Gateway messages.
 * @typedef {{code?: number, last?: Message, error?: Error}} End  How a connection ended: the close code, the gateway's
 *   last message, and the fault, as far as there are any.
 * @typedef {object} Options
 * @property {string} [account]  who the user is; none for a guest
 * @property {string} [device]  which installation of a client it is
 * @property {string} [kind]  what the client is (default: the gateway's, "app")
 * @property {string} [home]  the server that the account belongs to
 * @property {string | (() => string | Promise<string>)} [token]  proves the account; a function gives each hello its own
 * @property {string} [client]  free text for the operator
 * @property {number} [heartbeat]  seconds between heartbeats, in place of what the gateway states
 * @property {boolean} [rejoin]  whether to join again after a return that was not resumed (default true)
 * @property {{base: number, cap: number} | null} [backoff]  seconds of the first wait and of the longest; null never
 *   comes back
 * @property {{welcome?: number, answer?: number, bye?: number}} [timeouts]  seconds to wait for each
 * @property {typeof globalThis.WebSocket} [WebSocket]  what opens connections
 * @property {() => number} [random]  a number from 0 to 1
 *
 * @typedef {object} Settings  options with their defaults
 * @property {number | undefined} heartbeat
 * @property {boolean} rejoin
 * @property {{base: number, cap: number} | null} backoff
 * @property {{welcome: number, answer: number, bye: number}} timeouts
 * @property {typeof globalThis.WebSocket} WebSocket
 * @property {() => number} random
 *
 * @typedef {object} Hooks  what a conversation tells
 * @property {(message: Message, request?: Message) => void} heard
 * @property {(seconds: number) => void} acked
 * @property {(end: End) => void} ended
 *
 * @typedef {object} Pending  a request and who waits for its answer
 * @property {number} id
 * @property {Message} message
 * @property {(answer: Message) => void} resolve
 * @property {(fault: Error) => void} reject
 * @property {Timer} [late]
 *
 * @typedef {ReturnType<typeof setTimeout>} Timer
 */

const SUBPROTOCOL = "tallygate.v1";
const FINAL_CODES = new Set([1000, 1002, 1007, 1009, 4400, 4401, 4403, 4409, 4503]);
/** Reasons of a denied hello after which a client comes back. */
const PASSING = new Set([
  "pool_full", "unregistered", "draining", "too_many_connections", "rate_limited", "store_unavailable",
  "keys_unavailable",
]);
/** Codes of errors that close the connection, and whether a client comes back after it. */
const CLOSING_ERRORS = new Map([
  ["malformed", false], ["too_long", false], ["hello_expected", false], ["unsupported_protocol", false],
  ["too_fast", true],
]);
const BACKOFF = { base: 1, cap: 30 };
const TIMEOUTS = { welcome: 20, answer: 15, bye: 5 };
/** Seconds between two heartbeats where none are stated, and the bounds of what is taken for them. */
const USUAL_INTERVAL = 30, SHORTEST_INTERVAL = 0.1, LONGEST_INTERVAL = 3600;

/** The gateway refused a request by a limit or a rule. */
export class Denied extends Error {
  /** @param {Message} message */
  constructor(message) {
    const full = message.pool ? ` (${message.pool} ${message.used}/${message.limit})` : "";
    super(`${message.request} denied: ${message.reason}${full}`);
    this.name = "Denied";
    /** What the gateway said. */
    this.answer = message;
    this.request = message.request;
    this.reason = message.reason;
    this.conference = message.conference;
    this.pool = message.pool;
    this.used = message.used;
    this.limit = message.limit;
    /** Seconds; undefined where unknown. */
    this.retryAfter = message.retry_after_seconds;
  }
}

/** The gateway could not act upon a request; for a programmer. */
export class RequestError extends Error {
  /** @param {Message} message */
  constructor(message) {
    super(`${message.code}: ${message.detail}`);
    this.name = "RequestError";
    this.answer = message;
    this.code = message.code;
    this.detail = message.detail;
  }
}

/** There is no connection, or it ended before the answer came: whether the request was done is unknown. */
export class Closed extends Error {
  /** @param {End} end */
  constructor(end) {
    super(`connection ended: ${reasonOf(end)}`);
    this.name = "Closed";
    this.end = end;
  }
}

/** No answer came in time. */
export class TimedOut extends Error {
  /** @param {string} what */
  constructor(what) {
    super(`${what} did not come in time`);
    this.name = "TimedOut";
  }
}

/**
 * The gateway's last message, if it explains the end.
 * @param {End} end
 */
function lastWord({ last }) {
  const explains = last && (last.type === "closing" || (last.type === "denied" && last.request === "hello")
    || (last.type === "error" && CLOSING_ERRORS.has(last.code)));
  return explains ? last : undefined;
}

/**
 * The gateway's reason in one word, or what happened to the connection.
 * @param {End} end
 * @returns {string}
 */
export function reasonOf(end) {
  const word = lastWord(end);
  return word ? word.reason ?? word.code : end.error?.message ?? (end.code ? `code ${end.code}` : "closed");
}

/**
 * Whether to come back after an end (PROTOCOL.md, Closing).
 * @param {End} end
 * @returns {boolean}
 */
export function comesBack(end) {
  const word = lastWord(end);
  if (word?.type === "denied") return PASSING.has(word.reason);
  if (word?.type === "error") return CLOSING_ERRORS.get(word.code) ?? false;
  if (typeof word?.reconnect === "boolean") return word.reconnect;
  return !FINAL_CODES.has(end.code ?? 0);
}

/**
 * Seconds that the gateway asked to wait before coming back.
 * @param {End} end
 */
function retryAfter(end) {
  return seconds(lastWord(end)?.retry_after_seconds) ?? 0;
}

/**
 * The end that a failed attempt to connect amounts to.
 * @param {unknown} fault
 * @returns {End}
 */
function endOf(fault) {
  if (fault instanceof Closed) return fault.end;
  if (fault instanceof Denied) return { last: fault.answer };
  if (fault instanceof RequestError) return { code: 4400, last: fault.answer, error: fault };
  return { error: fault instanceof Error ? fault : new Error(String(fault)) };
}

/**
 * Seconds that a field states; undefined where that is no length of time.
 * @param {unknown} value
 */
function seconds(value) {
  return typeof value === "number" && value >= 0 && Number.isFinite(value) ? value : undefined;
}

/** Monotonic seconds. */
const now = () => performance.now() / 1000;

/** @param {() => void} call @param {number} wait seconds */
const later = (call, wait) => setTimeout(call, Math.max(wait, 0) * 1000);

/**
 * One session with the gateway, kept over reconnects.
 *
 * Events, by `on`: every message that comes unasked under its type (`status`, `removed`, `closing`, `joined` after
 * `waiting`, `welcome` after a return, answers of a return) and under `message`; `lost` with the end of a connection
 * after which it comes back; `ended` with the end after which it does not.
 */
export class Client {
  /** @type {string | undefined} */ session;
  /** @type {string | undefined} */ model;
  /** @type {string[]} */ seats = [];
  /** @type {string[]} */ rights = [];
  /** @type {string | null | undefined} */ proExpires;
  /** Seconds that the answer to the last heartbeat took. @type {number | undefined} */ latency;
  /** How it ended; undefined while it is connected or coming back. @type {End | undefined} */ end;
  asleep = false;

  #url;
  /** @type {Message} */ #hello;
  /** @type {Settings} */ #options;
  /** @type {Map<string, Set<(value: any) => void>>} */ #listeners = new Map();
  /** @type {Conversation | undefined} */ #conversation;
  /** @type {string | undefined} */ #resume;
  #numbers = { next: 1 };
  /** Requests that joined the conferences it is in. @type {Map<string, object>} */ #joined = new Map();
  /** Those that a new session has not repeated yet. @type {Map<string, object>} */ #toJoin = new Map();
  #toSleep = false;
  /** What heartbeats say of whether somebody uses the application. @type {object} */ #activity = {};
  #failures = 0;
  #returning = false;
  /** @type {Timer | undefined} */ #timer;
  #leaving = false;
  /** @type {End} */ #lost = {};

  /**
   * @param {string | URL} url  such as "ws://127.0.0.1:4308/ws"
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    this.#url = String(url);
    const { account, device, kind, home, token, client = "tallygate-js/1" } = options;
    this.#hello = { type: "hello", protocol: 1, client, kind, account, device, home, token };
    this.#options = {
      heartbeat: options.heartbeat,
      rejoin: options.rejoin ?? true,
      backoff: options.backoff === undefined ? BACKOFF : options.backoff,
      timeouts: { ...TIMEOUTS, ...options.timeouts },
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      random: options.random ?? Math.random,
    };
    if (!this.#options.WebSocket) throw new Error("there is no WebSocket here: give one as the option `WebSocket`");
  }

  /** Whether the session is welcomed and its connection stands. */
  get connected() {
    return this.#conversation?.online ?? false;
  }

  /** The conferences that this session is a member of, or waits for. @returns {Set<string>} */
  get conferences() {
    return new Set(this.#joined.keys());
  }

  /**
   * Have a listener called for an event.
   * @param {string} event
   * @param {(value: any) => void} listener
   * @returns {() => void} takes the listener away
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /**
   * Connect and be welcomed, in a new session; the first attempt is not repeated.
   * @returns {Promise<Message>} the welcome
   * @throws {Denied | RequestError | Closed | TimedOut}
   */
  async connect() {
    if (this.#conversation || this.#returning) throw new Error("already connected");
    this.end = this.#resume = undefined;
    this.#leaving = this.asleep = this.#toSleep = false;
    this.#failures = 0;
    this.#joined.clear();
    this.#toJoin.clear();
    try {
      return await this.#attempt();
    } catch (fault) {
      this.#finish(endOf(fault));
      throw fault;
    }
  }

  /**
   * Join a conference: `joined`, or `waiting` until a host starts it (then `joined` comes as an event).
   * @param {string} conference
   * @param {{host?: boolean, access?: "internal" | "public", mode?: "group" | "call", scheduled?: boolean,
   *   server?: string}} [options]
   */
  join(conference, options = {}) {
    return this.request("join", { conference, ...options });
  }

  /** Make a scheduled conference live, as a member that joined as a host. @param {string} conference */
  start(conference) {
    return this.request("start", { conference });
  }

  /** Leave a conference. @param {string} conference */
  leave(conference) {
    return this.request("leave", { conference });
  }

  /** Stay connected without being online. */
  sleep() {
    return this.request("sleep");
  }

  /** Be online again. */
  wake() {
    return this.request("wake");
  }

  /**
   * Say with each heartbeat from now on, and with one at once, whether somebody uses the application; undefined says no
   * more of it. Where nobody does, the gateway may put it to sleep (event `asleep`); where somebody does, it wakes it
   * (events `awake`, `denied`, `queued`); `wait` is how many seconds it may stand in line for that.
   * @param {boolean | undefined} active
   * @param {number} [wait]
   */
  sayActive(active, wait) {
    this.#activity = active === undefined ? {} : { active, wait };
    this.#conversation?.sayActivity(this.#activity);
  }

  /** Ask for a temporary PRO license. */
  requestPro() {
    return this.request("request_pro");
  }

  /**
   * Send any request and return its answer; an `id` is added to it.
   * @param {string} type
   * @param {object} [fields]
   * @returns {Promise<Message>}
   * @throws {Denied | RequestError | Closed | TimedOut}
   */
  async request(type, fields = {}) {
    if (!this.#conversation?.online) throw new Closed(this.end ?? this.#lost);
    return this.#conversation.request({ ...fields, type });
  }

  /** End the session in order, and stop coming back. Doing it twice is harmless. */
  async bye() {
    this.#leaving = true;
    this.#returning = false;
    clearTimeout(this.#timer);
    if (this.connected) await this.#conversation?.bye();
    this.#finish(this.end ?? {});
  }

  #attempt() {
    const hello = { ...this.#hello, resume: this.#resume };
    this.#conversation = new Conversation(this.#url, hello, this.#options, this.#numbers, {
      heard: (message, request) => this.#hear(message, request),
      acked: (took) => { this.latency = took; },
      ended: (end) => this.#lose(end),
    });
    this.#conversation.activity = this.#activity;
    return this.#conversation.welcome.catch((fault) => {
      this.#conversation = undefined;
      this.#lost = endOf(fault);
      throw fault;
    });
  }

  /** @param {Message} message @param {Message} [request] the one that it answers */
  #hear(message, request) {
    if (message.type === "welcome") this.#welcomed(message);
    else this.#note(message, request);
    if (message.seats) {
      this.seats = message.seats;
      this.rights = message.rights ?? this.rights;
      if ("pro_expires" in message) this.proExpires = message.pro_expires;
    }
    if (!request && (message.type !== "welcome" || this.#returning)) this.#deliver(message);
  }

  /** Take over what a resumed session has; a new one has everything to do again. @param {Message} message */
  #welcomed(message) {
    this.session = message.session;
    this.model = message.model;
    this.#resume = message.resume;
    const before = new Map([...this.#joined, ...this.#toJoin]);
    if (message.conferences) {
      this.#joined = new Map();
      for (const name of message.conferences) this.#joined.set(name, before.get(name) ?? { conference: name });
      this.#toJoin.clear();
      this.#toSleep = false;
      if (message.presence) this.asleep = message.presence === "asleep";
    } else {
      this.#joined = new Map();
      this.#toJoin = before;
      this.#toSleep ||= this.asleep;
      this.asleep = false;
    }
  }

  /** Follow what the session takes part in. @param {Message} message @param {Message} [request] */
  #note(message, request) {
    const { type, conference } = message;
    if (type === "joined" || type === "waiting") {
      this.asleep = false;
      const { type: _, id: __, ...fields } = request ?? { type, conference };
      if (!this.#joined.has(conference)) this.#joined.set(conference, fields);
    } else if (type === "left" || type === "removed" || (type === "denied" && message.request === "join" && !request)) {
      this.#joined.delete(conference);
    } else if (type === "asleep" || type === "awake") {
      this.asleep = type === "asleep";
      if (this.asleep) this.#joined.clear(); // who sleeps is a member of nothing
    }
  }

  /** @param {End} end */
  #lose(end) {
    const stood = this.#conversation?.stood ?? 0;
    this.#conversation = undefined;
    this.#lost = end;
    if (this.#leaving) this.#finish(end);
    else if (!this.#returning) {
      if (this.#options.backoff && stood >= this.#options.backoff.cap) this.#failures = 0;
      this.#comeBack(end);
    } // while it comes back, the attempt sees that its connection is gone
  }

  /** @param {End} end */
  #comeBack(end) {
    const { backoff, random } = this.#options;
    this.#returning = false;
    if (!backoff || !comesBack(end)) {
      this.#finish(end);
      return;
    }
    this.#returning = true;
    const spread = Math.min(backoff.cap, backoff.base * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = later(() => this.#return(), retryAfter(end) + random() * spread);
    this.#emit("lost", end);
  }

  async #return() {
    try {
      const welcome = await this.#attempt();
      if (this.#options.rejoin && !welcome.conferences) await this.#restore();
      if (!this.connected) throw new Closed(this.#lost);
      this.#returning = false;
    } catch (fault) {
      if (!this.#returning) return; // it was told to leave
      this.#conversation?.drop();
      this.#conversation = undefined;
      this.#comeBack(endOf(fault));
    }
  }

  /** Do again, in a new session, what the lost one had done. */
  async #restore() {
    /** @param {string} type @param {object} fields */
    const repeat = async (type, fields) => {
      try {
        this.#deliver(await this.request(type, fields));
      } catch (fault) {
        if (!(fault instanceof Denied || fault instanceof RequestError)) throw fault;
        this.#deliver(fault.answer);
      }
    };
    if (this.#toSleep) {
      await repeat("sleep", {});
      this.#toSleep = false;
    }
    for (const [conference, fields] of this.#toJoin) {
      await repeat("join", fields);
      this.#toJoin.delete(conference);
    }
  }

  /** @param {End} end */
  #finish(end) {
    this.#conversation?.drop();
    this.#conversation = undefined;
    if (!this.end) {
      this.end = end;
      this.#emit("ended", end);
    }
  }

  /** @param {Message} message */
  #deliver(message) {
    this.#emit(message.type, message);
    this.#emit("message", message);
  }

  /** @param {string} event @param {unknown} value */
  #emit(event, value) {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(value);
      } catch (fault) {
        setTimeout(() => { throw fault; }); // it is the application's, and ends nothing here
      }
    }
  }
}

/** One connection from hello to its end. It never comes back: the next connection has a conversation of its own. */
class Conversation {
  online = false;
  /** What heartbeats say of whether somebody uses the application. @type {object} */ activity = {};
  /** @type {Promise<Message>} */ welcome;

  /** @type {WebSocket} */ #socket;
  #options;
  #numbers;
  #hooks;
  #pacing;
  #welcomed = 0;
  #heard = 0;
  #beaten = 0;
  #interval = USUAL_INTERVAL;
  #silence = 0;
  /** @type {Timer | undefined} */ #timer;
  /** @type {Timer | undefined} */ #farewell;
  /** @type {Message | undefined} */ #last;
  /** @type {(welcome: Message) => void} */ #accept = () => {};
  /** @type {(fault: Error) => void} */ #refuse = () => {};
  /** @type {(() => void) | undefined} */ #gone;
  #over = false;

  /**
   * @param {string} url
   * @param {Message} hello
   * @param {Settings} options
   * @param {{next: number}} numbers  gives each request an `id` that no other one of the client has had
   * @param {Hooks} hooks
   */
  constructor(url, hello, options, numbers, hooks) {
    this.#options = options;
    this.#numbers = numbers;
    this.#hooks = hooks;
    this.#pacing = new Pacing((/** @type {Message} */ message) => this.#send(message), options.timeouts.answer);
    this.welcome = new Promise((accept, refuse) => {
      this.#accept = accept;
      this.#refuse = refuse;
    });
    this.#socket = new options.WebSocket(url, SUBPROTOCOL);
    this.#timer = later(() => this.#fail(new TimedOut("the welcome")), options.timeouts.welcome);
    this.#socket.onopen = () => this.#greet(hello);
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onerror = () => setTimeout(() => this.#broken()); // a close says more; not every Node lets one follow
    this.#socket.onclose = ({ code }) => this.#ended({ code, last: this.#last });
  }

  /** Seconds since the welcome. */
  get stood() {
    return now() - this.#welcomed;
  }

  /** @param {Message} hello */
  async #greet(hello) {
    try {
      this.#send(typeof hello.token === "function" ? { ...hello, token: await hello.token() } : hello);
    } catch (fault) {
      this.#fail(fault instanceof Error ? fault : new Error(String(fault)));
    }
  }

  /** @param {Message} message @returns {Promise<Message>} */
  request(message) {
    return this.#pacing.ask(this.#numbers.next++, message);
  }

  /** Ask the gateway to end the session, and wait until it has closed. */
  bye() {
    this.#pacing.finish();
    const gone = new Promise((resolve) => { this.#gone = () => resolve(undefined); });
    const late = later(() => this.#fail(new TimedOut("the end after bye")), this.#options.timeouts.bye);
    this.#sayBye();
    return gone.finally(() => clearTimeout(late));
  }

  /** Cut the connection; no hook is called any more. */
  drop() {
    if (this.#over) return;
    this.#stop({});
    this.#close();
  }

  #sayBye() {
    const wait = this.#pacing.delay;
    if (!wait) this.#send({ type: "bye" });
    if (this.#pacing.slowed) { // it may be dropped without a word
      clearTimeout(this.#farewell);
      this.#farewell = later(() => this.#sayBye(), wait || SILENCE);
    }
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  #close() {
    const socket = this.#socket;
    socket.onmessage = socket.onclose = socket.onerror = null;
    socket.onopen = () => socket.close();
    socket.close();
  }

  /** @param {unknown} data */
  #received(data) {
    let message;
    try {
      message = JSON.parse(String(data));
      if (typeof message?.type !== "string") throw new Error("an object with a type was expected");
    } catch (fault) {
      this.#fail(new Error(`not a message: ${fault}`));
      return;
    }
    this.#heard = now();
    if (message.type === "ack") {
      this.#hooks.acked(this.#heard - this.#beaten);
      return;
    }
    this.#last = message;
    if (!this.online) {
      if (message.type === "welcome") this.#begin(message);
      else if (message.type === "denied") this.#refuse(new Denied(message));
      else if (message.type === "error") this.#refuse(new RequestError(message));
      return;
    }
    if (message.type === "queued") {
      this.#pacing.standInLine(message.id, seconds(message.wait_seconds));
      this.#hooks.heard(message);
      return;
    }
    const request = this.#pacing.take(message.id);
    if (!request && this.#pacing.isRepetition(message.id)) return;
    if (message.type === "error" && message.code === "too_fast" && message.id === undefined) {
      this.#pacing.slowDown();
      if (this.#gone) this.#sayBye();
    }
    this.#hooks.heard(message, request?.message);
    if (message.type === "denied") request?.reject(new Denied(message));
    else if (message.type === "error") request?.reject(new RequestError(message));
    else request?.resolve(message);
  }

  /** @param {Message} welcome */
  #begin(welcome) {
    clearTimeout(this.#timer);
    this.online = true;
    this.#welcomed = this.#heard;
    const stated = seconds(welcome.heartbeat_seconds) || USUAL_INTERVAL;
    this.#interval = this.#options.heartbeat ?? Math.min(Math.max(stated, SHORTEST_INTERVAL), LONGEST_INTERVAL);
    this.#silence = Math.max(seconds(welcome.timeout_seconds) || 2.5 * this.#interval, 2 * this.#interval);
    this.#timer = later(() => this.#beat(), this.#options.random() * this.#interval);
    this.#hooks.heard(welcome);
    this.#accept(welcome);
  }

  /** Have heartbeats say this from now on, beginning with one at once. @param {object} activity */
  sayActivity(activity) {
    this.activity = activity;
    if (!this.online || !("active" in activity)) return;
    this.#beaten = now();
    this.#send({ type: "heartbeat", ...activity });
  }

  #beat() {
    this.#beaten = now();
    if (this.#beaten - this.#heard > this.#silence) {
      this.#fail(new Error("the gateway is silent"));
      return;
    }
    this.#send({ type: "heartbeat", ...this.activity });
    this.#timer = later(() => this.#beat(), this.#interval);
  }

  #broken() {
    if (this.#over) return;
    this.#close();
    this.#ended({ code: 1006, last: this.#last });
  }

  /** Give the connection up. @param {Error} error */
  #fail(error) {
    this.#close();
    this.#ended({ last: this.#last, error });
  }

  /** @param {End} end */
  #ended(end) {
    if (this.#over) return;
    const welcomed = this.online;
    this.#stop(end);
    if (welcomed) this.#hooks.ended(end);
    this.#gone?.();
  }

  /** @param {End} end */
  #stop(end) {
    this.#over = true;
    this.online = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#farewell);
    this.#refuse(new Closed(end)); // nothing, where it was welcomed
    for (const request of this.#pacing.stop()) request.reject(new Closed(end));
  }
}

/** Requests that wait for their answers at once: all of them may be dropped. */
const MAX_UNDER_WAY = 16;
/** Seconds between two requests after the first `too_fast`, at most, and below which they are not spread any more. */
const FIRST_GAP = 0.2, LONGEST_GAP = 10, SHORTEST_GAP = 0.01;
/** What is left of the gap after an answer. */
const RECOVERY = 0.95;
/** Repeated requests that are remembered. */
const REPEATED = 1000;
/** Seconds after which a slowed request without an answer is repeated, twice as many each time. */
const SILENCE = 2;

/**
 * The requests of a connection, in order, and no faster than the gateway reads them (PROTOCOL.md, Rates): a `too_fast`
 * does not say what was dropped, so all that was under way is asked again, one after the other and more slowly.
 */
class Pacing {
  #send;
  #patience;
  /** @type {Pending[]} */ #waiting = [];
  /** @type {Map<unknown, Pending>} */ #underWay = new Map();
  /** Those that wait for a seat. @type {Map<unknown, Pending>} */ #inLine = new Map();
  /** @type {Set<unknown>} */ #repeated = new Set();
  #gap = 0;
  #silence = SILENCE;
  #nextAt = 0;
  /** @type {Timer | undefined} */ #timer;
  #asking = true;

  /** @param {(message: Message) => void} send @param {number} patience  seconds that an answer may take */
  constructor(send, patience) {
    this.#send = send;
    this.#patience = patience;
  }

  /** Whether the gateway has dropped messages, and may drop more without a word. */
  get slowed() {
    return this.#gap > 0;
  }

  /** Seconds until something may be sent; 0 for at once. */
  get delay() {
    return Math.max(this.#nextAt - now(), 0);
  }

  /** @param {number} id @param {Message} message @returns {Promise<Message>} */
  ask(id, message) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id, message: { ...message, id }, resolve, reject });
      this.#advance();
    });
  }

  /** The request that an answer with this `id` is for, if it is waited for. @param {unknown} id */
  take(id) {
    const request = this.#inLine.get(id) ?? this.#underWay.get(id) ?? this.#waiting.find((each) => each.id === id);
    if (request) {
      this.#gap = this.#gap * RECOVERY < SHORTEST_GAP ? 0 : this.#gap * RECOVERY;
      this.#silence = SILENCE;
      this.#forget(request);
    }
    return request;
  }

  /**
   * A request waits for a seat: it holds up no other, and has so many seconds more.
   * @param {unknown} id @param {number} wait
   */
  standInLine(id, wait) {
    const request = this.#inLine.get(id) ?? this.#underWay.get(id);
    if (!request) return;
    this.#underWay.delete(request.id);
    this.#inLine.set(request.id, request);
    clearTimeout(request.late);
    request.late = this.#giveUpAfter(request, wait + this.#patience);
    this.#advance();
  }

  /** Whether an answer with this `id` may be that of a request which was answered before. @param {unknown} id */
  isRepetition(id) {
    return this.#repeated.has(id);
  }

  /** The gateway has dropped messages: ask again for all that was under way, later and more slowly. */
  slowDown() {
    this.#gap = Math.min(Math.max(2 * this.#gap, FIRST_GAP), LONGEST_GAP);
    this.#nextAt = now() + this.#gap * (1 + this.#underWay.size);
    this.#repeat();
    for (const request of this.#waiting) {
      clearTimeout(request.late);
      request.late = undefined;
    }
    this.#advance();
  }

  /** Send no more requests; those under way may still be answered. */
  finish() {
    this.#asking = false;
    clearTimeout(this.#timer);
  }

  /** Send nothing any more; returns what has not been answered. */
  stop() {
    const left = [...this.#inLine.values(), ...this.#underWay.values(), ...this.#waiting];
    for (const request of left) clearTimeout(request.late);
    this.#inLine.clear();
    this.#underWay.clear();
    this.#waiting = [];
    this.finish();
    return left;
  }

  /** Wait for it no longer. @param {Pending} request */
  #forget(request) {
    clearTimeout(request.late);
    this.#inLine.delete(request.id);
    this.#underWay.delete(request.id);
    this.#waiting = this.#waiting.filter((each) => each !== request);
    this.#advance();
  }

  /** @param {Pending} request @param {number} wait  seconds */
  #giveUpAfter(request, wait) {
    return later(() => {
      this.#forget(request);
      request.reject(new TimedOut("the answer"));
    }, wait);
  }

  #advance() {
    clearTimeout(this.#timer);
    if (!this.#asking) return;
    while (this.#waiting.length && this.#underWay.size < (this.#gap ? 1 : MAX_UNDER_WAY)) {
      if (this.delay) {
        this.#timer = later(() => this.#advance(), this.delay);
        return;
      }
      const request = /** @type {Pending} */ (this.#waiting.shift());
      this.#underWay.set(request.id, request);
      this.#nextAt = now() + this.#gap;
      request.late ??= this.#giveUpAfter(request, this.#patience);
      this.#send(request.message);
    }
    if (this.#gap && this.#underWay.size) {
      this.#timer = later(() => {
        this.#silence *= 2;
        this.#repeat();
        this.#advance();
      }, this.#silence);
    }
  }

  #repeat() {
    for (const id of this.#underWay.keys()) this.#repeated.add(id);
    for (const oldest of this.#repeated) {
      if (this.#repeated.size <= REPEATED) break;
      this.#repeated.delete(oldest);
    }
    this.#waiting.unshift(...this.#underWay.values());
    this.#underWay.clear();
  }
}
