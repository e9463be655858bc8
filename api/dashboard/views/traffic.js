/** How it went: of everything, or of one listener, route, pool or server. */

import { get } from "../lib/api.js";
import { Chart } from "../lib/chart.js";
import { bytes, number, percent, seconds as duration, short } from "../lib/format.js";
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { live, useLive } from "../lib/live.js";
import { Card, Choice, Figure, Head, Loaded, usePoll, useQuery } from "../lib/ui.js";
import { LatencyMap } from "./traffic/latency-map.js";

const SPANS = [["5m", "5 min"], ["15m", "15 min"], ["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"]];
const SECONDS = { "5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400 };

export default function Traffic() {
  const [of, setOf] = useQuery("of", "total");
  const [span, setSpan] = useQuery("span", "15m");
  const heated = (of === "total" || of.startsWith("route:")) && SECONDS[span] > 900;
  // Seconds come with the stream; of coarser points there is a new one at most every ten.
  const every = SECONDS[span] <= 900 ? 60000 : span === "1h" ? 10000 : 60000;
  const past = usePoll(() => get("/api/monitoring/history", { of, span, heat: heated ? "yes" : undefined }), every, [of, span]);
  const known = past.data?.of === of ? past.data : undefined;
  return html`
    <${Head} title="Traffic" about="Per second; percentiles of each point are those of its own requests.">
      <${Of} of=${of} series=${past.data?.series ?? [of]} onChange=${setOf} />
      <${Choice} label="Period" value=${span} options=${SPANS} onChange=${setSpan} />
    </${Head}>
    ${past.data?.left_out > 0 && html`<p class="soft">Of ${past.data.left_out} further servers no history is kept: there is room for 120 in all.</p>`}
    <${Loaded} of=${{ ...past, data: known }} rows=${8}>${(data) => html`<${Charts} key="${of} ${span}" data=${data} of=${of} span=${span} heated=${heated} />`}</${Loaded}>`;
}

const KINDS = { total: "Everything", listener: "Listeners", route: "Routes", pool: "Pools", server: "Servers" };

function Of({ of, series, onChange }) {
  const groups = {};
  for (const name of series.includes(of) ? series : [of, ...series]) (groups[name.split(":")[0]] ??= []).push(name);
  return html`<label class="select"><span>of</span><select value=${of} onChange=${(event) => onChange(event.target.value)}>${Object.entries(groups).map(([kind, names]) =>
    kind === "total"
      ? html`<option value="total" selected=${of === "total"}>everything</option>`
      : html`<optgroup label=${KINDS[kind] ?? kind}>${names.map((name) => html`<option value=${name} selected=${name === of}>${name === "route:-" ? "no route" : name.slice(kind.length + 1)}</option>`)}</optgroup>`,
  )}</select></label>`;
}

/** What is asked for once, with what the stream adds to it each second. */
function useGrowing(data, of, span) {
  const { second } = useLive();
  const [added, setAdded] = useState([]);
  useEffect(() => setAdded([]), [data]);
  useEffect(() => (of === "total" ? undefined : live.wantSeries(of)), [of]);
  const point = of === "total" ? second : live.point?.of === of ? live.point : null;
  useEffect(() => {
    if (data.step !== 1 || !point?.at) return;
    const last = added.at(-1)?.at ?? data.times.at(-1) ?? 0;
    if (point.at > last + 0.5) setAdded((old) => [...old, point].slice(-900));
  }, [point?.at]);
  return useMemo(() => {
    const first = (added.at(-1)?.at ?? data.times.at(-1) ?? 0) - SECONDS[span] - 1;
    const from = data.times.findIndex((at) => at >= first);
    const begin = from < 0 ? data.times.length : from;
    return {
      times: [...data.times.slice(begin), ...added.map((one) => one.at)],
      columns: Object.fromEntries(Object.entries(data.columns).map(([name, values]) => [name, [...values.slice(begin), ...added.map((one) => one[name] ?? null)]])),
    };
  }, [data, added, span]);
}

function Charts({ data, of, span, heated }) {
  const { times, columns } = useGrowing(data, of, span);
  const { second } = useLive();
  const rates = useMemo(() => [
    { name: "well answered", values: columns.requests.map((all, i) => (all === null ? null : Math.max(0, all - (columns.errors_4xx[i] ?? 0) - (columns.errors_5xx[i] ?? 0)))), colour: "chart-1" },
    { name: "4xx", values: columns.errors_4xx, colour: "chart-2" },
    { name: "5xx", values: columns.errors_5xx, colour: "chart-3" },
  ], [columns]);
  const latency = useMemo(() => [
    { name: "p50", values: columns.p50, colour: "chart-4" },
    { name: "p90", values: columns.p90, colour: "chart-1" },
    { name: "p99", values: columns.p99, colour: "chart-5" },
  ], [columns]);
  const volume = useMemo(() => [
    { name: "sent", values: columns.bytes_out, colour: "chart-1" },
    { name: "received", values: columns.bytes_in, colour: "chart-4", dash: true },
  ], [columns]);
  const flying = useMemo(() => [{ name: "in flight", values: columns.in_flight, colour: "chart-5", fill: true }], [columns]);
  const sums = useMemo(() => ({ asked: total(columns.requests, data.step), failed: total(columns.errors_5xx, data.step), sent: total(columns.bytes_out, data.step) }), [columns]);
  const counted = of.startsWith("pool:") || of.startsWith("server:") ? "Attempts" : "Requests";
  const common = { times, sync: "traffic" };
  return html`
    <div class="figures">
      <${Figure} label="${counted} in this time" value=${short(sums.asked)} />
      <${Figure} label="Share of 5xx" value=${percent(sums.asked ? sums.failed / sums.asked : null)} tone=${sums.asked && sums.failed / sums.asked > 0.05 ? "bad" : ""} />
      <${Figure} label="Sent" value=${bytes(sums.sent === null ? null : Math.round(sums.sent))} />
      <${Figure} label=${of === "total" ? "Connections now" : "In flight now"} value=${number(of === "total" ? second?.connections : columns.in_flight.at(-1))} />
    </div>
    <div class="grid charts">
      <${Card} title="${counted} per second" id="rate"><${Chart} ...${common} series=${rates} stacked=${true} format=${short} label="${counted} per second by class of answer" /></${Card}>
      <${Card} title="Latency" id="latency"><${Chart} ...${common} series=${latency} format=${duration} label="Latency percentiles" /></${Card}>
      <${Card} title="Bytes per second" id="bytes"><${Chart} ...${common} series=${volume} format=${(value) => bytes(Math.round(value))} label="Bytes per second" unit="bytes" /></${Card}>
      <${Card} title="In flight" id="flight"><${Chart} ...${common} series=${flying} format=${number} label="Requests in flight" unit="count" /></${Card}>
      <${Card} title="How many took how long" id="map" wide=${true}>${
        heated
          ? html`<${LatencyMap} times=${data.times} bounds=${data.bounds} counts=${data.heat} step=${data.step} />`
          : html`<p class="empty">A map of latencies is kept of everything and of routes, by steps of ten seconds and more: choose one hour or longer${of.startsWith("pool:") || of.startsWith("server:") ? ", and everything or a route" : ""}.</p>`
      }</${Card}>
    </div>`;
}

const total = (values, step) => {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value * step, 0) : null;
};
