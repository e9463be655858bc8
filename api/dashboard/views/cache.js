/** What the cache spares the servers, what is in it, and taking things out of it. */

import { get, session } from "../lib/api.js";
import { Bars, Chart } from "../lib/chart.js";
import { bytes, number, percent, plural, seconds as duration, short, span } from "../lib/format.js";
import { html, useMemo } from "../lib/html.js";
import { Card, Figure, Head, Loaded, Meter, Notice, State, Table, usePoll } from "../lib/ui.js";
import { Purge } from "./cache/purge.js";

export default function Cache() {
  const stats = usePoll(() => get("/api/infrastructure/cache/stats", { top: 50 }), 5000);
  return html`
    <${Head} title="Cache" about="Answers that are kept and given again, as their servers allow." />
    <${Loaded} of=${stats} rows=${10}>${(data) => (data.enabled ? html`<${Filled} data=${data} refresh=${stats.refresh} />` : html`<${Off} />`)}</${Loaded}>`;
}

const Off = () => html`<${Card} title="No route is cached" id="off"><p class="empty">Switched on, it keeps what servers mark as cacheable, and nothing else:</p><pre class="code">cache: true</pre>${session.may("admin") && html`<p><a href="#/config?tab=edit">Change the configuration</a></p>`}</${Card}>`;

const WORDS = {
  hit: "fresh, from the cache",
  stale: "stale, from the cache",
  revalidated: "confirmed by a server",
  collapsed: "waited for another's answer",
  expired: "replaced by a newer answer",
  miss: "not there: a server answered",
  bypass: "went past it",
};
const GOOD = new Set(["hit", "stale", "revalidated", "collapsed"]);

const kinds = (counts) => Object.entries(counts).sort(([, a], [, b]) => b - a).map(([kind, value]) => ({ name: WORDS[kind] ?? kind, value, tone: GOOD.has(kind) ? "good" : "" }));

function Filled({ data, refresh }) {
  const ratio = data.hit_ratio;
  return html`
    <div class="figures">
      <${Figure} label="Hits, last five minutes" value=${percent(ratio.five_minutes)} note="${percent(ratio.hour)} in the last hour" />
      <${Figure} label="Hits since the start" value=${percent(ratio.since_start)} note="${short(data.fills)} answers of servers for it" />
      <${Figure} label="Stored" value=${bytes(data.bytes)} note="${plural(data.entries, "answer")}, room for ${bytes(data.limit)}"><${Meter} share=${data.bytes / data.limit} label="${percent(data.bytes / data.limit)} full" /></${Figure}>
      <${Figure} label="Made room" value=${short(data.evicted)} note="${short(data.purged)} purged, ${short(data.invalidated)} changed" />
    </div>
    ${data.redis && !data.redis.up && html`<${Notice} level="warning">The level in Redis is not used (${data.redis.state}): ${data.redis.reason}</${Notice}>`}
    <div class="grid two">
      <${Card} title="Hits over the last hour" id="hits" wide=${true}><${Ratios} history=${data.history} /></${Card}>
      <${Card} title="What became of requests" id="kinds" aside=${html`<span>since the start</span>`}><${Bars} label="Requests by what the cache did" items=${kinds(data.requests)} format=${short} /></${Card}>
      <${Card} title="Not stored, by reason" id="why" aside=${html`<span>since the start</span>`}><${Bars} label="Answers not stored by reason" empty="Everything that came was stored." items=${Object.entries(data.not_stored).sort(([, a], [, b]) => b - a).map(([name, value]) => ({ name: name.replaceAll("-", " ").replaceAll("_", " "), value }))} format=${short} /></${Card}>
      ${data.redis && html`<${Card} title="The level in Redis" id="redis"><dl class="facts">
        <dt>State</dt><dd><${State} of=${data.redis.up ? "ok" : "degraded"} text=${data.redis.state} /></dd>
        <dt>Latency</dt><dd>p50 ${duration(data.redis.latency.p50)}, p99 ${duration(data.redis.latency.p99)}</dd>
        <dt>Results</dt><dd>${Object.entries(data.redis.results).map(([what, count]) => `${what} ${number(count)}`).join(", ")}</dd>
        <dt>Purges owed</dt><dd>${number(data.redis.owed)}</dd>
      </dl></${Card}>`}
      <${Purge} tags=${data.top_tags} keys=${data.top_keys} refresh=${refresh} />
      <${Card} title="Asked for most" id="keys" wide=${true}><${Table} label="URLs that were asked for most" rows=${data.top_keys} id=${(row) => row.url} most=${10} empty="Nobody has asked twice for anything yet." columns=${[
        { key: "url", title: "URL", cell: (row) => html`<code>${row.url}</code>` },
        { key: "hits", title: "Hits", right: true, sort: (row) => row.hits, cell: (row) => number(row.hits) },
        { key: "bytes", title: "Size", right: true, sort: (row) => row.bytes, cell: (row) => bytes(row.bytes) },
        { key: "variants", title: "Variants", right: true, sort: (row) => row.variants, cell: (row) => number(row.variants) },
        { key: "age", title: "Age", right: true, sort: (row) => row.age, cell: (row) => span(row.age) },
        { key: "ttl", title: "Fresh for", right: true, sort: (row) => row.ttl, cell: (row) => (row.ttl >= 0 ? span(row.ttl) : html`<span class="soft">stale for ${span(-row.ttl)}</span>`) },
      ]} /></${Card}>
      <${Card} title="Tags" id="tags"><${Bars} label="Tags with the most answers" empty="No stored answer has a tag." items=${data.top_tags.slice(0, 15).map((one) => ({ name: one.tag, value: one.entries }))} /></${Card}>
      <${Card} title="By route" id="routes"><${Table} label="Cache by route" rows=${Object.entries(data.routes).map(([name, counts]) => ({ name, ...hitsOf(counts) }))} id=${(row) => row.name} columns=${[
        { key: "name", title: "Route", cell: (row) => html`<a href="#/routes">${row.name}</a>` },
        { key: "asked", title: "Requests", right: true, cell: (row) => short(row.asked) },
        { key: "share", title: "Hits", right: true, cell: (row) => percent(row.share) },
      ]} /></${Card}>
    </div>`;
}

function hitsOf(counts) {
  const asked = Object.entries(counts).reduce((sum, [kind, count]) => sum + (kind === "bypass" || kind === "purge" ? 0 : count), 0);
  const found = Object.entries(counts).reduce((sum, [kind, count]) => sum + (GOOD.has(kind) ? count : 0), 0);
  return { asked, share: asked ? found / asked : null };
}

function Ratios({ history }) {
  const times = useMemo(() => history.map((one) => new Date(one.at).getTime() / 1000), [history]);
  const series = useMemo(() => [{ name: "hits", values: history.map((one) => (one.lookups ? one.hits / one.lookups : null)), colour: "chart-4", fill: true }], [history]);
  if (history.length < 2) return html`<p class="empty">There is a point for each ten seconds: the first come soon.</p>`;
  return html`<${Chart} times=${times} series=${series} max=${1} height=${170} format=${(value) => percent(value, 0)} label="Share of requests that the cache answered" />`;
}
