/** One purge for every cache: the balancer's own and the CDN's, each with its receipt. */

import { ask, get } from "../../lib/api.js";
import { plural } from "../../lib/format.js";
import { html, useState } from "../../lib/html.js";
import { Act, Badge, Card, confirm, Loaded, May, Problem, tell, usePoll, When } from "../../lib/ui.js";

const PURGES = "/api/infrastructure/cdn/purges";
const STATES = {
  queued: ["quiet", "clock", "waits"],
  submitted: ["quiet", "clock", "the provider has said yes"],
  in_progress: ["quiet", "clock", "under way"],
  completed: ["good", "ok", "done"],
  partial: ["warning", "warn", "done in part"],
  failed: ["bad", "bad", "failed"],
};
const UNDER_WAY = new Set(["queued", "submitted", "in_progress"]);

export function Purges() {
  const [some, setSome] = useState(true);
  const tickets = usePoll(async () => {
    const found = await get(PURGES, { limit: 50 });
    setSome(found.items.some((one) => UNDER_WAY.has(one.state)));
    return found;
  }, some ? 2000 : 15000, [some]);
  const retry = async (ticket) => {
    await ask("POST", `${PURGES}/${ticket.ticket}/retry`);
    tell({ text: "It is tried anew." });
    tickets.refresh();
  };
  return html`
    <${May} role="operator"><${Order} done=${tickets.refresh} /></${May}>
    <${Card} title="Purges" id="purges"><${Loaded} of=${tickets}>${(data) => (data.items.length
      ? html`<ul class="tickets">${data.items.map((one) => html`<${Ticket} key=${one.ticket} of=${one} retry=${() => retry(one)} />`)}</ul>`
      : html`<p class="empty">None in the last days.</p>`)}</${Loaded}></${Card}>`;
}

function Ticket({ of, retry }) {
  const [level, icon, word] = STATES[of.state];
  return html`<li>
    <div class="row ticket-head"><${Badge} level=${level} icon=${icon}>${word}</${Badge}><strong class="targets">${of.targets.join(", ") || "everything"}</strong>${of.soft && html`<${Badge}>soft</${Badge}>`}
      <span class="soft"><${When} at=${of.created} />, ${of.author}</span>
      ${of.cdn?.failed.length > 0 && html`<${May} role="operator"><${Act} kind="small" onAct=${retry}>Try again</${Act}></${May}>`}</div>
    <ul class="receipt" aria-label="Receipt">
      ${of.own.map((one) => html`<li><${Badge} level=${one.ok ? "good" : "bad"} icon=${one.ok ? "ok" : "bad"}>${one.level}</${Badge}>${one.entries !== null ? ` ${plural(one.entries, "answer")}` : ""}${one.reason ? ` ${one.reason}` : ""}</li>`)}
      ${of.cdn && html`<li><${Badge} level=${of.cdn.failed.length ? "bad" : of.cdn.rejected.length ? "warning" : of.cdn.verified ? "good" : "quiet"} icon=${of.cdn.failed.length ? "bad" : of.cdn.verified ? "ok" : "clock"}>${of.cdn.provider}</${Badge}> ${plural(of.cdn.accepted.length, "target")} taken${of.cdn.verified ? ", seen to be gone" : ""}${of.cdn.failed.length ? `, ${of.cdn.failed.length} failed` : ""}${of.cdn.error ? `: ${of.cdn.error}` : ""}${of.cdn.next_try ? html`; next try <${When} at=${of.cdn.next_try} plain=${true} />` : ""}
        ${of.cdn.rejected.map((one) => html`<div class="soft">${one.target}: ${one.reason}${one.nearest ? ` (widen would purge ${one.nearest})` : ""}</div>`)}</li>`}
    </ul>
    ${[...of.notes, ...of.warnings].map((note) => html`<p class="soft">${note}</p>`)}
  </li>`;
}

function Order({ done }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const order = async (event) => {
    event.preventDefault();
    const form = event.target;
    const given = new FormData(form);
    const everything = event.submitter?.value === "everything";
    const patterns = String(given.get("patterns")).split("\n").map((one) => one.trim()).filter(Boolean);
    if (!everything && !patterns.length) return;
    if (everything && !(await confirm({ title: "Purge everything, everywhere?", text: html`<p>The balancer's own cache and the whole CDN are empty then: every request goes to the servers for a while.</p>`, action: "Purge everything", danger: true, type: "everything" }))) return;
    setBusy(true);
    setError(null);
    try {
      const ticket = await ask("POST", "/api/infrastructure/cdn/purge", { body: { ...(everything ? { everything: true } : { patterns }), soft: given.get("soft") === "on", widen: given.get("widen") === "on" } });
      tell({ level: ticket.state === "failed" ? "bad" : "good", text: `${STATES[ticket.state][2]}: ${ticket.targets.join(", ") || "everything"}` });
      form.reset();
      done();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return html`<${Card} title="Purge every cache" id="order">
    <form class="purge" onSubmit=${order}>
      <label class="field grow"><span>What, one in a line</span><textarea name="patterns" rows="3" spellcheck=${false} placeholder=${"/posts/7\n/static/*\ntag:post-42"}></textarea><small>/path with all of its queries, /path/* with all below, a whole URL, tag:NAME or host:NAME</small></label>
      <label class="check"><input type="checkbox" name="soft" /> only make it stale, where there is such a thing</label>
      <label class="check"><input type="checkbox" name="widen" /> what the CDN has no form for: purge the nearest folder</label>
      <div class="row"><button type="submit" class="primary" disabled=${busy}>Purge</button><button type="submit" value="everything" disabled=${busy}>Everything…</button></div>
    </form>
    <${Problem} error=${error} />
  </${Card}>`;
}
