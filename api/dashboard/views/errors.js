/** What goes wrong, equal failures together, each with one of them to look at. */

import { ask, get } from "../lib/api.js";
import { number, plural, seconds as duration } from "../lib/format.js";
import { html, useState } from "../lib/html.js";
import { Act, Badge, Card, Choice, Head, Loaded, May, Spark, tell, usePoll, useQuery, When } from "../lib/ui.js";

export default function Errors() {
  const [sort, setSort] = useQuery("sort", "last");
  const found = usePoll(() => get("/api/monitoring/errors", { sort, limit: 200 }), 5000, [sort]);
  return html`
    <${Head} title="Errors" about="Requests that failed: those with the same route, server, outcome and cause are one group.">
      <${Choice} label="Order" value=${sort} options=${[["last", "latest"], ["count", "most"], ["first", "newest"]]} onChange=${setSort} />
    </${Head}>
    <${Loaded} of=${found}>${(data) =>
      data.groups.length
        ? html`<p class="soft">${plural(data.counted, "failed request")} since the start, in ${plural(data.total, "group")}${data.forgotten ? `; ${plural(data.forgotten, "quiet group")} made room for others` : ""}.</p>
          <div class="stack">${data.groups.map((group) => html`<${Group} key=${group.id} group=${group} refresh=${found.refresh} />`)}</div>`
        : html`<${Card}><p class="empty">No request has failed since the start${data.counted ? ", or all groups were marked as seen" : ""}. What a client did wrong (4xx) is in <a href="#/traffic">Traffic</a>.</p></${Card}>`
    }</${Loaded}>`;
}

/** Of docs/logs.md, in words; others are told as they are called there. */
const OUTCOMES = {
  ok: "answered by the server itself",
  answered: "answered by the balancer",
  refused: "refused: the request was at fault",
  unserved: "no server could be asked",
  "client-abort": "the client went away",
  "upstream-connect": "no connection to a server could be opened",
  "upstream-reset": "the server broke off before its answer was whole",
  "upstream-timeout": "the server took too long",
  "upstream-malformed": "the server's answer was no HTTP",
  deadline: "the time for the whole request was over",
};

function Group({ group, refresh }) {
  const [open, setOpen] = useState(false);
  const where = [group.route && `route ${group.route}`, group.pool && `pool ${group.pool}`, group.server && `server ${group.server}`].filter(Boolean).join(" · ");
  const clear = async () => {
    await ask("DELETE", `/api/monitoring/errors/${encodeURIComponent(group.id)}`);
    tell({ text: "Forgotten. If it happens again, it is a new group." });
    refresh();
  };
  return html`<${Card}>
    <div class="error-group">
      <div class="error-what">
        <h2><${Badge} level=${group.status >= 500 || !group.status ? "bad" : "warning"} icon="warn">${group.status || "no answer"}</${Badge}> ${OUTCOMES[group.outcome] ?? group.outcome.replaceAll("-", " ")}</h2>
        ${group.cause && group.cause !== group.outcome && html`<p>${group.cause}</p>`}
        <p class="soft">${where}</p>
      </div>
      <div class="error-when"><${Spark} values=${group.last_hour} label="Per minute in the last hour" /><span class="soft">by minute, last hour</span></div>
      <dl class="facts error-facts">
        <dt>Count</dt><dd><strong>${number(group.count)}</strong></dd>
        <dt>Last</dt><dd><${When} at=${group.last} /></dd>
        <dt>First</dt><dd><${When} at=${group.first} /></dd>
      </dl>
    </div>
    <div class="row">
      <button type="button" class="small" aria-expanded=${open} onClick=${() => setOpen(!open)}>${open ? "Hide the sample" : "Look at one"}</button>
      <${May} role="operator"><${Act} kind="small" onAct=${clear}>Mark as seen</${Act}></${May}>
    </div>
    ${open && html`<div class="grid"><${Sample} title="The latest" of=${group.sample} />${group.first_sample.request_id !== group.sample.request_id && html`<${Sample} title="The first" of=${group.first_sample} />`}</div>`}
  </${Card}>`;
}

function Sample({ title, of }) {
  const facts = [
    ["At", html`<${When} at=${of.at} plain=${true} />`],
    ["Request", html`<code>${of.method} ${of.host}${of.path}</code>`],
    ["From", of.client],
    ["Answer", `${of.status || "none"} after ${duration(of.seconds)}${of.queued > 0.001 ? `, ${duration(of.queued)} of it waiting for a server` : ""}`],
    ["Route", of.route || "–"],
    ["Server", of.server ? `${of.server} of ${of.pool}` : of.pool || "none was asked"],
    ["Attempts", of.attempts],
    ...(of.reasons.length ? [["Left before", html`<ul>${of.reasons.map(([server, why]) => html`<li>${server}: ${why}</li>`)}</ul>`]] : []),
    ...(of.cache ? [["Cache", of.cache]] : []),
    ...(of.guarded ? [["Refused by", of.guarded]] : []),
    ["Request id", html`<code>${of.request_id}</code>`],
  ];
  return html`<section class="sample"><h3>${title}</h3><dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl></section>`;
}
