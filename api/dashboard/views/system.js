/** What the balancer itself is made of, and who may do what to it. */

import { get, session } from "../lib/api.js";
import { bytes, number, percent, plural, seconds as duration, span } from "../lib/format.js";
import { html } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { Badge, Card, Choice, Head, Loaded, Meter, Notice, State, Table, usePoll, useQuery, When } from "../lib/ui.js";
import { Alerts } from "./system/alerts.js";
import { Audit } from "./system/audit.js";
import { Databases } from "./system/databases.js";
import { Keys } from "./system/keys.js";
import { Limits } from "./system/limits.js";

export default function System() {
  const [tab, setTab] = useQuery("tab", "health");
  const tabs = [["health", "Health"], ["databases", "Databases"], ["certificates", "Certificates"], ["limits", "Rate limits"], ["alerts", "Alerts"], ...(session.may("admin") ? [["keys", "Keys"]] : []), ...(session.may("operator") ? [["audit", "Audit"]] : [])];
  return html`
    <${Head} title="System" about="The process, what it leans on, and who may do what." />
    <div><${Choice} label="Part" value=${tab} options=${tabs} onChange=${setTab} /></div>
    ${tab === "health" && html`<${Health} />`}
    ${tab === "databases" && html`<${Databases} />`}
    ${tab === "certificates" && html`<${Certificates} />`}
    ${tab === "limits" && html`<${Limits} />`}
    ${tab === "alerts" && html`<${Alerts} />`}
    ${tab === "keys" && session.may("admin") && html`<${Keys} />`}
    ${tab === "audit" && session.may("operator") && html`<${Audit} />`}`;
}

function Health() {
  const health = usePoll(() => get("/api/monitoring/health"), 5000);
  const stats = usePoll(() => get("/api/infrastructure/stats"), 5000);
  const { second } = useLive();
  return html`<div class="grid two">
    <${Card} title="Checks" id="checks" wide=${true}><${Loaded} of=${health}>${(data) => html`
      <p class=${data.status === "ok" ? "soft" : ""}>${data.summary}</p>
      <${Table} label="Checks of health" rows=${Object.entries(data.checks).map(([name, check]) => ({ name, ...check }))} id=${(row) => row.name} columns=${[
        { key: "name", title: "Check", sort: (row) => row.name },
        { key: "status", title: "State", cell: (row) => html`<${State} of=${row.status} />`, sort: (row) => ["ok", "unknown", "degraded", "down"].indexOf(row.status) },
        { key: "reason", title: "Why", cell: (row) => row.reason ?? html`<span class="soft">–</span>` },
        { key: "since", title: "Since", cell: (row) => html`<${When} at=${row.since} />`, sort: (row) => row.since },
        { key: "changes", title: "Changes in an hour", right: true, sort: (row) => row.changes },
      ]} />`}</${Loaded}></${Card}>
    <${Card} title="Process" id="process"><${Loaded} of=${stats}>${(data) => html`<dl class="facts">
      <dt>Version</dt><dd>${data.version} on Python ${data.python}, ${data.process.loop}</dd>
      <dt>Up for</dt><dd>${span(data.uptime)}</dd>
      <dt>CPU</dt><dd>${duration(data.process.cpu_seconds)} since the start, ${percent(data.process.cpu_seconds / data.uptime)} of a core</dd>
      <dt>Memory</dt><dd>${bytes(data.process.resident_bytes)}</dd>
      <dt>Descriptors</dt><dd><${Share} of=${data.process.open_descriptors} most=${data.process.max_descriptors} /></dd>
      <dt>Event loop</dt><dd>at worst ${duration(second?.lag ?? data.process.loop_lag_worst)} late in the last minute</dd>
      <dt>Connections</dt><dd>${number(second?.connections)} of clients, ${number(data.load_balancer.totals.idle_connections)} idle to servers</dd>
      <dt>Dashboards</dt><dd>${plural(second?.watched ?? 0, "open page")}</dd>
      <dt>Requests to the API</dt><dd>${Object.entries(data.admin.requests).map(([status, count]) => `${status}: ${number(count)}`).join(", ")}</dd>
    </dl>`}</${Loaded}></${Card}>
    <${Card} title="Shared with other balancers" id="cluster"><${Loaded} of=${stats}>${(data) => html`<${Cluster} data=${data} />`}</${Loaded}></${Card}>
    <${Card} title="Listeners" id="listeners" wide=${true}><${Loaded} of=${stats}>${(data) => html`<${Table} label="Listeners" rows=${Object.entries(data.listeners).map(([name, one]) => ({ name, ...one }))} id=${(row) => row.name} columns=${[
      { key: "name", title: "Listener", cell: (row) => html`<a href="#/traffic?of=${encodeURIComponent(`listener:${row.name}`)}">${row.name}</a>` },
      { key: "connections", title: "Connections", right: true, cell: (row) => number(row.connections) },
      { key: "requests", title: "Requests/s", right: true, cell: (row) => number(row.requests.per_second_10s) },
      { key: "tunnels", title: "Tunnels", right: true, cell: (row) => number(row.tunnels) },
      { key: "rejected", title: "Turned away", right: true, cell: (row) => number(Object.values(row.rejected).reduce((a, b) => a + b, 0)) },
    ]} />`}</${Loaded}></${Card}>
  </div>`;
}

const Share = ({ of, most }) => html`${number(of)} of ${number(most)} <${Meter} share=${most ? of / most : 0} tone=${most && of / most > 0.8 ? "bad" : ""} label="${number(of)} of ${number(most)}" />`;

function Cluster({ data }) {
  const shared = data.load_balancer.shared_limits;
  const second = data.cache?.redis;
  return html`<dl class="facts">
    <dt>Redis</dt><dd>${data.redis.ok === null ? "none: each balancer is on its own" : data.redis.ok ? html`<${State} of="ok" text="answers in ${duration(data.redis.latency)}" />` : html`<${State} of="degraded" text="away" /> ${data.redis.reason}`}</dd>
    <dt>Rate limits</dt><dd>${shared ? html`${shared.state === "shared" ? `shared by ${plural(shared.instances, "balancer")}` : html`<${State} of="degraded" text="each for itself" /> ${shared.reason}`}` : "none is shared"}</dd>
    <dt>Cache</dt><dd>${second ? (second.up ? `shared, ${second.state}` : html`<${State} of="degraded" text=${second.state} /> ${second.reason}`) : "in memory only"}</dd>
    <dt>Workers</dt><dd>one: this process has the only plane</dd>
    ${data.trusted_ranges.map((one) => html`<dt>${one.cdn}</dt><dd>${plural(one.networks, "trusted network")}, ${one.source}${one.at ? html`, <${When} at=${one.at} />` : ""}</dd>`)}
  </dl>`;
}

function Certificates() {
  const found = usePoll(() => get("/api/infrastructure/certificates"), 60000);
  return html`<${Card} title="Certificates that listeners show" id="certificates"><${Loaded} of=${found}>${(data) => html`
    ${data.items.some((one) => one.days_left < 14) && html`<${Notice} level=${data.items.some((one) => one.days_left < 0) ? "bad" : "warning"}>A certificate ends within two weeks, or has ended. Replaced files are taken over by themselves.</${Notice}>`}
    <${Table} label="Certificates" empty=${html`No listener speaks TLS. <code>tls</code> of a listener in the configuration switches it on.`} rows=${data.items} id=${(row) => row.listener + row.names} sorted=${{ key: "left" }} columns=${[
      { key: "names", title: "Names", cell: (row) => row.names.join(", ") },
      { key: "left", title: "Ends", sort: (row) => row.days_left, cell: (row) => html`<${Badge} level=${row.days_left < 0 ? "bad" : row.days_left < 14 ? "warning" : "good"} icon=${row.days_left < 14 ? "warn" : "ok"}>${row.days_left < 0 ? "ended" : `in ${plural(row.days_left, "day")}`}</${Badge}> <${When} at=${row.not_after} plain=${true} />` },
      { key: "listener", title: "Listener" },
      { key: "issuer", title: "Issuer" },
      { key: "key_type", title: "Key" },
      { key: "loaded", title: "Read", cell: (row) => html`<${When} at=${row.loaded} />` },
    ]} />`}</${Loaded}></${Card}>`;
}
