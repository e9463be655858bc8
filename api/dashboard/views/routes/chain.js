/** A route of the configuration as the steps that a request takes, in their order. */

import { plural } from "../../lib/format.js";

const list = (some, most = 3) => (some.length > most ? `${some.slice(0, most).join(", ")} and ${some.length - most} more` : some.join(", "));

export function matchWords(match) {
  const parts = [match.host.length ? list(match.host) : "any host", match.path === "/**" ? "any path" : match.path];
  if (match.methods.length) parts.push(list(match.methods, 5));
  for (const [name, value] of Object.entries(match.headers)) parts.push(value === "*" ? `with ${name}` : `${name}: ${value}`);
  return parts.join(" · ");
}

/** @returns {{name: string, text: string, title?: string, link?: string, kind?: string}[]} */
export function steps(name, route, config) {
  const found = [];
  const access = route.access ?? config.access;
  if (access) found.push({ name: "access", text: [access.allow?.length && `only ${list(access.allow)}`, access.deny?.length && `not ${list(access.deny)}`].filter(Boolean).join(", ") || "by network" });
  if (route.methods?.length) found.push({ name: "methods", text: list(route.methods, 5) });
  if (route.request_body) found.push({ name: "bodies", text: route.request_body.types?.length ? list(route.request_body.types) : "checked" });
  if (route.auth?.length) found.push({ name: "auth", text: route.auth.join(" or ") });
  for (const limit of route.rate_limit ?? []) {
    const policy = typeof limit === "string" ? limit : limit.policy;
    const own = config.rate_limits?.[policy];
    found.push({ name: "limit", text: `${policy}${own?.rate ? `: ${own.rate}` : ""}`, link: "#/system?tab=limits" });
  }
  if (route.maintenance?.enabled) found.push({ name: "maintenance", text: `answers ${route.maintenance.status}`, kind: "off" });
  if (route.redirect) found.push({ name: "redirect", text: `${route.redirect.status ?? 308} → ${route.redirect.to ?? route.redirect.url ?? (route.redirect.scheme ? `${route.redirect.scheme}://…` : "elsewhere")}`, kind: "end" });
  if (route.respond) found.push({ name: "answer", text: `${route.respond.status ?? 200}, fixed`, kind: "end" });
  const cached = route.cache ?? config.cache?.enabled;
  if (cached && !route.redirect && !route.respond) found.push({ name: "cache", text: typeof cached === "string" ? `by the rule ${cached}` : "as its answers allow", link: "#/cache" });
  if (route.rewrite) found.push({ name: "rewrite", text: route.rewrite.path ?? route.rewrite.replace ?? (route.rewrite.strip_prefix ? `without ${route.rewrite.strip_prefix}` : route.rewrite.add_prefix ? `${route.rewrite.add_prefix}…` : "the path") });
  const edits = ["request", "response"].reduce((sum, side) => sum + Object.values(route.headers?.[side] ?? {}).reduce((count, some) => count + (Array.isArray(some) ? some.length : Object.keys(some).length), 0), 0);
  if (edits) found.push({ name: "fields", text: plural(edits, "edit") });
  if (route.compress) found.push({ name: "compress", text: list(route.compress.codings ?? [], 4) });
  if (route.pool) found.push({ name: "pool", text: `${route.pool}, ${config.pools[route.pool]?.strategy ?? ""}`, link: `#/pools?pool=${encodeURIComponent(route.pool)}`, kind: "end" });
  if (route.split) {
    const total = Object.values(route.split).reduce((a, b) => a + b, 0);
    found.push({ name: "split", text: Object.entries(route.split).map(([pool, share]) => `${pool} ${Math.round((100 * share) / total)} %`).join(", "), link: "#/pools", kind: "end" });
  }
  return found;
}

const covers = (wide, narrow) => !wide.length || (narrow.length > 0 && narrow.every((one) => wide.includes(one)));

/** Whether another route takes everything that this one could: with the same path and fewer or the same conditions. */
export function hidden(name, routes) {
  const own = routes[name].match;
  for (const [other, { match }] of Object.entries(routes)) {
    if (other === name || match.path !== own.path) continue;
    const headers = Object.entries(match.headers).every(([field, value]) => own.headers[field] === value);
    const same = JSON.stringify([match.host, match.methods, match.headers]) === JSON.stringify([own.host, own.methods, own.headers]);
    if (same && covers(match.host, own.host) && headers && Object.keys(routes).indexOf(other) < Object.keys(routes).indexOf(name))
      return `${other} has the same host, path and conditions and comes first: no request gets here.`;
  }
  return null;
}
