// What is in a message: JSON that folds and has colours, text, bytes; and how it died, in
// sentences.
import { h, show, button, note, save } from './dom.js';
import { bytes, clock, count, exchangeName, value, DOTS } from './format.js';
import { link, exchangeLink } from './link.js';
import { segments } from './fields.js';

const KIDS = 100;
const TEXT_MAX = 200000;
const HEX_MAX = 16384;
const JSON_MAX = 1 << 20;
// what is loaded whole without being asked for
const WHOLE_MAX = 256 << 10;
const JSON_STARTS = /^\s*[[{"\d\-tfn]/;

function leaf(data) {
  const kind = typeof data === 'string' ? 'str' : 'lit';
  const shown = typeof data === 'string' ? JSON.stringify(
    data.length > 10000 ? `${data.slice(0, 10000)}${DOTS}` : data) : String(data);
  return h('span', { class: kind }, shown);
}

/** A tree of JSON; what is below a fold is made when it is opened. */
function tree(data, key, depth) {
  const label = key === null ? null : [h('span.key', typeof key === 'number' ? key : JSON.stringify(key)),
    h('span.pun', ': ')];
  if (data === null || typeof data !== 'object') return h('div.leaf', label, leaf(data));
  const list = Array.isArray(data);
  const entries = list ? data.map((v, i) => [i, v]) : Object.entries(data);
  const [left, right] = list ? '[]' : '{}';
  if (!entries.length) return h('div.leaf', label, h('span.pun', left + right));
  const kids = h('div.kids');
  let made = 0;
  const more = () => {
    kids.lastChild?.matches?.('.btn') && kids.lastChild.remove();
    for (const [k, v] of entries.slice(made, made + KIDS)) kids.append(tree(v, k, depth + 1));
    made += KIDS;
    if (made < entries.length) kids.append(button(`${count(entries.length - made)} more`, more,
        { kind: 'plain' }));
  };
  const fold = h('details', { open: depth < 3 && entries.length <= 50, ontoggle: () => {
    if (fold.open && !made) more();
  } }, h('summary', label, h('span.pun', left), h('span.pun.brief', `${DOTS} ${entries.length}${right}`)),
  kids, h('div.pun', right));
  if (fold.open) more();
  return fold;
}

function hex(data) {
  const lines = [];
  for (let i = 0; i < Math.min(data.length, HEX_MAX); i += 16) {
    const part = [...data.subarray(i, i + 16)];
    lines.push(
      `${i.toString(16).padStart(8, '0')}  ${part.map((b) => b.toString(16).padStart(2, '0')).join(' ').padEnd(47)}  ${part.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : '.')).join('')}`);
  }
  return lines.join('\n');
}

const bytesOf = (message) => message.payload_encoding === 'base64'
  ? Uint8Array.from(atob(message.payload), (c) => c.charCodeAt(0))
  : new TextEncoder().encode(message.payload);

/** The body of a message; `whole()` fetches a copy that is not cut. */
export function body(message, whole) {
  const box = h('div.stack.close');
  const draw = (current, way) => {
    const data = bytesOf(current);
    let text = null, parsed;
    try {
      text = new TextDecoder('utf-8', { fatal: !current.truncated }).decode(data);
    } catch {
      text = null;
    }
    if (text !== null && !current.truncated && data.length < JSON_MAX && JSON_STARTS.test(text)) {
      try {
        parsed = JSON.parse(text);
      } catch {
        parsed = undefined;
      }
    }
    const ways = [parsed !== undefined && ['json', 'JSON'], text !== null && ['text', 'Text'],
      ['hex', 'Hex']].filter(Boolean);
    const chosen = ways.some(([w]) => w === way) ? way : ways[0][0];
    const cut = current.truncated && note(null,
      `The first ${bytes(data.length)} of ${bytes(current.payload_bytes)}. `,
      button('Load all of it', async () => {
      const full = await whole();
      if (full) draw(full, null);
    }, { kind: 'plain' }));
    const content = chosen === 'json' ? h('div.payload.json',
      { tabindex: 0, role: 'region', 'aria-label': 'Payload as JSON' }, tree(parsed, null, 0))
      : h('pre', { class: `payload ${chosen}`, tabindex: 0, role: 'region', 'aria-label': 'Payload' },
      chosen === 'text' ? text.slice(0, TEXT_MAX) + (text.length > TEXT_MAX ? DOTS : '')
        : hex(data) + (data.length > HEX_MAX ? `\n${DOTS}` : ''));
    show(box, h('div.row.apart', h('h3', 'Payload ', h('span.quiet', bytes(current.payload_bytes))),
        h('div.row', segments('Payload as', ways, chosen, (w) => draw(current, w)),
          button('Save', async () => {
      const full = current.truncated ? await whole() : current;
      if (full) save(
        `message-${current.id}${parsed === undefined ? (text === null ? '.bin' : '.txt') : '.json'}`,
        bytesOf(full), 'application/octet-stream');
    }, { image: 'download' }))), cut, content);
  };
  draw(message, null);
  if (message.truncated && message.payload_bytes <= WHOLE_MAX) {
    whole().then((full) => full && box.isConnected && draw(full, null));
  }
  return box;
}

/** A table of headers as text; values that are tables as trees. */
export const headerTable = (headers) => h('dl.kv',
  Object.entries(headers).map(([name, v]) => [h('dt', name),
      h('dd.mono', v !== null && typeof v === 'object' ? h('div.json', tree(v, null, 2)) : value(v))]));

const REASONS = { rejected: 'Rejected', expired: 'Expired', maxlen: 'Pushed out by the length limit',
  delivery_limit: 'At its delivery limit' };
const TIMES = ['', '', 'second time', 'third time', 'fourth time', 'fifth time'];
const milliseconds = (time) => (time > 1e11 ? time : time * 1000);

/** `x-death` as a history, the last event first. */
export function deaths(vhost, list) {
  return h('ul.timeline', list.map((d) => h('li', `${REASONS[d.reason] ?? d.reason} in `,
        h('a', { href: link('queues', vhost, d.queue) }, d.queue),
        d.count > 1 ? `, ${TIMES[d.count] ?? `${count(d.count)} times`}, the first at ` : ' at ',
        clock(milliseconds(d.time)), h('div.quiet', 'It had come by ',
          h('a', { href: exchangeLink(vhost, d.exchange) }, exchangeName(d.exchange)),
          ` with ${d['routing-keys']?.length ? `key ${d['routing-keys'].join(', ')}` : 'no key'}`,
          d['original-expiration'] && `, to expire after ${count(Number(d['original-expiration']))} ms`,
          '.'))));
}
