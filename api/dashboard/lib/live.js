/**
 * What happens, as it happens: one stream for the page that is looked at, and none for one that is not.
 *
 * A browser has six connections to a host, for all its tabs, so a hidden page gives its own back; when it is looked at
 * again, or the balancer is back, it begins anew with what it has missed.
 */

import { get, session } from "./api.js";
import { useEffect, useState } from "./html.js";

const KEPT = 200; // happenings
const SECONDS = 900;
const SHORTEST = 1000; // ms of a pause before the next try
const LONGEST = 30000;

/** @typedef {{at: number, requests: number | null, errors_4xx: number | null, errors_5xx: number | null, bytes_in: number | null, bytes_out: number | null, in_flight: number, p50: number | null, p90: number | null, p99: number | null, connections: number, checks: Record<string, [string, string]>, pools: Record<string, any>, trial: number | null, lag: number | null, watched: number, overlaid: boolean, certificates: [listener: string, name: string, days: number][]}} Second */

class Live {
  constructor() {
    /** @type {"off" | "connecting" | "on" | "waiting"} */
    this.state = "off";
    /** @type {Second | null} */
    this.second = null;
    /** @type {Second[]} The last quarter of an hour, the oldest first. */
    this.seconds = [];
    /** @type {any[]} The latest first. */
    this.happenings = [];
    /** @type {Record<string, Record<string, any[]>>} */
    this.servers = {};
    this.servers_at = 0;
    /** @type {any} */
    this.point = null;
    this.version = "";
    this.boot = "";
    this.retry_at = 0;
    /** Milliseconds that the balancer's clock is ahead of this one's. */
    this.ahead = 0;
    this._id = "";
    this._listeners = new Set();
    this._source = null;
    this._timer = 0;
    this._pause = SHORTEST;
    this._topics = new Map(); // what views want, by how many want it
    this._of = "";
    document.addEventListener("visibilitychange", () => this._look());
    window.addEventListener("online", () => this._again(0));
    window.addEventListener("pagehide", () => this._close());
    window.addEventListener("pageshow", () => this._look());
  }

  subscribe(listener) {
    this._listeners.add(listener);
    return () => this._listeners.delete(listener);
  }

  start() {
    this._running = true;
    this._fill();
    this._look();
  }

  stop() {
    this._running = false;
    this._close();
    this._set("off");
  }

  /** For as long as a view is shown: every server's figures. Answers with what ends it. */
  wantServers() {
    return this._want("servers");
  }

  /** The same: one more series, by the name that the history has for it. */
  wantSeries(of) {
    this._of = of;
    this.point = null;
    this._reopen();
    return () => {
      if (this._of === of) {
        this._of = "";
        this._reopen();
      }
    };
  }

  /** What was in the seconds before this page was loaded. */
  async _fill() {
    try {
      const { times, columns } = await get("/api/monitoring/history", { span: "15m" });
      const first = this.seconds[0]?.at ?? Infinity;
      const older = times.map((at, i) => ({ at, ...Object.fromEntries(Object.entries(columns).map(([k, v]) => [k, v[i]])) }));
      this.seconds = [...older.filter((one) => one.at < first - 0.5), ...this.seconds].slice(-SECONDS);
      this._tell();
    } catch {
      // The stream tells what is wrong; the past is not worth a message of its own.
    }
  }

  _want(topic) {
    const count = this._topics.get(topic) ?? 0;
    this._topics.set(topic, count + 1);
    if (!count) this._reopen();
    return () => {
      const left = this._topics.get(topic) - 1;
      if (left) this._topics.set(topic, left);
      else {
        this._topics.delete(topic);
        this._reopen();
      }
    };
  }

  _look() {
    if (!this._running) return;
    if (document.hidden) {
      this._close();
      this._set("off");
    } else if (!this._source) {
      if (this.seconds.length && Date.now() / 1000 - this.seconds.at(-1).at > 5) this._fill();
      this._again(0);
    }
  }

  _reopen() {
    if (!this._running || document.hidden || this._waiting) return;
    this._waiting = true; // several views may change their minds in one go
    queueMicrotask(() => {
      this._waiting = false;
      if (this._running && !document.hidden) this._open();
    });
  }

  _open() {
    this._close();
    const query = new URLSearchParams();
    if (this._topics.has("servers")) query.set("topics", "servers");
    if (this._of && this._of !== "total") query.set("of", this._of);
    if (this._id) query.set("since", this._id);
    if (this.state !== "on") this._set("connecting");
    const source = (this._source = new EventSource(`/api/events?${query}`));
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this._id = event.lastEventId;
        act(JSON.parse(event.data));
      });
    on("hello", (data) => this._hello(data));
    on("happening", (data) => this._happened([data]));
    on("second", (data) => this._second(data));
    on("servers", (data) => {
      this.servers = data;
      this.servers_at = Date.now();
      this._tell();
    });
    on("point", (data) => {
      this.point = data;
    });
    on("over", () => this._broken());
    source.onerror = () => this._broken();
  }

  _hello(data) {
    this._pause = SHORTEST;
    this.ahead = data.now * 1000 - Date.now();
    if (this.boot && this.boot !== data.boot) this.happenings = [];
    if (!data.resumed) this.happenings = [];
    if (this.version && this.version !== data.version) location.reload();
    this.boot = data.boot;
    this.version = data.version;
    this._happened(data.happenings);
    this._set("on");
  }

  _happened(some) {
    const known = new Set(this.happenings.map((one) => one.number));
    const fresh = some.filter((one) => !known.has(one.number)).reverse();
    this.happenings = [...fresh, ...this.happenings].slice(0, KEPT);
    if (fresh.length) this._tell();
  }

  _second(data) {
    this.second = data;
    if (data.at !== undefined) this.seconds = [...this.seconds.slice(1 - SECONDS), data];
    this._tell();
  }

  /** The browser would try again by itself, but for ever at one pace, and not at all after some answers. */
  async _broken() {
    this._close();
    if (!this._running || document.hidden) return;
    const pause = this._pause * (0.75 + Math.random() / 2);
    this._pause = Math.min(this._pause * 2, LONGEST);
    this.retry_at = Date.now() + pause;
    this._set("waiting");
    this._again(pause);
  }

  _again(pause) {
    clearTimeout(this._timer);
    if (!this._running) return;
    this._timer = setTimeout(async () => {
      if (document.hidden || !this._running) return;
      try {
        session.set(await get("/api/session")); // a stream cannot tell an ended session from a balancer that is away
      } catch (error) {
        if (error.status === 401) return session.set(null);
        return this._broken();
      }
      this._open();
    }, pause);
  }

  _close() {
    clearTimeout(this._timer);
    this._source?.close();
    this._source = null;
  }

  _set(state) {
    this.state = state;
    this._tell();
  }

  _tell() {
    for (const listener of this._listeners) listener();
  }
}

export const live = new Live();

/** Draw again whenever anything new was heard. @returns {Live} */
export function useLive() {
  const [, draw] = useState(0);
  useEffect(() => live.subscribe(() => draw((count) => count + 1)), []);
  return live;
}
