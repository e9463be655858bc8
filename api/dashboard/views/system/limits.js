/** Rate limits: what they decide, and for whom. */

import { ask, get, session } from "../../lib/api.js";
import { number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Act, Badge, Card, confirm, Loaded, Notice, Table, tell, usePoll, When } from "../../lib/ui.js";

export function Limits() {
  const found = usePoll(() => get("/api/infrastructure/rate-limits"), 5000);
  const rule = async (policy, key, order) => {
    const words = { lift: "no limit for it", block: "every request of it is refused", restore: "as all others, with a full bucket" };
    const asked = await confirm({ title: `${key.key}: ${words[order]}?`, text: html`<p>Policy ${policy}. Until now it was refused ${plural(key.refused, "time")}.</p>`, action: { lift: "Lift the limit", block: "Block it", restore: "Put it back" }[order], danger: order === "block", fields: order === "restore" ? undefined : [{ name: "seconds", label: "For", value: "3600", options: [["600", "10 minutes"], ["3600", "1 hour"], ["86400", "1 day"]] }] });
    if (!asked) return;
    const body = { policy, order, name: key.name, ...(asked.seconds ? { seconds: Number(asked.seconds) } : {}) };
    await ask("POST", "/api/infrastructure/rate-limits", { body });
    tell({ text: `${key.key}: ${words[order]}.`, undo: order === "restore" ? undefined : async () => { await ask("POST", "/api/infrastructure/rate-limits", { body: { policy, order: "restore", name: key.name } }); found.refresh(); } });
    found.refresh();
  };
  return html`<${Loaded} of=${found}>${(data) => {
    const policies = Object.entries(data.policies);
    if (!policies.length) return html`<${Card} title="Rate limits" id="limits"><p class="empty">No policy is configured. <code>rate_limits</code> names them, and routes choose: see <code>balancer config example</code>.</p></${Card}>`;
    return html`<div class="grid">${policies.map(([name, one]) => html`<${Card} key=${name} title=${name} id="limit-${name}" wide=${one.top.length > 0} aside=${one.dry_run && html`<${Badge} level="warning" icon="info">dry run: refuses nobody</${Badge}>`}>
      ${one.mode === "fallback" && html`<${Notice} level="warning">Redis is not used: ${one.reason}. Meanwhile ${{ local: "this balancer holds its share alone", allow: "all pass", deny: "all are refused" }[one.on_redis_down]}.</${Notice}>`}
      <dl class="facts">
        <dt>Allows</dt><dd>${[one.rate && `${one.rate}, at once ${one.burst}`, one.concurrency && `${one.concurrency} at a time`].filter(Boolean).join("; ")}</dd>
        <dt>Counted by</dt><dd>${one.key.join(" and ") || "all together"}</dd>
        <dt>Routes</dt><dd>${one.routes.join(", ") || "none"}</dd>
        <dt>Decided</dt><dd>${Object.entries(one.decisions).map(([what, count]) => `${what} ${number(count)}`).join(", ") || "nothing yet"}</dd>
        <dt>Remembers</dt><dd>${number(one.keys)} of ${number(one.max_keys)} keys</dd>
        ${one.shared && html`<dt>Shared</dt><dd>${one.mode}, by ${plural(one.instances, "balancer")}${one.since ? html` since <${When} at=${one.since} />` : ""}</dd>`}
      </dl>
      ${one.top.length > 0 && html`<${Table} label="Keys of ${name} that were refused most" rows=${one.top} id=${(row) => row.name} most=${10} columns=${[
        { key: "key", title: "Key", cell: (row) => html`<code>${row.key}</code>` },
        { key: "refused", title: "Refused", right: true, cell: (row) => number(row.refused) },
        { key: "order", title: "Order", cell: (row) => (row.order ? html`<${Badge} level=${row.order === "block" ? "bad" : "good"} icon=${row.order === "block" ? "bad" : "ok"}>${row.order === "block" ? "blocked" : "lifted"}</${Badge}> until <${When} at=${row.until} plain=${true} />` : "none") },
        ...(session.may("admin") ? [{ key: "act", title: "", cell: (row) => html`<span class="row">${row.order ? html`<${Act} kind="small" onAct=${() => rule(name, row, "restore")}>Put back…</${Act}>` : html`<${Act} kind="small" onAct=${() => rule(name, row, "lift")}>Lift…</${Act}><${Act} kind="small" onAct=${() => rule(name, row, "block")}>Block…</${Act}>`}</span>` }] : []),
      ]} />`}
    </${Card}>`)}</div>`;
  }}</${Loaded}>`;
}
