/** The one way to the API: the session, its token, and what went wrong in words. */

export class ApiError extends Error {
  /** @param {number} status  0: nobody answered. @param {any} problem  RFC 9457, or nothing. */
  constructor(status, problem) {
    super(problem?.detail || problem?.title || (status ? `the balancer answered ${status}` : "the balancer does not answer"));
    this.status = status;
    /** @type {{pointer: string, message: string, line?: number, column?: number}[]} */
    this.faults = problem?.errors ?? [];
  }
}

const FLAG = "balancer.session";

/** Whether there may be a session is remembered, as to ask in vain would be an error in the browser's console. */
function remember(there) {
  try {
    if (there) localStorage.setItem(FLAG, "1");
    else localStorage.removeItem(FLAG);
  } catch {
    // Storage is forbidden: then it is asked for each time.
  }
}

function mayBeThere() {
  try {
    return localStorage.getItem(FLAG) !== null;
  } catch {
    return true;
  }
}

const ranks = { viewer: 0, operator: 1, admin: 2 };

/** Who is logged in; null: nobody, undefined: not known yet. */
export const session = {
  /** @type {undefined | null | {key: string, role: "viewer" | "operator" | "admin", csrf_token: string, ends: string}} */
  current: undefined,
  listeners: new Set(),
  set(value) {
    this.current = value;
    remember(!!value);
    for (const listener of this.listeners) listener(value);
  },
  may(role) {
    return !!this.current && ranks[this.current.role] >= ranks[role];
  },
};

/**
 * One request. Answers with what the JSON says, null for none.
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, query?: Record<string, any>, match?: string, headers?: Record<string, string>, signal?: AbortSignal, whole?: boolean}} [options]
 *   `whole`: answer with {data, etag, status, headers} instead.
 */
export async function ask(method, path, { body, query, match, headers = {}, signal, whole = false } = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (method !== "GET" && session.current?.csrf_token) sent["X-CSRF-Token"] = session.current.csrf_token;
  if (match) sent["If-Match"] = match;
  let content;
  if (body instanceof FormData || body instanceof Blob || typeof body === "string") content = body;
  else if (body !== undefined) {
    content = JSON.stringify(body);
    sent["Content-Type"] ??= "application/json";
  }
  const asked = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const url = asked.length ? `${path}?${new URLSearchParams(asked.map(([k, v]) => [k, String(v)]))}` : path;
  let response;
  try {
    response = await fetch(url, { method, headers: sent, body: content, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error?.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  const type = response.headers.get("Content-Type") ?? "";
  const text = response.status === 204 ? "" : await response.text();
  const data = text && type.includes("json") ? JSON.parse(text) : text || null;
  if (response.status === 401 && path !== "/api/session") session.set(null);
  if (!response.ok && response.status !== 503) throw new ApiError(response.status, data);
  if (response.status === 503 && type.includes("problem")) throw new ApiError(503, data);
  return whole ? { data, etag: response.headers.get("ETag"), status: response.status, headers: response.headers } : data;
}

export const get = (path, query, options) => ask("GET", path, { query, ...options });

/** The session that there is already; null: none. */
export async function present() {
  if (!mayBeThere()) return null;
  try {
    return await get("/api/session");
  } catch (error) {
    if (error.status === 401 || error.status === 403) return null;
    throw error;
  }
}

export async function whoAmI() {
  session.set(await present());
}

export async function logIn(key) {
  session.set(await ask("POST", "/api/session", { body: { key } }));
}

export async function logOut() {
  try {
    await ask("DELETE", "/api/session");
  } finally {
    session.set(null);
  }
}
