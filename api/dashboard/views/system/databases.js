/** PostgreSQL and Redis by their own figures, with what is wrong and what to do. */

import { get } from "../../lib/api.js";
import { bytes, number, percent, seconds as duration } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Card, Loaded, Notice, State, usePoll, When } from "../../lib/ui.js";

export function Databases() {
  const found = usePoll(() => get("/api/monitoring/database"), 10000);
  return html`<${Loaded} of=${found}>${(data) => html`<div class="grid">${Object.entries(data.databases).map(([name, one]) => html`<${Database} key=${name} name=${name} of=${one} />`)}</div>
    <p class="soft">Others are looked at once they are named in <code>databases</code>.</p>`}</${Loaded}>`;
}

/** What it tells of itself differs by its kind and version: all of it is shown, by its own names. */
function Database({ name, of }) {
  const off = of.ok === null;
  return html`<${Card} title=${name} id="database-${name}" aside=${html`<${State} of=${off ? "unknown" : of.ok ? "ok" : "down"} text=${off ? "not looked at" : of.ok ? `answers in ${duration(of.latency)}` : "away"} />`}>
    ${of.reason && html`<p class="soft">${of.reason}</p>`}
    ${(of.problems ?? []).map((one) => html`<${Notice} level="warning"><strong>${one.about.replaceAll("_", " ")}:</strong> ${one.message}</${Notice}>`)}
    <dl class="facts">${facts(of)}</dl>
    ${of.checked && html`<p class="soft">looked at <${When} at=${of.checked} /></p>`}
  </${Card}>`;
}

const SKIPPED = new Set(["ok", "latency", "reason", "problems", "checked", "kind", "statements", "tables", "use"]);

const format = (name, value) =>
  value === null ? "–" : typeof value === "boolean" ? (value ? "yes" : "no") : typeof value !== "number" ? String(value) : /bytes|memory|size/.test(name) ? bytes(value) : /ratio|share/.test(name) ? percent(value) : /seconds|latency|age|lag/.test(name) ? duration(value) : number(value);

function facts(of, above = "") {
  return Object.entries(of).flatMap(([name, value]) => {
    if (!above && SKIPPED.has(name)) return [];
    const words = `${above}${name.replaceAll("_", " ")}`;
    if (value === null || typeof value !== "object") return [html`<dt>${words}</dt><dd>${format(name, value)}</dd>`];
    if (Array.isArray(value)) return value.length ? [html`<dt>${words}</dt><dd>${value.length}: ${value.slice(0, 5).map((one) => (typeof one === "object" ? Object.values(one).filter((v) => typeof v !== "object").join(" · ") : one)).join("; ")}</dd>`] : [];
    return above.split(" ").length > 2 ? [] : facts(value, `${words} `);
  });
}
