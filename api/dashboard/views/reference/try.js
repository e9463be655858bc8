/** One operation, tried with the session's own rights. */

import { ask, session } from "../../lib/api.js";
import { bytes } from "../../lib/format.js";
import { html, useState } from "../../lib/html.js";
import { Badge, confirm } from "../../lib/ui.js";

const MOST = 20000; // characters that are shown of an answer

export function Try({ method, path, operation, may, role, start, type }) {
  const [busy, setBusy] = useState(false);
  const [answer, setAnswer] = useState(null);
  if (!may) return html`<p class="soft">To try it takes the role ${role}; this session has ${session.current.role}.</p>`;
  if (path === "/api/events") return html`<p class="soft">This page listens to it already. To read along: <code>curl -N -H "Authorization: Bearer KEY" ${location.origin}/api/events</code></p>`;
  if (type && !type.includes("json") && !type.includes("yaml")) return html`<p class="soft">It takes a file; its view has a form for that.</p>`;
  const fields = (operation.parameters ?? []).filter((one) => one.in !== "header" || one.name === "If-Match");
  const send = async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    if (method !== "GET") {
      const sure = await confirm({ title: `${method} ${path}?`, text: html`<p>This is no exercise: it is done to the running balancer.</p>`, action: "Send it", danger: method === "DELETE" });
      if (!sure) return;
    }
    let url = path;
    const query = {};
    for (const one of fields) {
      const value = String(given.get(`${one.in} ${one.name}`));
      if (one.in === "path") url = url.replace(`{${one.name}}`, encodeURIComponent(value));
      else if (one.in === "query" && value !== "") query[one.name] = value;
    }
    setBusy(true);
    const begun = performance.now();
    try {
      const body = given.get("body");
      const headers = body ? { "Content-Type": type } : {};
      const found = await ask(method, url, { query, body: body || undefined, headers, match: String(given.get("header If-Match") ?? "") || undefined, whole: true });
      setAnswer({ status: found.status, etag: found.etag, text: shown(found.data), took: performance.now() - begun });
    } catch (error) {
      setAnswer({ status: error.status, text: `${error.message}\n${error.faults?.map((fault) => `${fault.pointer}  ${fault.message}`).join("\n") ?? ""}`, took: performance.now() - begun });
    } finally {
      setBusy(false);
    }
  };
  return html`<form class="try" onSubmit=${send}>
    <h3>Try it</h3>
    ${fields.map((one) => html`<label class="field"><span>${one.name} <small>${one.in}</small></span>${
      one.schema?.enum
        ? html`<select name="${one.in} ${one.name}"><option value="">–</option>${one.schema.enum.map((value) => html`<option>${value}</option>`)}</select>`
        : html`<input name="${one.in} ${one.name}" required=${one.required} placeholder=${one.schema?.default === undefined ? "" : String(one.schema.default)} autocomplete="off" spellcheck=${false} />`
    }</label>`)}
    ${type && html`<label class="field"><span>body <small>${type}</small></span><textarea name="body" rows="6" spellcheck=${false}>${typeof start === "string" ? start : JSON.stringify(start ?? {}, null, 2)}</textarea></label>`}
    <div><button type="submit" class="primary" disabled=${busy}>${busy ? "Waiting…" : `Send ${method}`}</button></div>
    ${answer && html`<div class="stack" role="status"><p><${Badge} level=${answer.status < 400 ? "good" : "bad"} icon=${answer.status < 400 ? "ok" : "bad"}>${answer.status || "no answer"}</${Badge}> in ${Math.round(answer.took)} ms, ${bytes(answer.text.length)}${answer.etag ? html`, ETag <code>${answer.etag}</code>` : ""}</p>
      <pre class="code" tabindex="0">${answer.text.slice(0, MOST)}${answer.text.length > MOST ? "\n…" : ""}</pre></div>`}
  </form>`;
}

const shown = (data) => (data === null ? "" : typeof data === "string" ? data : JSON.stringify(data, null, 2));
