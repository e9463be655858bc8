/** Who has changed what, and who was not let in. */

import { get } from "../../lib/api.js";
import { html, useState } from "../../lib/html.js";
import { Act, Badge, Card, Loaded, Notice, Select, Table, usePoll, When } from "../../lib/ui.js";
import { Changes } from "../config/changes.js";

export function Audit() {
  const [phase, setPhase] = useState("done");
  const [older, setOlder] = useState([]);
  const trail = usePoll(() => get("/api/audit", { limit: 50, phase: phase || undefined }), 5000, [phase]);
  const more = async () => {
    const last = older.at(-1) ?? trail.data.items.at(-1);
    const next = await get("/api/audit", { limit: 100, phase: phase || undefined, before: last.seq });
    setOlder([...older, ...next.items]);
  };
  return html`<${Card} title="Audit trail" id="audit" aside=${html`<${Select} label="show" value=${phase} options=${[["done", "what was done"], ["denied", "who was not let in"], ["intent", "what was about to be done"], ["", "all lines"]]} onChange=${(value) => { setOlder([]); setPhase(value); }} />`}>
    <${Loaded} of=${trail}>${(data) => {
      const seen = new Set(data.items.map((one) => one.seq));
      const rows = [...data.items, ...older.filter((one) => !seen.has(one.seq))];
      return html`
        ${data.failing && html`<${Notice} level="bad">The trail cannot be written: ${data.failing}. Changes are refused until it can.</${Notice}>`}
        <${Table} label="Audit trail" rows=${rows} id=${(row) => row.seq} empty="No line of this kind yet." columns=${[
          { key: "at", title: "When", cell: (row) => html`<${When} at=${row.at} />` },
          { key: "actor", title: "Who", cell: (row) => html`${row.actor.id ?? row.actor.kind}<br /><span class="soft">${row.address}</span>` },
          { key: "operation", title: "What", cell: (row) => html`${(row.operation ?? `${row.method} ${row.path}`).replaceAll("_", " ")}<br /><code class="soft">${row.path}</code>` },
          { key: "status", title: "Came to", cell: (row) => html`<${Badge} level=${row.phase === "intent" ? "quiet" : row.status < 400 ? "good" : "bad"} icon=${row.phase === "intent" ? "clock" : row.status < 400 ? "ok" : "bad"}>${row.phase === "intent" ? "begun" : row.status}</${Badge}>${row.detail ? html` ${row.detail}` : ""}` },
          { key: "changes", title: "Changed", cell: (row) => (row.changes.length ? html`<details><summary>${row.changes.length + row.more}</summary><${Changes} of=${row.changes} /></details>` : "") },
        ]} />
        ${rows.length >= 50 && rows.at(-1).seq > 1 && html`<${Act} kind="quiet" onAct=${more}>Older lines</${Act}>`}
        <p class="soft">${data.file ? html`All of it is in <code>${data.file}</code>.` : "Only the last lines are kept, in memory: admin.audit is null."}</p>`;
    }}</${Loaded}></${Card}>`;
}
