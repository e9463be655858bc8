/** One report: its figures, its charts, its tables. */

import { Bars, Chart, Heat } from "../../lib/chart.js";
import { NONE, number, percent, seconds as duration, short, span } from "../../lib/format.js";
import { html, useMemo } from "../../lib/html.js";
import { Card, Figure, Prose, Table, When } from "../../lib/ui.js";
import { WORDS } from "./reports.js";

export function Report({ of, shape, csv, compare }) {
  const figures = shape.figures.filter((name) => of.summary[name]);
  return html`
    <div class="figures">${figures.map((name) => html`<${Metric} key=${name} name=${name} of=${of.summary[name]} compare=${compare !== "none"} />`)}</div>
    ${of.active_definition && html`<p class="soft">Active is who did: ${of.active_definition}.</p>`}
    ${Date.parse(of.to) > Date.parse(of.generated_at) && html`<p class="soft">The last day is not over: its figures, and how they compare, will still rise. Charts with more than that end before it.</p>`}
    <div class="grid charts">
      ${shape.charts.map((chart) => html`<${Over} key=${chart.title} of=${of} chart=${chart} csv=${csv} />`)}
      ${shape.special?.includes("retention") && html`<${Retention} rows=${of.tables.retention} csv=${csv} />`}
      ${shape.special?.includes("heatmap") && html`<${Week} rows=${of.tables.heatmap} csv=${csv} />`}
      ${shape.special?.includes("kinds") && html`<${Kinds} series=${of.series} />`}
      ${shape.special?.includes("groups") && html`<${Groups} summary=${of.summary} />`}
      ${Object.entries(shape.tables).map(([name, table]) => html`<${Rows} key=${name} name=${name} table=${table} rows=${of.tables[name]} csv=${csv} wide=${Object.keys(table.columns).length > 4} />`)}
    </div>`;
}

/** By its unit, as people say it. */
function shown(value, unit) {
  if (value === null || value === undefined) return NONE;
  if (unit === "share") return percent(value);
  if (unit === "seconds") return value < 120 ? duration(value) : span(value);
  return typeof value === "number" ? (Math.abs(value) >= 100000 ? short(value) : number(value)) : String(value);
}

function Metric({ name, of, compare }) {
  if (of.value !== null && typeof of.value === "object") return null;
  const change = of.change;
  const note =
    of.value === null
      ? html`<${Prose} text=${of.reason ?? "nothing to tell it from"} />`
      : !compare
        ? ""
        : change === null
          ? of.previous === null || of.previous === undefined ? "" : `${shown(of.previous, of.unit)} in the period before`
          : html`<span class="change">${change > 0 ? "▲" : change < 0 ? "▼" : "="} ${percent(Math.abs(change))} ${change > 0 ? "more" : change < 0 ? "less" : "the same"}</span>, ${shown(of.previous, of.unit)} before`;
  return html`<${Figure} label=${WORDS[name] ?? name.replaceAll("_", " ")} value=${shown(of.value, of.unit)} note=${note || html`<span> </span>`} />`;
}

const Csv = ({ href }) => html`<a class="csv" href=${href} download>CSV</a>`;

/** Without what is to come, nor the last time when it is not over, which would look like a fall; with it where there is nothing else. */
function whole(all, now) {
  const rows = all?.filter((row) => Date.parse(row.start) <= Date.parse(now));
  if (!rows || rows.length < 3) return rows;
  const [before, last] = rows.slice(-2).map((row) => Date.parse(row.start));
  const some = rows.slice(0, -1).some((row) => Object.entries(row).some(([name, value]) => name !== "start" && value));
  return some && last + (last - before) > Date.parse(now) ? rows.slice(0, -1) : rows;
}

function Over({ of, chart, csv }) {
  const rows = useMemo(() => whole(chart.of ? of.tables[chart.of] : of.series, of.generated_at), [of, chart]);
  const times = useMemo(() => (rows ?? []).map((row) => new Date(row.start).getTime() / 1000), [rows]);
  const series = useMemo(
    () => Object.entries(chart.columns).map(([name, words], i) => ({ name: words, values: (rows ?? []).map((row) => row[name] ?? null), colour: `chart-${i + 1}`, fill: Object.keys(chart.columns).length === 1 })),
    [rows, chart],
  );
  const reasons = Object.keys(chart.columns).map((name) => Object.entries(of.metrics).find(([key]) => key.endsWith(`series.${name}`) || key.endsWith(`.${name}`))?.[1].reason);
  const nothing = series.every((one) => one.values.every((value) => value === null));
  return html`<${Card} title=${chart.title} id="chart-${chart.title.replaceAll(/\W/g, "-")}" aside=${html`<${Csv} href=${csv(chart.of)} />`}>
    ${nothing
      ? html`<p class="empty plot-empty">${reasons.find(Boolean) ?? "Nothing happened in this time."}</p>`
      : html`<${Chart} times=${times} series=${series.filter((one) => one.values.some((value) => value !== null))} stacked=${chart.stacked} height=${190} unit=${chart.share ? undefined : "count"} format=${chart.share ? (value) => percent(value, 0) : short} max=${chart.share ? 1 : undefined} label=${chart.title} />`}
  </${Card}>`;
}

const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

function Week({ rows, csv }) {
  const values = DAYS.map(() => Array(24).fill(0));
  for (const row of rows ?? []) values[row.isodow - 1][row.hour] += row.posts;
  return html`<${Card} title="When posts are written" id="heat" aside=${html`<${Csv} href=${csv("heatmap")} />`}>${rows?.length
    ? html`<${Heat} rows=${DAYS} columns=${Array.from({ length: 24 }, (_, hour) => String(hour))} values=${values} every=${3} label="Posts by weekday and hour" /><p class="soft">Hours of the day; darker is more. The busiest has ${number(Math.max(...values.flat()))}.</p>`
    : html`<p class="empty">No post in this time.</p>`}</${Card}>`;
}

/** Of those who came in a week, how many were there so many weeks later. */
function Retention({ rows, csv }) {
  const most = Math.max(0, ...(rows ?? []).map((row) => row.weeks.length));
  return html`<${Card} title="Who stays" id="retention" wide=${true} aside=${html`<${Csv} href=${csv("retention")} />`}>${most
    ? html`<div class="scroll" tabindex="0" role="group" aria-label="Retention by week"><table class="triangle"><caption class="hidden">Share of new users of a week who were active so many weeks later</caption>
      <thead><tr><th scope="col">Week of</th><th scope="col" class="right">New</th>${Array.from({ length: most }, (_, week) => html`<th scope="col" class="right">${week ? `+${week}` : "0"}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr><th scope="row">${row.cohort}</th><td class="right">${number(row.size)}</td>${Array.from({ length: most }, (_, week) => {
        const cell = row.weeks.find((one) => one.week === week);
        return cell ? html`<td class="right cell" style=${{ "--share": (cell.rate ?? 0).toFixed(3) }} title="${number(cell.retained)} of ${number(row.size)}">${percent(cell.rate, 0)}</td>` : html`<td></td>`;
      })}</tr>`)}</tbody></table></div><p class="soft">Share of those who were new in a week and active again so many weeks later.</p>`
    : html`<p class="empty">No user was new in this time, or it is not known who was.</p>`}</${Card}>`;
}

function Kinds({ series }) {
  const sums = {};
  for (const row of series) for (const [kind, count] of Object.entries(row.by_action ?? {})) sums[kind] = (sums[kind] ?? 0) + count;
  return html`<${Card} title="By kind" id="kinds"><${Bars} label="Actions by kind" empty="No moderator did anything in this time." items=${Object.entries(sums).sort(([, a], [, b]) => b - a).map(([name, value]) => ({ name: name.replaceAll("_", " "), value }))} /></${Card}>`;
}

function Groups({ summary }) {
  const groups = Object.entries(summary).filter(([, one]) => one.value !== null && typeof one.value === "object" && !Array.isArray(one.value));
  return groups.map(([name, one]) => html`<${Card} key=${name} title=${name.replace(/^current_by_/, "By ").replaceAll("_", " ")} id=${name}><${Bars} label=${name.replaceAll("_", " ")} items=${Object.entries(one.value).map(([key, value]) => ({ name: key, value }))} /></${Card}>`);
}

/** What somebody or something is called: its name where that is known and may be, else its short key. */
function named(row) {
  const name = row.name ?? row.username ?? row.title;
  const id = row.id ?? row.key ?? row.moderator_id;
  return name ? html`${name}${row.slug ? html` <span class="soft">${row.slug}</span>` : ""}` : id ? html`<code title="its key">${id}</code>` : html`<span class="soft">not known</span>`;
}

const NAMES = new Set(["name", "username", "title"]);

function Rows({ name, table, rows, csv, wide }) {
  const some = rows ?? [];
  // What is not known of any row needs no column.
  const columns = Object.entries(table.columns).filter(([key], i) => i === 0 || NAMES.has(key) || some.some((row) => row[key] !== null && row[key] !== undefined));
  return html`<${Card} title=${table.title} id="table-${name}" wide=${wide} aside=${html`<${Csv} href=${csv(name)} />`}>
    <${Table} label=${table.title} rows=${some} id=${(row) => row.id ?? row.key ?? row.moderator_id ?? JSON.stringify(row)} most=${15} empty="Nothing in this time." columns=${columns.map(([key, title]) => ({
      key,
      title,
      right: !NAMES.has(key) && key !== "key" && some.some((row) => typeof row[key] === "number"),
      sort: NAMES.has(key) ? undefined : (row) => row[key],
      cell: (row) => (NAMES.has(key) || key === "key" ? named(row) : /_at$/.test(key) ? html`<${When} at=${row[key]} />` : /_s$/.test(key) ? shown(row[key], "seconds") : /share|rate/.test(key) ? percent(row[key]) : typeof row[key] === "number" ? number(row[key]) : (row[key] ?? NONE)),
    }))} />
  </${Card}>`;
}

