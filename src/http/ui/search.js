// Search by name over everything: `/` gets to it, arrows choose, Enter goes.
import { h, show, icon } from './dom.js';
import { get, path, query } from './api.js';
import { link, exchangeLink } from './link.js';
import { DOTS } from './format.js';

const EACH = 6;

async function find(words, vhost) {
  const of = (kind) => (vhost ? path(kind, vhost) : `/api/${kind}`);
  const page = { page: 1, page_size: EACH, name: words };
  const small = async (where, map) => (await get(where))
    .filter((x) => x.name.toLowerCase().includes(words.toLowerCase())).slice(0, EACH).map(map);
  const kinds = [get(query(of('queues'), { ...page, columns: 'name,vhost,type' })).then(
      (a) => a.items.map((q) => ({ kind: q.type === 'stream' ? 'stream' : 'queue', name: q.name,
            vhost: q.vhost, href: link('queues', q.vhost, q.name) }))),
    get(query(of('exchanges'), { ...page, columns: 'name,vhost' })).then(
      (a) => a.items.map((x) => ({ kind: 'exchange', name: x.name || '(default)', vhost: x.vhost,
            href: exchangeLink(x.vhost, x.name) }))),
    get(query(vhost ? path('vhosts', vhost, 'connections') : '/api/connections',
        { ...page, columns: 'name,user_provided_name,vhost' })).then(
      (a) => a.items.map((c) => ({ kind: 'connection', name: c.user_provided_name ?? c.name, vhost: c.vhost,
            href: link('connections', c.name) }))),
    small('/api/policies', (p) => ({ kind: 'policy', name: p.name, vhost: p.vhost,
          href: link('policies', p.vhost, p.name) })),
    small('/api/users', (u) => ({ kind: 'user', name: u.name, href: link('users', u.name) })),
    small('/api/vhosts?columns=name', (v) => (
        { kind: 'vhost', name: v.name, href: link('vhosts', v.name) }))];
  return (await Promise.all(kinds.map((k) => k.catch(() => [])))).flat();
}

export function search(vhost) {
  let found = [], chosen = -1, timer = 0, turn = 0;
  const list = h('ul.results', { role: 'listbox', id: 'results', 'aria-label': 'Found', hidden: true });
  const input = h('input', {
    id: 'search',
    type: 'search',
    role: 'combobox',
    'aria-expanded': 'false',
    'aria-controls': 'results',
    'aria-autocomplete': 'list',
    'aria-label': 'Search by name',
    placeholder: 'Search by name',
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(look, 150);
    },
    onblur: () => setTimeout(close, 150),
    onfocus: () => {
      if (input.value) look();
    },
    onkeydown: (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && found.length) {
        event.preventDefault();
        choose((chosen + step + found.length) % found.length);
      } else if (event.key === 'Enter') {
        if (found[Math.max(0, chosen)]) go(found[Math.max(0, chosen)]);
      } else if (event.key === 'Escape') {
        if (list.hidden) input.value = '';
        close();
      }
    }
  });
  function close() {
    list.hidden = true;
    input.setAttribute('aria-expanded', 'false');
    input.removeAttribute('aria-activedescendant');
    chosen = -1;
  }
  function open() {
    list.hidden = false;
    input.setAttribute('aria-expanded', 'true');
  }
  function go(item) {
    close();
    input.value = '';
    found = [];
    location.hash = item.href;
  }
  function choose(i) {
    chosen = i;
    [...list.children].forEach((li, k) => li.setAttribute('aria-selected', String(k === i)));
    list.children[i]?.scrollIntoView({ block: 'nearest' });
    input.setAttribute('aria-activedescendant', `result-${i}`);
  }
  async function look() {
    const words = input.value.trim();
    if (!words) {
      found = [];
      close();
      return;
    }
    const mine = ++turn;
    if (list.hidden) {
      show(list, h('li.none', { role: 'option', 'aria-selected': 'false' }, `Looking${DOTS}`));
      open();
    }
    const results = await find(words, vhost());
    if (mine !== turn || document.activeElement !== input) return;
    found = results;
    show(list, found.map((item, i) => h('li', { role: 'option', id: `result-${i}`, 'aria-selected': 'false',
            onpointerdown: (event) => {
      event.preventDefault();
      go(item);
    } }, icon(item.kind), h('span.name', item.name),
    h('span.quiet', item.vhost && !vhost() ? `${item.kind} in ${item.vhost}` : item.kind))),
    !found.length
    && h('li.none', { role: 'option', 'aria-selected': 'false' }, 'Nothing has this in its name.'));
    open();
    choose(0);
  }
  return h('div.search', { role: 'search' }, icon('search'), input,
    h('kbd', { 'aria-hidden': 'true' }, '/'), list);
}
