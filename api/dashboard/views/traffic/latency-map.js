/** Requests by how long they took, over time: what percentiles hide, such as two humps. */

import { colour } from "../../lib/chart.js";
import { exactly, number, seconds as duration, time } from "../../lib/format.js";
import { html, useEffect, useRef, useState } from "../../lib/html.js";

const ROW = 16; // pixels
const LEFT = 64;
const FOOT = 20;

export function LatencyMap({ times, bounds, counts, step }) {
  const box = useRef(null);
  const canvas = useRef(null);
  const [at, setAt] = useState(null);
  const rows = shownRows(bounds, counts);
  const height = rows.length * ROW + FOOT;

  useEffect(() => {
    if (!rows.length) return undefined; // there is nothing to draw on
    const draw = () => paint(canvas.current, box.current?.clientWidth, rows, times, counts, bounds);
    draw();
    const wide = new ResizeObserver(draw);
    wide.observe(box.current);
    addEventListener("themechange", draw);
    return () => {
      wide.disconnect();
      removeEventListener("themechange", draw);
    };
  }, [times, counts]);

  const point = (event) => {
    const place = canvas.current.getBoundingClientRect();
    const column = Math.floor(((event.clientX - place.left - LEFT) / (place.width - LEFT)) * times.length);
    const row = rows[rows.length - 1 - Math.floor((event.clientY - place.top) / ROW)];
    setAt(column >= 0 && column < times.length && row !== undefined ? { column, row } : null);
  };
  if (!rows.length) return html`<p class="empty">No request in this time.</p>`;
  const sums = rows.map((row) => counts.reduce((sum, column) => sum + column[row], 0));
  const all = sums.reduce((a, b) => a + b, 0);
  return html`<figure class="chart">
    <div ref=${box} onMouseMove=${point} onMouseLeave=${() => setAt(null)}>
      <canvas ref=${canvas} style=${{ display: "block", width: "100%", height: `${height}px` }} role="img" aria-label="Requests by latency over time; the table below has the sums"></canvas>
    </div>
    <p class="soft map-said">${at ? html`${time(times[at.column] * 1000)}, ${words(bounds, at.row)}: <strong>${number(counts[at.column][at.row])}</strong> requests in ${duration(step)}` : "Point at a field to read it. Darker is more, by the square root."}</p>
    <details class="twin"><summary>Figures</summary><table>
      <caption>${times.length ? `${exactly(times[0] * 1000)} to ${exactly(times.at(-1) * 1000)}` : ""}</caption>
      <thead><tr><th scope="col">took</th><th scope="col" class="right">requests</th><th scope="col" class="right">share</th></tr></thead>
      <tbody>${rows.map((row, i) => html`<tr><th scope="row">${words(bounds, row)}</th><td class="right">${number(sums[i])}</td><td class="right">${number((100 * sums[i]) / all, 2)} %</td></tr>`)}</tbody>
    </table></details>
  </figure>`;
}

/** From the fastest that there was to the slowest, so that the map is not mostly empty. */
function shownRows(bounds, counts) {
  const used = Array.from({ length: bounds.length + 1 }, (_, row) => counts.some((column) => column[row] > 0));
  const first = used.indexOf(true);
  if (first < 0) return [];
  const last = used.lastIndexOf(true);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

const words = (bounds, row) =>
  row === bounds.length ? `more than ${duration(bounds.at(-1))}` : row === 0 ? `up to ${duration(bounds[0])}` : `${duration(bounds[row - 1])} to ${duration(bounds[row])}`;

function paint(canvas, width, rows, times, counts, bounds) {
  if (!canvas || !width) return;
  const scale = devicePixelRatio || 1;
  const height = rows.length * ROW + FOOT;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const ink = colour("chart-1");
  const soft = colour("ink-soft");
  const ground = colour("raised");
  const most = Math.max(1, ...counts.flatMap((column) => rows.map((row) => column[row])));
  const step = (width - LEFT) / Math.max(1, times.length);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  rows.forEach((row, i) => {
    const y = (rows.length - 1 - i) * ROW;
    pen.globalAlpha = 1;
    pen.fillStyle = soft;
    pen.textAlign = "right";
    pen.fillText(row === bounds.length ? "more" : `≤ ${duration(bounds[row])}`, LEFT - 8, y + ROW / 2);
    pen.fillStyle = ground;
    pen.fillRect(LEFT, y + 0.5, width - LEFT, ROW - 1);
    pen.fillStyle = ink;
    counts.forEach((column, j) => {
      if (!column[row]) return;
      pen.globalAlpha = 0.12 + 0.88 * Math.sqrt(column[row] / most);
      pen.fillRect(LEFT + j * step, y + 0.5, Math.max(step - 0.3, 0.7), ROW - 1);
    });
  });
  pen.globalAlpha = 1;
  pen.fillStyle = soft;
  const marks = Math.min(times.length, Math.max(2, Math.floor((width - LEFT) / 110)));
  const close = times.length > 1 && (times.at(-1) - times[0]) / (marks - 1) < 60; // minutes would come twice
  for (let i = 0; i < marks && marks > 1; i++) {
    const index = Math.round((i / (marks - 1)) * (times.length - 1));
    pen.textAlign = i === 0 ? "left" : i === marks - 1 ? "right" : "center";
    const when = new Date(times[index] * 1000);
    pen.fillText(when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: close ? "2-digit" : undefined }), LEFT + (i === 0 ? 0 : i === marks - 1 ? times.length : index + 0.5) * step, height - FOOT / 2);
  }
}
