/** The servers: how each is doing and why, and what can be done about it. */

import { get } from "../lib/api.js";
import { number, percent, plural, seconds as duration } from "../lib/format.js";
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { live, useLive } from "../lib/live.js";
import { Act, Badge, Card, Choice, Head, Loaded, May, Notice, State, Table, usePoll, useQuery, When } from "../lib/ui.js";
import { addServer, askAll, ServerActions } from "./pools/actions.js";
import { Spread } from "./pools/spread.js";

const RANK = ["down", "ejected", "checking", "maintenance", "drained", "up"];
const MANY = 40;

export default function Pools() {
  const [wanted, setWanted] = useQuery("pool", "");
  const { happenings } = useLive();
  useEffect(() => live.wantServers(), []);
  // Reasons and checks change with what happens; figures come with the stream.
  const latest = happenings.find((one) => one.kind === "server" || one.kind === "pool" || one.kind === "configuration")?.number ?? 0;
  const status = usePoll(() => get("/api/infrastructure/load-balancer/status"), 5000, []);
  useEffect(() => {
    if (latest) status.refresh();
  }, [latest]);
  return html`
    <${Head} title="Pools" about="Servers that share the requests of a route.">
      <${May} role="operator"><${Act} onAct=${() => askAll(status.refresh)}>Check all now</${Act}></${May}>
    </${Head}>
    <${Loaded} of=${status} rows=${8}>${(data) => {
      const names = Object.keys(data.pools);
      const shown = names.includes(wanted) ? [wanted] : names;
      return html`
        ${names.length > 1 && html`<div><${Choice} label="Pool" value=${names.includes(wanted) ? wanted : ""} options=${[["", "all"], ...names.map((name) => [name, name])]} onChange=${setWanted} /></div>`}
        ${shown.map((name) => html`<${Pool} key=${name} pool=${data.pools[name]} alone=${shown.length === 1} refresh=${status.refresh} />`)}`;
    }}</${Loaded}>`;
}

/** What the API told, with what the stream has told since. */
function joined(server, figures) {
  if (!figures) return { ...server, rate: null, failing: null, ewma: server.latency.ewma };
  const [state, rotation, effective, flight, idle, rate, failing, ewma] = figures;
  return { ...server, state, in_rotation: rotation, weight: { ...server.weight, effective }, in_flight: flight, idle_connections: idle, rate, failing, ewma };
}

function Pool({ pool, alone, refresh }) {
  const { servers: figures } = useLive();
  const [find, setFind] = useState("");
  const [state, setState] = useState("");
  const servers = useMemo(() => Object.values(pool.servers).map((one) => joined(one, figures[pool.name]?.[one.name])), [pool, figures]);
  const total = servers.reduce((sum, one) => sum + (one.rate ?? 0), 0);
  const states = [...new Set(servers.map((one) => one.state))].sort((a, b) => RANK.indexOf(a) - RANK.indexOf(b));
  const shown = servers.filter((one) => (!find || `${one.name} ${one.url}`.toLowerCase().includes(find.toLowerCase())) && (!state || one.state === state));
  const up = servers.filter((one) => one.state === "up").length;
  const internal = servers.every((one) => one.url.startsWith("internal:"));
  return html`<${Card} title=${pool.name} id="pool-${pool.name}" aside=${html`
      <span>${pool.strategy}</span>
      <${Badge} level=${up === servers.length ? "good" : up ? "warning" : "bad"} icon=${up === servers.length ? "ok" : "warn"}>${up} of ${plural(servers.length, "server")} up</${Badge}>
      <span class="figure-slot">${number(Number(total.toPrecision(3)))} /s</span>
      ${!internal && html`<${May} role="admin"><${Act} onAct=${() => addServer(pool, refresh)}>Add a server…</${Act}></${May}>`}`}>
    ${pool.panic && html`<${Notice} level="bad"><strong>It fails open.</strong> Fewer of its servers are well than <code>keep_at_least</code> asks for, so checks are not believed and all that were ever checked have traffic.</${Notice}>`}
    ${pool.queue > 0 && html`<${Notice} level="warning">${plural(pool.queue, "request")} wait for a server.</${Notice}>`}
    ${internal && html`<p class="soft">The balancer itself answers here: nothing to be drained.</p>`}
    ${servers.length > 8 && html`<div class="row filters">
      <label class="select"><span>find</span><input type="search" value=${find} onInput=${(event) => setFind(event.target.value)} /></label>
      <${Choice} label="State" value=${state} options=${[["", "all"], ...states.map((one) => [one, `${one} ${servers.filter((s) => s.state === one).length}`])]} onChange=${setState} />
    </div>`}
    ${servers.length > MANY && html`<div class="strip many" role="img" aria-label=${states.map((one) => `${servers.filter((s) => s.state === one).length} ${one}`).join(", ")}>${[...servers].sort((a, b) => RANK.indexOf(b.state) - RANK.indexOf(a.state)).map((one) => html`<i class=${one.state} title="${one.name}: ${one.state}"></i>`)}</div>`}
    <${Servers} pool=${pool} servers=${shown} total=${total} refresh=${refresh} internal=${internal} />
    ${!internal && html`<${Spread} pool=${pool.name} servers=${servers} total=${total} open=${alone} />`}
  </${Card}>`;
}

function Servers({ pool, servers, total, refresh, internal }) {
  const left = (one) => servers.filter((other) => other.in_rotation && other.name !== one.name).length;
  return html`<${Table} label="Servers of ${pool.name}" rows=${servers} cards=${true} id=${(row) => row.name} most=${50} sorted=${servers.length > 8 ? { key: "state" } : undefined} empty="No server is like that." columns=${[
    { key: "name", title: "Server", sort: (row) => row.name, cell: (row) => html`<a href="#/traffic?of=${encodeURIComponent(`server:${row.pool}/${row.name}`)}">${row.name}</a>${row.backup ? html` <${Badge}>backup</${Badge}>` : ""}${row.url !== `http://${row.name}` ? html`<span class="soft url" title=${row.url}>${row.url}</span>` : ""}` },
    { key: "state", title: "State", sort: (row) => RANK.indexOf(row.state), cell: (row) => html`<${State} of=${row.state} /><${Why} of=${row} />` },
    { key: "share", title: "Share", right: true, sort: (row) => row.rate, cell: (row) => html`<span class="slot">${total > 0 && row.rate !== null ? percent(row.rate / total, 0) : "–"}</span>` },
    { key: "rate", title: "Requests/s", right: true, sort: (row) => row.rate, cell: (row) => html`<span class="slot">${number(row.rate, row.rate < 100 ? 1 : 0)}</span>` },
    { key: "failing", title: "Errors/s", right: true, sort: (row) => row.failing, cell: (row) => html`<span class="slot ${row.failing > 0 ? "wrong" : ""}">${number(row.failing, 1)}</span>` },
    { key: "flight", title: "In flight", right: true, sort: (row) => row.in_flight, cell: (row) => html`<span class="slot">${number(row.in_flight)}${row.max_connections ? html`<span class="soft"> of ${number(row.max_connections)}</span>` : ""}</span>` },
    { key: "p99", title: "p50 / p99", right: true, sort: (row) => row.latency.p99, cell: (row) => html`<span title=${row.latency.reason ?? `moving average ${duration(row.ewma)}`}>${duration(row.latency.p50)} / ${duration(row.latency.p99)}</span>` },
    { key: "weight", title: "Weight", right: true, sort: (row) => row.weight.effective, cell: (row) => html`${number(row.weight.set)}${row.in_rotation && Math.abs(row.weight.effective - row.weight.set) > 0.01 ? html`<br /><span class="soft">now ${number(row.weight.effective, 2)}</span>` : ""}` },
    { key: "check", title: "Last check", cell: (row) => (row.checks.last ? html`<span class="nowrap">${row.checks.last.status ?? (row.checks.last.ok ? "ok" : "failed")} in ${duration(row.checks.last.seconds)}</span><br /><span class="soft"><${When} at=${row.checks.last.at} /></span>` : html`<span class="soft">none yet</span>`) },
    ...(internal ? [] : [{ key: "act", title: html`<span class="hidden">Actions</span>`, cell: (row) => html`<${ServerActions} server=${row} left=${left(row)} refresh=${refresh} />` }]),
  ]} />`;
}

/** Why it is as it is: for one that is up only what is unusual. */
function Why({ of }) {
  const words = [];
  if (of.state !== "up") words.push(of.reason);
  else if (!of.in_rotation) words.push(of.backup ? "waits as a backup" : "has no traffic");
  if ((of.state === "drained" || of.state === "maintenance") && of.in_flight + of.tunnels > 0) words.push(`${plural(of.in_flight + of.tunnels, "request")} to be finished`);
  if (of.state === "ejected" && of.ejected_until) words.push(html`until <${When} at=${of.ejected_until} plain=${true} />`);
  return html`<div class="soft why">${words.map((one, i) => html`${i ? "; " : ""}${one}`)}${of.since && of.state !== "up" ? html`${words.length ? ", " : ""}<${When} at=${of.since} />` : ""}</div>`;
}
