/** Which requests go where, and through what. */

import { get } from "../lib/api.js";
import { number, percent, seconds as duration } from "../lib/format.js";
import { html, useMemo, useState } from "../lib/html.js";
import { Badge, Card, Choice, Head, Loaded, Notice, Problem, usePoll, useQuery } from "../lib/ui.js";
import { hidden, matchWords, steps } from "./routes/chain.js";

export default function Routes() {
  const [order, setOrder] = useQuery("order", "specific");
  const config = usePoll(() => get("/api/config"), 30000);
  const figures = usePoll(() => get("/api/monitoring/metrics"), 5000);
  return html`
    <${Head} title="Routes" about="The most specific route that fits takes a request: an exact host before a pattern, a written-out path before {name}, that before /**, more conditions before fewer.">
      <${Choice} label="Order" value=${order} options=${[["specific", "as they are tried"], ["traffic", "by traffic"]]} onChange=${setOrder} />
    </${Head}>
    <${Explain} />
    <${Loaded} of=${config} rows=${8}>${(data) => html`<${All} config=${data.config} figures=${figures.data} order=${order} />`}</${Loaded}>`;
}

function All({ config, figures, order }) {
  const routes = useMemo(() => Object.entries(config.routes).map(([name, route]) => ({ name, route, shadow: hidden(name, config.routes) })), [config]);
  const rate = (name) => figures?.routes[name]?.requests.per_second_1m ?? 0;
  const sorted = [...routes].sort((a, b) => (order === "traffic" ? rate(b.name) - rate(a.name) : weight(b.route.match) - weight(a.route.match) || (a.name < b.name ? -1 : 1)));
  const lost = figures?.routes["-"];
  return html`
    <div class="stack">${sorted.map((one) => html`<${Route} key=${one.name} ...${one} config=${config} figures=${figures?.routes[one.name]} uptime=${figures?.uptime} />`)}</div>
    ${lost && lost.requests.total > 0 && html`<${Notice} level="info">${number(lost.requests.total)} requests fitted no route, or were refused before one was looked for. <a href="#/traffic?of=route%3A-">Look at them</a></${Notice}>`}`;
}

/** As the table tries them: roughly, for the order of a list. */
function weight(match) {
  const host = match.host.length ? (match.host.every((one) => one.startsWith("*.")) ? 1 : 2) : 0;
  const parts = match.path.split("/").slice(1);
  const path = parts.reduce((sum, part, i) => sum + (part === "**" ? 0 : part.startsWith("{") ? 1 : 2) / 10 ** i, 0);
  return host * 1000 + path * 10 + (Object.keys(match.headers).length * 2 + (match.methods.length ? 1 : 0)) / 10;
}

function Route({ name, route, shadow, config, figures, uptime }) {
  const chain = steps(name, route, config);
  const rate = figures?.requests.per_second_1m;
  const total = figures?.requests.total ?? 0;
  const failed = figures?.errors.by_class["5xx"]?.per_second_1m;
  return html`<${Card}>
    <div class="route">
      <div class="route-head">
        <h2>${name}</h2>
        <span class="route-match">${matchWords(route.match)}</span>
      </div>
      <ol class="chain" aria-label="What happens to a request of ${name}">${chain.map((step) => html`<li class=${step.kind ?? ""} title=${step.title ?? ""}><small>${step.name}</small><span>${step.link ? html`<a href=${step.link}>${step.text}</a>` : step.text}</span></li>`)}</ol>
      <dl class="route-figures">
        <div><dt>Requests/s</dt><dd><a href="#/traffic?of=${encodeURIComponent(`route:${name}`)}">${number(rate === null || rate === undefined ? null : Number(rate.toPrecision(3)))}</a></dd></div>
        <div><dt>5xx</dt><dd class=${failed > 0 ? "wrong" : ""}>${percent(rate ? failed / rate : rate === 0 ? 0 : null)}</dd></div>
        <div><dt>p99</dt><dd>${duration(figures?.latency.last_minute.p99)}</dd></div>
        <div><dt>In all</dt><dd>${number(total)}</dd></div>
      </dl>
    </div>
    ${shadow && html`<${Notice} level="warning">${shadow}</${Notice}>`}
    ${!total && uptime > 600 && html`<p class="soft">No request has taken it since the start.</p>`}
  </${Card}>`;
}

function Explain() {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const ask = async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    setError(null);
    try {
      const url = String(given.get("url")).trim();
      const query = { method: given.get("method"), url: /^(https?:\/\/|\/)/.test(url) ? url : `http://${url}`, headers: String(given.get("headers")).trim().replaceAll("\r", "") };
      const found = await get("/api/infrastructure/routes/explain", query);
      const target = query.url.replace(/^https?:\/\/[^/?#]*/, "").replace(/#.*/, "");
      const next = found.pool ? await get("/api/infrastructure/load-balancer/next-server", { pool: found.pool, path: target.startsWith("/") ? target : `/${target}` }).catch(() => null) : null;
      setAnswer({ ...found, next });
    } catch (failure) {
      setError(failure);
      setAnswer(null);
    }
  };
  return html`<${Card} title="Which route would it take?" id="explain">
    <form class="explain" onSubmit=${ask}>
      <label class="field"><span>Method</span><select name="method">${["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((one) => html`<option>${one}</option>`)}</select></label>
      <label class="field"><span>URL</span><input name="url" required placeholder="https://example.com/path, or only /path" spellcheck=${false} autocomplete="off" /></label>
      <label class="field"><span>Fields, one in a line</span><textarea name="headers" rows="1" placeholder="X-Beta: yes" spellcheck=${false}></textarea></label>
      <button type="submit" class="primary">Explain</button>
    </form>
    <${Problem} error=${error} />
    ${answer && html`<div class="stack answer" role="status">
      <p>${answer.route
        ? html`<${Badge} level="good" icon="ok">${answer.route}</${Badge}> takes it: ${answer.reason}.${answer.next?.server ? html` In <a href="#/pools?pool=${encodeURIComponent(answer.pool)}">${answer.pool}</a>, <strong>${answer.next.server}</strong> would get it now (${answer.next.strategy}: ${answer.next.reason}).` : answer.pool ? ` It goes to ${answer.pool}, which has no server for it now.` : ""}`
        : html`<${Badge} level="warning" icon="warn">no route</${Badge}> It is ${answer.reason}.`}</p>
      ${answer.others.length > 0 && html`<details open=${!answer.route}><summary>Why not another one</summary><ul class="dotted">${answer.others.map((one) => html`<li><strong>${one.route}</strong>: ${one.reason}</li>`)}</ul></details>`}
      <p class="soft">Nothing was sent. Guards, limits and the cache of the route were not asked.</p>
    </div>`}
  </${Card}>`;
}
