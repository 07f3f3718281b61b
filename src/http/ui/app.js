// The page around the pages: login, navigation, virtual host, search, state of the connection,
// alarms; and the way from `#/queues/%2F/orders` to the module that shows it.
import { h, show, text, icon, button, problem, note } from './dom.js';
import { abandon, enc, get, post, del, query, session, who, ApiError } from './api.js';
import { bytes, duration } from './format.js';
import { subscribe, end, pause, state } from './live.js';
import { toast } from './dialog.js';
import { search } from './search.js';

const PAGES = [['overview', 'Overview', 'overview'], ['queues', 'Queues', 'queue'],
  ['streams', 'Streams', 'stream'], ['exchanges', 'Exchanges', 'exchange'],
  ['topology', 'Topology', 'topology'], ['connections', 'Connections', 'connection'],
  ['channels', 'Channels', 'channel'], ['policies', 'Policies', 'policy', 'gap'],
  ['users', 'Users', 'user'], ['vhosts', 'Virtual hosts', 'vhost'],
  ['definitions', 'Definitions', 'definitions'], ['cluster', 'Cluster', 'cluster', 'gap'],
  ['log', 'Log', 'log']];
const root = document.getElementById('app');
const themes = matchMedia('(prefers-color-scheme: dark)');
const kept = (key, value) => {
  try {
    return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value);
  } catch {
    return null;
  }
};

function paint() {
  document.documentElement.dataset.theme = kept('leveret.theme') || (themes.matches ? 'dark' : 'light');
}
paint();
themes.addEventListener('change', paint);

const logo = () => h('img.logo', { src: 'ui/icon.svg', alt: '', width: 24, height: 24 });

/** What pages know about the broker and the person. */
const app = { user: null, vhost: kept('leveret.vhost') ?? '', closers: [] };

/** `{ page, params, query }` of the address. */
function address() {
  const [where, queryText = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, ...params] = where.split('/').map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { page: page || 'overview', params, query: new URLSearchParams(queryText) };
}

function context(where, element) {
  const closers = (app.closers = []);
  return {
    ...where,
    vhost: app.vhost,
    monitor: app.user.tags.some((t) => t === 'administrator' || t === 'monitoring'),
    /** Calls `receive(body)` whenever it changes, `failed(error)` when the broker refuses. */
    live(path, receive, failed) {
      let last;
      const stop = subscribe(path, ({ status, body }) => {
        if (status < 400) {
          last = body;
          receive(body);
        } else if (failed) failed(new ApiError(status, body));
        else if (last === undefined) show(element, h('div.page', problem(new ApiError(status, body))));
      });
      closers.push(stop);
      return stop;
    },
    onclose(close) {
      closers.push(close);
    },
    /** Keeps what the person chose in the address, so that it can be sent on. */
    keep(values) {
      for (const [name, value] of Object.entries(values)) if (value === null) where.query.delete(name);
      else where.query.set(name, value);
      const text = where.query.toString();
      history.replaceState(null, '',
        `#/${[where.page, ...where.params].map(enc).join('/')}${text ? `?${text}` : ''}`);
    },
    go(hash) {
      location.hash = hash;
    },
    again() {
      route();
    },
    head(title, ...actions) {
      document.title = `${typeof title === 'string' ? title : where.params.at(-1)} - Leveret`;
      return h('div.page-head', h('h1', title), h('div.actions', actions));
    }
  };
}

/** Ends what the page that is shown has begun. */
function leave() {
  for (const close of app.closers.splice(0)) close();
}

let turn = 0;
async function route() {
  if (!app.user) return;
  const mine = ++turn;
  leave();
  const where = address();
  const known = PAGES.find(([name]) => name === where.page);
  for (const anchor of app.nav.querySelectorAll('a')) {
    if (anchor.dataset.page === where.page) anchor.setAttribute('aria-current', 'page');
    else anchor.removeAttribute('aria-current');
  }
  app.shell.classList.remove('menu-open');
  document.title = `${known?.[1] ?? 'Not found'} - Leveret`;
  try {
    if (!known) throw new ApiError(404, { reason: `There is no page '${where.page}'.` });
    const module = await import(`./pages/${where.page}.js`);
    if (mine !== turn) return;
    const content = await module.default(context(where, app.main));
    if (mine !== turn) return;
    show(app.main, content);
  } catch (error) {
    if (mine !== turn) return;
    if (!(error instanceof ApiError)) console.error(error);
    show(app.main, h('div.page', problem(error)));
  }
  app.main.scrollTop = 0;
  if (app.moved) app.main.focus({ preventScroll: true });
  app.moved = true;
}

/** The alarms of a node, in words. */
function alarmWords(n) {
  const blocked = 'so publishers are blocked until';
  const words = [];
  if (n.mem_alarm) {
    words.push(`Memory alarm on ${n.name}: more than ${bytes(n.mem_limit)} is in use, ${blocked} queues are`
        + ' emptied or the limit is raised.');
  }
  if (n.disk_free_alarm) {
    words.push(
      `Disk alarm on ${n.name}: less than ${bytes(n.disk_free_limit)} is free, ${blocked} there is room.`);
  }
  if (n.running === false) words.push(`${n.name} is not running.`);
  return words;
}

function shell() {
  const vhosts = h('select.vhost', { 'aria-label': 'Virtual host', onchange: () => {
    app.vhost = vhosts.value;
    kept('leveret.vhost', app.vhost);
    route();
  } });
  app.fillVhosts = async () => {
    const names = (await get('/api/vhosts?columns=name').catch(() => [])).map((v) => v.name);
    if (app.vhost && !names.includes(app.vhost)) app.vhost = '';
    show(vhosts, h('option', { value: '' }, 'All virtual hosts'),
      names.map((name) => h('option', { value: name }, name)));
    vhosts.value = app.vhost;
  };
  addEventListener('vhosts', app.fillVhosts);

  const dark = () => document.documentElement.dataset.theme === 'dark';
  const theme = h('button', { type: 'button', class: 'btn icon-only plain', onclick: () => {
    kept('leveret.theme', dark() ? 'light' : 'dark');
    paint();
    tell();
  } });
  const tell = () => {
    const words = dark() ? 'Light colours' : 'Dark colours';
    show(theme, icon(dark() ? 'sun' : 'moon'));
    theme.title = words;
    theme.setAttribute('aria-label', words);
  };
  tell();

  const liveWords = h('span'), dot = h('span.dot');
  const live = h('button', { type: 'button', class: 'btn plain live',
      onclick: () => pause(state.status !== 'paused') }, dot, liveWords);
  const liveState = () => {
    const { status, since } = state;
    live.className = `btn plain live ${status}`;
    live.title = status === 'paused' ? 'Go on' : 'Stop the numbers';
    text(liveWords, { live: 'Live', paused: 'Paused', connecting: 'Connecting',
        stale: `Stale for ${duration(Date.now() - since)}` }[status]);
  };
  state.addEventListener('change', liveState);
  liveState();

  const where = h('div.where');
  const alarms = h('div.alarm-bar', { role: 'alert', hidden: true });
  get(query('/api/overview', { columns: 'cluster_name,node' }))
    .then((o) => show(where, h('strong', o.cluster_name),
      o.node !== o.cluster_name && h('span.quiet', ` ${o.node}`)), () => {});
  subscribe('/api/nodes?columns=name,running,mem_alarm,disk_free_alarm,mem_limit,disk_free_limit',
    ({ status, body }) => {
    if (status !== 200) return;
    const words = body.flatMap(alarmWords);
    if (alarms.dataset.words === words.join()) return;
    alarms.dataset.words = words.join();
    alarms.hidden = !words.length;
    show(alarms, icon('warning'), h('div.grow', words.map((w) => h('p', w))),
      h('a', { href: '#/overview' }, 'What needs attention'));
  });

  const item = ([page, label, image, gap]) => h('li', { class: gap ?? null },
    h('a', { href: `#/${page}`, data: { page } }, icon(image), label));
  app.nav = h('nav.side', { 'aria-label': 'Pages', id: 'pages' }, h('ul', PAGES.map(item)));
  const menu = h('button', { type: 'button', class: 'btn icon-only menu-button', 'aria-label': 'Menu',
      'aria-controls': 'pages', 'aria-expanded': 'false', onclick: () => {
    const open = app.shell.classList.toggle('menu-open');
    menu.setAttribute('aria-expanded', String(open));
    if (open) app.nav.querySelector('a[aria-current], a').focus();
  } }, icon('menu'));
  app.main = h('main', { tabindex: -1, id: 'main' });
  const skip = button('Skip to the page', () => app.main.focus(), { kind: 'skip' });
  app.shell = h('div.shell', skip, h('a.brand', { href: '#/overview' }, logo(), 'Leveret'),
    h('header.top', menu, where, vhosts, h('span.space'), search(() => app.vhost), live, theme,
      h('span.row.tight.who', h('span.text.quiet', app.user.name),
        button('Log out', logout, { kind: 'plain' }))), app.nav, h('div.main-column', alarms, app.main));
  app.shell.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && app.shell.classList.contains('menu-open')) {
      menu.click();
      menu.focus();
    }
  });
  show(root, app.shell);
  app.fillVhosts();
  route();
}

async function logout() {
  app.user = null;
  leave();
  end();
  abandon();
  await del('/api/session').catch(() => {});
  location.reload();
}

/** Why a login was refused, and what may help. */
function refusal({ message }) {
  const known = /tag|management/i.test(message);
  return { message: known ? message : 'The user name or the password is wrong.',
    advice: 'User guest may log in from the machine of the broker only; others need the tag management,'
      + ' policymaker, monitoring or administrator.' };
}

/** The form; `why` is said above it when a session has ended. */
function login(why) {
  const name = h('input', { id: 'user', name: 'username', autocomplete: 'username', required: true,
      autofocus: true, spellcheck: 'false', autocapitalize: 'none' });
  const password = h('input', { id: 'password', type: 'password', name: 'password',
      autocomplete: 'current-password' });
  const errors = h('div', { 'aria-live': 'assertive' }, why && note('warning', why));
  const go = h('button', { type: 'submit', class: 'btn primary' }, 'Log in');
  document.title = 'Log in - Leveret';
  show(root, h('main.login', h('form.card', { onsubmit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      await post('/api/session', { username: name.value, password: password.value });
      password.value = '';
      await start();
    } catch (error) {
      show(errors, problem(error.status === 401 ? refusal(error) : error));
      password.select();
    } finally {
      go.disabled = false;
    }
  } }, h('h1.brand', logo(), 'Leveret'), errors, h('div.field', h('label', { for: 'user' }, 'User'), name),
  h('div.field', h('label', { for: 'password' }, 'Password'), password), go)));
  name.focus();
}

async function start() {
  app.user = await who();
  if (!app.user) return login();
  app.user.tags = [].concat(app.user.tags ?? []).flatMap((t) => t.split(',')).map((t) => t.trim());
  app.moved = false;
  return shell();
}

session.addEventListener('login', () => {
  if (!app.user) return;
  app.user = null;
  leave();
  pause(false);
  login('Your session has ended. Log in again; the page is where you left it.');
});
addEventListener('hashchange', route);
addEventListener('unhandledrejection', (event) => {
  if (event.reason instanceof ApiError) {
    event.preventDefault();
    toast(event.reason.message, 'error');
  }
});
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey
      || /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName)
      || document.querySelector('dialog[open]')) return;
  const box = document.getElementById('search');
  if (box) {
    event.preventDefault();
    box.focus();
    box.select();
  }
});

start().catch((error) => show(root, h('main.login',
      h('div.stack', problem(error), button('Try again', () => location.reload())))));
