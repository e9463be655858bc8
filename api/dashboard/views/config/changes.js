/** Changes of settings, and what they do. */

import { html } from "../../lib/html.js";

export const Changes = ({ of }) => html`<ul class="changes">${of.map((one) => html`<li><code class="path">${one.path}</code>
  <span class="before"><span class="hidden">before:</span>${one.before ?? "not there"}</span><span aria-hidden="true">→</span><span class="after"><span class="hidden">after:</span>${one.after ?? "not there"}</span>${one.stale && html` <span class="soft">changes nothing: what it is about is no longer in the file</span>`}</li>`)}</ul>`;

export const Effects = ({ of }) => html`
  ${of.changes?.length ? html`<${Changes} of=${of.changes} />` : html`<p>Nothing changes.</p>`}
  ${of.effects?.length > 0 && html`<h3>What it does</h3><ul class="dotted">${of.effects.map((text) => html`<li>${text}</li>`)}</ul>`}
  ${of.restart_required?.length > 0 && html`<p>Only at the next start: ${of.restart_required.map((path) => html`<code>${path}</code> `)}</p>`}
  ${of.warnings?.map((one) => html`<p><strong>Mind:</strong> <code>${one.path}</code> ${one.message}</p>`)}`;
