/** How the site and its community are doing: the eight reports. */

import { get, session } from "../lib/api.js";
import { plural, time } from "../lib/format.js";
import { html, useMemo } from "../lib/html.js";
import { Act, Card, Choice, copy, Head, Notice, Problem, Prose, Select, usePoll, useQuery, Waiting, When } from "../lib/ui.js";
import { Report } from "./community/report.js";
import { REPORTS } from "./community/reports.js";

const PATH = "/api/monitoring/analytics";
const RANGES = [["1", "today"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["own", "from … to"]];
const INTERVALS = [["", "by itself"], ["hour", "hours"], ["day", "days"], ["week", "weeks"], ["month", "months"]];
const SOURCES = { sql: "from the app's own database", events: "from the traffic", mixed: "from the database and the traffic" };

/** A date as the time zone has it, so many days ago. */
function day(ago, zone) {
  const at = new Date(Date.now() - ago * 86400e3);
  try {
    return new Intl.DateTimeFormat("en-CA", { timeZone: zone || undefined, year: "numeric", month: "2-digit", day: "2-digit" }).format(at);
  } catch {
    return at.toISOString().slice(0, 10);
  }
}

/** Whether there is less than two days to be told, of which a chart of days has nothing to show. */
const young = (status) => !!status?.stored && !status.sources.includes("database") && Date.now() - Date.parse(status.stored.oldest) < 2 * 86400e3;

export default function Community({ rest }) {
  const [chosen, choose] = useQuery("report", "user-growth");
  const name = REPORTS[rest[0]] ? rest[0] : REPORTS[chosen] ? chosen : "user-growth";
  const status = usePoll(() => get(`${PATH}/status`), 30000);
  const [range, setRange] = useQuery("range", young(status.data) ? "1" : "30");
  const [from, setFrom] = useQuery("from", "");
  const [to, setTo] = useQuery("to", "");
  const [interval, setInterval] = useQuery("interval", "");
  const [zone, setZone] = useQuery("timezone", "");
  const [compare, setCompare] = useQuery("compare", "previous");
  const [source, setSource] = useQuery("source", "");
  const [community, setCommunity] = useQuery("community", "");
  const [sort, setSort] = useQuery("sort", "");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const query = useMemo(
    () => ({
      ...(range === "own" ? { from, to } : { from: day(Number(range) - 1, zone) }),
      interval,
      timezone: zone,
      compare,
      source,
      community: REPORTS[name].community ? community : "",
      sort: name === "communities" ? sort : "",
    }),
    [name, range, from, to, interval, zone, compare, source, community, sort],
  );
  const some = status.data?.sources.length > 0;
  const report = usePoll(() => (some ? get(`${PATH}/${name}`, query) : undefined), 60000, [name, query, some]);
  const current = report.data?.name === name ? report.data : undefined;
  const csv = (table) => `${PATH}/${name}?${new URLSearchParams(Object.entries({ ...query, format: "csv", table: table ?? "" }).filter(([, value]) => value))}`;
  return html`
    <${Head} title="Community" about=${current ? html`${SOURCES[current.source] ?? "nothing is known"} · made ${time(current.generated_at)} · ${current.timezone}` : html`<span> </span>`}>
      <${Select} label="days of" value=${zone} options=${[["", "the site"], ...(own && own !== "UTC" ? [[own, own]] : []), ["UTC", "UTC"]]} onChange=${setZone} />
      <${Select} label="figures" value=${source} options=${[["", "from where they are best"], ["traffic", "from the traffic"], ["database", "from the database"]]} onChange=${setSource} />
    </${Head}>
    <div class="controls">
      <${Choice} label="Report" value=${name} options=${Object.entries(REPORTS).map(([key, one]) => [key, one.title])} onChange=${choose} />
      <div class="row">
        <${Choice} label="Period" value=${range} options=${RANGES} onChange=${setRange} />
        ${range === "own" && html`<label class="select"><span>from</span><input type="date" defaultValue=${from} onChange=${(event) => setFrom(event.target.value)} /></label><label class="select"><span>to</span><input type="date" defaultValue=${to} onChange=${(event) => setTo(event.target.value)} /></label>`}
        <${Select} label="in" value=${interval} options=${INTERVALS} onChange=${setInterval} />
        <label class="check"><input type="checkbox" checked=${compare === "previous"} onChange=${(event) => setCompare(event.target.checked ? "previous" : "none")} /> beside the period before</label>
        ${REPORTS[name].community && html`<label class="select"><span>community</span><input defaultValue=${community} placeholder="all" size="8" onChange=${(event) => setCommunity(event.target.value.trim())} /></label>`}
        ${name === "communities" && html`<${Select} label="by" value=${sort} options=${[["", "active users"], ["posts", "posts"], ["members", "members"], ["new_members", "new members"], ["reports", "reports"]]} onChange=${setSort} />`}
      </div>
    </div>
    <${Problem} error=${status.error ?? report.error} retry=${status.error ? status.refresh : report.refresh} />
    ${status.data && !some && html`<${Start} configured=${status.data.configured} />`}
    ${current ? html`<${Report} key=${name} of=${current} shape=${REPORTS[name]} csv=${csv} compare=${compare} />` : (some || !status.data) && !status.error && !report.error && html`<${Waiting} rows=${10} />`}
    ${current && html`<${Small} of=${current} status=${status.data} />`}`;
}

/** What is not known, and why; what differs from what one might think. */
function Small({ of, status }) {
  const reasons = {};
  for (const [name, { reason }] of Object.entries(of.metrics)) (reasons[reason] ??= []).push(name.split(".").slice(1).join(" ").replaceAll("_", " "));
  return html`
    ${of.warnings.map((text) => html`<${Notice} level="info">${text}</${Notice}>`)}
    ${Object.keys(reasons).length > 0 && html`<${Card} title="Not known" id="unknown"><ul class="dotted">${Object.entries(reasons).map(([reason, names]) => html`<li>${names.join(", ")}: <span class="soft"><${Prose} text=${reason} /></span></li>`)}</ul></${Card}>`}
    ${status?.stored && html`<p class="soft">${plural(status.stored.events, "event")} of the traffic since <${When} at=${status.stored.oldest} plain=${true} />, the last <${When} at=${status.stored.newest} />${status.queue.dropped + status.queue.lost > 0 ? html`; <strong>${plural(status.queue.dropped + status.queue.lost, "event")} lost</strong>` : ""}.${status.bot_share > 0 ? ` Bots were ${Math.round(status.bot_share * 100)} % and are left out.` : ""} Users are only known by keyed hashes.</p>`}`;
}

/** Nothing is configured: what the traffic itself suggests. */
function Start({ configured }) {
  const found = usePoll(() => (configured && session.may("operator") ? get(`${PATH}/suggestions`) : Promise.resolve({ suggestions: [] })), 10000);
  const some = found.data?.suggestions ?? [];
  const yaml = `analytics:\n  events:\n${some.map((one) => one.rule.trimEnd().replace(/^/gm, "    ")).join("\n")}\n`;
  return html`<${Card} title="No event is counted yet" id="start">
    <p>Rules say which requests mean what: that a POST to /api/posts is a new post, and who it is from. The app stays as it is.</p>
    ${some.length
      ? html`<p>The traffic so far suggests these:</p>
        <pre class="code" tabindex="0">${yaml}</pre>
        <div class="row"><${Act} onAct=${() => copy(yaml, "Copied: paste it into the configuration.")}>Copy</${Act}>${session.may("admin") && html`<a class="button" href="#/config?tab=edit">To the configuration</a>`}</div>
        <ul class="dotted">${some.map((one) => html`<li><code>${one.method} ${one.path}</code>: ${one.why}</li>`)}</ul>`
      : html`<p class="soft">${!configured ? html`Write <code>analytics: {}</code> into the configuration: then the traffic is looked at, and rules are suggested here.` : session.may("operator") ? "There was no traffic yet to suggest rules from: let some pass and look again, or see docs/analytics.md." : "An operator sees here what the traffic suggests."}</p>`}
  </${Card}>`;
}
