// The list of exchanges, and one exchange: what it does, its bindings, and where a message would
// go.
import { h, show, card, cardWith, button, icon, note, problem, tag, empty, pairs } from '../dom.js';
import { get, put, post, del, path, exchangePart } from '../api.js';
import { count, rate, exchangeName, value, plural } from '../format.js';
import { link, exchangeLink, destinationLink } from '../link.js';
import { table, linkColumn, kept, numberColumn } from '../table.js';
import { chart } from '../chart.js';
import { ranged, rateSeries } from '../history.js';
import { samples } from '../live.js';
import { field, input, select, check, table as pairsTable } from '../fields.js';
import { open, confirm, attempt } from '../dialog.js';
import { publish } from '../publish.js';
import { bind, bindingWords, unbind } from './queue.js';
import { drawing, bindingLabel } from '../graph.js';

const TYPES = { direct: 'Sends a message to what is bound with exactly its routing key.',
  fanout: 'Sends a message to everything that is bound.',
  topic: 'Sends a message to what is bound with a pattern that fits its key: * is one word, # any number.',
  headers: 'Sends a message to what is bound with headers that fit its own.',
  'x-consistent-hash': "Spreads messages by a hash of the routing key; a binding's key is its weight.",
  'x-modulus-hash': 'Spreads messages by a hash of the routing key.',
  'x-random': 'Sends each message to one of what is bound, by chance.',
  'x-local-random': 'Sends each message to one of what is bound, by chance.',
  'x-delayed-message': 'Keeps a message for the time its x-delay header says, then routes it.' };
const DEFAULT = 'Sends a message to the queue whose name is its routing key. Every queue is bound to it.';

const columns = () => [
  linkColumn('Name', (x) => exchangeLink(x.vhost, x.name), { name: (x) => exchangeName(x.name) }),
  { id: 'vhost', title: 'Virtual host', width: '128px', sort: 'vhost', needs: ['vhost'],
    render: (x) => x.vhost },
  { id: 'type', title: 'Type', width: '144px', sort: 'type', needs: ['type'], narrow: true,
    render: (x) => x.type },
  { id: 'features', title: 'Features', width: '208px',
    needs: ['durable', 'auto_delete', 'internal', 'arguments', 'policy'],
    render: (x) => features(x).join(', ') },
  { id: 'policy', title: 'Policy', width: '128px', needs: ['policy'], render: (x) => x.policy ?? '',
    hidden: true },
  numberColumn('in', 'In', 'message_stats.publish_in_details.rate', rate, { width: '96px' }),
  numberColumn('out', 'Out', 'message_stats.publish_out_details.rate', rate, { width: '96px' })
];
const features = (x) => [!x.durable && 'transient', x.auto_delete && 'auto-delete',
  x.internal && 'internal', x.arguments?.['alternate-exchange'] !== undefined
    && `alternate ${x.arguments['alternate-exchange']}`].filter(Boolean);

const FIELDS = { type: { exact: true, sort: 'type', needs: ['type'], read: (x) => x.type,
    example: 'type:topic', hint: 'type of the exchange' },
  durable: { kind: 'yes', needs: ['durable'], read: (x) => x.durable, example: 'durable:no',
    hint: 'is there after a restart' }, internal: { kind: 'yes', needs: ['internal'],
    read: (x) => x.internal, example: 'internal:yes', hint: 'takes no message of clients' } };

async function declare(ctx) {
  const vhosts = (await get('/api/vhosts?columns=name')).map((v) => v.name);
  const vhost = select(vhosts, ctx.vhost || vhosts[0]), name = input({ autofocus: true }),
    type = select(Object.keys(TYPES), 'direct');
  const hint = h('p.quiet.wide', TYPES.direct);
  type.addEventListener('change', () => {
    hint.textContent = TYPES[type.value];
  });
  const durable = check('Durable: it is there after a restart', true),
    autoDelete = check('Auto-delete: it goes with its last binding', false),
    internal = check('Internal: only other exchanges send to it', false);
  const args = pairsTable({ label: 'Arguments',
      known: [{ key: 'alternate-exchange', type: 'text', hint: 'Where messages go that no binding takes.' },
        { key: 'x-delayed-type', type: 'text',
          hint: 'How a delaying exchange routes when the time has come.' }], addLabel: 'Add argument' });
  open({ title: 'Declare an exchange', action: 'Declare', large: true,
      content: h('div.form', field('Name', name), field('Virtual host', vhost), field('Type', type), hint,
        h('div.wide', durable, autoDelete, internal), args), submit: async () => {
    if (!name.value) throw new Error('An exchange needs a name.');
    await put(path('exchanges', vhost.value, name.value),
      { type: type.value, durable: durable.box.checked, auto_delete: autoDelete.box.checked,
        internal: internal.box.checked, arguments: args.values() });
    ctx.go(exchangeLink(vhost.value, name.value));
  } });
}

const removable = (x) => x.name !== '' && !x.name.startsWith('amq.');
async function deleteExchanges(list) {
  const names = list.filter(removable);
  if (names.length < list.length) {
    await attempt(() => {
      throw new Error('The default exchange and those named amq. belong to the broker and stay.');
    });
    return false;
  }
  const one = names.length === 1;
  if (!(await confirm({ title: one ? `Delete exchange ${names[0].name}?`
            : `Delete ${plural(names.length, 'exchange')}?`,
          text: 'Its bindings go with it; who publishes to it gets an error. Queues keep their messages.',
          action: 'Delete', typed: one ? names[0].name : String(names.length) }))) return false;
  for (const x of names) await attempt(() => del(path('exchanges', x.vhost, x.name)),
    `${x.name} is deleted`);
  return true;
}

/** The form that asks where a message would go, and the answer drawn. */
function tester(vhost, name, base) {
  const key = input({ placeholder: 'order.created' }),
    headers = pairsTable({ label: 'Headers', addLabel: 'Add header' });
  const answer = h('div.stack.close', { 'aria-live': 'polite' });
  return card('Where would a message go?', h('form.stack.close', { onsubmit: async (event) => {
    event.preventDefault();
    try {
      const result = await post(`${base}/route`, { routing_key: key.value, headers: headers.values() });
      const nodes = new Map(), edges = [];
      const node = (kind, n) => {
        const id = `${kind} ${n}`;
        nodes.set(id, { id, kind, name: kind === 'exchange' ? exchangeName(n) : n,
            href: destinationLink(vhost, kind, n) });
        return id;
      };
      node('exchange', name);
      for (const q of result.queues) for (const s of q.path)
        edges.push({ from: node('exchange', s.exchange), to: node(s.destination_type, s.destination),
          label: s.alternate ? 'alternate' : bindingLabel(s), kind: s.alternate ? 'alternate' : '' });
      show(answer, note(result.routed ? 'success' : 'warning',
          result.routed ? ['To ', plural(result.queues.length, 'queue'), ': ',
            result.queues.map((q, i) => [i ? ', ' : '',
                h('a', { href: link('queues', vhost, q.name) }, q.name)]), '.']
            : 'Nowhere. It would be returned if it is mandatory, and dropped if not.',
          h('p.quiet', result.why)), result.queues.length
          ? drawing({ nodes: [...nodes.values()], edges, label: 'The way of the message' }) : null);
    } catch (error) {
      show(answer, problem(error));
    }
  } }, h('div.form', field('Routing key', key), headers),
  h('div', h('button.btn.primary', { type: 'submit' }, 'Test'))), answer);
}

async function one(ctx) {
  const vhost = ctx.params[0], name = ctx.params[1] === 'amq.default' ? '' : ctx.params[1];
  const base = path('exchanges', vhost, exchangePart(name));
  const x = await get(base);
  const rateChart = chart('Messages in and out'), outgoing = h('div'), incoming = h('div');
  async function load() {
    const [from, to] = await Promise.all([get(`${base}/bindings/source`),
        get(`${base}/bindings/destination`)]);
    const shown = from.slice(0, 500);
    show(outgoing, name === '' ? h('p.quiet', 'To every queue, by its name.')
        : shown.length ? h('ul.sentences', shown.map(
          (b) => h('li', h('span.grow', 'It', bindingWords(b), ` to ${b.destination_type} `,
              h('a', { href: destinationLink(vhost, b.destination_type, b.destination) }, b.destination)),
            unbind(b, load)))) : h('p.quiet', 'To nothing: what is published here is returned or dropped.'),
      from.length > shown.length && h('p.quiet', `and ${count(from.length - shown.length)} more`));
    show(incoming, to.length ? h('ul.sentences',
        to.map((b) => h('li', h('span.grow', h('a', { href: exchangeLink(vhost, b.source) },
              exchangeName(b.source)), bindingWords(b)), unbind(b, load))))
        : h('p.quiet', 'No exchange sends to it; clients publish to it.'));
  }
  const control = ranged((ms) => [ctx.live(samples(base, ms),
        ({ message_stats: stats }) => rateChart.set(
          rateSeries(stats, ms, [['publish_in', 'In', 's1'], ['publish_out', 'Out to queues', 's2']])))]);
  await load();
  const alternate = x.arguments?.['alternate-exchange'];
  return h('div.page', ctx.head([exchangeName(name), h('span.crumb', ` in ${vhost}`)],
      !x.internal && button('Publish', () => publish({ vhost, exchange: name }), { image: 'send' }),
      h('a.btn', { href: `${link('topology')}?vhost=${encodeURIComponent(vhost)}&filter=${encodeURIComponent(name)}` },
        icon('topology'), 'Drawn'), removable(x) && button('Delete', async () => {
    if (await deleteExchanges([x])) ctx.go('#/exchanges');
  }, { kind: 'danger', image: 'trash' })),
  h('div.row.apart',
  h('div.row', tag(x.type), features(x).map((f) => tag(f)),
  h('span', name === '' ? DEFAULT : (TYPES[x.type] ?? `Routes as type ${x.type} does.`))), control),
  h('div.cards', card('Messages in and out', rateChart), tester(vhost, name, base)),
  h('div.cards',
  cardWith('Sends', name !== '' && button('Bind a queue', () => bind({ vhost, source: name }, load),
    { image: 'plus' }), outgoing),
  card('Receives', incoming, pairs([alternate !== undefined
        && ['Alternate exchange', h('a', { href: exchangeLink(vhost, alternate) }, alternate)],
      ['Policy', x.policy && h('a', { href: link('policies', vhost, x.policy) }, x.policy)]]))));
}

export default function exchanges(ctx) {
  if (ctx.params.length >= 2) return one(ctx);
  return h('div.page.full', ctx.head('Exchanges',
      button('Declare an exchange', () => declare(ctx), { kind: 'primary', image: 'plus' })),
    table({ label: 'Exchanges', thing: 'exchange', columns: columns(),
        path: ctx.vhost ? path('exchanges', ctx.vhost) : '/api/exchanges', always: ['name', 'vhost'],
        fields: FIELDS, keyOf: (x) => `${x.vhost} ${x.name}`, href: (x) => exchangeLink(x.vhost, x.name),
        ...kept(ctx), actions: [{ label: 'Delete', image: 'trash', kind: 'danger', run: deleteExchanges }],
        whenEmpty: () => empty('No exchanges.') }));
}
