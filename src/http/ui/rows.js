// Where a table's rows come from: all of them at hand, pages that the server sorts and filters and
// that are live while they are seen, or what a scan of the pages has found.
import { get, query } from './api.js';
import { subscribe } from './live.js';
import { matcher, shortcut } from './filter.js';

const PAGE = 100;
const SCAN_PAGE = 500;
const PAGES_KEPT = 24;
const SCAN_AGAIN_MS = 15000;

export const at = (row, where) => where.split('.').reduce((value, part) => value?.[part], row);

function order(rows, sort, reverse) {
  const keyed = rows.map((row) => [at(row, sort) ?? '', row]);
  keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (reverse) keyed.reverse();
  return keyed.map((pair) => pair[1]);
}

/** Rows that are all here. */
export class LocalRows {
  constructor(changed) {
    this.changed = changed;
    this.all = null;
    this.rows = [];
    this.total = 0;
  }
  set(rows) {
    this.all = rows;
    this.apply();
  }
  ask({ filter, sort, reverse }) {
    this.wish = { filter, sort, reverse };
    if (this.all) this.apply();
  }
  apply() {
    const { filter, sort, reverse } = this.wish ?? {};
    let rows = filter ? this.all.filter(matcher(filter)) : this.all;
    if (sort) rows = order(rows, sort, reverse);
    this.rows = rows;
    this.total = this.all.length;
    this.changed();
  }
  get count() {
    return this.all ? this.rows.length : null;
  }
  row(i) {
    return this.rows[i];
  }
  look() {}
  async between(from, to) {
    return this.rows.slice(from, to + 1);
  }
  close() {}
}

/** Rows of a list of the API that has pages; only those that are seen are asked for. */
export class PagedRows {
  constructor(path, changed) {
    Object.assign(this, { path, changed, pages: new Map(), live: new Map(), count: null, total: null,
        error: null });
  }
  ask({ filter, sort, reverse, columns, extra }) {
    this.close();
    this.pages.clear();
    this.error = null;
    this.wish = { page_size: PAGE, name: filter.name, use_regex: filter.name ? filter.regex : undefined,
      sort, sort_reverse: reverse ? true : undefined, columns: columns.join(','), ...extra };
    this.look(0, 0);
  }
  row(i) {
    return this.pages.get(Math.floor(i / PAGE) + 1)?.[i % PAGE];
  }
  look(from, to) {
    const first = Math.floor(from / PAGE) + 1;
    const last = Math.min(Math.floor(to / PAGE) + 1, first + 2);
    for (const [page, stop] of this.live) if (page < first || page > last) {
      stop();
      this.live.delete(page);
    }
    for (let page = first; page <= last; page++) {
      if (this.live.has(page)) continue;
      this.live.set(page, subscribe(query(this.path, { page, ...this.wish }),
          ({ status, body }) => this.receive(page, status, body)));
    }
  }
  receive(page, status, body) {
    if (status !== 200) {
      if (page > 1) {
        this.pages.delete(page);
        this.look(0, 0);
        return;
      }
      this.error = body?.reason ?? `The broker answered ${status}.`;
      this.count ??= 0;
    } else {
      this.error = null;
      this.pages.delete(page);
      this.pages.set(page, body.items ?? body);
      this.count = body.filtered_count ?? body.length;
      this.total = body.total_count ?? body.length;
      for (const old of this.pages.keys()) {
        if (this.pages.size <= PAGES_KEPT) break;
        if (!this.live.has(old)) this.pages.delete(old);
      }
    }
    this.changed();
  }
  async between(from, to) {
    const out = [];
    for (let page = Math.floor(from / PAGE) + 1; page <= Math.floor(to / PAGE) + 1; page++) {
      if (!this.pages.has(page)) this.pages.set(page,
        (await get(query(this.path, { page, ...this.wish }))).items);
    }
    for (let i = from; i <= to; i++) {
      const row = this.row(i);
      if (row) out.push(row);
    }
    return out;
  }
  close() {
    for (const stop of this.live.values()) stop();
    this.live.clear();
  }
}

/** What holds of a filter that the server does not know, read page by page and looked at here. */
export class ScannedRows extends LocalRows {
  constructor(path, changed) {
    super(changed);
    this.path = path;
  }
  ask(wish) {
    this.close();
    this.all = null;
    this.looked = 0;
    this.done = false;
    this.wish = { ...wish, filter: null };
    this.run(wish);
  }
  async run(wish) {
    const { filter, columns } = wish;
    this.abort = new AbortController();
    const { signal } = this.abort;
    const quick = shortcut(filter.tests);
    const holds = matcher({ name: '', tests: filter.tests });
    const needed = [...new Set([...columns, ...filter.tests.flatMap((t) => t.field?.needs ?? [])])];
    const found = [];
    const began = performance.now();
    try {
      for (let page = 1; ; page++) {
        const answer = await get(query(this.path,
            { page, page_size: SCAN_PAGE, name: filter.name,
              use_regex: filter.name ? filter.regex : undefined, sort: quick?.sort,
              sort_reverse: quick?.reverse ? true : undefined, columns: needed.join(','),
              ...(quick ? wish.extra : {}) }), { signal });
        const rows = answer.items ?? answer;
        for (const row of rows) if (holds(row)) found.push(row);
        this.looked = (page - 1) * SCAN_PAGE + rows.length;
        this.total = answer.total_count ?? rows.length;
        const end = page >= (answer.page_count ?? 1) || !rows.length || quick?.past(rows.at(-1));
        if (end || !this.complete) {
          this.all = found;
          this.done = end;
          this.apply();
        }
        if (end) break;
      }
      this.complete = true;
      this.timer = setTimeout(() => this.run(wish),
        Math.max(SCAN_AGAIN_MS, 20 * (performance.now() - began)));
    } catch (e) {
      if (e.name === 'AbortError') return;
      this.error = e.message;
      this.all ??= [];
      this.apply();
    }
  }
  apply() {
    const total = this.total;
    super.apply();
    this.total = total;
  }
  close() {
    this.abort?.abort();
    clearTimeout(this.timer);
    this.complete = false;
  }
}
