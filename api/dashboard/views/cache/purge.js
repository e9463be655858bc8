/** Taking things out of the cache: first what it would meet, then doing it. */

import { ask } from "../../lib/api.js";
import { bytes, number, plural } from "../../lib/format.js";
import { html, useState } from "../../lib/html.js";
import { Badge, Card, confirm, May, Problem, tell } from "../../lib/ui.js";

const KINDS = {
  urls: ["URLs", "/posts/7, or https://example.com/a?b=c", "one in a line; /path on every host"],
  prefixes: ["Everything that begins with", "https://example.com/static/", "one in a line"],
  patterns: ["Patterns", "/posts/*", "* for any characters, ? for one"],
  tags: ["Tags", "post-42", "as answers say in Surrogate-Key or Cache-Tag"],
  hosts: ["Hosts", "example.com, or *.example.com", "one in a line"],
  everything: ["Everything", "", ""],
};
const PATH = "/api/infrastructure/cache/purge";

export function Purge({ refresh }) {
  const [kind, setKind] = useState("urls");
  const [text, setText] = useState("");
  const [soft, setSoft] = useState(false);
  const [would, setWould] = useState(null);
  const [receipt, setReceipt] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const items = text.split("\n").map((one) => one.trim()).filter(Boolean);
  const body = (dry) => ({ ...(kind === "everything" ? { everything: true } : { [kind]: items }), soft, dry_run: dry });
  const changed = (act) => (value) => {
    act(value);
    setWould(null);
    setReceipt(null);
  };
  const attempt = async (act) => {
    setBusy(true);
    setError(null);
    try {
      await act();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  const look = (event) => {
    event.preventDefault();
    attempt(async () => {
      setReceipt(null);
      setWould((await ask("POST", PATH, { body: body(true) })).would);
    });
  };
  const purge = () =>
    attempt(async () => {
      if (kind === "everything") {
        const sure = await confirm({ title: "Purge everything?", text: html`<p>${plural(would.entries, "answer")}, ${bytes(would.bytes)}: servers have to give all of it again.</p>`, action: "Purge everything", danger: true, type: "everything" });
        if (!sure) return;
      }
      const done = await ask("POST", PATH, { body: body(false) });
      setReceipt(done);
      setWould(null);
      const met = done.levels.find((level) => level.level === "memory")?.entries;
      tell({ level: done.ok ? "good" : "bad", text: done.ok ? `${soft ? "Made stale" : "Purged"}: ${plural(met ?? 0, "answer")}.` : "It is not in force on every level: see the receipt." });
      refresh();
    });
  return html`<${May} role="operator"><${Card} title="Purge" id="purge" wide=${true}>
    <form class="purge" onSubmit=${look}>
      <label class="field"><span>What</span><select value=${kind} onChange=${(event) => changed(setKind)(event.target.value)}>${Object.entries(KINDS).map(([name, [word]]) => html`<option value=${name} selected=${name === kind}>${word}</option>`)}</select></label>
      ${kind !== "everything" && html`<label class="field grow"><span>Which</span><textarea rows="2" required placeholder=${KINDS[kind][1]} value=${text} spellcheck=${false} onInput=${(event) => changed(setText)(event.target.value)}></textarea><small>${KINDS[kind][2]}</small></label>`}
      <label class="check"><input type="checkbox" checked=${soft} onChange=${(event) => changed(setSoft)(event.target.checked)} /> only make it stale, so that it may be served while it is fetched anew</label>
      <div class="row"><button type="submit" disabled=${busy}>What would it meet?</button>
        <button type="button" class="danger" disabled=${busy || !would} onClick=${purge}>${would ? `${soft ? "Make stale" : "Purge"} ${plural(would.entries, "answer")}` : "Purge"}</button></div>
    </form>
    <${Problem} error=${error} />
    ${would && html`<div class="stack answer" role="status"><p><strong>${plural(would.entries, "stored answer")}</strong>, ${bytes(would.bytes)}${would.entries ? "" : ": nothing in memory is like that. A purge still keeps what is being fetched now from being stored, and reaches Redis."}</p>
      ${would.urls.length > 0 && html`<ul class="dotted">${would.urls.slice(0, 8).map((url) => html`<li><code>${url}</code></li>`)}${would.entries > 8 && html`<li class="soft">…</li>`}</ul>`}</div>`}
    ${receipt && html`<div class="stack answer"><h3>Receipt</h3><ul class="stack">${receipt.levels.map((level) => html`<li><${Badge} level=${level.ok ? "good" : "bad"} icon=${level.ok ? "ok" : "bad"}>${level.level}</${Badge}> ${level.ok ? `in force after ${number(level.seconds * 1000, 1)} ms` : "not in force"}${level.entries !== null ? `, ${plural(level.entries, "answer")}` : ""}${level.reason ? `: ${level.reason}` : ""}</li>`)}</ul></div>`}
  </${Card}></${May}>`;
}
