/** The form of a value, as JSON Schema has it, in few words. */

import { html } from "../../lib/html.js";
import { Prose } from "../../lib/ui.js";

const DEEPEST = 4;

export const named = (of, document) => (of?.$ref ? document.components.schemas[of.$ref.split("/").pop()] : of);

/** What kind of value it is: "integer", "string or null", "list of ServerStatus". */
export function kind(of, document) {
  if (!of || !Object.keys(of).length) return "anything";
  if (of.$ref) return of.$ref.split("/").pop();
  if (of.enum) return of.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in of) return JSON.stringify(of.const);
  const some = of.anyOf ?? of.oneOf;
  if (some) return [...new Set(some.map((one) => kind(one, document)))].join(" or ");
  if (of.allOf) return of.allOf.map((one) => kind(one, document)).join(" and ");
  if (of.type === "array") return `list of ${kind(of.items, document)}`;
  if (of.type === "object" && typeof of.additionalProperties === "object") return `object of ${kind(of.additionalProperties, document)}`;
  return of.format ? `${of.type} (${of.format})` : (of.type ?? "anything");
}

const limits = (of) =>
  [
    of.default !== undefined && of.default !== null && of.default !== "" && `by default ${JSON.stringify(of.default)}`,
    of.minimum !== undefined && `from ${of.minimum}`,
    of.maximum !== undefined && `to ${of.maximum}`,
    of.pattern && `matches ${of.pattern}`,
  ]
    .filter(Boolean)
    .join(", ");

export function Schema({ of, document, inline, depth = 0 }) {
  const real = named(of, document) ?? {};
  if (inline) return html`<span class="soft"><code>${kind(of, document)}</code>${limits(real) && `, ${limits(real)}`}</span>`;
  const inner = real.type === "array" ? named(real.items, document) : real;
  if (!inner?.properties) return html`<p><code>${kind(of, document)}</code></p>`;
  return html`${depth === 0 && inner.description && html`<p class="soft"><${Prose} text=${inner.description} /></p>`}<dl class="facts schema">${Object.entries(inner.properties).map(([name, one]) => {
    const deeper = within(one, document);
    return html`<dt><code>${name}</code>${inner.required?.includes(name) ? "" : "?"}</dt><dd><code class="soft">${kind(one, document)}</code> <${Prose} text=${one.description} /> ${limits(one) && html`<span class="soft">${limits(one)}</span>`}
      ${deeper && depth < DEEPEST && html`<details><summary>its fields</summary><${Schema} of=${deeper} document=${document} depth=${depth + 1} /></details>`}</dd>`;
  })}</dl>`;
}

/** The object that a value is, or is a list or a map of. */
function within(of, document) {
  const real = named(of, document);
  if (!real) return null;
  if (real.properties) return of;
  if (real.type === "array") return within(real.items, document);
  if (typeof real.additionalProperties === "object") return within(real.additionalProperties, document);
  for (const one of real.anyOf ?? real.oneOf ?? []) {
    const found = within(one, document);
    if (found) return found;
  }
  return null;
}

/** A body to begin with: what is required, and what has a default. */
export function example(of, document, depth = 0) {
  const real = named(of, document) ?? {};
  if (real.examples?.length) return real.examples[0];
  if (real.default !== undefined) return real.default;
  const some = real.anyOf ?? real.oneOf;
  if (some) return example(some[0], document, depth);
  if (real.enum) return real.enum[0];
  if (real.type === "object" || real.properties) {
    if (depth > DEEPEST || !real.properties) return {};
    return Object.fromEntries(Object.entries(real.properties).filter(([name]) => real.required?.includes(name)).map(([name, one]) => [name, example(one, document, depth + 1)]));
  }
  return { array: [], integer: real.minimum ?? 0, number: 0, boolean: false, string: "", null: null }[real.type] ?? null;
}
