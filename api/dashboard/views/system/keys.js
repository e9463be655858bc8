/** Keys to the admin API. A key's text is shown once, when it is made, and is nowhere afterwards. */

import { ask, get } from "../../lib/api.js";
import { html, useState } from "../../lib/html.js";
import { Act, Badge, Card, confirm, copy, Loaded, Notice, Table, tell, usePoll, When } from "../../lib/ui.js";

const SOURCES = { file: "the configuration file", environment: "ADMIN_API_KEY", api: "made here", process: "printed at the start" };

export function Keys() {
  const keys = usePoll(() => get("/api/keys"), 15000);
  const [made, setMade] = useState(null);
  const make = async () => {
    const asked = await confirm({
      title: "Make a key",
      action: "Make it",
      fields: [
        { name: "id", label: "Name", help: "As it is called in logs and the audit trail. Letters, digits, - and _." },
        { name: "role", label: "Role", value: "viewer", options: [["viewer", "viewer: only looks"], ["operator", "operator: operates what is configured"], ["admin", "admin: everything"]] },
        { name: "expires", label: "Last day (UTC)", type: "date", help: "Empty: until it is taken back." },
        { name: "networks", label: "Only from", help: "Addresses or networks, with commas between them. Empty: from everywhere." },
      ],
    });
    if (!asked) return;
    const networks = asked.networks.split(",").map((one) => one.trim()).filter(Boolean);
    setMade(await ask("POST", "/api/keys", { body: { id: asked.id.trim() || null, role: asked.role, expires: asked.expires || null, networks } }));
    keys.refresh();
  };
  const revoke = async (key) => {
    const sure = await confirm({ title: `Take back the key ${key.id}?`, text: html`<p>Whoever uses it is out at once, sessions that began with it included. ${key.last_used ? html`It was used last <${When} at=${key.last_used.at} /> from ${key.last_used.address}.` : "As far as is known it was never used."}</p>`, action: "Take it back", danger: true });
    if (!sure) return;
    await ask("DELETE", `/api/keys/${encodeURIComponent(key.id)}`);
    tell({ text: `The key ${key.id} opens nothing any more.` });
    keys.refresh();
  };
  return html`<${Card} title="Keys" id="keys" aside=${html`<${Act} kind="primary" onAct=${make}>Make a key…</${Act}>`}>
    ${made && html`<${Notice} level="warning"><p><strong>The key ${made.entry.id}, shown only now:</strong></p><p><code class="secret">${made.key}</code></p><div class="row"><${Act} onAct=${() => copy(made.key)}>Copy</${Act}><button type="button" onClick=${() => setMade(null)}>I have it</button></div></${Notice}>`}
    <${Loaded} of=${keys}>${(data) => html`<${Table} label="Keys to the admin API" rows=${data.items} id=${(row) => row.id} columns=${[
      { key: "id", title: "Name" },
      { key: "role", title: "Role" },
      { key: "source", title: "From", cell: (row) => html`${SOURCES[row.source]}${row.created_by ? html`<br /><span class="soft">by ${row.created_by}, <${When} at=${row.created} /></span>` : ""}` },
      { key: "expires", title: "Ends", cell: (row) => (row.expired ? html`<${Badge} level="bad" icon="warn">ended ${row.expires}</${Badge}>` : (row.expires ?? "never")) },
      { key: "networks", title: "Only from", cell: (row) => row.networks.join(", ") || "everywhere" },
      { key: "used", title: "Used last", cell: (row) => (row.last_used ? html`<${When} at=${row.last_used.at} /><br /><span class="soft">${row.last_used.address}</span>` : "never") },
      { key: "act", title: "", cell: (row) => (row.source === "api" ? html`<${Act} kind="small" onAct=${() => revoke(row)}>Take back…</${Act}>` : html`<span class="soft">is taken back there</span>`) },
    ]} />`}</${Loaded}>
  </${Card}>`;
}
