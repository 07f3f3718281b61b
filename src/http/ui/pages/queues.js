// The list of queues.
import { h, button, tag, empty, snippet } from '../dom.js';
import { get, path, put, del, enc } from '../api.js';
import { count, rate, bytes, duration, plural } from '../format.js';
import { link } from '../link.js';
import { table, linkColumn, kept, numberField, numberColumn } from '../table.js';
import { spark, levels } from '../chart.js';
import { confirm, attempt, attemptAll, open } from '../dialog.js';
import { field, input, select, check, table as pairs } from '../fields.js';
import { QUEUE_ARGUMENTS } from '../keys.js';

/** How the state of a queue is told: only what is not as usual has a colour. */
export function stateTag(queue) {
  if (queue.damaged) return tag('damaged', 'bad', 'warning');
  const state = queue.state ?? 'running';
  return state === 'running' ? h('span.quiet', queue.idle_since ? 'idle' : 'running')
    : tag(state, 'warn', 'warning');
}

const argument = (queue, name) => queue.arguments?.[`x-${name}`]
  ?? queue.effective_policy_definition?.[name];
const idle = (queue) => (queue.idle_since ? Date.now() - Date.parse(queue.idle_since) : 0);

/** What can be asked of queues in the filter. */
export const QUEUE_FIELDS = {
  type: { exact: true, sort: 'type', needs: ['type'], read: (q) => q.type, example: 'type:quorum',
    hint: 'classic, quorum or stream' },
  messages: numberField('messages', 'messages>1000', 'ready and unacknowledged ones'),
  ready: numberField('messages_ready', 'ready>10k', 'waiting for a consumer'),
  unacked: numberField('messages_unacknowledged', 'unacked>0', 'with a consumer'),
  parked: numberField('messages_parked', 'parked>0', 'given up, kept'),
  delayed: numberField('messages_delayed', 'delayed>0', 'waiting for their time'),
  consumers: numberField('consumers', 'consumers<1', 'number of consumers'),
  bytes: numberField('message_bytes', 'bytes>10MiB', 'size of the messages'),
  age: { kind: 'time', needs: ['oldest_message_age_ms'], read: (q) => q.oldest_message_age_ms,
    example: 'age>1h', hint: 'of the oldest message' },
  idle: { kind: 'time', needs: ['idle_since'], read: idle, example: 'idle>5m',
    hint: 'without anything happening' },
  dlx: { kind: 'yes', needs: ['arguments', 'effective_policy_definition'],
    read: (q) => argument(q, 'dead-letter-exchange') !== undefined, example: 'dlx:yes',
    hint: 'has a dead-letter exchange' },
  durable: { kind: 'yes', needs: ['durable'], read: (q) => q.durable, example: 'durable:no',
    hint: 'is there after a restart' },
  policy: { needs: ['policy'], read: (q) => q.policy, example: 'policy:name', hint: 'has this policy' },
  state: { needs: ['state'], read: (q) => q.state, example: 'state:running', hint: 'of the queue' }
};

const NOT_OF_STREAMS = ['type', 'unacked', 'parked'];

const columns = () => [
  linkColumn('Name', (q) => link('queues', q.vhost, q.name), { width: 'minmax(176px, 1fr)' }),
  { id: 'vhost', title: 'Virtual host', width: '120px', sort: 'vhost', needs: ['vhost'],
    render: (q) => q.vhost, hidden: true },
  { id: 'type', title: 'Type', width: '80px', sort: 'type', needs: ['type'], render: (q) => q.type },
  { id: 'features', title: 'Features', width: '136px',
    needs: ['durable', 'auto_delete', 'exclusive', 'arguments', 'effective_policy_definition', 'policy'],
    memo: (q) => JSON.stringify([q.durable, q.auto_delete, q.exclusive, q.arguments,
        q.effective_policy_definition]), render: (q) => features(q).join(', '), hidden: true },
  { id: 'policy', title: 'Policy', width: '120px', sort: 'policy', needs: ['policy'],
    render: (q) => q.policy ?? '', hidden: true },
  { id: 'state', title: 'State', width: '80px', sort: 'state', needs: ['state', 'idle_since', 'damaged'],
    memo: (q) => `${q.state}${q.damaged}${q.idle_since}`, render: stateTag },
  numberColumn('ready', 'Ready', 'messages_ready', count, { narrow: true, width: '96px' }),
  numberColumn('unacked', 'Unacked', 'messages_unacknowledged', count, { width: '88px' }),
  numberColumn('total', 'Total', 'messages', count, { hidden: true }),
  numberColumn('delayed', 'Delayed', 'messages_delayed', count, { hidden: true }),
  numberColumn('parked', 'Parked', 'messages_parked', count, { width: '88px' }),
  { id: 'trend', title: '10 min', width: '112px', needs: ['messages_details'], samples: true,
    memo: (q) => q.messages_details?.samples?.map((s) => s.sample).join() ?? '',
    render: (q) => spark(levels(q.messages_details)) },
  numberColumn('in', 'In', 'message_stats.publish_details.rate', rate, { narrow: true, width: '80px' }),
  numberColumn('out', 'Out', 'message_stats.deliver_get_details.rate', rate, { width: '80px' }),
  numberColumn('ack', 'Acked', 'message_stats.ack_details.rate', rate, { hidden: true, width: '88px' }),
  numberColumn('redeliver', 'Redelivered', 'message_stats.redeliver_details.rate', rate, { hidden: true }),
  numberColumn('consumers', 'Consumers', 'consumers', count, { width: '96px' }),
  numberColumn('age', 'Oldest', 'oldest_message_age_ms', (v) => (v === null ? '' : duration(v, 1)),
    { width: '88px' }),
  numberColumn('wait', 'Average wait', 'average_message_wait_ms', (v) => duration(v, 1), { hidden: true }),
  numberColumn('bytes', 'Bytes', 'message_bytes', bytes, { hidden: true }),
  numberColumn('memory', 'Memory', 'memory', bytes, { hidden: true })
];

/** The features of a queue as words. */
export function features(queue) {
  const has = (name) => argument(queue, name);
  return [!queue.durable && 'transient', queue.auto_delete && 'auto-delete', queue.exclusive && 'exclusive',
    has('dead-letter-exchange') !== undefined && 'dead letters', has('message-ttl') !== undefined && 'TTL',
    has('expires') !== undefined && 'expires',
    (has('max-length') ?? has('max-length-bytes')) !== undefined && 'limited',
    queue.arguments?.['x-max-priority'] !== undefined && 'priorities',
    queue.arguments?.['x-single-active-consumer'] && 'single consumer'].filter(Boolean);
}

/** Asks for a new queue; goes to it. */
export async function declare(ctx, type = 'classic') {
  const vhosts = (await get('/api/vhosts?columns=name')).map((v) => v.name);
  const vhost = select(vhosts, ctx.vhost || vhosts[0]);
  const name = input({ autofocus: true, required: true });
  const kind = select([['classic', 'classic: memory and disk, one node'],
      ['quorum', 'quorum: delivery limit, for work that must not be lost'],
      ['stream', 'stream: a log that many read again']], type);
  const durable = check('Durable: it is there after a restart', true);
  const autoDelete = check('Auto-delete: it goes with its last consumer', false);
  const args = pairs({ label: 'Arguments', known: QUEUE_ARGUMENTS, addLabel: 'Add argument' });
  return open({ title: 'Declare a queue', action: 'Declare', large: true,
      content: h('div.form', field('Name', name), field('Virtual host', vhost), field('Type', kind),
        h('div.field.wide', durable, autoDelete), args), submit: async () => {
    if (!name.value) throw new Error('A queue needs a name.');
    await put(path('queues', vhost.value, name.value),
      { durable: durable.box.checked, auto_delete: autoDelete.box.checked,
        arguments: { 'x-queue-type': kind.value, ...args.values() } });
    ctx.go(link('queues', vhost.value, name.value));
  } });
}

const KEPT = ['messages_ready', 'messages_unacknowledged', 'messages_delayed', 'messages_parked'];
const sum = (queues, keys) => queues.reduce((n, q) => keys.reduce((m, key) => m + (q[key] ?? 0), n), 0);

/** How many messages are in a queue in whatever state. */
export const held = (queue) => sum([queue], KEPT);
const names = (queues) => h('p.quiet.wrap',
  `${queues.slice(0, 5).map((q) => q.name).join(', ')}${queues.length > 5 ? ` and ${count(queues.length - 5)} more` : ''}`);

export async function purgeQueues(queues) {
  const n = sum(queues, ['messages_ready']);
  const one = queues.length === 1;
  const title = one ? `Purge ${queues[0].name} of ${plural(n, 'message')}?`
    : `Purge ${plural(queues.length, 'queue')} of ${plural(n, 'message')}?`;
  if (!(await confirm({ title, text: ['The ready messages are lost for good; all others stay.',
            ...(one ? [] : [names(queues)])], action: one ? 'Purge'
            : `Purge ${plural(queues.length, 'queue')}`,
          typed: n ? (one ? queues[0].name : String(n)) : null }))) return false;
  if (one) return attempt(() => del(`${path('queues', queues[0].vhost, queues[0].name)}/contents`),
    `${queues[0].name} is purged`);
  await attemptAll(queues, (q) => del(`${path('queues', q.vhost, q.name)}/contents`), 'queue', 'Purged');
  return true;
}

export async function deleteQueues(queues) {
  const n = sum(queues, KEPT);
  const one = queues.length === 1;
  const what = n ? ` with ${plural(n, 'message')}` : '';
  const title = one ? `Delete ${queues[0].name}${what}?`
    : `Delete ${plural(queues.length, 'queue')}${what}?`;
  if (!(await confirm({ title, text: [n ? 'The queue, its bindings and its messages are lost for good.'
            : 'The queue and its bindings are removed; it has no messages.',
            ...(one ? [] : [names(queues)])], action: one ? 'Delete'
            : `Delete ${plural(queues.length, 'queue')}`,
          typed: n ? (one ? queues[0].name : String(n)) : null }))) return false;
  if (one) return attempt(() => del(path('queues', queues[0].vhost, queues[0].name)),
    `${queues[0].name} is deleted`);
  await attemptAll(queues, (q) => del(path('queues', q.vhost, q.name)), 'queue', 'Deleted');
  return true;
}

/** The table of queues, of streams alone when `type` says so. */
export function queueTable(ctx, { thing = 'queue', base }) {
  return table({
    label: `${thing}s`,
    thing,
    whole: 'queue',
    columns: columns().map((c) => thing === 'stream' && NOT_OF_STREAMS.includes(c.id)
        ? { ...c, hidden: true } : c),
    path: ctx.vhost ? path('queues', ctx.vhost) : '/api/queues',
    always: ['name', 'vhost', ...KEPT],
    fields: QUEUE_FIELDS,
    keyOf: (q) => `${q.vhost} ${q.name}`,
    samples: { lengths_age: 600, lengths_incr: 30 },
    ...kept(ctx),
    base,
    href: (q) => link('queues', q.vhost, q.name),
    actions: [{ label: 'Purge', run: purgeQueues },
      { label: 'Delete', image: 'trash', kind: 'danger', run: deleteQueues }],
    whenEmpty: () => empty(h('p', 'No queues yet. Declare one, or connect with a client:'),
      snippet(`amqp://USER:PASSWORD@${location.hostname}:5672/${ctx.vhost ? enc(ctx.vhost) : '%2f'}`),
      button('Declare a queue', () => declare(ctx), { kind: 'primary', image: 'plus' }))
  });
}

export default async function queues(ctx) {
  if (ctx.params.length >= 2) return (await import('./queue.js')).default(ctx);
  return h('div.page.full', ctx.head('Queues',
      button('Declare a queue', () => declare(ctx), { kind: 'primary', image: 'plus' })),
    queueTable(ctx, {}));
}
