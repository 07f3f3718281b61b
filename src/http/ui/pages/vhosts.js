// Virtual hosts, their limits and who may use them.
import { h, card, button, tag, figures, note, empty } from '../dom.js';
import { get, put, post, del, path } from '../api.js';
import { count, plural } from '../format.js';
import { link } from '../link.js';
import { table, linkColumn } from '../table.js';
import { field, input, select } from '../fields.js';
import { open, confirm, attempt } from '../dialog.js';
import { limitsCard } from '../limits.js';

const TYPES = ['classic', 'quorum', 'stream'];
const changed = () => dispatchEvent(new Event('vhosts'));

function edit(vhost, done) {
  const name = input({ value: vhost?.name ?? '', readonly: Boolean(vhost), autofocus: !vhost });
  const description = input({ value: vhost?.description ?? '' }),
    tags = input({ value: [].concat(vhost?.tags ?? []).join(', ') });
  const type = select(TYPES, vhost?.default_queue_type && TYPES.includes(vhost.default_queue_type)
      ? vhost.default_queue_type : 'classic');
  return open({ title: vhost ? `Change ${vhost.name}` : 'Add a virtual host',
      action: vhost ? 'Save' : 'Add', content: h('div.form', field('Name', name),
        field('Description', description), field('Tags', tags, { hint: 'separated by commas' }),
        field('Queues are, if nothing is said', type)), submit: async () => {
    if (!name.value) throw new Error('A virtual host needs a name.');
    await put(path('vhosts', name.value), { description: description.value,
        tags: tags.value.split(',').map((t) => t.trim()).filter(Boolean).join(','),
        default_queue_type: type.value });
    changed();
    done(name.value);
  } });
}

async function remove(vhost) {
  const queues = await get(`${path('queues', vhost.name)}?page=1&page_size=1&columns=name`)
    .then((a) => a.total_count, () => null);
  const messages = vhost.messages ?? 0;
  if (!(await confirm(
        { title: `Delete virtual host ${vhost.name} with ${queues === null ? 'its queues' : plural(queues, 'queue')} and ${plural(messages, 'message')}?`,
          text: 'Everything in it is lost for good, and its connections end.', action: 'Delete',
          typed: vhost.name }))) return false;
  if (!(await attempt(() => del(path('vhosts', vhost.name)), `${vhost.name} is deleted`))) return false;
  changed();
  return true;
}

async function one(ctx) {
  const [name] = ctx.params;
  const base = path('vhosts', name);
  const [vhost, permissions] = await Promise.all([get(base), get(`${base}/permissions`).catch(() => [])]);
  const safe = Boolean(vhost.protected_from_deletion ?? vhost.metadata?.protected_from_deletion);
  const words = (v) => v.description || 'No description.';
  const numbers = figures();
  ctx.live(base, (v) => numbers.set([['Ready', count(v.messages_ready ?? 0)],
        ['Unacked', count(v.messages_unacknowledged ?? 0)], ['Total', count(v.messages ?? 0)]]), () => {});
  return h('div.page', ctx.head(name, button('Change', () => edit(vhost, () => ctx.again())),
      button(safe ? 'Allow deletion' : 'Protect from deletion', async () => {
    if (await attempt(() => (safe ? del : post)(`${base}/deletion/protection`))) ctx.again();
  }, { image: 'lock' }), button('Delete', async () => {
    if (await remove(vhost)) ctx.go('#/vhosts');
  }, { kind: 'danger', image: 'trash', disabled: safe,
    title: safe ? 'It is protected from deletion' : null })),
  h('div.row', h('span.quiet', words(vhost)), [].concat(vhost.tags ?? []).map((t) => tag(t)),
  vhost.default_queue_type && tag(`queues are ${vhost.default_queue_type}`),
  safe && tag('protected', 'good', 'lock')), numbers,
  h('div.cards',
  card('Who may use it', permissions.length ? h('ul.sentences',
    permissions.map((p) => h('li', h('span.grow', h('a', { href: link('users', p.user) }, p.user),
          ' may configure ', h('code', p.configure || '(nothing)'), ', write ',
          h('code', p.write || '(nothing)'), ', read ', h('code', p.read || '(nothing)')))))
    : note('warning', 'Nobody: no user has permissions in it.')), await limitsCard('vhost', name)));
}

export default function vhosts(ctx) {
  if (ctx.params.length) return one(ctx);
  const list = table({ label: 'Virtual hosts', thing: 'virtual host', href: (v) => link('vhosts', v.name),
      filter: ctx.query.get('filter') ?? '', columns: [
    linkColumn('Name', (v) => link('vhosts', v.name)),
    { id: 'description', title: 'Description', width: 'minmax(160px, 1fr)',
      render: (v) => v.description ?? '' },
    { id: 'tags', title: 'Tags', width: '144px', render: (v) => [].concat(v.tags ?? []).join(', ') },
    { id: 'type', title: 'Default queues', width: '136px', render: (v) => v.default_queue_type ?? '' },
    { id: 'ready', title: 'Ready', num: true, sort: 'messages_ready', narrow: true,
      render: (v) => count(v.messages_ready ?? 0) },
    { id: 'unacked', title: 'Unacked', num: true, sort: 'messages_unacknowledged',
      render: (v) => count(v.messages_unacknowledged ?? 0) },
    { id: 'safe', title: 'Protected', width: '104px',
      render: (v) => (v.protected_from_deletion ? 'yes' : '') }
  ], whenEmpty: () => empty('No virtual hosts.') });
  ctx.live('/api/vhosts', (rows) => {
    list.rows = rows;
  });
  return h('div.page.full', ctx.head('Virtual hosts',
      button('Add a virtual host', () => edit(null, (name) => ctx.go(link('vhosts', name))),
        { kind: 'primary', image: 'plus' })), list);
}
