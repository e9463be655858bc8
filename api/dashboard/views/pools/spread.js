/** How traffic is spread now, and whom each strategy would take next. */

import { get } from "../../lib/api.js";
import { Bars } from "../../lib/chart.js";
import { number, percent, seconds as duration } from "../../lib/format.js";
import { html, useState } from "../../lib/html.js";
import { Badge, Loaded, usePoll } from "../../lib/ui.js";

const MOST = 12;

export function Spread({ pool, servers, total, open }) {
  const [shown, setShown] = useState(open);
  return html`<details class="spread" open=${shown} onToggle=${(event) => setShown(event.target.open)}>
    <summary>How traffic is spread, and whom each strategy would take next</summary>
    ${shown && html`<${Now} pool=${pool} servers=${servers} total=${total} />`}
  </details>`;
}

function Now({ pool, servers, total }) {
  const next = usePoll(() => get("/api/infrastructure/load-balancer/next-server", { pool }), 3000, [pool]);
  const busiest = [...servers].filter((one) => one.in_rotation || one.rate > 0).sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0)).slice(0, MOST).map((one) => one.name);
  const drawn = servers.filter((one) => busiest.includes(one.name)); // in the table's order: shares change places each second
  return html`<div class="grid">
    <div class="stack"><h3>Share of the last ten seconds</h3><${Bars} label="Share of traffic by server" empty="No server has traffic." format=${(value) => percent(value, 0)} items=${drawn.map((one) => ({ name: one.name, value: total > 0 ? (one.rate ?? 0) / total : 0, note: `${number(one.rate, 1)}/s` }))} /></div>
    <div class="stack"><h3>The next request</h3><${Loaded} of=${next}>${(data) => html`<ul class="strategies">${data.strategies.map((one) => html`<li class=${one.strategy === data.strategy ? "own" : ""}>
      <div class="row"><strong>${one.strategy}</strong>${one.strategy === data.strategy && html`<${Badge} level="good" icon="ok">in use</${Badge}>`}<span>→ ${one.server ?? "nobody"}</span></div>
      <p class="soft">${one.reason}</p>
      <${Scores} of=${one} />
    </li>`)}</ul>`}</${Loaded}></div>
  </div>`;
}

/** What it compares, for whoever wants to know why. */
function Scores({ of }) {
  const compared = of.candidates.filter((one) => one.in_rotation && one.score !== null).sort((a, b) => a.score - b.score).slice(0, 6);
  if (compared.length < 2) return null;
  return html`<details><summary class="soft">what it compares</summary><table><thead><tr><th scope="col">server</th><th scope="col" class="right">in flight</th><th scope="col" class="right">weight</th><th scope="col" class="right">average</th><th scope="col" class="right">score</th></tr></thead>
    <tbody>${compared.map((one) => html`<tr><th scope="row">${one.server}</th><td class="right">${number(one.in_flight)}</td><td class="right">${number(one.weight)}</td><td class="right">${duration(one.latency)}</td><td class="right">${number(one.score)}</td></tr>`)}</tbody></table></details>`;
}
