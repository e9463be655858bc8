/** The API as its own document tells it, to be read and tried with the rights that one has. */

import { get, session } from "../lib/api.js";
import { plural } from "../lib/format.js";
import { html, useMemo, useState } from "../lib/html.js";
import { Badge, Card, Head, Loaded, Prose, usePoll, useQuery } from "../lib/ui.js";
import { example, Schema } from "./reference/schema.js";
import { Try } from "./reference/try.js";

/** @type {[title: string, paths: RegExp][]} */
const GROUPS = [
  ["Monitoring", /^\/(?:api\/monitoring(?!\/analytics)|livez|readyz|metrics|api\/events)/],
  ["Analytics", /^\/api\/monitoring\/analytics/],
  ["Load balancer", /^\/api\/infrastructure\/(?:load-balancer|routes|stats|certificates)/],
  ["Cache and limits", /^\/api\/infrastructure\/(?:cache|rate-limits)/],
  ["CDN", /^\/api\/infrastructure\/cdn/],
  ["Configuration", /^\/api\/config/],
  ["Access", /^\/api\/(?:session|keys|audit)/],
  ["Others", /./],
];

export default function Reference() {
  const document = usePoll(() => get("/openapi.json"), 0);
  const [wanted, setWanted] = useState("");
  return html`
    <${Head} title="API" about=${html`Everything on these pages is asked for here. The document: <a href="/openapi.json" download="balancer-openapi.json">openapi.json</a>`}>
      <label class="select"><span>find</span><input type="search" value=${wanted} onInput=${(event) => setWanted(event.target.value)} /></label>
    </${Head}>
    <${Loaded} of=${document} rows=${12}>${(data) => html`<${Groups} of=${data} wanted=${wanted.trim().toLowerCase()} />`}</${Loaded}>`;
}

function Groups({ of, wanted }) {
  const [open, setOpen] = useQuery("op", "");
  const groups = useMemo(() => grouped(of), [of]);
  const shown = groups
    .map(([title, all]) => [title, all.filter((one) => !wanted || `${one.method} ${one.path} ${one.operation.summary} ${one.operation.operationId}`.toLowerCase().includes(wanted))])
    .filter(([, all]) => all.length);
  if (!shown.length) return html`<${Card}><p class="empty">Nothing has “${wanted}” in it.</p></${Card}>`;
  return shown.map(([title, all]) => html`<${Card} key=${title} title=${title} id="group-${title.replaceAll(" ", "-")}" aside=${plural(all.length, "operation")}>
    <ul class="operations">${all.map((one) => html`<${Operation} key=${one.operation.operationId} of=${one} document=${of} open=${open === one.operation.operationId} onOpen=${() => setOpen(open === one.operation.operationId ? "" : one.operation.operationId)} />`)}</ul>
  </${Card}>`);
}

function grouped(document) {
  /** @type {[title: string, operations: any[]][]} */
  const groups = GROUPS.map(([title]) => [title, []]);
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation.operationId) continue;
      const index = GROUPS.findIndex(([, pattern]) => pattern.test(path));
      groups[index][1].push({ method: method.toUpperCase(), path, operation });
    }
  return groups.filter(([, all]) => all.length);
}

const COMMON = new Set(["400", "401", "403", "404", "405", "408", "413", "415", "421", "422", "429", "500"]);

function Operation({ of, document, open, onOpen }) {
  const { method, path, operation } = of;
  const role = operation["x-role"];
  const may = !role || session.may(role);
  const [, ...more] = (operation.description ?? "").split("\n");
  const own = Object.entries(operation.responses).filter(([status]) => !COMMON.has(status));
  const body = operation.requestBody && Object.entries(operation.requestBody.content)[0];
  return html`<li>
    <button type="button" class="operation" aria-expanded=${open} onClick=${onOpen}>
      <span class="method ${method.toLowerCase()}">${method}</span><code class="op-path">${path}</code><span class="op-summary"><${Prose} text=${operation.summary} /></span>
      <${Badge} icon=${may ? undefined : "pause"}>${role ?? "open"}</${Badge}>
    </button>
    ${open && html`<div class="op-body">
      ${(operation.description || more.length > 0) && html`<p class="op-text"><${Prose} text=${operation.description} /></p>`}
      ${operation.parameters?.length > 0 && html`<h3>Parameters</h3><dl class="facts">${operation.parameters.map((one) => html`<dt><code>${one.name}</code>${one.required ? "" : "?"} <small>${one.in}</small></dt><dd><${Prose} text=${one.description} /> <${Schema} of=${one.schema} document=${document} inline=${true} /></dd>`)}</dl>`}
      ${body && html`<h3>Body <small>${body[0]}</small></h3><${Schema} of=${body[1].schema} document=${document} />`}
      ${own.map(([status, answer]) => {
        const content = answer.content && Object.entries(answer.content)[0];
        return html`<h3>${status} <small>${answer.description}${content ? ` · ${content[0]}` : ""}</small></h3>${content && html`<${Schema} of=${content[1].schema} document=${document} />`}`;
      })}
      <${Try} method=${method} path=${path} operation=${operation} may=${may} role=${role} start=${body ? example(body[1].schema, document) : undefined} type=${body?.[0]} />
    </div>`}
  </li>`;
}
