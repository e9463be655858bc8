/** Charts over time, each with a twin in text. */

import script from "../vendor/uplot.js";
import { exactly, NONE, number, time } from "./format.js";
import { html, useEffect, useRef } from "./html.js";

/** A script that has become a module: its types are not to be seen. @type {any} */
const uPlot = script;

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A colour of the style sheet as a canvas takes it; "light-dark()" is for style sheets alone. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const STEPS = {
  bytes: Array.from({ length: 41 }, (_, power) => 2 ** power),
  count: Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat(),
};

/**
 * @param {{times: number[], series: {name: string, values: (number | null)[], colour?: string, fill?: boolean, dash?: boolean}[], format?: (value: number) => string, height?: number, label: string, sync?: string, stacked?: boolean, max?: number, onRange?: (from: number, to: number) => void, bars?: boolean, unit?: "bytes" | "count"}} props
 *   `times`: seconds since 1970. `stacked`: one on the other; `series` stay what they are for the text. `sync`: charts of one name share the cursor. `unit`: which
 *   steps the axis may have.
 */
export function Chart({ times, series, format = number, height = 200, label, sync, stacked = false, max, onRange, bars = false, unit }) {
  const box = useRef(null);
  const plot = useRef(null);
  const given = useRef(null);
  given.current = { format, series };
  const shape = JSON.stringify([series.map((one) => [one.name, one.colour, one.fill, one.dash]), stacked, max, height, sync, bars]);

  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      const ink = colour("ink-soft");
      const grid = { stroke: colour("line-soft"), width: 1 };
      const axis = { stroke: ink, grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      const lines = given.current.series.map((one, i) => {
        const stroke = colour(one.colour ?? `chart-${(i % 6) + 1}`);
        return {
          label: one.name,
          stroke,
          width: stacked && i > 0 ? 0 : 1.5, // the line of a part that is nothing would lie on the one below
          dash: one.dash ? [4, 3] : undefined,
          fill: one.fill || (stacked && i === 0) ? faint(stroke, stacked ? 0.45 : 0.15) : undefined,
          paths: bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
          points: { show: false },
          value: (_plot, value, _i, at) => {
            const own = at === null ? null : given.current.series[i]?.values[at];
            return own === null || own === undefined ? NONE : given.current.format(own);
          },
        };
      });
      // Of a stack, each fills what is between it and the one below.
      const bands = stacked ? lines.slice(1).map((one, i) => ({ series: [i + 2, i + 1], fill: faint(one.stroke, 0.7) })) : [];
      plot.current = new uPlot(
        {
          width: box.current.clientWidth || 300,
          height,
          padding: [8, 20, 0, 0], // room for half of the last time
          cursor: { sync: sync ? { key: sync } : undefined, drag: { x: !!onRange, y: false }, points: { size: 6 } },
          legend: { live: true },
          scales: { x: { time: true }, y: { range: (_plot, low, high) => [Math.min(0, low ?? 0), max ?? (high > 0 ? high * 1.08 : 1)] } },
          axes: [
            { ...axis, space: 70, size: 30, values: ticks },
            { ...axis, size: 62, incrs: STEPS[unit], values: (_plot, values) => values.map((value) => given.current.format(value)) },
          ],
          bands,
          series: [{ label: "at", value: (own, value) => (value === null ? "" : moment(own.data[0], value)) }, ...lines],
          hooks: {
            setLegend: [latest],
            ...(onRange && {
              setSelect: [(own) => own.select.width > 4 && onRange(own.posToVal(own.select.left, "x"), own.posToVal(own.select.left + own.select.width, "x"))],
            }),
          },
        },
        data(times, given.current.series, stacked),
        box.current,
      );
      latest(plot.current);
    };
    make();
    const wide = new ResizeObserver(() => {
      const width = box.current?.clientWidth;
      if (width && plot.current && width !== plot.current.width) plot.current.setSize({ width, height });
    });
    wide.observe(box.current);
    dark.addEventListener("change", make);
    window.addEventListener("themechange", make);
    return () => {
      wide.disconnect();
      dark.removeEventListener("change", make);
      window.removeEventListener("themechange", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    if (!plot.current) return;
    plot.current.setData(data(times, series, stacked));
    latest(plot.current);
  }, [times, series]);

  return html`<figure class="chart">
    <div class="plot" ref=${box} style=${{ minHeight: `${height + 26}px` }} role="img" aria-label="${label}. ${summary(series, format)}"></div>
    <${Twin} times=${times} series=${series} format=${format} label=${label} />
  </figure>`;
}

/** While nobody points at a chart, its legend has the newest values. */
function latest(plot) {
  if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: plot.data[0].length ? plot.data[0].length - 1 : null }, false);
}

function data(times, series, stacked) {
  if (!stacked) return [times, ...series.map((one) => one.values)];
  const sums = new Array(times.length).fill(0);
  const rows = series.map((one) => one.values.map((value, i) => (value === null || value === undefined ? (sums[i] || null) : (sums[i] += value))));
  return [times, ...rows];
}

/** A point's time, as exactly as points are apart. */
function moment(times, at) {
  const step = times.length > 1 ? times[1] - times[0] : 1;
  const day = new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return step >= 80000 ? day : step >= 3600 ? `${day}, ${time(at * 1000).slice(0, 5)}` : time(at * 1000);
}

/** Times of day as the rest of the page writes them, with the day where it begins. */
function ticks(_plot, splits, _axis, _space, step) {
  return splits.map((at) => {
    const when = new Date(at * 1000);
    const midnight = when.getHours() === 0 && when.getMinutes() === 0;
    if (step >= 86400 || (midnight && step >= 3600)) return when.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    return when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: step < 60 ? "2-digit" : undefined });
  });
}

function faint(rgb, share) {
  const found = rgb.match(/[\d.]+/g);
  return found ? `rgba(${found.slice(0, 3).join(", ")}, ${share})` : rgb;
}

const extremes = (values) => {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return null;
  return { last: known.at(-1), low: Math.min(...known), high: Math.max(...known), mean: known.reduce((a, b) => a + b, 0) / known.length };
};

function summary(series, format) {
  return series
    .map((one) => {
      const found = extremes(one.values);
      return found ? `${one.name}: ${format(found.last)} now, between ${format(found.low)} and ${format(found.high)}` : `${one.name}: nothing known`;
    })
    .join("; ");
}

/** The same in text, for those who see no picture, and those who want the number. */
function Twin({ times, series, format, label }) {
  if (!times.length) return null;
  return html`<details class="twin"><summary>Figures</summary>
    <table>
      <caption>${label}, ${exactly(times[0] * 1000)} to ${exactly(times.at(-1) * 1000)}</caption>
      <thead><tr><td></td><th scope="col" class="right">last</th><th scope="col" class="right">lowest</th><th scope="col" class="right">mean</th><th scope="col" class="right">highest</th></tr></thead>
      <tbody>${series.map((one) => {
        const found = extremes(one.values);
        return html`<tr><th scope="row">${one.name}</th>${["last", "low", "mean", "high"].map((key) => html`<td class="right">${found ? format(found[key]) : NONE}</td>`)}</tr>`;
      })}</tbody>
    </table></details>`;
}

/**
 * Values as shades in a grid, such as hours by weekdays, with the numbers in the cells' names.
 * @param {{rows: string[], columns: string[], values: (number | null)[][], format?: (value: number) => string, label: string, every?: number}} props  `every`: of so many columns one has its name.
 */
export function Heat({ rows, columns, values, format = number, label, every = 1 }) {
  const top = Math.max(1e-9, ...values.flat().filter((value) => value !== null));
  return html`<div class="scroll" tabindex="0" role="group" aria-label=${label}><table class="heat">
    <caption class="hidden">${label}</caption>
    <thead><tr><td></td>${columns.map((name, i) => html`<th scope="col">${i % every ? html`<span class="hidden">${name}</span>` : name}</th>`)}</tr></thead>
    <tbody>${rows.map((name, i) => html`<tr><th scope="row">${name}</th>${columns.map((column, j) => {
      const value = values[i]?.[j] ?? null;
      const share = value === null ? 0 : Math.sqrt(value / top);
      return html`<td title="${name}, ${column}: ${value === null ? NONE : format(value)}" style=${{ "--share": share.toFixed(3) }}><span class="hidden">${value === null ? NONE : format(value)}</span></td>`;
    })}</tr>`)}</tbody></table></div>`;
}

/** Parts of a whole, or things beside each other, as bars with their figures. `items`: [{name, value, note?, tone?}] */
export function Bars({ items, format = number, label, empty = "Nothing yet." }) {
  const top = Math.max(1e-9, ...items.map((item) => item.value ?? 0));
  if (!items.length) return html`<p class="empty">${empty}</p>`;
  return html`<ul class="bars" aria-label=${label}>${items.map((item) => html`<li>
    <span class="bars-name" title=${item.name}>${item.link ? html`<a href=${item.link}>${item.name}</a>` : item.name}</span>
    <span class="bars-track" aria-hidden="true"><span class="bars-fill ${item.tone ?? ""}" style=${{ width: `${((item.value ?? 0) / top) * 100}%` }}></span></span>
    <span class="bars-value">${item.value === null || item.value === undefined ? NONE : format(item.value)}${item.note && html` <small>${item.note}</small>`}</span>
  </li>`)}</ul>`;
}
