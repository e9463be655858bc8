/** Figures as people read them. What is not known is "–", never 0. */

export const NONE = "–";

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** 1234.5 → "1,235"; 12.34 → "12.3"; 0.034 → "0.034". */
export function number(value, digits) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  const most = digits ?? (Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
  return value.toLocaleString("en", { maximumFractionDigits: most });
}

/** @typedef {[unit: string, factor: number][]} Units  the largest first */

/** @type {Units} */
const LARGE = [["G", 1e9], ["M", 1e6], ["k", 1e3]];
/** @type {Units} */
const BYTES = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
/** @type {Units} */
const SPANS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Large figures in little room: 12345 → "12.3k". */
export function short(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  for (const [unit, factor] of LARGE) {
    if (size >= 10 * factor || (size >= factor && unit !== "k")) return `${number(value / factor, size >= 100 * factor ? 0 : 1)}${unit}`;
  }
  return number(value);
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  for (const [unit, factor] of BYTES) {
    if (size >= factor) return `${number(value / factor, size >= 100 * factor ? 0 : 1)} ${unit}`;
  }
  return `${number(value, 0)} B`;
}

/** A share of 0..1. */
export function percent(value, digits) {
  if (!known(value)) return NONE;
  const hundred = value * 100;
  return `${number(hundred, digits ?? (hundred !== 0 && Math.abs(hundred) < 10 ? 1 : 0))} %`;
}

/** Seconds that something takes: "3.2 ms", "1.4 s", "12 min". */
export function seconds(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size < 1e-3) return `${number(value * 1e6, 0)} µs`;
  if (size < 1) return `${number(value * 1e3, size < 0.01 ? 2 : size < 0.1 ? 1 : 0)} ms`;
  if (size < 120) return `${number(value, size < 10 ? 2 : 0)} s`;
  return span(value);
}

/** Seconds that something has lasted, by its two largest units: "3 d 4 h". */
export function span(value) {
  if (!known(value)) return NONE;
  let left = Math.max(0, Math.round(value));
  const parts = [];
  for (const [unit, factor] of SPANS) {
    const count = Math.floor(left / factor);
    if (count || (unit === "s" && !parts.length)) parts.push(`${count} ${unit}`);
    left -= count * factor;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });

/** "14:03:22", with the day in front if it is not today's. */
export function time(value) {
  const at = new Date(value);
  const today = new Date();
  return at.toDateString() === today.toDateString() ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

/** With its time zone, for whoever wants to know exactly. */
export const exactly = (value) => whole.format(new Date(value));

export function ago(value, now = Date.now()) {
  const gone = (now - new Date(value).getTime()) / 1000;
  if (gone < 5) return "just now";
  return gone < 90 * 86400 ? `${span(gone < 120 ? gone : Math.floor(gone / 60) * 60)} ago` : day.format(new Date(value));
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
