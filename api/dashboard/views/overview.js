/** Whether all is well, in five seconds: and where to look if it is not. */

import { bytes, number, percent, plural, seconds as duration, short, span } from "../lib/format.js";
import { get } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { html, useMemo } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { Card, Figure, Head, Icon, Spark, usePoll, When } from "../lib/ui.js";

const SHOWN = 300; // seconds
const MANY = 24; // servers of a pool that are drawn one by one

export default function Overview() {
  const { second, seconds, happenings } = useLive();
  const stats = usePoll(() => get("/api/infrastructure/stats"), 15000);
  const recent = seconds.slice(-SHOWN);
  const column = (name) => recent.map((one) => one[name] ?? null);
  const errors = recent.map((one) => (one.requests ? (one.errors_5xx ?? 0) / one.requests : one.requests === 0 ? 0 : null));
  // A rate of one second jumps with little traffic; ten tell what is going on.
  const last = mean(seconds.slice(-10));
  const share = last.requests ? last.errors_5xx / last.requests : last.requests === 0 ? 0 : null;
  const slow = worst(seconds.slice(-10).map((one) => one.p99));
  return html`
    <${Head} title="Overview" about=${stats.data ? html`up for ${span(stats.data.uptime)} · version ${stats.data.version} · ${plural(Object.keys(second?.pools ?? {}).length, "pool")}` : html`<span> </span>`} />
    <div class="figures">
      <${Figure} label="Requests" value=${short(last.requests)} unit="/s"><${Spark} values=${column("requests")} label="Requests per second, last five minutes" /></${Figure}>
      <${Figure} label="Errors (5xx)" value=${percent(share)} tone=${share > 0.05 ? "bad" : share > 0.01 ? "warning" : ""}><${Spark} values=${errors} max=${Math.max(0.02, ...errors)} label="Share of answers of 500 and more, last five minutes" /></${Figure}>
      <${Figure} label="Slowest 1 % (p99)" value=${duration(slow)}><${Spark} values=${column("p99")} label="99th percentile of latency, last five minutes" /></${Figure}>
      <${Figure} label="In flight" value=${number(second?.in_flight)} note=${second ? plural(second.connections, "connection") : " "}><${Spark} values=${column("in_flight")} label="Requests in flight, last five minutes" /></${Figure}>
    </div>
    <div class="grid">
      <${Card} title="Traffic" id="traffic-title" wide=${true} aside=${html`<span>last quarter of an hour · <a href="#/traffic">more</a></span>`}><${Traffic} seconds=${seconds} /></${Card}>
      <${Card} title="Pools" id="pools-title"><${Pools} pools=${second?.pools} /></${Card}>
      <${Card} title="What happened" id="events-title">
        ${happenings.length
          ? html`<ul class="events">${happenings.slice(0, 8).map((one) => html`<${Happened} key=${one.number} one=${one} />`)}</ul>`
          : html`<p class="empty">Nothing yet.</p>`}
      </${Card}>
      <${Card} title="Beside it" id="rest-title"><${Rest} stats=${stats.data} second=${second} /></${Card}>
    </div>`;
}

/** Of what each second was, without those of which nothing is known. */
function mean(some) {
  const known = some.filter((one) => one.requests !== null && one.requests !== undefined);
  if (!known.length) return { requests: null, errors_5xx: null };
  const sum = (name) => known.reduce((total, one) => total + (one[name] ?? 0), 0) / known.length;
  return { requests: Number(sum("requests").toPrecision(3)), errors_5xx: sum("errors_5xx") };
}

function worst(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? Math.max(...known) : null;
}

const LEVELS = { good: "ok", info: "info", warning: "warn", bad: "bad" };
const WORDS = { good: "good", info: "for information", warning: "warning", bad: "bad" };

export const Happened = ({ one }) => html`<li><span class=${one.level} title=${WORDS[one.level]}><${Icon} name=${LEVELS[one.level]} /><span class="hidden">${WORDS[one.level]}:</span></span><span>${one.text}</span><${When} at=${one.at} /></li>`;

function Pools({ pools }) {
  if (!pools) return html`<div class="waiting"><div class="bone" /><div class="bone" /></div>`;
  return html`<div class="pool-lines">${Object.entries(pools).map(([name, pool]) => {
    const total = Object.values(pool.states).reduce((a, b) => a + b, 0);
    const up = pool.states.up ?? 0;
    const states = ["down", "ejected", "maintenance", "drained", "checking", "up"].filter((state) => pool.states[state]).reverse();
    const marks = states.flatMap((state) => Array(pool.states[state]).fill(state));
    const words = Object.entries(pool.states).map(([state, count]) => `${count} ${state}`).join(", ");
    return html`<a class="pool-line" href="#/pools?pool=${encodeURIComponent(name)}" key=${name}>
      <span class="pool-name" title=${name}>${name}</span>
      ${total > MANY
        ? html`<span class="strip shares" role="img" aria-label=${words}>${states.map((state) => html`<i class=${state} title="${pool.states[state]} ${state}" style=${{ flexGrow: pool.states[state] }}></i>`)}</span>`
        : html`<span class="strip" role="img" aria-label=${words}>${marks.map((state) => html`<i class=${state} title=${state}></i>`)}</span>`}
      <span class="pool-words ${up === total ? "" : "off"}">${up === total ? `all ${total} up` : words}</span>
      <span class="pool-rate">${number(pool.requests === null || pool.requests === undefined ? null : Number(pool.requests.toPrecision(3)))} /s${pool.queue > 0 ? html` · <strong>${pool.queue} waiting</strong>` : ""}</span>
    </a>`;
  })}</div>`;
}

function Traffic({ seconds }) {
  const times = useMemo(() => seconds.map((one) => one.at), [seconds]);
  const series = useMemo(() => [
    { name: "well answered", values: seconds.map((one) => (one.requests === null || one.requests === undefined ? null : Math.max(0, one.requests - (one.errors_4xx ?? 0) - (one.errors_5xx ?? 0)))), colour: "chart-1" },
    { name: "4xx", values: seconds.map((one) => one.errors_4xx ?? null), colour: "chart-2" },
    { name: "5xx", values: seconds.map((one) => one.errors_5xx ?? null), colour: "chart-3" },
  ], [seconds]);
  return html`<${Chart} times=${times} series=${series} stacked=${true} height=${190} format=${short} label="Answers per second by class" />`;
}

function Rest({ stats, second }) {
  if (!stats) return html`<div class="waiting"><div class="bone" /><div class="bone" /><div class="bone" /></div>`;
  const { cache, cdn, process, redis, configuration, bytes: volume } = stats;
  const sent = volume.sent.per_second_10s;
  return html`<dl class="facts">
    <dt>Cache</dt><dd>${cache ? html`<a href="#/cache">${percent(cache.hit_ratio.five_minutes)} hits</a> in five minutes, ${bytes(cache.bytes)} in ${plural(cache.entries, "answer")}` : "no route is cached"}</dd>
    <dt>CDN</dt><dd>${cdn ? html`<a href="#/cdn">${cdn.provider}</a>${cdn.ok === false ? `: ${cdn.reason}` : ""}` : "none"}</dd>
    <dt>Redis</dt><dd>${redis.ok === null ? "not configured" : redis.ok ? `answers in ${duration(redis.latency)}` : redis.reason}</dd>
    <dt>Sent</dt><dd>${bytes(sent === null ? null : Math.round(sent))}/s, ${bytes(volume.sent.total)} since the start</dd>
    <dt>Configuration</dt><dd><a href="#/config" title=${configuration.file}>${configuration.file?.split("/").pop() ?? "from the environment"}</a>${configuration.changed_by_api ? ", changed by the API" : ""}</dd>
    <dt>Process</dt><dd>${bytes(process.resident_bytes)}, ${process.loop} at worst ${second ? duration(second.lag) : "–"} late</dd>
  </dl>`;
}
