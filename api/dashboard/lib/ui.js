/** The parts that views are put together from. */

import { ApiError, session } from "./api.js";
import { ago, exactly, NONE, time } from "./format.js";
import { html, useCallback, useEffect, useRef, useState } from "./html.js";

/** Ask again and again while the page is looked at. `load` may change; `every` in ms, 0: once. */
export function usePoll(load, every, inputs = []) {
  const [state, set] = useState({ data: undefined, error: null, loading: true });
  const round = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const refresh = useCallback(async () => {
    const own = ++round.current;
    try {
      const data = await latest.current();
      if (own === round.current) set({ data, error: null, loading: false });
    } catch (error) {
      if (own === round.current && error?.name !== "AbortError") set((old) => ({ data: old.data, error, loading: false }));
    }
  }, []);
  useEffect(() => {
    set((old) => ({ ...old, loading: true }));
    refresh();
    const timer = every ? setInterval(() => document.hidden || refresh(), every) : 0;
    const seen = () => document.hidden || refresh();
    if (every) document.addEventListener("visibilitychange", seen);
    return () => {
      round.current++;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [every, ...inputs]);
  return { ...state, refresh };
}

/** The part after # of the address: "#/pools?pool=default" → {name: "pools", query: {pool: "default"}}. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return { name: name || "overview", rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

export const href = (name, query = {}) => {
  const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `#/${name}${asked.length ? `?${new URLSearchParams(asked)}` : ""}`;
};

/** Change some of the address's query, so that a view can be linked to as it is. */
export function setQuery(changes) {
  const { name, rest, query } = place();
  const next = href([name, ...rest].join("/"), { ...query, ...changes });
  if (next !== location.hash) history.replaceState(null, "", next);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** A value in the address, with what it is without one. */
export function useQuery(name, otherwise) {
  return [place().query[name] ?? otherwise, (value) => setQuery({ [name]: value === otherwise ? undefined : value })];
}

const PATHS = {
  ok: "M3 8.5l3.2 3.2L13 4.8",
  warn: "M8 2.2L14.6 13.6H1.4zM8 6.4v3.4M8 11.6v.2",
  bad: "M4 4l8 8M12 4l-8 8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  clock: "M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 4.6V8l2.4 1.6",
  tool: "M13.4 4.2a3.4 3.4 0 01-4.6 4.2l-4.6 4.8-1.6-1.6 4.8-4.6a3.4 3.4 0 014.2-4.6L9.6 4.6l1.8 1.8z",
  info: "M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 7v4M8 4.7v.2",
};

export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;

const STATES = {
  up: ["good", "ok", "up"],
  ok: ["good", "ok", "ok"],
  down: ["bad", "bad", "down"],
  ejected: ["bad", "warn", "ejected"],
  degraded: ["warning", "warn", "degraded"],
  checking: ["quiet", "clock", "checking"],
  unknown: ["quiet", "info", "unknown"],
  drained: ["quiet", "pause", "drained"],
  maintenance: ["quiet", "tool", "maintenance"],
};

/** A text of the balancer's, in which names of settings and the like stand between backticks. */
export const Prose = ({ text }) => (text ?? "").split(/`([^`\n]+)`/).map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));

/** A state in colour, picture and word. */
export function State({ of, text }) {
  const [level, icon, word] = STATES[of] ?? ["quiet", "info", of];
  return html`<span class="badge ${level}"><${Icon} name=${icon} />${text ?? word}</span>`;
}

/** level: good, warning, bad, quiet or accent. */
export const Badge = ({ level = "quiet", icon, children }) =>
  html`<span class="badge ${level}">${icon && html`<${Icon} name=${icon} />`}${children}</span>`;

export const Card = ({ title, aside, wide, children, id }) =>
  html`<section class="card ${wide ? "wide" : ""}" aria-labelledby=${title && id ? id : undefined}>
    ${(title || aside) && html`<header class="card-head">${title && html`<h2 id=${id}>${title}</h2>`}<div class="aside">${aside}</div></header>`}
    ${children}
  </section>`;

/** The title of a view, with what can be done to all of it. */
export const Head = ({ title, about, children }) =>
  html`<header class="view-head"><div><h1 tabindex="-1">${title}</h1>${about && html`<p class="about">${about}</p>`}</div><div class="actions">${children}</div></header>`;

/** A figure. `tone`: warning or bad. */
export const Figure = ({ label, value, unit, note, tone, children }) =>
  html`<div class="figure ${tone ?? ""}">
    <div class="figure-label">${label}</div>
    <div class="figure-value">${value ?? NONE}${unit && html`<span class="unit"> ${unit}</span>`}</div>
    ${note && html`<div class="figure-note">${note}</div>`}
    ${children}
  </div>`;

/** A line without axes: how it went. */
export function Spark({ values, label, width = 160, height = 36, max }) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return html`<svg class="spark" viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}: not enough is known yet" />`;
  const top = max ?? Math.max(...known, 1e-9);
  const step = width / (values.length - 1);
  let path = "";
  let open = false;
  values.forEach((value, i) => {
    if (value === null || value === undefined) open = false;
    else {
      path += `${open ? "L" : "M"}${(i * step).toFixed(1)} ${(height - 2 - (Math.min(value, top) / top) * (height - 4)).toFixed(1)}`;
      open = true;
    }
  });
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}><path d=${path} /></svg>`;
}

/** A share of 0..1 as a bar, beside its text. */
export const Meter = ({ share, label, tone = "" }) =>
  html`<span class="meter ${tone}" role="img" aria-label=${label}><span class="meter-fill" style=${{ width: `${Math.max(0, Math.min(1, share || 0)) * 100}%` }}></span></span>`;

/** When something was: how long ago, and exactly for whoever points at it. */
export const When = ({ at, plain }) => (at ? html`<time datetime=${new Date(at).toISOString()} title=${exactly(at)}>${plain ? time(at) : ago(at)}</time>` : NONE);

/**
 * A table. `columns`: [{key, title, cell?: row => content, right?: number-like, sort?: row => value}]
 * With `sort` columns can be clicked. `id`: row => key. `cards`: on a phone each row is a card, so that what can be
 * done about it is not off the screen.
 */
export function Table({ columns, rows, id, empty = "Nothing yet.", label, sorted, most, cards }) {
  const [order, setOrder] = useState(sorted ?? null);
  const [all, setAll] = useState(false);
  const by = order && columns.find((column) => column.key === order.key);
  let shown = rows ?? [];
  if (by?.sort) {
    const rank = (row) => by.sort(row) ?? -Infinity;
    shown = [...shown].sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0) * (order.down ? -1 : 1));
  }
  if (!shown.length) return html`<p class="empty">${empty}</p>`;
  const cut = most && !all && shown.length > most;
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>
      <table class=${cards ? "cards" : ""} role="table">
        <caption class="hidden">${label}</caption>
        <thead role="rowgroup"><tr role="row">${columns.map((column) => {
          const own = order?.key === column.key;
          const turn = () => setOrder({ key: column.key, down: own ? !order.down : !!column.right });
          return html`<th scope="col" role="columnheader" class=${column.right ? "right" : ""} aria-sort=${own ? (order.down ? "descending" : "ascending") : undefined}>
            ${column.sort ? html`<button type="button" class="sort" onClick=${turn}>${column.title}<span aria-hidden="true">${own ? (order.down ? " ↓" : " ↑") : ""}</span></button>` : column.title || html`<span class="hidden">What can be done</span>`}</th>`;
        })}</tr></thead>
        <tbody role="rowgroup">${(cut ? shown.slice(0, most) : shown).map((row, i) => html`<tr role="row" key=${id ? id(row) : i}>${columns.map(
          (column, j) => html`<${j === 0 ? "th" : "td"} scope=${j === 0 ? "row" : undefined} role=${j === 0 ? "rowheader" : "cell"} data-label=${typeof column.title === "string" ? column.title : undefined} class=${column.right ? "right" : ""}>${column.cell ? column.cell(row) : (row[column.key] ?? NONE)}</${j === 0 ? "th" : "td"}>`,
        )}</tr>`)}</tbody>
      </table>
    </div>
    ${cut && html`<button type="button" class="quiet" onClick=${() => setAll(true)}>Show all ${shown.length}</button>`}`;
}

/** What went wrong, with a way on. */
export function Problem({ error, retry }) {
  if (!error) return null;
  return html`<div class="notice bad" role="alert">
    <${Icon} name="warn" />
    <div><strong>${error instanceof ApiError && error.status === 0 ? "The balancer does not answer." : error.message}</strong>
      ${error.faults?.length > 0 && html`<ul>${error.faults.map((fault) => html`<li><code>${fault.pointer}</code> ${fault.message}</li>`)}</ul>`}
      ${retry && html`<button type="button" class="quiet" onClick=${retry}>Try again</button>`}</div>
  </div>`;
}

/** Something that everybody should know. level: bad, warning or info. */
export const Notice = ({ level = "info", children }) =>
  html`<div class="notice ${level}" role=${level === "bad" ? "alert" : "status"}><${Icon} name=${level === "info" ? "info" : "warn"} /><div>${children}</div></div>`;

/** Data that is being asked for: keeps its place free, so that nothing jumps. */
export const Waiting = ({ rows = 3 }) => html`<div class="waiting" aria-busy="true" aria-label="loading">${Array.from({ length: rows }, () => html`<div class="bone" />`)}</div>`;

/** What a view has loaded, or why not. `of`: what usePoll gives. */
export function Loaded({ of, children, rows }) {
  if (of.data === undefined) return of.error ? html`<${Problem} error=${of.error} retry=${of.refresh} />` : html`<${Waiting} rows=${rows} />`;
  return html`<${Fragmented}>${of.error && html`<${Problem} error=${of.error} retry=${of.refresh} />`}${children(of.data)}</${Fragmented}>`;
}
const Fragmented = ({ children }) => children;

/** One of a few. `options`: [[value, text]]. */
export const Choice = ({ label, value, options, onChange }) =>
  html`<div class="choice" role="group" aria-label=${label}>${options.map(
    ([own, text]) => html`<button type="button" aria-pressed=${own === value} onClick=${() => onChange(own)}>${text}</button>`,
  )}</div>`;

export function Select({ label, value, options, onChange }) {
  return html`<label class="select"><span>${label}</span><select value=${value} onChange=${(event) => onChange(event.target.value)}>
    ${options.map(([own, text]) => html`<option value=${own} selected=${own === value}>${text}</option>`)}
  </select></label>`;
}

/** For those who may; nothing for others. */
export const May = ({ role, children }) => (session.may(role) ? children : null);

/** A button that does something to the balancer: waits for it, and tells if it failed. */
export function Act({ children, onAct, kind = "", disabled, label }) {
  const [busy, setBusy] = useState(false);
  const act = async () => {
    if (busy) return;
    setBusy(true);
    try {
      await onAct();
    } catch (error) {
      tell({ level: "bad", text: error.message });
    } finally {
      setBusy(false);
    }
  };
  // Not disabled while it is busy: a disabled button loses the focus, and whoever uses a keyboard their place.
  return html`<button type="button" class=${kind} disabled=${disabled} aria-busy=${busy} aria-disabled=${busy || undefined} aria-label=${label} onClick=${act}>${children}</button>`;
}

/** Into the clipboard, which browsers give to pages over HTTPS and on localhost alone. */
export async function copy(text, said = "Copied.") {
  if (!navigator.clipboard) throw new Error("Browsers let pages copy only over HTTPS or on localhost: mark the text and copy it by hand.");
  await navigator.clipboard.writeText(text);
  tell({ text: said });
}

let menus = 0;

/** Further things to do, behind one button. `items`: [[text, act, danger?]]; false ones are left out. */
export function Menu({ label, text = "More", items }) {
  const [id] = useState(() => `menu-${++menus}`);
  const box = useRef(null);
  const button = useRef(null);
  const [busy, setBusy] = useState(false);
  const act = async (own) => {
    box.current.hidePopover();
    button.current.focus();
    if (busy) return;
    setBusy(true);
    try {
      await own();
    } catch (error) {
      tell({ level: "bad", text: error.message });
    } finally {
      setBusy(false);
    }
  };
  const put = (event) => {
    if (event.newState !== "open") return;
    const at = button.current.getBoundingClientRect();
    box.current.style.top = `${Math.min(at.bottom + 4, innerHeight - 40 * items.length - 12)}px`;
    box.current.style.right = `${Math.max(8, document.documentElement.clientWidth - at.right)}px`;
  };
  return html`<button ref=${button} type="button" class="small" popovertarget=${id} aria-label=${label} aria-busy=${busy}>${text} <span aria-hidden="true">▾</span></button>
    <div ref=${box} id=${id} popover class="menu" onBeforeToggle=${put}>${items.filter(Boolean).map(([word, own, danger]) => html`<button type="button" class=${danger ? "quiet wrong" : "quiet"} onClick=${() => act(own)}>${word}</button>`)}</div>`;
}

// Messages at the foot of the page.

let messages = [];
let count = 0;
const hearers = new Set();
const told = () => hearers.forEach((hear) => hear());

/**
 * Say what was done.
 * @param {{level?: "good" | "bad", text: string, undo?: () => any}} said  `undo`: takes it back.
 */
export function tell({ level = "good", text, undo }) {
  const own = { id: ++count, level, text, undo };
  messages = [...messages.slice(-3), own];
  told();
  setTimeout(() => dismiss(own.id), undo ? 20000 : level === "bad" ? 15000 : 6000);
}

function dismiss(id) {
  messages = messages.filter((one) => one.id !== id);
  told();
}

export function Messages() {
  const [, draw] = useState(0);
  useEffect(() => {
    const hear = () => draw((n) => n + 1);
    hearers.add(hear);
    return () => hearers.delete(hear);
  }, []);
  return html`<div class="messages" role="status" aria-live="polite">${messages.map((one) => html`<div key=${one.id} class="message ${one.level}">
    <${Icon} name=${one.level === "bad" ? "warn" : "ok"} /><span>${one.text}</span>
    ${one.undo && html`<${Act} kind="quiet" onAct=${async () => { dismiss(one.id); await one.undo(); }}>Undo</${Act}>`}
    <button type="button" class="quiet close" aria-label="Dismiss" onClick=${() => dismiss(one.id)}>×</button></div>`)}</div>`;
}

// Questions before something is done. Their fields have a defaultValue: a value would be put back at each drawing, of
// which there is one a second, over what is being typed.

let question = null;

/**
 * Ask before something is done. Answers with true, or with what was typed in `fields`, or with null.
 * @param {{title: string, text?: any, action: string, danger?: boolean, type?: string, fields?: {name: string, label: string, value?: any, type?: string, help?: string, required?: boolean, min?: number, max?: number, options?: [string, string][]}[]}} asked
 *   `type`: what has to be typed first, where it is that serious.
 */
export function confirm(asked) {
  return new Promise((resolve) => {
    question = { ...asked, resolve, from: document.activeElement };
    told();
  });
}

export function Questions() {
  const [, draw] = useState(0);
  const dialog = useRef(null);
  const [typed, setTyped] = useState("");
  useEffect(() => {
    const hear = () => draw((n) => n + 1);
    hearers.add(hear);
    return () => hearers.delete(hear);
  }, []);
  useEffect(() => {
    if (question && dialog.current && !dialog.current.open) {
      setTyped("");
      dialog.current.showModal();
    }
  });
  if (!question) return null;
  const { title, text, action, danger, type, fields, resolve, from } = question;
  const done = (answer) => {
    question = null;
    dialog.current?.close();
    told();
    if (from instanceof HTMLElement) from.focus();
    resolve(answer);
  };
  const submit = (event) => {
    event.preventDefault();
    if (type && typed !== type) return;
    done(fields ? Object.fromEntries(new FormData(event.target)) : true);
  };
  return html`<dialog ref=${dialog} class="dialog" aria-labelledby="question" onCancel=${(event) => { event.preventDefault(); done(null); }}>
    <form onSubmit=${submit}>
      <h2 id="question">${title}</h2>
      ${text && html`<div class="dialog-text">${text}</div>`}
      ${fields?.map((field) => html`<label class="field"><span>${field.label}</span>${
        field.options
          ? html`<select name=${field.name}>${field.options.map(([own, word]) => html`<option value=${own} selected=${own === field.value}>${word}</option>`)}</select>`
          : field.type === "textarea"
            ? html`<textarea name=${field.name} rows="4" required=${field.required}>${field.value ?? ""}</textarea>`
            : html`<input name=${field.name} type=${field.type ?? "text"} defaultValue=${field.value ?? ""} required=${field.required} min=${field.min} max=${field.max} autocomplete="off" spellcheck=${false} />`
      }${field.help && html`<small>${field.help}</small>`}</label>`)}
      ${type && html`<label class="field"><span>Type <code>${type}</code> to go on</span><input value=${typed} onInput=${(event) => setTyped(event.target.value)} autocomplete="off" spellcheck=${false} /></label>`}
      <div class="dialog-actions">
        <button type="button" onClick=${() => done(null)}>Cancel</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${!!type && typed !== type}>${action}</button>
      </div>
    </form>
  </dialog>`;
}
