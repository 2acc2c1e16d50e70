/* Requests to the gateway's API, with the operator's token; errors are sentences for people. */

import { asSentence } from "./format.js";

const KEY = "tallygate.token";
export const UNREACHABLE = "The gateway cannot be reached.";

/** A request that was refused, or could not be made. */
export class ApiError extends Error {
  /**
   * @param {number} status The HTTP status; 0 where the gateway cannot be reached.
   * @param {string} code The `error` of the answer, such as "scope"; "unreachable" where there is none.
   * @param {string} method The method of the request.
   * @param {string} message A sentence.
   */
  constructor(status, code, method, message) {
    super(message);
    this.status = status;
    this.code = code;
    this.method = method;
  }

  /** Whether it may soon be otherwise without anybody doing anything here: the gateway or its store is away, or busy. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Makes requests. The operator's token is in the memory of this object and nowhere else, so that it is gone with the page,
 * unless whoever signs in has it kept: then the browser has it for this tab, until the tab is closed.
 */
export class ApiClient {
  #token = kept();

  /** Use this operator token from here on, kept for this tab where `keep`; an empty one is none, and none is kept. */
  signIn(secret, keep = false) {
    this.#token = secret.trim();
    try {
      if (keep) sessionStorage.setItem(KEY, this.#token);
      else sessionStorage.removeItem(KEY);
    } catch (error) {
      console.info(`The browser keeps nothing, so the token is gone with the page: ${error.message}`);
    }
  }

  get hasToken() {
    return this.#token !== "";
  }

  /**
   * Make a request.
   *
   * @param {string} method
   * @param {string} path Relative to the page.
   * @param {{body?: object, signal?: AbortSignal, accept?: string}} options `body` is sent as JSON.
   * @returns {Promise<Response>} The response, whatever its status.
   * @throws {ApiError} Where the gateway cannot be reached; an `AbortError` where `signal` ended the request.
   */
  async send(method, path, { body, signal, accept } = {}) {
    const headers = {};
    if (accept) headers.Accept = accept;
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const content = body === undefined ? undefined : JSON.stringify(body);
    try {
      return await fetch(path, { method, headers, body: content, signal, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", method, UNREACHABLE);
    }
  }

  /**
   * Make a request that must succeed; parameters and `AbortError` as for `send`.
   *
   * @returns {Promise<Response>} The response, with a status of success.
   * @throws {ApiError} Where the gateway refuses, or cannot be reached.
   */
  async request(method, path, options) {
    const response = await this.send(method, path, options);
    if (!response.ok) throw await refusal(method, response);
    return response;
  }
}

/** The token that was kept for this tab; empty where there is none, or where the browser keeps nothing. */
function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

/**
 * What a response without success says.
 *
 * @returns {Promise<ApiError>}
 */
export async function refusal(method, response) {
  let code = "error";
  let detail = response.statusText;
  try {
    ({ error: code, detail } = await response.json());
  } catch {
    detail = detail || `status ${response.status}`;
  }
  return new ApiError(response.status, code, method, explanation(method, response.status, code, detail ?? ""));
}

function explanation(method, status, code, detail) {
  const text = asSentence(detail);
  if (code === "scope") return "Your token may look but not act: this needs the scope admin.";
  if (status === 503 && code === "store_unavailable" && method !== "GET") {
    return `The store is unavailable; what you asked for is in effect, but not yet durable. ${text}`;
  }
  if (code === "not_decided") return `The cluster has not decided; look again before you repeat it. ${text}`;
  if (status === 429) return `${text} Wait a moment and try again.`;
  return text;
}
