// Numbers, sizes, times as people read them.

const plain = new Intl.NumberFormat('en');
export const DASH = '\u2013';
export const DOTS = '\u2026';
const NBSP = '\u00a0';

const missing = (n) => n === undefined || n === null || n === '' || Number.isNaN(n);

/** 1,204 and, from ten millions on, 12.4 M. */
export function count(n) {
  if (missing(n)) return DASH;
  return Math.abs(n) < 1e7 ? plain.format(Math.round(n)) : short(n);
}

/** Three digits and a unit: 12.4 k. */
export function short(n, unit = '') {
  if (missing(n)) return DASH;
  const size = Math.abs(n);
  for (const [factor, letter] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (size >= factor * 0.9995) return `${digits(n / factor)}${NBSP}${letter}${unit}`;
  }
  return `${digits(n)}${unit && NBSP}${unit}`;
}
function digits(n) {
  const size = Math.abs(n);
  if (size >= 99.95 || Number.isInteger(n)) return String(Math.round(n));
  return size >= 9.995 ? n.toFixed(1) : n.toFixed(2).replace(/\.?0+$/, '');
}

export function rate(n) {
  if (missing(n)) return DASH;
  return n === 0 ? '0/s' : Math.abs(n) < 1000 ? `${n < 10 ? Number(n.toFixed(1)) : Math.round(n)}/s`
    : `${short(n)}/s`;
}

export function bytes(n) {
  if (missing(n)) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (Math.abs(n) >= 1000 && i < 4) {
    n /= 1024;
    i++;
  }
  return `${i === 0 ? Math.round(n) : digits(n)}${NBSP}${units[i]}`;
}

/** The two greatest units, 3 d 4 h, or `most` of them. */
export function duration(ms, most = 2) {
  if (missing(ms)) return DASH;
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}${NBSP}ms`;
  let s = Math.floor(ms / 1000);
  const parts = [];
  for (const [size, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
    const n = Math.floor(s / size);
    if (n || (parts.length && parts.length < most)) parts.push([n, unit]);
    s -= n * size;
    if (parts.length === most) break;
  }
  return parts.filter(([n], i) => n || !i).map(([n, unit]) => `${n}${NBSP}${unit}`).join(' ');
}

const two = (n) => String(n).padStart(2, '0');
/** The time of day, with the date when it is not today. */
export function clock(ms, seconds = true) {
  if (missing(ms)) return DASH;
  const at = new Date(ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ''}`;
  return at.toDateString() === new Date().toDateString() ? time
    : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}
export const ago = (ms) => `${duration(Math.max(0, Date.now() - ms))} ago`;

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** A value of a table as text: JSON for what is no text. */
export const value = (v) => (typeof v === 'string' ? v : JSON.stringify(v));

/** The default exchange has no name. */
export const exchangeName = (name) => name || '(default)';

/** Reads `1000`, `10k`, `5m` (minutes where times are meant), `2MiB`. */
export function quantity(textual, time = false) {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(textual);
  if (!match) return null;
  const units = time ? { '': 1, ms: 1, s: 1e3, m: 6e4, min: 6e4, h: 36e5, d: 864e5 }
    : { '': 1, k: 1e3, m: 1e6, g: 1e9, kb: 1e3, mb: 1e6, gb: 1e9, kib: 1024, mib: 1024 ** 2,
    gib: 1024 ** 3 };
  const factor = units[match[2].toLowerCase()];
  return factor === undefined ? null : Number(match[1]) * factor;
}
