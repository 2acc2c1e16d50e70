/* Speaking with the gateway: the operator's token, requests, and errors that are sentences.

The token is in this module's memory and nowhere else: it is gone with the page.
*/

import { asSentence } from "./format.js";

let token = "";

/** What the gateway refused, or that it could not be asked; `message` is for people. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Use this operator's token from now on; empty for none. */
export function setToken(secret) {
  token = secret.trim();
}

export const hasToken = () => token !== "";

/** The response to a request, whatever its status; `ApiError` where the gateway cannot be reached. */
export async function ask(method, path, { body, signal, accept } = {}) {
  const headers = {};
  if (accept) headers.Accept = accept;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const told = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(path, { method, headers, body: told, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The gateway cannot be reached.");
  }
}

/** The response where it is good; `ApiError` where it is not. */
export async function answered(response) {
  if (response.ok) return response;
  let code = "error";
  let detail = response.statusText;
  try {
    ({ error: code, detail } = await response.json());
  } catch {
    detail = detail || `status ${response.status}`;
  }
  throw new ApiError(response.status, code, explained(response.status, code, detail ?? ""));
}

function explained(status, code, detail) {
  const said = asSentence(detail);
  if (code === "scope") return "Your token may look but not act: this needs the scope admin.";
  if (status === 503 && code === "store_unavailable") {
    return `The store is unavailable; what you asked for is in effect, but not yet durable. ${said}`;
  }
  if (status === 429) return `${said} Wait a moment and try again.`;
  return said;
}
