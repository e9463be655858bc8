/** What is in force, how it differs from the file, and how to change it without fear. */

import { ask, get, session } from "../lib/api.js";
import { plural, span } from "../lib/format.js";
import { html, useMemo, useState } from "../lib/html.js";
import { useLive } from "../lib/live.js";
import { Act, Badge, Card, Choice, confirm, copy, Head, Loaded, May, Notice, Problem, Table, tell, usePoll, useQuery, When } from "../lib/ui.js";
import { toYaml } from "../lib/yaml.js";
import { Changes, Effects } from "./config/changes.js";
import { Editor } from "./config/editor.js";

const TABS = [["running", "Running"], ["differences", "Differences"], ["edit", "Change"], ["history", "History"], ["why", "Why"]];

export default function Config() {
  const [tab, setTab] = useQuery("tab", "running");
  const running = usePoll(() => get("/api/config", {}, { whole: true }), 10000);
  const tabs = session.may("admin") ? TABS : TABS.filter(([name]) => name !== "edit");
  return html`
    <${Head} title="Configuration" about=${running.data ? html`revision ${running.data.data.revision ?? "–"} · <span title=${running.data.data.file}>${running.data.data.file?.split("/").pop() ?? "from the environment alone"}</span>` : html`<span> </span>`}>
      <${May} role="operator"><${Act} onAct=${() => reload(running.refresh)}>Read the file anew</${Act}></${May}>
    </${Head}>
    <${Trial} refresh=${running.refresh} />
    <div><${Choice} label="Part" value=${tab} options=${tabs} onChange=${setTab} /></div>
    <${Loaded} of=${running} rows=${10}>${({ data, etag }) => html`
      ${data.restart_required.length > 0 && html`<${Notice} level="warning">Takes effect only at the next start: ${data.restart_required.map((path) => html`<code>${path}</code> `)}</${Notice}>`}
      ${data.warnings.map((one) => html`<${Notice} level="warning"><code>${one.path}</code> ${one.message}${one.line ? ` (line ${one.line})` : ""}</${Notice}>`)}
      ${tab === "running" && html`<${Running} of=${data} />`}
      ${tab === "differences" && html`<${Differences} of=${data} etag=${etag} refresh=${running.refresh} />`}
      ${tab === "edit" && session.may("admin") && html`<${Editor} of=${data} etag=${etag} refresh=${running.refresh} />`}
      ${tab === "history" && html`<${History} etag=${etag} refresh=${running.refresh} />`}
      ${tab === "why" && html`<${Why} />`}`}</${Loaded}>`;
}

async function reload(refresh) {
  const done = await ask("POST", "/api/config/reload");
  tell({ text: done.changes.length ? `Taken over: ${plural(done.changes.length, "change")}.` : "Nothing in the file has changed." });
  refresh();
}

/** A change that undoes itself unless somebody says that it may stay. */
function Trial({ refresh }) {
  const { second } = useLive();
  if (second?.trial === null || second?.trial === undefined) return null;
  const keep = async () => {
    await ask("POST", "/api/config/confirm", { body: {} });
    tell({ text: "Confirmed: it stays." });
    refresh();
  };
  return html`<${Notice} level="warning"><div class="row"><span>On trial: it undoes itself in <strong class="ticking">${span(second.trial)}</strong>, or at once if errors rise.</span>
    <${May} role="admin"><${Act} kind="primary" onAct=${keep}>Keep it</${Act}></${May}></div></${Notice}>`;
}

function Running({ of }) {
  const [wanted, setWanted] = useState("");
  const whole = useMemo(() => toYaml(of.config), [of.config]);
  const shown = useMemo(() => found(whole, wanted.trim().toLowerCase()), [whole, wanted]);
  return html`<${Card} title="In force" id="running" aside=${html`<label class="select"><span>find</span><input type="search" value=${wanted} onInput=${(event) => setWanted(event.target.value)} /></label><${Act} onAct=${() => copy(whole)}>Copy</${Act}>`}>
    <p class="soft">Defaults are written out; credentials are <code>***</code>.</p>
    ${shown.length ? html`<pre class="code" tabindex="0">${shown.join("\n")}</pre>` : html`<p class="empty">No line has “${wanted}”.</p>`}
  </${Card}>`;
}

/** Lines with a text, each with those that it is under. */
function found(whole, wanted) {
  const all = whole.split("\n");
  if (!wanted) return all;
  const kept = new Set();
  const above = [];
  all.forEach((line, i) => {
    const depth = line.search(/\S/);
    while (above.length && above.at(-1)[0] >= depth) above.pop();
    if (line.toLowerCase().includes(wanted)) for (const index of [...above.map(([, at]) => at), i]) kept.add(index);
    above.push([depth, i]);
  });
  return all.filter((_, i) => kept.has(i));
}

function Differences({ of, etag, refresh }) {
  const diff = usePoll(() => get("/api/config/diff"), 10000);
  const drop = async () => {
    const told = await ask("DELETE", "/api/config/overlay", { query: { dry_run: true }, match: etag });
    const sure = await confirm({ title: "Let the file hold again?", text: html`<${Effects} of=${told} />`, action: "Take back what the API changed", danger: true });
    if (!sure) return;
    await ask("DELETE", "/api/config/overlay", { match: etag });
    tell({ text: "The file holds again." });
    refresh();
    diff.refresh();
  };
  const save = async () => {
    const told = await ask("POST", "/api/config/save", { query: { dry_run: true }, match: etag });
    const sure = await confirm({ title: `Write ${plural(told.changes.length, "change")} into ${told.file}?`, text: html`<${Changes} of=${told.changes} /><p>Other lines and comments stay; the old file is kept as .bak.</p>`, action: "Save into the file" });
    if (!sure) return;
    await ask("POST", "/api/config/save", { match: etag });
    tell({ text: "Saved into the file." });
    refresh();
    diff.refresh();
  };
  return html`<${Loaded} of=${diff}>${(data) => html`<div class="grid">
    <${Card} title="Changed over the file" id="over" aside=${data.running.length > 0 && of.file && html`<${May} role="admin"><${Act} onAct=${save}>Save into the file…</${Act}><${Act} onAct=${drop}>Take back…</${Act}></${May}>`}>
      ${data.running.length ? html`<${Changes} of=${data.running} />` : html`<p class="empty">What is in force is what the file says.</p>`}
    </${Card}>
    <${Card} title="In the file, and not yet taken over" id="file">
      ${data.problems.length > 0 && html`<${Notice} level="bad">The file as it is now cannot be taken over:<ul>${data.problems.map((one) => html`<li>${one.line ? `line ${one.line}: ` : ""}<code>${one.path}</code> ${one.message}</li>`)}</ul></${Notice}>`}
      ${data.file?.length ? html`<${Changes} of=${data.file} /><p class="soft">“Read the file anew” takes it over.</p>` : data.problems.length ? null : html`<p class="empty">The file has not changed since it was read.</p>`}
    </${Card}></div>`}</${Loaded}>`;
}

const CAUSES = { start: "start", reload: "file read anew", change: "change", rollback: "rollback", undo: "undone", save: "saved" };

function History({ etag, refresh }) {
  const history = usePoll(() => get("/api/config/history"), 10000);
  const back = async (revision) => {
    const told = await ask("POST", "/api/config/rollback", { body: { revision }, query: { dry_run: true }, match: etag });
    if (!told.changes.length) return tell({ level: "good", text: `Revision ${revision} is what is in force already.` });
    const sure = await confirm({
      title: `Go back to revision ${revision}?`,
      text: html`<${Effects} of=${told} />`,
      action: "Go back",
      fields: [{ name: "confirm", label: "On trial for", value: "1m", options: [["0", "not at all: it stays at once"], ["1m", "1 minute"], ["5m", "5 minutes"]], help: "Without “Keep it” in this time it undoes itself." }],
    });
    if (!sure) return;
    await ask("POST", "/api/config/rollback", { body: { revision }, query: { confirm: sure.confirm }, match: etag });
    tell({ text: `Revision ${revision} is in force again.` });
    refresh();
    history.refresh();
  };
  return html`<${Loaded} of=${history}>${(data) => html`<${Card} title="The last configurations" id="history">
    <${Table} label="Configurations that were in force" rows=${data.items} id=${(row) => row.revision} columns=${[
      { key: "revision", title: "Revision", cell: (row) => html`<strong>${row.revision}</strong>${row === data.items[0] ? html` <${Badge} level="good" icon="ok">in force</${Badge}>` : ""}` },
      { key: "at", title: "When", cell: (row) => html`<${When} at=${row.at} />` },
      { key: "cause", title: "How", cell: (row) => html`${CAUSES[row.cause] ?? row.cause}, ${row.author}${row.provisional ? html` <${Badge} level="warning" icon="clock">on trial</${Badge}>` : ""}${row.note ? html`<br /><span class="soft">${row.note}</span>` : ""}` },
      { key: "changes", title: "Changes", cell: (row) => (row.changes.length ? html`<details><summary>${plural(row.changes.length + row.more, "change")}</summary><${Changes} of=${row.changes} /></details>` : "none") },
      { key: "back", title: "", cell: (row) => row !== data.items[0] && html`<${May} role="admin"><${Act} kind="small" onAct=${() => back(row.revision)}>Go back…</${Act}></${May}>` },
    ]} />
    <p class="soft">The last ten are kept, also over a restart.</p></${Card}>`}</${Loaded}>`;
}

function Why() {
  const [path, setPath] = useQuery("path", "");
  const [error, setError] = useState(null);
  const [answer, setAnswer] = useState(null);
  const look = async (event) => {
    event.preventDefault();
    const wanted = String(new FormData(event.target).get("path")).trim();
    setPath(wanted);
    setError(null);
    try {
      setAnswer(await get("/api/config/why", { path: wanted }));
    } catch (failure) {
      setError(failure);
      setAnswer(null);
    }
  };
  return html`<${Card} title="Where a setting comes from" id="why">
    <form class="row" onSubmit=${look}><label class="field grow"><span class="hidden">Path of a setting</span><input name="path" defaultValue=${path} placeholder="pools.default.strategy, or a part: listeners" required spellcheck=${false} /></label><button type="submit" class="primary">Look</button></form>
    <${Problem} error=${error} />
    ${answer && html`<${Table} label="Where settings come from" rows=${answer.items} id=${(row) => row.path} most=${60} columns=${[
      { key: "path", title: "Setting", cell: (row) => html`<code>${row.path}</code>` },
      { key: "value", title: "Value", cell: (row) => html`<code>${row.value ?? "nothing"}</code>` },
      { key: "source", title: "Said by", cell: (row) => html`${row.source === "api" ? `the API${row.by ? `, ${row.by}` : ""}` : row.source}${row.written.file && row.source !== "api" ? html` <span class="soft">${row.written.file.split("/").pop()}${row.written.line ? `:${row.written.line}` : ""}</span>` : ""}${row.at ? html` <${When} at=${row.at} />` : ""}` },
    ]} />${answer.more > 0 && html`<p class="soft">${plural(answer.more, "further setting")} not shown: name a smaller part.</p>`}`}
  </${Card}>`;
}
