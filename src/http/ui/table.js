// A table of any length: only the rows that are seen are in the document. It sorts by its heads,
// filters as typed, lets columns be chosen, selects with Shift, and is used by keys alone.
import { h, show, text, icon, button, empty, note } from './dom.js';
import { count, plural, DOTS } from './format.js';
import { parse } from './filter.js';
import { at, LocalRows, PagedRows, ScannedRows } from './rows.js';
import { attempt, uid } from './dialog.js';

const ROW = 32;
const OVERSCAN = 6;
const SELECT_MAX = 10000;
// browsers end at some height of an element; who looks for a row filters long before
const ROWS_MAX = 400000;
const narrow = matchMedia('(max-width: 800px)');

const remembered = (key) => {
  try {
    return JSON.parse(localStorage.getItem(`leveret.${key}`));
  } catch {
    return null;
  }
};
const remember = (key, value) => {
  try {
    localStorage.setItem(`leveret.${key}`, JSON.stringify(value));
  } catch {
    /* a browser that keeps nothing */
  }
};

class Table extends HTMLElement {
  /**
   * `columns`: `{ id, title, width, num, render(row), memo(row), sort, needs, hidden, narrow }`.
   * `path` for a list of the API with pages; without it, rows are given with `rows = [...]`.
   */
  configure({ label, thing, whole = thing, plural: many, base, columns, path, always = [], fields = {},
      actions, href, whenEmpty, sort, reverse = false, filter = '', onstate, keyOf = (row) => row.name,
      tools = [], samples, filterable = true, onpick }) {
    Object.assign(this, { label, thing, whole, many, base, columns, path, always, fields, actions, href,
        whenEmpty, sort, reverse, onstate, keyOf, samples, onpick, text: filter });
    this.lines = new Map();
    this.selected = new Map();
    this.activeRow = -1;
    this.anchor = -1;
    this.build(tools, filterable);
    return this;
  }

  build(tools, filterable) {
    const { fields } = this;
    this.input = h('input', { type: 'search', value: this.text,
        placeholder: Object.keys(fields).length ? 'Filter: name, /regex/, field:value' : 'Filter by name',
        'aria-label': `Filter ${this.many ?? `${this.thing}s`}`, autocomplete: 'off', spellcheck: 'false',
        oninput: () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => {
        this.text = this.input.value;
        this.refresh();
        this.tell();
      }, 120);
    }, onkeydown: (event) => {
      if (event.key === 'ArrowDown') {
        event.preventDefault();
        this.grid.focus();
      }
    } });
    this.counter = h('span.count', { role: 'status' });
    this.wrong = h('div', { hidden: true });
    this.bar = h('div.selected-bar', { hidden: true });
    this.head = h('div.head', { role: 'row' });
    this.body = h('div.body', { role: 'rowgroup' });
    this.nothing = h('div', { hidden: true });
    this.grid = h('div.grid', { role: 'grid', tabindex: 0, 'aria-label': this.label,
        'aria-multiselectable': this.actions ? 'true' : null, onscroll: () => this.schedule(),
        onkeydown: (event) => this.key(event), onclick: (event) => this.click(event) },
      h('div', { role: 'rowgroup' }, this.head), this.body);
    show(this, h('div.table-tools', filterable && h('div.filter', icon('search'), this.input),
        Object.keys(fields).length ? this.help() : null, this.counter, h('span.grow'), tools,
        this.chooser()), this.wrong, this.bar, this.grid, this.nothing);
  }

  help() {
    const rows = Object.entries(this.fields).map(
      ([name, field]) => [h('dt', h('code', field.example ?? `${name}:`)), h('dd', field.hint)]);
    return h('details.choose', h('summary.btn.icon-only',
        { 'aria-label': 'What can be typed into the filter', title: 'What can be typed' }, icon('help')),
      h('div.panel.help', h('dl.kv', h('dt', h('code', 'word')), h('dd', 'part of the name'),
          h('dt', h('code', '/^a.*z$/')), h('dd', 'an expression for the name'), rows),
        h('p.quiet', 'Several are joined by "and".')));
  }

  chooser() {
    const chosen = remembered(`columns.${this.thing}`);
    for (const column of this.columns) column.shown = chosen ? chosen.includes(column.id)
      : !column.hidden && (!narrow.matches || Boolean(column.narrow));
    this.columns[0].shown = true;
    const box = (column) => h('label.check', h('input',
        { type: 'checkbox', checked: column.shown, onchange: (event) => {
      column.shown = event.target.checked;
      remember(`columns.${this.thing}`, this.columns.filter((c) => c.shown).map((c) => c.id));
      this.refresh(false);
    } }), column.title);
    return h('details.choose', h('summary.btn.icon-only',
        { 'aria-label': 'Choose columns', title: 'Choose columns' }, icon('columns')),
      h('div.panel', this.columns.slice(1).map(box)));
  }

  connectedCallback() {
    this.sizes = new ResizeObserver(() => this.schedule());
    this.sizes.observe(this.grid);
    this.outside = (event) => {
      for (const open of this.querySelectorAll('.choose[open]')) if (!open.contains(event.target))
        open.open = false;
    };
    this.escape = (event) => {
      if (event.key === 'Escape') for (const open of this.querySelectorAll('.choose[open]')) {
        open.open = false;
        open.firstChild.focus();
      }
    };
    document.addEventListener('pointerdown', this.outside);
    this.addEventListener('keydown', this.escape);
    this.refresh();
  }
  disconnectedCallback() {
    this.sizes.disconnect();
    document.removeEventListener('pointerdown', this.outside);
    this.source?.close();
    clearTimeout(this.typing);
  }

  /** Gives a table without a path its rows. */
  set rows(rows) {
    this.given = rows;
    if (this.source instanceof LocalRows && !(this.source instanceof ScannedRows)) this.source.set(rows);
  }

  /** The columns that are shown, with that of the boxes when rows can be selected. */
  get visible() {
    return this.columns.filter((column) => column.shown);
  }

  tell() {
    this.onstate?.({ filter: this.text || null, sort: this.sort ?? null, desc: this.reverse ? '1' : null });
  }

  /** Asks for the rows anew after the filter, the order or the columns have changed. */
  refresh(toTop = true) {
    const filter = parse(`${this.base ?? ''} ${this.text}`, this.fields);
    this.input.setAttribute('aria-invalid', String(Boolean(filter.error)));
    show(this.wrong, filter.error && note('warning', filter.error)).hidden = !filter.error;
    if (filter.error) return;
    const Kind = !this.path ? LocalRows : filter.tests.length ? ScannedRows : PagedRows;
    if (!(this.source && this.source.constructor === Kind)) {
      this.source?.close();
      this.source = Kind === LocalRows ? new LocalRows(() => this.schedule())
        : new Kind(this.path, () => this.schedule());
      if (Kind === LocalRows && this.given) this.source.all = this.given;
    }
    const visible = this.visible;
    this.headings(visible);
    for (const line of this.lines.values()) line.remove();
    this.lines.clear();
    if (toTop) {
      this.grid.scrollTop = 0;
      this.activeRow = this.anchor = -1;
    }
    const columns = [...new Set([...this.always, ...visible.flatMap((column) => column.needs ?? [])])];
    this.source.ask({ filter, sort: this.sort, reverse: this.reverse, columns,
        extra: visible.some((column) => column.samples) ? this.samples : {} });
    this.schedule();
  }

  headings(visible) {
    const widths = visible.map((column) => column.width ?? '112px');
    if (narrow.matches) widths[0] = widths[0].replace(/\d{3,}px/, '136px');
    if (this.actions) widths.unshift('40px');
    this.grid.style.setProperty('--columns', widths.join(' '));
    this.grid.style.setProperty('--least',
      `${widths.reduce((sum, width) => sum + Number(/\d+/.exec(width)[0]), 0)}px`);
    show(this.head, this.actions && h('div.cell.pick', { role: 'columnheader' },
        (this.all = h('input', { type: 'checkbox',
              'aria-label': `Select all ${this.many ?? `${this.thing}s`}`, tabindex: -1,
              onchange: () => this.selectAll(this.all.checked) }))), visible.map((column, i) => {
      const sorted = column.sort && this.sort === column.sort;
      return h('div', { class: `cell ${column.num ? 'num' : ''} ${i === 0 ? 'first' : ''}`,
          role: 'columnheader', 'aria-sort': sorted ? (this.reverse ? 'descending' : 'ascending') : null },
        column.sort ? h('button', { type: 'button', title: `Sort by ${column.title.toLowerCase()}`,
            onclick: () => {
        this.reverse = sorted ? !this.reverse : Boolean(column.num);
        this.sort = column.sort;
        this.refresh();
        this.tell();
        this.head.querySelector('[aria-sort] button')?.focus();
      } }, column.title, sorted && icon(this.reverse ? 'down' : 'up')) : h('span', column.title));
    }));
  }

  schedule() {
    if (this.planned) return;
    this.planned = requestAnimationFrame(() => {
      this.planned = 0;
      if (this.isConnected) this.draw();
    });
  }

  draw() {
    const { source, grid } = this;
    const total = source.count;
    const none = total === 0;
    text(this.counter, total === null ? `Loading${DOTS}` : this.countWords(total));
    if (source.error) show(this.nothing, note('error', source.error));
    else if (none && source.done !== false) show(this.nothing,
      this.text ? empty(`No ${this.thing} matches this filter.`)
        : (this.whenEmpty?.() ?? empty(`No ${this.many ?? `${this.thing}s`}.`)));
    this.nothing.hidden = !none && !source.error;
    grid.hidden = none;
    if (total === null || none) {
      for (const line of this.lines.values()) line.remove();
      this.lines.clear();
      return;
    }
    const shown = Math.min(total, ROWS_MAX);
    const height = shown * ROW;
    if (this.height !== height) {
      this.body.style.height = `${height}px`;
      this.height = height;
    }
    grid.setAttribute('aria-rowcount', total + 1);
    const room = grid.clientHeight;
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW) - OVERSCAN);
    const last = Math.min(shown - 1, Math.ceil((grid.scrollTop + room) / ROW) + OVERSCAN);
    for (const [i, line] of this.lines) if (i < first || i > last) {
      line.remove();
      this.lines.delete(i);
    }
    const visible = this.visible;
    for (let i = first; i <= last; i++) this.line(i, visible);
    source.look(Math.min(shown - 1, Math.floor(grid.scrollTop / ROW)),
      Math.min(last, Math.floor((grid.scrollTop + room) / ROW)));
    this.drawBar();
  }

  countWords(total) {
    const { source } = this;
    if (source instanceof ScannedRows && !source.done) {
      return `${count(total)} found, looked at ${count(source.looked)} of ${count(source.total)}${DOTS}`;
    }
    return this.text ? `${count(total)} of ${plural(source.total, this.whole, this.many)}`
      : plural(total, this.thing, this.many);
  }

  line(i, visible) {
    let line = this.lines.get(i);
    if (!line) {
      line = h('div.line', { role: 'row', id: `${(this.uid ??= uid('row'))}-${i}`,
          'aria-rowindex': i + 2 });
      line.style.transform = `translateY(${i * ROW}px)`;
      if (this.actions) {
        line.box = h('input', { type: 'checkbox', tabindex: -1, 'aria-label': 'Select' });
        line.append(h('div.cell.pick', { role: 'gridcell' }, line.box));
      }
      line.cells = visible.map((column, c) => h('div',
          { class: `cell ${column.num ? 'num' : ''} ${c === 0 ? 'first' : ''}`, role: 'gridcell' }));
      line.append(...line.cells);
      this.lines.set(i, line);
      this.body.append(line);
    }
    const row = this.source.row(i);
    line.classList.toggle('active', i === this.activeRow);
    if (!row) {
      if (line.row !== null) for (const cell of line.cells) {
        cell.memo = undefined;
        text(cell, cell === line.cells[0] ? DOTS : '');
      }
      line.row = null;
      return;
    }
    const key = this.keyOf(row);
    const chosen = this.selected.has(key);
    if (chosen) this.selected.set(key, row);
    if (line.box) {
      line.box.checked = chosen;
      line.classList.toggle('chosen', chosen);
      line.setAttribute('aria-selected', String(chosen));
    }
    if (line.row === row) return;
    if (line.box) line.box.setAttribute('aria-label', `Select ${row.name ?? this.thing}`);
    line.row = row;
    visible.forEach((column, c) => {
      const cell = line.cells[c];
      if (column.memo) {
        const memo = column.memo(row);
        if (cell.memo === memo) return;
        cell.memo = memo;
      }
      const content = column.render(row);
      if (content instanceof Node) cell.replaceChildren(content);
      else {
        if (column.num) cell.classList.toggle('zero', /^(0|0\/s|0.B|\u2013)$/.test(content));
        text(cell, content ?? '');
        if (cell.title !== content) cell.title = content ?? '';
      }
    });
  }

  drawBar() {
    if (!this.actions) return;
    const n = this.selected.size;
    if (this.all) {
      this.all.checked = n > 0 && n >= this.source.count;
      this.all.indeterminate = n > 0 && n < this.source.count;
    }
    if (this.shownCount === n) return;
    this.shownCount = n;
    this.bar.hidden = !n;
    if (!n) return;
    show(this.bar, h('span', { role: 'status' }, `${count(n)} selected`), h('span.grow'),
      this.actions.map(({ label, image, kind, run }) => button(label, async () => {
      if (await run([...this.selected.values()])) this.clear();
    }, { image, kind })), button('Clear', () => this.clear(), { kind: 'plain' }));
  }
  clear() {
    this.selected.clear();
    this.schedule();
  }
  /** Shows the last rows. */
  toEnd() {
    this.grid.scrollTop = this.grid.scrollHeight;
  }

  async selectRange(from, to, on = true) {
    if (to - from >= SELECT_MAX) {
      attempt(() => {
        throw new Error(`At most ${count(SELECT_MAX)} can be selected at once: filter first.`);
      });
      this.schedule();
      return;
    }
    const rows = await attempt(() => this.source.between(from, to));
    if (!rows) return;
    for (const row of rows) {
      if (on) this.selected.set(this.keyOf(row), row);
      else this.selected.delete(this.keyOf(row));
    }
    this.schedule();
  }
  selectAll(on) {
    if (on) this.selectRange(0, this.source.count - 1);
    else this.clear();
  }
  toggle(i) {
    const row = this.source.row(i);
    if (!row || !this.actions) return;
    const key = this.keyOf(row);
    if (this.selected.has(key)) this.selected.delete(key);
    else this.selected.set(key, row);
    this.anchor = i;
    this.schedule();
  }

  click(event) {
    const line = event.target.closest('.line');
    if (!line) return;
    const i = [...this.lines].find(([, other]) => other === line)?.[0] ?? -1;
    this.activate(i, false);
    if (event.target.closest('a, button')) return;
    if (event.shiftKey && this.actions) {
      event.preventDefault();
      getSelection().removeAllRanges();
      this.selectRange(Math.min(i, this.anchor < 0 ? i : this.anchor), Math.max(i, this.anchor));
    } else if (event.target === line.box || event.target.closest('.pick') || event.ctrlKey || event.metaKey)
      this.toggle(i);
    else this.onpick?.(line.row);
  }

  activate(i, scroll = true) {
    const total = this.source.count ?? 0;
    this.activeRow = Math.max(0, Math.min(total - 1, i));
    const top = this.activeRow * ROW, { grid } = this;
    if (scroll) {
      if (top < grid.scrollTop) grid.scrollTop = top;
      else if (top + 2 * ROW > grid.scrollTop + grid.clientHeight)
        grid.scrollTop = top + 2 * ROW - grid.clientHeight + 2;
    }
    this.draw();
    grid.setAttribute('aria-activedescendant', `${this.uid}-${this.activeRow}`);
  }

  key(event) {
    if (event.target !== this.grid) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity,
      End: Infinity }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      const before = this.activeRow;
      this.activate(Math.max(0, Math.min(this.source.count - 1, before + step)));
      if (event.shiftKey && this.actions) {
        if (this.anchor < 0) this.anchor = Math.max(0, before);
        this.selectRange(Math.min(this.anchor, this.activeRow), Math.max(this.anchor, this.activeRow));
      } else this.onpick?.(this.source.row(this.activeRow));
    } else if (event.key === 'Enter') {
      const row = this.source.row(this.activeRow);
      if (row && this.href) location.hash = this.href(row);
      else if (row) this.onpick?.(row);
    } else if (event.key === ' ') {
      event.preventDefault();
      this.toggle(this.activeRow);
    } else if (event.key === 'Escape') this.clear();
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey) && this.actions) {
      event.preventDefault();
      this.selectAll(true);
    }
  }
}
customElements.define('lv-table', Table);

/** What a list keeps in the address: its filter and order. */
export const kept = (ctx) => ({ filter: ctx.query.get('filter') ?? '',
    sort: ctx.query.get('sort') ?? undefined, reverse: ctx.query.has('desc'), onstate: ctx.keep });

/** A column of numbers that the server sorts by `where`. */
export const numberColumn = (id, title, where, render = count,
  more = {}) => ({ id, title, num: true, sort: where, needs: [where],
    render: (row) => render(at(row, where)), ...more });

/** A field of the filter that is a number. */
export const numberField = (where, example, hint) => (
  { kind: 'number', sort: where, needs: [where], read: (row) => at(row, where) ?? 0, example, hint });

export const table = (options) => document.createElement('lv-table').configure(options);

/** A column that links to a page of its row. */
export const linkColumn = (title, href, { width = 'minmax(220px, 1fr)', name = (row) => row.name,
    sort = 'name', ...rest } = {}) => ({ id: 'name', title, width, sort, needs: ['name', 'vhost'],
    narrow: true, memo: name, render: (row) => h('a', { href: href(row), tabindex: -1, title: name(row) },
      name(row)), ...rest });
