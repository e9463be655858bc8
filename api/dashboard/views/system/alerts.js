/** Rules that tell somebody, and whether they could be told. */

import { ask, get, session } from "../../lib/api.js";
import { number, span } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Act, Badge, Card, confirm, Loaded, May, Table, tell, usePoll, When } from "../../lib/ui.js";

const STATES = { ok: ["good", "ok", "ok"], pending: ["warning", "clock", "about to fire"], firing: ["bad", "warn", "fires"] };

export function Alerts() {
  const found = usePoll(() => get("/api/monitoring/alerts"), 5000);
  const quiet = async (rule) => {
    const asked = await confirm({ title: `Be quiet about ${rule}?`, text: html`<p>Nothing new is told of it. That it is over is told all the same.</p>`, action: "Be quiet", fields: [{ name: "seconds", label: "For", value: "3600", options: [["900", "15 minutes"], ["3600", "1 hour"], ["28800", "8 hours"], ["86400", "1 day"]] }] });
    if (!asked) return;
    await ask("POST", `/api/monitoring/alerts/${encodeURIComponent(rule)}/silence`, { body: { seconds: Number(asked.seconds) } });
    tell({ text: `Quiet about ${rule}.`, undo: () => hear(rule) });
    found.refresh();
  };
  const hear = async (rule) => {
    await ask("DELETE", `/api/monitoring/alerts/${encodeURIComponent(rule)}/silence`);
    found.refresh();
  };
  const test = async (webhook) => {
    const { result } = await ask("POST", "/api/monitoring/alerts/test", { body: { webhook } });
    tell({ level: result === "sent" ? "good" : "bad", text: result === "sent" ? `A test message was sent to ${webhook}.` : `${webhook}: ${result}` });
    found.refresh();
  };
  return html`<${Loaded} of=${found}>${(data) =>
    data.configured
      ? html`<div class="grid">
        <${Card} title="Rules" id="rules" wide=${true}><${Table} label="Rules of alerts" rows=${Object.entries(data.rules).map(([name, one]) => ({ name, ...one }))} id=${(row) => row.name} columns=${[
          { key: "name", title: "Rule", cell: (row) => html`${row.name}<br /><span class="soft">${row.when.replaceAll("_", " ")}${row.of ? ` of ${row.of}` : ""}, ${row.severity}</span>` },
          { key: "state", title: "State", sort: (row) => Object.keys(STATES).indexOf(row.state), cell: (row) => html`<${Badge} level=${STATES[row.state][0]} icon=${STATES[row.state][1]}>${STATES[row.state][2]}</${Badge}>${row.silenced_until ? html`<br /><span class="soft">quiet until <${When} at=${row.silenced_until} plain=${true} /></span>` : ""}` },
          { key: "alerts", title: "What it found", cell: (row) => (row.alerts.length ? html`<ul class="stack">${row.alerts.map((one) => html`<li>${one.text} <span class="soft">since <${When} at=${one.since} />${one.told ? html`, told <${When} at=${one.told} />` : ", not told yet"}</span></li>`)}</ul>` : "nothing") },
          { key: "lasting", title: "Fires after", right: true, cell: (row) => span(row.lasting) },
          ...(session.may("operator") ? [{ key: "act", title: "", cell: (row) => (row.silenced_until ? html`<${Act} kind="small" onAct=${() => hear(row.name)}>Tell again</${Act}>` : html`<${Act} kind="small" onAct=${() => quiet(row.name)}>Be quiet…</${Act}>`) }] : []),
        ]} /></${Card}>
        <${Card} title="Who is told" id="webhooks"><${Table} label="Webhooks" empty="Nobody: webhooks are missing in alerts." rows=${Object.entries(data.webhooks).map(([name, one]) => ({ name, ...one }))} id=${(row) => row.name} columns=${[
          { key: "name", title: "Webhook", cell: (row) => html`${row.name}<br /><span class="soft">${row.format}${row.signed ? ", signed" : ""}</span>` },
          { key: "results", title: "Messages", cell: (row) => Object.entries(row.results).map(([what, count]) => `${what} ${number(count)}`).join(", ") || "none yet" },
          { key: "last", title: "Last", cell: (row) => (row.last ? html`<${When} at=${row.last} />: ${row.last_result}` : "–") },
          ...(session.may("operator") ? [{ key: "act", title: "", cell: (row) => html`<${Act} kind="small" onAct=${() => test(row.name)}>Send a test</${Act}>` }] : []),
        ]} /></${Card}></div>`
      : html`<${Card} title="Alerts" id="alerts"><p class="empty">Nobody is told of anything yet. <code>alerts</code> with a webhook switches the usual rules on:</p>
        <pre class="code">${"alerts:\n  webhooks:\n    team: {url: \"https://hooks.example.com/…\", format: slack}\n"}</pre><${May} role="admin"><p><a href="#/config?tab=edit">Change the configuration</a></p></${May}></${Card}>`
  }</${Loaded}>`;
}
