// Makes elements. What a client chose gets into a page only here and only as a text node or an
// attribute's value, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

const isTable = (value) => value?.constructor === Object;

function make(create, name, rest) {
  const [tag, ...classes] = name.split('.');
  const element = create(tag);
  if (classes.length) element.setAttribute('class', classes.join(' '));
  const properties = isTable(rest[0]) ? rest.shift() : {};
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'value' || key === 'checked' || key === 'indeterminate') element[key] = value;
    else if (key === 'data') Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  return add(element, rest);
}

/** Appends text, elements and lists of them; nothing for null and false. */
export function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** `h('a.btn', { href }, 'text')`: an element with classes, attributes, and what is in it. */
export const h = (name, ...rest) => make((tag) => document.createElement(tag), name, rest);
export const svg = (name, ...rest) => make((tag) => document.createElementNS(SVG, tag), name, rest);

/** Replaces what is in `element`. */
export function show(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

/** Sets the text of an element only when it differs, so that nothing is laid out in vain. */
export function text(element, value) {
  if (element.firstChild?.data !== value || element.childNodes.length !== 1) element.textContent = value;
}

const ICONS = { overview: 'M2 13V8M6 13V3M10 13V6M14 13v-3', queue: 'M2 4h12M2 8h12M2 12h8',
  stream: 'M1 5c3-3 4 3 7 0s4 3 7 0M1 11c3-3 4 3 7 0s4 3 7 0',
  exchange: 'M2 5h11M10 2l3 3-3 3M14 11H3M6 8l-3 3 3 3',
  connection: 'M6 3v3M10 3v3M4 6h8v2a4 4 0 0 1-8 0zM8 12v3', channel: 'M1 8h4l2-5 3 10 2-5h3',
  policy: 'M3 2h10v12H3zM6 6h4M6 9h4',
  user: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 14c.5-3 3-4 6-4s5.5 1 6 4',
  vhost: 'M2 3h5v5H2zM9 3h5v5H9zM2 10h5v4H2zM9 10h5v4H9z',
  definitions: 'M6 2C3 2 5 7 2 8c3 1 1 6 4 6M10 2c3 0 1 5 4 6-3 1-1 6-4 6',
  cluster: 'M2 3h12v4H2zM2 9h12v4H2zM5 5h.1M5 11h.1', log: 'M3 3h10M3 6h7M3 9h10M3 12h5',
  topology: 'M3 6a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM13 6a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM13 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM5 4h6M4.5 5.5l6.5 5.5',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM11 11l3 3', warning: 'M8 2l6.5 12h-13zM8 6.5v3M8 12v.1',
  ok: 'M3 8.5l3.5 3.5L13 4.5', close: 'M4 4l8 8M12 4l-8 8', menu: 'M2 4h12M2 8h12M2 12h12',
  up: 'M8 12V4M4.5 7.5L8 4l3.5 3.5', down: 'M8 4v8M4.5 8.5L8 12l3.5-3.5', copy: 'M5 5h9v9H5zM2 11V2h9',
  download: 'M8 2v8M4.5 7L8 10.5 11.5 7M2 14h12', upload: 'M8 11V3M4.5 6L8 2.5 11.5 6M2 14h12',
  plus: 'M8 3v10M3 8h10', minus: 'M3 8h10', fit: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
  trash: 'M3 4h10M6 4V2h4v2M4.5 4l.5 10h6l.5-10', columns: 'M2 3h12v10H2zM6 3v10M10 3v10',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1M8 14v1M1 8h1M14 8h1M3 3l.7.7M12.3 12.3l.7.7M3 13l.7-.7M12.3 3.7l.7-.7',
  moon: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
  info: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.5V11M8 5v.1',
  help: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.3 6.5c0-2.5 3.5-2.3 3.5-.3C9.8 7.5 8 7.5 8 9M8 11v.1',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 5v3l2 2', move: 'M2 8h11M9 4l4 4-4 4',
  back: 'M14 8H3M7 4L3 8l4 4', send: 'M2 3l12 5-12 5 2-5zM4 8h5',
  lock: 'M4 7h8v7H4zM5.5 7V5a2.5 2.5 0 0 1 5 0v2' };

export function icon(name) {
  return svg('svg.icon', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: ICONS[name] }));
}

export const button = (label, onclick, { kind = '', image, ...rest } = {}) => h('button',
  { type: 'button', class: `btn ${kind}`, onclick, ...rest }, image && icon(image), label);
export const iconButton = (label, image, onclick, kind = 'plain') => h('button',
  { type: 'button', class: `btn icon-only ${kind}`, 'aria-label': label, title: label, onclick },
  icon(image));
export const tag = (label, kind = '', image) => h('span', { class: `tag ${kind}` }, image && icon(image),
  label);

/** A box with a sentence: `kind` is error, warning, success or nothing. */
export function note(kind, ...children) {
  const image = { error: 'warning', warning: 'warning', success: 'ok' }[kind] ?? 'info';
  return h('div', { class: `note ${kind ?? ''}`, role: kind === 'error' ? 'alert' : null }, icon(image),
    h('div.grow', children));
}

/** An error in the API's words, and what can be done now. */
export const problem = (error) => note('error', h('p', error.message),
  error.advice && h('p', error.advice));

/** Says what this version of the broker does not have. */
export const missing = (what) => h('div.missing', note('warning',
    `${what} not available in this version of Leveret.`));

/** Code to be copied. */
export function snippet(code) {
  const copy = iconButton('Copy', 'copy', () => {
    const choose = () => getSelection().selectAllChildren(pre);
    // a page that came without TLS from elsewhere has no clipboard
    if (navigator.clipboard) navigator.clipboard.writeText(code).then(() => show(copy, icon('ok')), choose);
    else choose();
  });
  const pre = h('code', code);
  return h('pre.snippet', { tabindex: 0 }, pre, copy);
}

/** A box with a heading; `beside` stands at its right. */
export const card = (title, ...content) => h('section.card', h('h2', title), content);
export const cardWith = (title, beside, ...content) => h('section.card',
  h('div.row.apart', h('h2', title), beside), content);

/** What a list shows that has nothing in it. */
export const empty = (...children) => h('div.empty', children);

/** Labelled values, `[['Ready', '12', 'good'], ...]`; `set` changes only what differs. */
export function figures(list = []) {
  const element = h('dl.figures');
  element.set = (values) => values.forEach(([label, value, kind], i) => {
    const box = element.children[i] ?? element.appendChild(h('div', h('dt'), h('dd')));
    text(box.firstChild, label);
    if (value instanceof Node) show(box.lastChild, value);
    else text(box.lastChild, String(value));
    box.lastChild.className = kind ?? '';
  });
  element.set(list);
  return element;
}

/** Makes what is in `element` anew when `of` is not what it was made of. */
export function renew(element, of, make) {
  const key = JSON.stringify(of);
  if (element.madeOf === key) return;
  element.madeOf = key;
  show(element, make());
}

/** Names and values in two columns; pairs whose value is nothing are left out. */
export const pairs = (list) => h('dl.kv', list.filter(
    (pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== '').map(
    ([name, ...value]) => [h('dt', name), h('dd', value)]));

/** A table of a few rows. `heads` are texts, with a leading `#` for numbers. */
export function plainTable(caption, heads, rows) {
  const kinds = heads.map((head) => (head.startsWith('#') ? 'num' : null));
  return h('div.scroll-x', { tabindex: 0, role: 'region', 'aria-label': caption },
    h('table.plain', h('caption.sr', caption),
      h('thead', h('tr', heads.map((head, i) => h('th', { scope: 'col', class: kinds[i] },
            head.replace(/^#/, ''))))), h('tbody', rows.map(
          (row) => h('tr', row.map((cell, i) => h('td', { class: kinds[i] }, cell)))))));
}

/** Hands a file to the person. */
export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = h('a', { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
