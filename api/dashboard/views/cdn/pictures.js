/** One picture before and after: what another size, form and quality cost and spare. */

import { ask, get, session } from "../../lib/api.js";
import { bytes, percent, seconds as duration } from "../../lib/format.js";
import { html, useState } from "../../lib/html.js";
import { Card, Loaded, Notice, Problem, usePoll, When } from "../../lib/ui.js";

export function Pictures({ status }) {
  const files = usePoll(() => get("/api/infrastructure/cdn/files", { prefix: "image/", limit: 200 }), 0);
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  if (!status.pictures) return html`<${Card} title="Pictures" id="pictures"><p class="empty">Pictures in other sizes are switched off: <code>cdn.images</code> is false.</p></${Card}>`;
  if (!session.may("operator")) return html`<${Card} title="Pictures" id="pictures"><p class="empty">To have one made takes the role operator. ${status.pictures.by} makes them, below ${status.pictures.path || status.url}.</p></${Card}>`;
  const make = async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const numbers = Object.fromEntries(["width", "height", "quality"].filter((name) => given.get(name)).map((name) => [name, Number(given.get(name))]));
    setBusy(true);
    setError(null);
    try {
      const path = given.get("url");
      const file = files.data?.items.find((one) => one.path === path);
      setAnswer({ ...(await ask("POST", "/api/infrastructure/cdn/optimize-image", { body: { url: path, ...numbers, format: given.get("format"), fit: given.get("fit"), render: true } })), before: file });
    } catch (failure) {
      setError(failure);
      setAnswer(null);
    } finally {
      setBusy(false);
    }
  };
  return html`<${Card} title="Try a picture" id="playground">
    <${Loaded} of=${files}>${(data) => (data.items.length
      ? html`<form class="playground" onSubmit=${make}>
        <label class="field wide"><span>File</span><select name="url">${data.items.map((one) => html`<option value=${one.path}>${one.path} (${bytes(one.size)})</option>`)}</select></label>
        <label class="field"><span>Width</span><input name="width" type="number" min="1" max="16383" defaultValue="640" /></label>
        <label class="field"><span>Height</span><input name="height" type="number" min="1" max="16383" placeholder="follows" /></label>
        <label class="field"><span>Quality</span><input name="quality" type="number" min="1" max="100" placeholder="usual" /></label>
        <label class="field"><span>Format</span><select name="format">${["auto", "webp", "avif", "jpeg", "png"].map((one) => html`<option>${one}</option>`)}</select></label>
        <label class="field"><span>Fit</span><select name="fit">${["contain", "cover", "fill", "pad"].map((one) => html`<option>${one}</option>`)}</select></label>
        <button type="submit" class="primary" disabled=${busy}>${busy ? "Making it…" : "Make it"}</button>
      </form>`
      : html`<p class="empty">No picture is stored yet: upload one under <a href="#/cdn">Files</a>.</p>`)}</${Loaded}>
    <${Problem} error=${error} />
    ${answer && html`<${Compared} of=${answer} />`}
  </${Card}>`;
}

function Compared({ of }) {
  const { before, rendered } = of;
  const size = rendered?.source_size ?? before?.size;
  return html`<div class="stack answer">
    ${of.notes.map((note) => html`<${Notice} level="info">${note}</${Notice}>`)}
    <div class="compared">
      <figure><figcaption><strong>Before</strong> <span class="soft">${bytes(size)}${before ? `, ${before.content_type}` : ""}</span></figcaption>${before && html`<img src=${before.url} alt="before" />`}</figure>
      <figure><figcaption><strong>After</strong> <span class="soft">${rendered ? `${bytes(rendered.size)}, ${rendered.format}, ${rendered.width} × ${rendered.height}` : ""}</span></figcaption><img src=${of.url} alt="after" width=${rendered?.width} height=${rendered?.height} /></figure>
    </div>
    ${rendered && html`<p><strong>${percent(1 - rendered.size / size)} less</strong> to be sent${rendered.cached ? "; it had been made before" : `, made in ${duration(rendered.seconds)}`}.</p>`}
    <p>Address${of.expires_at ? html`, until <${When} at=${of.expires_at} plain=${true} />` : ""}: <code class="secret">${new URL(of.url, location.href).href}</code></p>
  </div>`;
}
