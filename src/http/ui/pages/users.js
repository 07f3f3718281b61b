// Users: their tags explained, what they may as sentences, and a tester.
import { h, show, card, cardWith, button, iconButton, note, tag, empty } from '../dom.js';
import { get, put, del, path } from '../api.js';
import { link } from '../link.js';
import { plural, exchangeName } from '../format.js';
import { table, linkColumn } from '../table.js';
import { field, input, select, check } from '../fields.js';
import { open, confirm, attempt } from '../dialog.js';
import { limitsCard } from '../limits.js';

const TAGS = { administrator: 'manages everything, users too',
  monitoring: 'sees everything, and uses what its permissions allow',
  policymaker: 'sets policies where it has permissions',
  management: 'sees and manages what its permissions allow',
  impersonator: 'may publish in the name of other users' };
const tagsOf = (user) => [].concat(user.tags ?? []).flatMap((t) => t.split(',')).map((t) => t.trim())
  .filter(Boolean);
const VERBS = [['configure', 'configure', 'declare and delete'],
  ['write', 'write to', 'publish, and bind to'], ['read', 'read from', 'consume, and bind from']];

/** Tags as boxes with what they mean. */
function tagBoxes(chosen) {
  const boxes = Object.entries(TAGS).map(([name, words]) => [name,
      check([h('strong', name), h('span.quiet', `: ${words}`)], chosen.includes(name))]);
  const others = chosen.filter((t) => !(t in TAGS));
  return { element: h('fieldset.field.wide', h('legend', 'Tags'), boxes.map(([, box]) => box),
      h('div.hint', 'Without a tag a user connects with AMQP only.')),
    read: () => [...boxes.filter(([, b]) => b.box.checked).map(([n]) => n), ...others] };
}

function edit(user, done) {
  const name = input({ value: user?.name ?? '', readonly: Boolean(user), autofocus: !user });
  const password = h('input', { type: 'password', autocomplete: 'new-password' });
  const tags = tagBoxes(user ? tagsOf(user) : []);
  return open({ title: user ? `Change ${user.name}` : 'Add a user', action: user ? 'Save' : 'Add',
      large: true, content: h('div.form', field('Name', name),
        field(user ? 'New password' : 'Password', password,
          { hint: user ? 'empty: it stays as it is' : null }), tags.element), submit: async () => {
    if (!name.value) throw new Error('A user needs a name.');
    const body = { tags: tags.read() };
    if (password.value) body.password = password.value;
    else if (user) Object.assign(body, { password_hash: user.password_hash,
        hashing_algorithm: user.hashing_algorithm });
    else throw new Error('A user needs a password.');
    await put(path('users', name.value), body);
    done(name.value);
  } });
}

async function remove(list) {
  const what = list.length === 1 ? `user ${list[0].name}` : plural(list.length, 'user');
  if (!(await confirm({ title: `Delete ${what}?`,
          text: 'Its permissions go with it, and its connections end.', action: 'Delete',
          typed: list.length === 1 ? list[0].name : String(list.length) }))) return false;
  for (const u of list) await attempt(() => del(path('users', u.name)), `${u.name} is deleted`);
  return true;
}

/** One of the three expressions in words. */
const expression = (text) => text === '' || text === '^$' ? h('span.quiet', 'nothing')
  : text === '.*' ? 'everything' : ['what fits ', h('code.name-chip', text)];
const sentence = (p) => h('span.grow', 'In ', h('a', { href: link('vhosts', p.vhost) }, p.vhost),
  ' it may ', VERBS.map(([key, verb], i) => [i ? ', ' : '', verb, ' ', expression(p[key])]), '.');

function editPermission(user, vhosts, old, done) {
  const vhost = select(vhosts, old?.vhost ?? vhosts[0], { disabled: Boolean(old) });
  const boxes = VERBS.map(([key, , does]) => [key, input({ value: old?.[key] ?? '.*' }), does]);
  return open({ title: `What ${user} may`, action: 'Set',
      content: h('div.form', field('Virtual host', vhost, { wide: true }),
        boxes.map(([key, box, does]) => field(key, box, { hint: `${does} what fits`, wide: true })),
        h('p.quiet.wide',
          'Expressions for names: .* is everything, ^$ is nothing, ^orders everything that begins with it.')),
      submit: async () => {
    await put(path('permissions', vhost.value, user),
      Object.fromEntries(boxes.map(([key, box]) => [key, box.value])));
    done();
  } });
}
function editTopic(user, vhosts, done) {
  const vhost = select(vhosts, vhosts[0]), exchange = input({ autofocus: true, value: 'amq.topic' }),
    write = input({ value: '.*' }), read = input({ value: '.*' });
  return open({ title: `Routing keys that ${user} may use`, action: 'Set',
      content: h('div.form', field('Virtual host', vhost), field('Topic exchange', exchange),
        field('Publish with keys that fit', write), field('Bind with keys that fit', read)),
      submit: async () => {
    await put(path('topic-permissions', vhost.value, user),
      { exchange: exchange.value, write: write.value, read: read.value });
    done();
  } });
}

/** Says whether permissions allow something, and which of them decides. */
function decide({ user, permissions, topics, vhost, action, name, key, exchangeType }) {
  const mine = permissions.find((p) => p.vhost === vhost);
  if (!mine) return [false, `${user} has no permissions in ${vhost}, so it cannot even connect to it.`];
  const kind = { publish: 'write', consume: 'read', declare: 'configure' }[action];
  const fits = (expr, text) => {
    try {
      return expr !== '' && new RegExp(expr).test(text);
    } catch {
      return null;
    }
  };
  const shown = action === 'publish' ? exchangeName(name) : name;
  const holds = fits(mine[kind], action === 'publish' && name === '' ? 'amq.default' : name);
  if (holds === null) return [null, `The expression ${mine[kind]} cannot be tried here.`];
  if (!holds) return [false, `Its ${kind} permission ${mine[kind] || '(empty)'} does not fit ${shown}.`];
  const topic = topics.find((t) => t.vhost === vhost && t.exchange === name);
  if (action === 'publish' && topic && exchangeType === 'topic') {
    const expr = topic.write.replaceAll('{username}', user).replaceAll('{vhost}', vhost);
    const keyHolds = fits(expr, key);
    if (!keyHolds)
      return [keyHolds,
      `Its ${kind} permission fits ${shown}, but its topic permission ${topic.write} does not fit the key ${key || '(empty)'}.`];
    return [true,
      `Its write permission ${mine.write} fits ${shown}, and its topic permission ${topic.write} fits the key.`];
  }
  return [true, `Its ${kind} permission ${mine[kind]} fits ${shown}.`];
}

function tester(user, vhosts, state) {
  const vhost = select(vhosts, vhosts[0]), action = select(
    [['publish', 'publish to exchange'], ['consume', 'consume from queue'],
      ['declare', 'declare or delete']], 'publish');
  const name = input({}), key = input({}), keyField = field('Routing key', key),
    answer = h('div', { 'aria-live': 'polite' });
  action.addEventListener('change', () => {
    keyField.hidden = action.value !== 'publish';
  });
  return card(`May ${user} ...?`, h('form.stack.close', { onsubmit: async (event) => {
    event.preventDefault();
    const exchangeType = action.value === 'publish' && name.value
      ? (await get(path('exchanges', vhost.value, name.value)).catch(() => null))?.type : null;
    const [yes, why] = decide({ user, ...state, vhost: vhost.value, action: action.value, name: name.value,
        key: key.value, exchangeType });
    show(answer, note(yes === null ? null : yes ? 'success' : 'warning',
        h('p', h('strong', yes === null ? 'Unknown. ' : yes ? 'Yes. ' : 'No. '), why)));
  } }, h('div.form', field('It wants to', action), field('Name', name), keyField,
  field('In virtual host', vhost)), h('div', h('button.btn.primary', { type: 'submit' }, 'Ask'))), answer);
}

async function one(ctx) {
  const [name] = ctx.params;
  const base = path('users', name);
  const [user, vhosts] = await Promise.all([get(base),
      get('/api/vhosts?columns=name').then((l) => l.map((v) => v.name))]);
  const list = h('div'), topicList = h('div');
  const state = { permissions: [], topics: [] };
  async function load() {
    [state.permissions, state.topics] = await Promise.all(
      [get(`${base}/permissions`), get(`${base}/topic-permissions`)]);
    show(list, state.permissions.length ? h('ul.sentences',
        state.permissions.map((p) => h('li', sentence(p),
            button('Change', () => editPermission(name, vhosts, p, load), { kind: 'plain' }),
            iconButton('Take away', 'close', async () => {
      if ((await confirm({ title: `Take away what ${name} may in ${p.vhost}?`,
              text: 'It cannot connect to it any more.', action: 'Take away' }))
          && (await attempt(() => del(path('permissions', p.vhost, name))))) load();
    })))) : h('p.quiet', 'It may nothing: it has no permissions in any virtual host.'));
    show(topicList, state.topics.length ? h('ul.sentences',
        state.topics.map((t) => h('li', h('span.grow', 'Through ', h('strong', exchangeName(t.exchange)),
              ` in ${t.vhost} it may publish with keys that fit `, h('code', t.write),
              ' and bind with keys that fit ', h('code', t.read), '.'),
            iconButton('Take away', 'close', async () => {
      if (await attempt(() => del(path('topic-permissions', t.vhost, name)))) load();
    })))) : h('p.quiet', 'Every routing key: there are no topic permissions.'));
  }
  await load();
  const tags = tagsOf(user);
  return h('div.page', ctx.head(name, button('Change', () => edit(user, () => ctx.again())),
      button('Delete', async () => {
    if (await remove([user])) ctx.go('#/users');
  }, { kind: 'danger', image: 'trash' })),
  h('ul.stack.close',
  tags.length
  ? tags.map((t) => h('li.row', tag(t), h('span.quiet', TAGS[t] ?? 'a tag without a meaning here')))
  : h('li.quiet', 'No tags: it connects with AMQP only, and cannot log in here.')),
  cardWith('What it may', button('Add', () => editPermission(name, vhosts, null, load), { image: 'plus' }),
  list), h('div.cards', tester(name, vhosts, state),
  h('div.stack', cardWith('Routing keys', button('Add', () => editTopic(name, vhosts, load),
      { image: 'plus' }), topicList), await limitsCard('user', name))));
}

export default async function users(ctx) {
  if (ctx.params.length) return one(ctx);
  const list = table({ label: 'Users', thing: 'user', href: (u) => link('users', u.name),
      filter: ctx.query.get('filter') ?? '', columns: [
    linkColumn('Name', (u) => link('users', u.name)),
    { id: 'tags', title: 'Tags', width: '208px', narrow: true,
      render: (u) => tagsOf(u).join(', ') || 'none: AMQP only' },
    { id: 'vhosts', title: 'May use', width: 'minmax(200px, 2fr)',
      render: (u) => u.may.join(', ') || 'nothing' },
    { id: 'password', title: 'Password', width: '120px', render: (u) => (u.password_hash ? 'set' : 'none') }
  ], actions: [{ label: 'Delete', image: 'trash', kind: 'danger', run: async (some) => {
    const done = await remove(some);
    if (done) ctx.again();
    return done;
  } }], whenEmpty: () => empty('No users.') });
  ctx.live('/api/users', async (rows) => {
    const permissions = await get('/api/permissions').catch(() => []);
    list.rows = rows.map((u) => ({ ...u, may: permissions.filter((p) => p.user === u.name).map(
            (p) => p.vhost) }));
  });
  return h('div.page.full', ctx.head('Users',
      button('Add a user', () => edit(null, (name) => ctx.go(link('users', name))),
        { kind: 'primary', image: 'plus' })), list);
}
