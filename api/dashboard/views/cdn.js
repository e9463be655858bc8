/** Files and pictures near to their readers, whoever serves them. */

import { get, session } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { bytes, number, percent, seconds as duration, short } from "../lib/format.js";
import { html, useMemo } from "../lib/html.js";
import { Card, Choice, Figure, Head, Loaded, Meter, Notice, State, usePoll, useQuery, When } from "../lib/ui.js";
import { Files } from "./cdn/files.js";
import { Pictures } from "./cdn/pictures.js";
import { Purges } from "./cdn/purges.js";

export default function Cdn() {
  const [tab, setTab] = useQuery("tab", "files");
  const status = usePoll(() => get("/api/infrastructure/cdn/status"), 10000);
  return html`
    <${Head} title="CDN" about=${status.data?.enabled ? html`${status.data.provider}${status.data.url ? html` · <a href=${status.data.url}>${status.data.url}</a>` : ""}` : html`<span> </span>`}>
      ${status.data?.enabled && html`<${State} of=${status.data.ok ? "ok" : "degraded"} text=${status.data.ok ? "ready" : "needs somebody"} />`}
    </${Head}>
    <${Loaded} of=${status} rows=${6}>${(data) =>
      data.enabled
        ? html`
          ${data.problems.map((one) => html`<${Notice} level="warning"><strong>${one.code.replaceAll("_", " ")}:</strong> ${one.message}</${Notice}>`)}
          ${data.journal && html`<${Notice} level="warning">Purges that are under way would not outlive a restart: ${data.journal}</${Notice}>`}
          <div><${Choice} label="Part" value=${tab} options=${[["files", "Files"], ["pictures", "Pictures"], ["purges", "Purges"], ["traffic", "Traffic"], ["provider", "Provider"]]} onChange=${setTab} /></div>
          ${tab === "files" && html`<${Files} status=${data} refresh=${status.refresh} />`}
          ${tab === "pictures" && html`<${Pictures} status=${data} />`}
          ${tab === "purges" && html`<${Purges} status=${data} />`}
          ${tab === "traffic" && html`<${Traffic} />`}
          ${tab === "provider" && html`<${Provider} of=${data} />`}`
        : html`<${Off} />`
    }</${Loaded}>`;
}

const Off = () => html`<${Card} title="There is no CDN yet" id="off"><p class="empty">The balancer can be one itself, with no account anywhere: files and pictures are uploaded here and served below /cdn/ and /img/.</p><pre class="code">${"cdn:\n  provider: local      # or cloudflare, aws, bunny\n"}</pre>${session.may("admin") && html`<p><a href="#/config?tab=edit">Change the configuration</a></p>`}</${Card}>`;

const PERIODS = [["6h", "6 hours", "1h"], ["24h", "a day", "1h"], ["168h", "a week", "6h"], ["720h", "30 days", "24h"]];

function Traffic() {
  const [from, setFrom] = useQuery("from", "24h");
  const interval = PERIODS.find(([own]) => own === from)?.[2] ?? "1h";
  const stats = usePoll(() => get("/api/infrastructure/cdn/stats", { from, interval }), 60000, [from]);
  return html`<div><${Choice} label="Period" value=${from} options=${PERIODS.map(([own, word]) => [own, word])} onChange=${setFrom} /></div>
    <${Loaded} of=${stats} rows=${8}>${(data) => html`<${Figures} data=${data} />`}</${Loaded}>`;
}

function Figures({ data }) {
  const times = useMemo(() => data.series.map((one) => new Date(one.at).getTime() / 1000), [data]);
  const requests = useMemo(() => [{ name: "requests", values: data.series.map((one) => one.requests), colour: "chart-1", fill: true }, { name: "hits", values: data.series.map((one) => one.hits), colour: "chart-4" }], [data]);
  const volume = useMemo(() => [{ name: "to clients", values: data.series.map((one) => one.bytes_out), colour: "chart-5", fill: true }], [data]);
  const missing = Object.entries(data.missing);
  return html`
    <div class="figures">
      <${Figure} label="Requests" value=${short(data.requests)} note=${data.sampled ? "an estimate of the provider's" : ""} />
      <${Figure} label="Hits" value=${percent(data.hit_ratio)} note=${data.missing.hit_ratio} />
      <${Figure} label="To clients" value=${bytes(data.bytes_out)} note=${data.bytes_origin === null ? data.missing.bytes_origin : `${bytes(data.bytes_origin)} from the balancer`} />
      <${Figure} label="Answers of 5xx" value=${short(data.status_5xx)} tone=${data.status_5xx > 0 ? "bad" : ""} note=${data.missing.status_5xx} />
    </div>
    <div class="grid charts">
      <${Card} title="Requests" id="requests"><${Chart} times=${times} series=${requests} format=${short} unit="count" label="Requests to the CDN by interval" /></${Card}>
      <${Card} title="Bytes to clients" id="bytes"><${Chart} times=${times} series=${volume} format=${(value) => bytes(Math.round(value))} unit="bytes" label="Bytes to clients by interval" /></${Card}>
    </div>
    ${missing.length > 0 && html`<p class="soft">Not known: ${missing.map(([name, reason]) => `${name.replaceAll("_", " ")} (${reason})`).join("; ")}</p>`}`;
}

function Provider({ of }) {
  const details = Object.entries(of.details);
  return html`<div class="grid">
    <${Card} title="Provider" id="provider"><dl class="facts">
      <dt>Provider</dt><dd>${of.provider}</dd>
      <dt>Checked</dt><dd><${When} at=${of.checked_at} />${of.latency !== null ? `, in ${duration(of.latency)}` : ""}</dd>
      ${of.account && html`<dt>Account</dt><dd>${of.account}</dd>`}
      <dt>Hosts</dt><dd>${of.hosts.join(", ") || "all that reach the balancer"}</dd>
      <dt>Largest file</dt><dd>${bytes(of.max_upload)}</dd>
      <dt>Can</dt><dd>${of.capabilities.map((one) => one.replaceAll("_", " ")).join(", ")}</dd>
      ${details.map(([name, value]) => html`<dt>${name.replaceAll("_", " ")}</dt><dd>${value === null ? "–" : typeof value === "number" ? (/bytes/.test(name) ? bytes(value) : number(value)) : String(value)}</dd>`)}
    </dl></${Card}>
    ${Object.keys(of.limits).length > 0 && html`<${Card} title="Its rate limits, as counted here" id="rates"><ul class="stack">${Object.entries(of.limits).map(([name, one]) => html`<li><div class="row"><span>${name.replaceAll("_", " ")}</span><span class="soft">${number(one.left, 0)} of ${number(one.capacity, 0)} left, ${number(one.refill)} /s come back${one.blocked > 0 ? `; blocked for ${duration(one.blocked)}` : ""}</span></div><${Meter} share=${one.left / one.capacity} tone=${one.left < one.capacity * 0.2 ? "warning" : ""} label="${number(one.left, 0)} of ${number(one.capacity, 0)}" /></li>`)}</ul></${Card}>`}
    ${of.purges && html`<${Card} title="Purges on their way" id="desk"><dl class="facts"><dt>Tickets</dt><dd>${number(of.purges.tickets)}</dd><dt>Calls</dt><dd>${number(of.purges.calls)}</dd><dt>Breaker</dt><dd>${of.purges.breaker.replaceAll("_", " ")}</dd>${of.purges.error && html`<dt>Last error</dt><dd>${of.purges.error}</dd>`}</dl></${Card}>`}
  </div>`;
}
