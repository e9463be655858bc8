/** A whole configuration as text: checked with its lines marked, tried for a while, and kept only when somebody says so. */

import { ApiError, ask } from "../../lib/api.js";
import { plural } from "../../lib/format.js";
import { html, useMemo, useRef, useState } from "../../lib/html.js";
import { Act, Card, confirm, Notice, Problem, tell } from "../../lib/ui.js";
import { toYaml } from "../../lib/yaml.js";
import { Effects } from "./changes.js";

const YAML = { "Content-Type": "application/yaml" };

export function Editor({ of, etag, refresh }) {
  const first = useMemo(() => ({ text: toYaml(of.config), etag }), []);
  const [text, setText] = useState(first.text);
  const [basis, setBasis] = useState(first);
  const [problems, setProblems] = useState(null);
  const [error, setError] = useState(null);
  const [stale, setStale] = useState(null);
  const area = useRef(null);
  const gutter = useRef(null);
  const lines = text.split("\n").length;
  const marked = new Set((problems ?? []).map((one) => one.line));

  const anew = async () => {
    const now = await ask("GET", "/api/config", { whole: true }); // what was polled may be older than the refusal
    const fresh = { text: toYaml(now.data.config), etag: now.etag };
    refresh();
    setBasis(fresh);
    setText(fresh.text);
    setProblems(null);
    setStale(null);
    setError(null);
  };
  const check = async () => {
    setError(null);
    const found = await ask("POST", "/api/config/check", { body: text, headers: YAML });
    setProblems(found.problems);
    if (found.valid) tell({ text: found.changed.length ? `It is valid: ${plural(found.changed.length, "setting")} would change.` : "It is valid, and what is in force." });
    return found.valid;
  };
  const refused = (failure) => {
    if (!(failure instanceof ApiError)) throw failure;
    if (failure.status === 412) setStale(failure);
    else {
      setError(failure);
      setProblems(failure.faults.map((fault) => ({ path: fault.pointer, message: fault.message, line: fault.line ?? null, column: fault.column ?? null })));
    }
  };
  const apply = async () => {
    setError(null);
    try {
      const told = await ask("PUT", "/api/config", { body: text, headers: YAML, query: { dry_run: true }, match: basis.etag });
      setProblems([]);
      if (!told.changes.length) return tell({ text: "This is what is in force already." });
      const sure = await confirm({
        title: `Make ${plural(told.changes.length, "change")}?`,
        text: html`<${Effects} of=${told} />`,
        action: "Apply",
        fields: [{ name: "confirm", label: "On trial for", value: "1m", options: [["1m", "1 minute"], ["5m", "5 minutes"], ["30m", "30 minutes"], ["0", "not at all: it stays at once"]], help: "Unless you then say “Keep it”, or if errors rise, it undoes itself." }],
      });
      if (!sure) return;
      const done = await ask("PUT", "/api/config", { body: text, headers: YAML, query: { confirm: sure.confirm }, match: basis.etag });
      tell({ text: done.provisional ? `Revision ${done.revision} is in force, on trial.` : `Revision ${done.revision} is in force.` });
      const now = await ask("GET", "/api/config", { whole: true });
      setBasis({ text, etag: now.etag });
      refresh();
    } catch (failure) {
      refused(failure);
    }
  };
  const go = (line) => {
    const at = text.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.current.focus();
    area.current.setSelectionRange(at, at + (text.split("\n")[line - 1]?.length ?? 0));
    area.current.scrollTop = Math.max(0, (line - 6) * 18.75);
  };
  return html`<${Card} title="Change the configuration" id="edit" aside=${html`<${Act} onAct=${anew} disabled=${text === toYaml(of.config) && basis.etag === etag}>What is in force</${Act}><${Act} onAct=${check}>Check</${Act}><${Act} kind="primary" onAct=${apply} disabled=${!text.trim()}>Apply…</${Act}>`}>
    <p class="soft">Edit what is in force, or paste a whole file. <code>***</code> means “as it is”. Nothing happens before you have seen what it would do.</p>
    ${stale && html`<${Notice} level="warning"><strong>Somebody else has changed the configuration since you began.</strong> ${stale.message} Your text is still here: copy what you need of it, then <${Act} onAct=${anew}>begin with what is in force now</${Act}></${Notice}>`}
    <${Problem} error=${error} />
    ${problems?.length > 0 && html`<ul class="problems">${problems.map((one) => html`<li>${one.line ? html`<button type="button" class="small" onClick=${() => go(one.line)}>line ${one.line}</button>` : ""} <code>${one.path}</code> ${one.message}</li>`)}</ul>`}
    <div class="editor">
      <pre ref=${gutter} class="gutter" aria-hidden="true">${Array.from({ length: lines }, (_, i) => html`<span class=${marked.has(i + 1) ? "marked" : ""}>${marked.has(i + 1) ? "▶ " : ""}${i + 1}${"\n"}</span>`)}</pre>
      <textarea ref=${area} aria-label="Configuration as YAML" aria-invalid=${marked.size > 0} spellcheck=${false} wrap="off" value=${text}
        onInput=${(event) => setText(event.target.value)} onScroll=${(event) => { gutter.current.scrollTop = event.target.scrollTop; }}></textarea>
    </div>
  </${Card}>`;
}
