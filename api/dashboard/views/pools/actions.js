/** What can be done to servers. Each says beforehand what it does to whom, and what can be taken back can be taken back. */

import { ask, session } from "../../lib/api.js";
import { number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Act, confirm, Menu, tell } from "../../lib/ui.js";

const POOLS = "/api/infrastructure/load-balancer/pools";
const path = (server, act = "") => `${POOLS}/${encodeURIComponent(server.pool)}/servers/${encodeURIComponent(server.name)}${act && `/${act}`}`;

export function ServerActions({ server, left, refresh }) {
  if (!session.may("operator")) return null;
  const out = server.state === "drained" || server.state === "maintenance";
  return html`<span class="row server-actions">
    ${out
      ? html`<${Act} kind="small" label="Ready: ${server.name}" onAct=${() => ready(server, refresh)}>Ready</${Act}>`
      : html`<${Act} kind="small" label="Drain ${server.name}" onAct=${() => takeOut(server, "drain", left, refresh)}>Drain…</${Act}>`}
    <${Menu} label="More for ${server.name}" items=${[
      server.state !== "maintenance" && ["Maintenance…", () => takeOut(server, "maintenance", left, refresh)],
      server.state !== "maintenance" && ["Check its health now", () => check(server, refresh)],
      ["Weight…", () => weigh(server, refresh)],
      session.may("admin") && ["Remove…", () => remove(server, left, refresh), true],
    ]} />
  </span>`;
}

/** What a server has now that it would be let finish. */
const unfinished = (server) =>
  server.in_flight + server.tunnels
    ? `${[server.in_flight && plural(server.in_flight, "request"), server.tunnels && plural(server.tunnels, "tunnel")].filter(Boolean).join(" and ")} in flight finish first.`
    : "Nothing is in flight there now.";

const rest = (server, left) =>
  !server.in_rotation
    ? html`<p>It has no traffic now, so nothing moves.</p>`
    : left
      ? html`<p>Its traffic goes to the ${left === 1 ? "one server" : `${left} servers`} of ${server.pool} that ${left === 1 ? "stays" : "stay"}.</p>`
      : html`<p><strong>No server of ${server.pool} would be left: its requests are answered with 503.</strong></p>`;

async function takeOut(server, act, left, refresh) {
  const empty = server.in_rotation && !left;
  const sure = await confirm({
    title: act === "drain" ? `Drain ${server.name}?` : `Take ${server.name} into maintenance?`,
    text: html`<p>${unfinished(server)} It gets nothing new${act === "maintenance" ? ", and its health is not checked" : ""}, until it is made ready again.</p>${rest(server, left)}`,
    action: act === "drain" ? "Drain" : "Maintenance",
    danger: empty,
    type: empty ? server.pool : undefined,
  });
  if (!sure) return;
  const before = server.state;
  await ask("POST", path(server, act));
  tell({
    text: `${server.name} ${act === "drain" ? "is drained" : "is in maintenance"}.`,
    undo: async () => {
      await ask("POST", path(server, before === "drained" ? "drain" : before === "maintenance" ? "maintenance" : "ready"));
      refresh();
    },
  });
  refresh();
}

async function ready(server, refresh) {
  const before = server.state === "drained" ? "drain" : "maintenance";
  await ask("POST", path(server, "ready"));
  tell({
    text: `${server.name} has traffic again once its checks pass.`,
    undo: async () => {
      await ask("POST", path(server, before));
      refresh();
    },
  });
  refresh();
}

async function weigh(server, refresh) {
  const asked = await confirm({
    title: `Weight of ${server.name}`,
    text: html`<p>Its share of traffic beside the other servers of ${server.pool}. It is ${number(server.weight.set)} now.</p>`,
    action: "Set it",
    fields: [{ name: "weight", label: "Weight", type: "number", value: server.weight.set, min: 1, max: 1000, required: true, help: "1 to 1000" }],
  });
  if (!asked || Number(asked.weight) === server.weight.set) return;
  const set = async (weight) => {
    await ask("PATCH", path(server), { body: { weight } });
    refresh();
  };
  await set(Number(asked.weight));
  tell({ text: `${server.name} has the weight ${asked.weight}.`, undo: () => set(server.weight.set) });
}

async function check(server, refresh) {
  const { items } = await ask("POST", "/api/infrastructure/load-balancer/health-check", { body: { pool: server.pool, server: server.name } });
  const [found] = items;
  tell({ level: found.ok ? "good" : "bad", text: `${server.name}: ${found.reason}${found.seconds !== null ? `, in ${Math.round(found.seconds * 1000)} ms` : ""}` });
  refresh();
}

export async function askAll(refresh) {
  const { items } = await ask("POST", "/api/infrastructure/load-balancer/health-check");
  const bad = items.filter((one) => one.ok === false);
  tell({ level: bad.length ? "bad" : "good", text: bad.length ? `${bad.length} of ${items.length} failed: ${bad.slice(0, 5).map((one) => one.server).join(", ")}` : `${plural(items.length, "server")} checked: all are well.` });
  refresh();
}

export async function addServer(pool, refresh) {
  const asked = await confirm({
    title: `Add a server to ${pool.name}`,
    text: html`<p>It gets traffic once its first health check has passed.</p>`,
    action: "Add",
    fields: [
      { name: "url", label: "URL", required: true, help: "http://10.0.0.11:8000" },
      { name: "name", label: "Name", help: "Empty: host and port." },
      { name: "weight", label: "Weight", type: "number", value: 1, min: 1, max: 1000 },
      { name: "backup", label: "Use", value: "", options: [["", "with the others"], ["yes", "as a backup, when no other is well"]] },
    ],
  });
  if (!asked) return;
  const body = { url: asked.url.trim(), weight: Number(asked.weight || 1), ...(asked.name.trim() ? { name: asked.name.trim() } : {}), ...(asked.backup ? { backup: true } : {}) };
  const made = await ask("POST", `${POOLS}/${encodeURIComponent(pool.name)}/servers`, { body });
  tell({
    text: `${made.name} is added.`,
    undo: async () => {
      await ask("DELETE", path(made));
      refresh();
    },
  });
  refresh();
}

async function remove(server, left, refresh) {
  const sure = await confirm({
    title: `Remove ${server.name} from ${server.pool}?`,
    text: html`<p>${unfinished(server)} Its counts are gone then.</p>${rest(server, left)}`,
    action: "Remove",
    danger: true,
    type: server.in_rotation && !left ? server.pool : undefined,
  });
  if (!sure) return;
  await ask("DELETE", path(server));
  tell({
    text: `${server.name} is removed.`,
    undo: async () => {
      await ask("POST", `${POOLS}/${encodeURIComponent(server.pool)}/servers`, { body: { url: server.url, name: server.name, weight: server.weight.set, backup: server.backup, max_connections: server.max_connections } });
      refresh();
    },
  });
  refresh();
}
