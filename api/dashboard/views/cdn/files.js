/** Files of the CDN: uploaded by hand, listed with thumbnails, deleted. */

import { ApiError, ask, get, session } from "../../lib/api.js";
import { bytes, number, plural } from "../../lib/format.js";
import { html, useRef, useState } from "../../lib/html.js";
import { Act, Badge, Card, confirm, copy, Loaded, May, Meter, Table, tell, usePoll, useQuery, When } from "../../lib/ui.js";

const FILES = "/api/infrastructure/cdn/files";
const SMALL = 512 * 1024; // bytes of a picture that may be its own thumbnail

export function Files({ status, refresh }) {
  const [prefix, setPrefix] = useQuery("prefix", "");
  const [after, setAfter] = useState([]);
  const files = usePoll(() => get(FILES, { prefix, after: after.at(-1), limit: 50 }), 15000, [prefix, after.length]);
  const again = () => {
    files.refresh();
    refresh();
  };
  const remove = async (file) => {
    const sure = await confirm({ title: "Delete this file?", text: html`<p><code>${file.path}</code>, ${bytes(file.size)}</p><p>Its address answers with 404 then; caches are purged of it.</p>`, action: "Delete", danger: true });
    if (!sure) return;
    await ask("DELETE", `${FILES}/${file.path.split("/").map(encodeURIComponent).join("/")}`);
    tell({ text: "Deleted, and caches are purged of it." });
    again();
  };
  return html`
    <${May} role="operator"><${Upload} most=${status.max_upload} done=${again} /></${May}>
    <${Card} title="Files" id="files" aside=${html`<label class="select"><span>begin with</span><input type="search" defaultValue=${prefix} placeholder="image/2026/" onChange=${(event) => { setAfter([]); setPrefix(event.target.value.trim()); }} /></label>`}>
      <${Loaded} of=${files}>${(data) => html`
        <${Table} label="Files of the CDN" rows=${data.items} id=${(row) => row.path} empty=${prefix ? `No path begins with “${prefix}”.` : "No file yet. Drop some above, or send them with balancer cdn upload."} columns=${[
          { key: "thumb", title: html`<span class="hidden">Picture</span>`, cell: (row) => html`<${Thumb} of=${row} />` },
          { key: "path", title: "Path", cell: (row) => html`<a href=${row.url} target="_blank" rel="noopener noreferrer">${row.path}</a>${row.tags.length ? html`<br />${row.tags.map((tag) => html`<${Badge}>${tag}</${Badge}> `)}` : ""}` },
          { key: "content_type", title: "Type" },
          { key: "size", title: "Size", right: true, sort: (row) => row.size, cell: (row) => bytes(row.size) },
          { key: "hits", title: "Requests", right: true, sort: (row) => row.hits, cell: (row) => number(row.hits) },
          { key: "at", title: "Stored", cell: (row) => html`<${When} at=${row.stored_at} />` },
          { key: "act", title: html`<span class="hidden">Actions</span>`, cell: (row) => html`<span class="row nowrap-row"><${Act} kind="small" label="Copy the link of ${row.path}" onAct=${() => copy(new URL(row.url, location.href).href, "The link is copied.")}>Copy link</${Act}><${May} role="operator"><${Act} kind="small" label="Delete ${row.path}" onAct=${() => remove(row)}>Delete…</${Act}></${May}></span>` },
        ]} />
        <div class="row">${after.length > 0 && html`<button type="button" class="quiet" onClick=${() => setAfter(after.slice(0, -1))}>Back</button>`}${data.next && html`<button type="button" class="quiet" onClick=${() => setAfter([...after, data.next])}>Next</button>`}</div>`}</${Loaded}>
    </${Card}>`;
}

function Thumb({ of }) {
  const [failed, setFailed] = useState(false);
  const shown = of.content_type.startsWith("image/") && of.size <= SMALL && !failed;
  return html`<span class="thumb">${shown ? html`<img src=${of.url} alt="" loading="lazy" width="44" height="44" onError=${() => setFailed(true)} />` : html`<span aria-hidden="true">${of.content_type.split("/")[1]?.slice(0, 4) ?? "?"}</span>`}</span>`;
}

let count = 0;

/** Dropped or chosen, one after the other, each with its progress. */
function Upload({ most, done }) {
  const [over, setOver] = useState(false);
  const [jobs, setJobs] = useState([]);
  const [tags, setTags] = useState("");
  const input = useRef(null);
  const start = async (files) => {
    const fresh = [...files].map((file) => ({ id: ++count, file, share: 0, state: "waits" }));
    setJobs((old) => [...old.filter((one) => one.state !== "done"), ...fresh]);
    const put = (job, changes) => setJobs((all) => all.map((one) => (one.id === job.id ? { ...one, ...changes } : one)));
    for (const job of fresh) {
      if (most && job.file.size > most) {
        put(job, { state: "failed", said: `it has ${bytes(job.file.size)}, and at most ${bytes(most)} are taken (cdn.max_upload)` });
        continue;
      }
      put(job, { state: "sends" });
      try {
        const answer = await send(job.file, tags.trim(), (share) => put(job, { share }));
        put(job, { state: "done", share: 1, said: answer.created ? "stored" : "was there already", url: answer.url });
      } catch (error) {
        put(job, { state: "failed", said: error.message });
      }
    }
    done();
  };
  return html`<div class="drop ${over ? "over" : ""}" onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${(event) => { event.preventDefault(); setOver(false); start(event.dataTransfer.files); }}>
    <div class="row"><span>Drop files here, or</span><button type="button" onClick=${() => input.current.click()}>choose some</button>
      <input ref=${input} type="file" multiple class="hidden" tabindex="-1" aria-label="Files to upload" onChange=${(event) => { start(event.target.files); event.target.value = ""; }} />
      <label class="select"><span>tags</span><input value=${tags} placeholder="cats, home" onInput=${(event) => setTags(event.target.value)} /></label><span class="soft">up to ${bytes(most)} each</span></div>
    ${jobs.length > 0 && html`<ul class="stack jobs" aria-live="polite">${jobs.map((job) => html`<li key=${job.id}><span class="bars-name" title=${job.file.name}>${job.file.name}</span><span class="soft">${bytes(job.file.size)}</span>
      ${job.state === "sends" ? html`<${Meter} share=${job.share} label="${Math.round(job.share * 100)} % sent" />` : html`<${Badge} level=${{ done: "good", failed: "bad", waits: "quiet" }[job.state]} icon=${{ done: "ok", failed: "bad", waits: "clock" }[job.state]}>${job.said ?? "waits"}</${Badge}>`}</li>`)}</ul>
      ${jobs.every((job) => job.state === "done" || job.state === "failed") && html`<button type="button" class="quiet" onClick=${() => setJobs([])}>Clear the list of ${plural(jobs.length, "file")}</button>`}`}
  </div>`;
}

/** fetch() tells nothing of what has been sent; this does. */
function send(file, tags, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ name: file.name, ...(tags ? { tags } : {}) });
    request.open("POST", `${FILES}?${query}`);
    request.setRequestHeader("X-CSRF-Token", session.current.csrf_token);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // It is told by its status.
      }
      if (request.status === 200 || request.status === 201) resolve(answer);
      else reject(new ApiError(request.status, answer));
    };
    request.onerror = () => reject(new ApiError(0));
    request.send(file);
  });
}
