// What holds of the files of the pages without a browser: their size, and that nothing becomes markup.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { matcher, parse, shortcut } from '../../src/http/ui/filter.js';
import { bytes, count, duration, quantity, rate, short } from '../../src/http/ui/format.js';

const ROOT = fileURLToPath(new URL('../../src/http/ui/', import.meta.url));
const BYTES_MAX = 250 * 1024;
const COMPRESSED_MAX = 75 * 1024;
const MARKUP =
  /\b(innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|srcdoc|eval|DOMParser)\b|document\.write|new Function/;

const files = () => readdirSync(ROOT, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort()
  .map((path) => ({ name: relative(ROOT, path), text: readFileSync(path, 'utf8') }));

export const FILES = {
  'the files stay small': () => {
    const all = files();
    const bytes = all.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    const compressed = gzipSync(all.map(({ text }) => text).join(''), { level: 9 }).length;
    assert.ok(bytes < BYTES_MAX, `${bytes} bytes`);
    assert.ok(compressed < COMPRESSED_MAX, `${compressed} bytes compressed`);
  },
  'no file makes markup of text': () => {
    for (const { name, text } of files()) assert.doesNotMatch(text, MARKUP, name);
  },
  'no file names another host, and the page has no inline script or style': () => {
    for (const { name, text } of files()) {
      const hosts = [...text.matchAll(/\b(?:https?:)?\/\/[a-z0-9-]+\.[a-z]{2,}[^\s'"]*/gi)].map(
        (match) => match[0]);
      assert.deepEqual(hosts.filter((host) => !host.startsWith('http://www.w3.org/2000/svg')), [], name);
    }
    const page = files().find(({ name }) => name === 'index.html').text;
    assert.doesNotMatch(page, /<style|style=|<script(?![^>]*src=)|\son\w+=/);
  },
  'the filter finds what it says': () => {
    const fields = { type: { exact: true, sort: 'type', read: (q) => q.type },
      messages: { kind: 'number', sort: 'messages', read: (q) => q.messages },
      idle: { kind: 'time', read: (q) => q.idle }, dlx: { kind: 'yes', read: (q) => q.dlx } };
    const rows = [{ name: 'orders', type: 'quorum', messages: 1500, idle: 0, dlx: true },
      { name: 'orders.dead', type: 'classic', messages: 3, idle: 400000, dlx: false },
      { name: 'a/b', type: 'stream', messages: 0, idle: 60000 }];
    const found = (text) => rows.filter(matcher(parse(text, fields))).map((q) => q.name);
    assert.deepEqual(found('ORDER'), ['orders', 'orders.dead']);
    assert.deepEqual(found('/^orders$/'), ['orders']);
    assert.deepEqual(found('order dead'), ['orders.dead']);
    assert.deepEqual(found('"a/b"'), ['a/b']);
    assert.deepEqual(found('messages>1k'), ['orders']);
    assert.deepEqual(found('messages<=3 type:classic'), ['orders.dead']);
    assert.deepEqual(found('idle>5m'), ['orders.dead']);
    assert.deepEqual(found('dlx:no'), ['orders.dead', 'a/b']);
    assert.deepEqual(found('unknown:thing'), []);
    for (const wrong of ['/(/', 'messages>x', 'dlx:perhaps', 'type>quorum'])
      assert.ok(parse(wrong, fields).error, wrong);
    const { sort, reverse, past } = shortcut(parse('messages>1k', fields).tests);
    assert.deepEqual([sort, reverse, past(rows[0]), past(rows[1])], ['messages', true, false, true]);
    for (const [op, enough] of [['>', true], ['>=', false], ['<', true], ['<=', false]]) {
      const { past: ends } = shortcut(parse(`messages${op}3`, fields).tests);
      const [within, beyond] = op[0] === '>' ? [4, 2] : [2, 4];
      assert.deepEqual([within, 3, beyond].map((messages) => ends({ messages })), [false, enough, true], op);
    }
  },
  'numbers, sizes and times are told shortly': () => {
    const plain = (text) => text.replaceAll('\u00a0', ' ');
    assert.deepEqual([count(1204), count(null), plain(count(23456789))], ['1,204', '\u2013', '23.5 M']);
    assert.deepEqual([12400, 999.96, 0].map((n) => plain(short(n))), ['12.4 k', '1 k', '0']);
    assert.deepEqual([0, 0.25, 420, 12400].map((n) => plain(rate(n))),
      ['0/s', '0.3/s', '420/s', '12.4 k/s']);
    assert.deepEqual([512, 3250586, 1e9].map((n) => plain(bytes(n))), ['512 B', '3.1 MiB', '954 MiB']);
    assert.deepEqual([900, 12000, 3660000, 97200000].map((n) => plain(duration(n))),
      ['900 ms', '12 s', '1 h 1 min', '1 d 3 h']);
    assert.deepEqual([quantity('10k'), quantity('5m', true), quantity('2MiB'), quantity('many')],
      [10000, 300000, 2097152, null]);
  }
};
