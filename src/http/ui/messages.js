// The browser of messages: looks into a queue and changes nothing by looking.
import { h, show, icon, button, note, problem, pairs, empty, tag } from './dom.js';
import { get, post, del, path, query } from './api.js';
import { clock, ago, duration, bytes, count, plural, exchangeName, DOTS } from './format.js';
import { link, exchangeLink } from './link.js';
import { table } from './table.js';
import { field, input, select } from './fields.js';
import { attempt, attemptAll, confirm } from './dialog.js';
import { body, headerTable, deaths } from './payload.js';
import { publish } from './publish.js';
import { ask } from './jobs.js';

const KEPT = 5000;
const PREVIEW_BYTES = 4096;

/** What a message is waiting for, in words. */
function stateWords(m) {
  if (m.state === 'unacknowledged') return m.unacknowledged_by
    ? ['Unacknowledged by consumer ', h('code', m.unacknowledged_by.consumer_tag), ' of ',
    h('a', { href: link('connections', m.unacknowledged_by.connection) }, m.unacknowledged_by.connection),
    `, channel ${m.unacknowledged_by.channel}`] : ['Unacknowledged'];
  if (m.state === 'delayed')
    return [`Delayed until ${clock(m.due_at)}, in ${duration(m.due_at - Date.now())}`];
  if (m.state === 'parked') return [`Parked: ${m.parked_because ?? 'nobody said why'}`];
  return ['Ready for the next consumer'];
}
const KIND = { ready: '', unacknowledged: 'good', delayed: '', parked: 'warn' };
const stateTag = (m) => tag(m.state === 'unacknowledged' ? 'unacked' : m.state, KIND[m.state],
  m.state === 'delayed' ? 'clock' : m.state === 'parked' ? 'warning' : null);

const columns = () => [
  { id: 'id', title: 'Id', width: '60px', needs: [], narrow: true, render: (m) => m.id },
  { id: 'state', title: 'State', width: '104px', needs: [], narrow: true, memo: (m) => m.state,
    render: stateTag },
  { id: 'at', title: 'Published', width: '88px', needs: [],
    render: (m) => (m.published_at ? clock(m.published_at).slice(-8) : '') },
  { id: 'key', title: 'Routing key', width: 'minmax(80px, 1fr)', needs: [], narrow: true,
    render: (m) => m.routing_key },
  { id: 'size', title: 'Size', width: '88px', num: true, needs: [], render: (m) => bytes(m.payload_bytes) },
  { id: 'preview', title: 'Payload', width: 'minmax(120px, 2fr)', needs: [], hidden: true,
    render: (m) => (m.payload_encoding === 'base64' ? `${DOTS} bytes` : m.payload.slice(0, 200)) }
];

export function messages(ctx, queue, { jobs }) {
  const base = path('queues', queue.vhost, queue.name);
  const stream = queue.type === 'stream';
  let rows = [], next = null, shownId = null, turn = 0;
  const q = ctx.query;
  const from = select([['head', 'the head'], ['tail', 'the tail'], ['id', stream ? 'an offset' : 'an id'],
      ['time', 'a time']], q.get('from') ?? 'head');
  const id = input({ inputmode: 'numeric', value: q.get('id') ?? '', placeholder: 'number' });
  const time = input({ type: 'datetime-local', step: 1, value: q.get('time') ?? '' });
  const state = select([['', 'any'], 'ready', 'unacknowledged', 'delayed', 'parked'], q.get('state') ?? '');
  const header = input({ placeholder: 'name or name:value', value: q.get('header') ?? '' });
  const words = input({ type: 'search', value: q.get('text') ?? '' });
  const size = select([[50, '50'], [200, '200'], [500, '500']], q.get('count') ?? 50);
  const idField = field(stream ? 'Offset' : 'Id', id), timeField = field('Time', time);
  const turnFields = () => {
    idField.hidden = from.value !== 'id';
    timeField.hidden = from.value !== 'time';
  };
  turnFields();
  from.addEventListener('change', turnFields);

  const list = table({
    label: 'Messages',
    thing: 'message',
    columns: columns(),
    filterable: false,
    keyOf: (m) => m.id,
    onpick: (m) => m && detail(m),
    actions: stream ? null : [
      { label: 'Requeue now', run: (some) => requeue(some) },
      { label: 'Redrive', run: (some) => job('redrive', some) },
      { label: 'Move', image: 'move', run: (some) => job('move', some) },
      { label: 'Delete', image: 'trash', kind: 'danger', run: (some) => remove(some) }
    ],
    whenEmpty: () => empty(state.value || header.value || words.value
        ? 'No message fits. A call looks at 10,000 messages; go on below if there are more.'
        : 'The queue has no messages now.')
  });
  const more = button('Show more', () => look(true)), looked = h('span.quiet', { role: 'status' });
  const pane = h('div.card.detail', { role: 'region', 'aria-label': 'Message' });
  const failed = h('div');
  const nothing = () => show(pane, empty(icon('info'),
      'Choose a message to see its properties, headers and payload.'));
  nothing();

  async function look(further = false) {
    const mine = ++turn;
    const start = from.value === 'id' ? id.value
      : from.value === 'time' ? time.value ? `time:${new Date(time.value).getTime()}` : 'head' : from.value;
    ctx.keep({ from: from.value === 'head' ? null : from.value,
        id: from.value === 'id' && id.value ? id.value : null,
        time: from.value === 'time' && time.value ? time.value : null, state: state.value || null,
        header: header.value || null, text: words.value || null,
        count: size.value === '50' ? null : size.value });
    more.disabled = true;
    try {
      const answer = await get(query(`${base}/messages`,
          { from: further ? next : start || 'head', count: size.value, state: state.value,
            header: header.value, text: words.value, payload_bytes: PREVIEW_BYTES }));
      if (mine !== turn) return;
      show(failed);
      rows = further ? [...rows, ...answer.messages].slice(-KEPT) : answer.messages;
      next = answer.next;
      list.rows = rows;
      looked.textContent =
        `Looked at ${plural(answer.looked_at, 'message')}${next === null ? '; that is all' : ''}.`;
      more.hidden = next === null;
      if (!further) {
        list.clear();
        if (shownId && !rows.some((m) => m.id === shownId)) {
          shownId = null;
          nothing();
        }
        if (!shownId && rows.length && matchMedia('(min-width: 801px)').matches) detail(rows[0]);
      }
    } catch (error) {
      if (mine === turn) show(failed, problem(error));
    } finally {
      more.disabled = false;
    }
  }

  const gone = (error) => {
    if (error.status === 404) throw Object.assign(
      new Error('The message is not there any more: a consumer has taken it, or it has expired.'),
      { advice: 'Look again to see what is there now.' });
    throw error;
  };
  const whole = (m) => attempt(() => get(`${base}/messages/${m.id}`).catch(gone));

  async function remove(some) {
    if (!(await confirm({ title: some.length === 1 ? `Delete message ${some[0].id} of ${queue.name}?`
              : `Delete ${plural(some.length, 'message')} of ${queue.name}?`,
            text: 'They are lost for good, and are not dead-lettered.',
            action: some.length === 1 ? 'Delete' : `Delete ${plural(some.length, 'message')}`,
            typed: some.length > 1 ? String(some.length) : null }))) return false;
    if (some.length === 1) {
      if (!(await attempt(() => del(`${base}/messages/${some[0].id}`).catch(gone),
            `Message ${some[0].id} is deleted`))) return false;
    } else await attemptAll(some, (m) => del(`${base}/messages/${m.id}`), 'message', 'Deleted');
    await look();
    return true;
  }
  async function requeue(some) {
    if (some.length === 1) await attempt(() => post(`${base}/messages/${some[0].id}/requeue`).catch(gone),
      `Message ${some[0].id} is ready`);
    else await attemptAll(some, (m) => post(`${base}/messages/${m.id}/requeue`), 'message', 'Requeued');
    await look();
    return true;
  }
  async function job(kind, some) {
    const made = await ask(kind, queue, { ids: some.map((m) => m.id) });
    if (made === false) return false;
    await jobs.watch(made);
    await look();
    return true;
  }

  function detail(m) {
    shownId = m.id;
    const headers = m.properties?.headers ?? {};
    const death = Array.isArray(headers['x-death']) ? headers['x-death'] : null;
    const rest = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'x-death'));
    const { headers: _, ...properties } = m.properties ?? {};
    const waits = m.state === 'delayed' || m.state === 'parked';
    show(pane, h('section.stack.close', h('div.row.apart', h('h2', `Message ${m.id}`),
          h('div.row', !stream && waits && button(m.state === 'delayed' ? 'Deliver now' : 'Requeue now',
              () => requeue([m])), !stream && death && button('Redrive', () => job('redrive', [m])),
            !stream && m.state !== 'unacknowledged' && button('Move', () => job('move', [m])),
            button('Publish a copy', async () => {
      const full = m.truncated ? await whole(m) : m;
      if (full) publish({ vhost: queue.vhost, exchange: m.exchange, routingKey: m.routing_key,
          given: full });
    }), !stream
    && button(m.state === 'delayed' ? 'Cancel' : 'Delete', () => remove([m]),
    { kind: 'danger', disabled: m.state === 'unacknowledged',
      title: m.state === 'unacknowledged' ? 'Its consumer decides about it' : null }))),
    h('p.wrap', stateWords(m),
    m.redelivered && m.state === 'ready' ? ', and it has been delivered before' : '', '.'),
    pairs([['Came by', h('a', { href: exchangeLink(queue.vhost, m.exchange) }, exchangeName(m.exchange)),
    ' with key ', h('code.name-chip', m.routing_key || '(empty)')],
    ['Published', m.published_at ? `${clock(m.published_at)}, ${ago(m.published_at)}` : null],
    ['Expires', m.expires_at ? clock(m.expires_at) : null],
    ['Failed deliveries', m.delivery_count ? count(m.delivery_count) : null]])),
    death && h('section.stack.close', h('h3', 'How it came here'), deaths(queue.vhost, death)),
    h('section.stack.close', body(m, () => whole(m))),
    Object.keys(rest).length ? h('section.stack.close', h('h3', 'Headers'), headerTable(rest)) : null,
    Object.keys(properties).length
    ? h('section.stack.close', h('h3', 'Properties'),
    pairs(Object.entries(properties).map(
    ([name, v]) => [name, name === 'timestamp' ? `${v} (${clock(v * 1000)})`
      : name === 'delivery_mode' ? `${v} (${v === 2 ? 'persistent' : 'transient'})` : String(v)]))) : null);
    pane.scrollTop = 0;
  }

  const form = h('form.row.browse', { onsubmit: (event) => {
    event.preventDefault();
    look();
  } }, field('From', from), idField, timeField, field('State', state), field('Header', header),
  field('Text in the payload', words), field('Count', size),
  h('button.btn.primary', { type: 'submit' }, icon('search'), 'Look'));
  for (const choice of [from, state, size]) choice.addEventListener('change', () => {
    if (!['id', 'time'].includes(from.value) || choice !== from) look();
  });
  look();
  return [form, note(null, 'Looking changes nothing: no message is taken, counted as delivered or moved.'),
    failed, h('div.split', h('div.stack.close.column', list, h('div.row', more, looked)), pane)];
}
