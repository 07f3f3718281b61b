// Connections: who is connected and what it does; one connection with its channels.
import { h, show, card, icon, button, tag, figures, pairs, plainTable, note, empty,
  snippet } from '../dom.js';
import { get, del, path } from '../api.js';
import { count, bytes, rate, clock, ago, plural, value } from '../format.js';
import { link } from '../link.js';
import { table, linkColumn, kept, numberField } from '../table.js';
import { field, input } from '../fields.js';
import { open, attempt, attemptAll } from '../dialog.js';
import { stateCell } from '../clients.js';

const FIELDS = {
  user: { sort: 'user', exact: true, needs: ['user'], read: (c) => c.user, example: 'user:app',
    hint: 'who is logged in' },
  state: { needs: ['state'], read: (c) => c.state, example: 'state:blocked',
    hint: 'running, flow, blocked' },
  client: { needs: ['client_properties'], read: (
      c) => `${c.client_properties?.product} ${c.client_properties?.version}`, example: 'client:pika',
    hint: 'library and version' },
  called: { needs: ['user_provided_name'], read: (c) => c.user_provided_name, example: 'called:worker',
    hint: 'the name that it gave itself' },
  tls: { kind: 'yes', needs: ['ssl'], read: (c) => c.ssl, example: 'tls:no', hint: 'encrypted or not' },
  channels: numberField('channels', 'channels>10', 'number of channels')
};
const client = (c) => [c.client_properties?.product, c.client_properties?.version].filter(Boolean)
  .join(' ');

const columns = () => [
  linkColumn('Connection', (c) => link('connections', c.name),
    { name: (c) => c.user_provided_name || c.name, needs: ['name', 'user_provided_name'],
      width: 'minmax(200px, 1fr)' }),
  { id: 'address', title: 'Address', width: '152px', needs: ['peer_host', 'peer_port'],
    render: (c) => `${c.peer_host}:${c.peer_port}` },
  { id: 'vhost', title: 'Virtual host', width: '112px', sort: 'vhost', needs: ['vhost'],
    render: (c) => c.vhost },
  { id: 'user', title: 'User', width: '112px', sort: 'user', needs: ['user'], render: (c) => c.user },
  { id: 'state', title: 'State', width: '96px', sort: 'state', needs: ['state'], narrow: true,
    memo: (c) => c.state, render: (c) => stateCell(c.state) },
  { id: 'client', title: 'Client', width: '144px', needs: ['client_properties'], render: client },
  { id: 'tls', title: 'TLS', width: '72px', sort: 'ssl', needs: ['ssl', 'ssl_protocol'],
    memo: (c) => String(c.ssl), render: (c) => c.ssl
      ? h('span.row.tight', { title: c.ssl_protocol ?? 'TLS' }, icon('lock'), 'yes')
      : h('span.quiet', 'no') },
  { id: 'channels', title: 'Channels', width: '88px', num: true, sort: 'channels', needs: ['channels'],
    render: (c) => count(c.channels) },
  { id: 'in', title: 'From client', width: '112px', num: true, sort: 'recv_oct_details.rate',
    needs: ['recv_oct_details.rate'], render: (c) => (
      c.recv_oct_details ? `${bytes(c.recv_oct_details.rate)}/s` : ''), hidden: true },
  { id: 'out', title: 'To client', width: '112px', num: true, sort: 'send_oct_details.rate',
    needs: ['send_oct_details.rate'], render: (c) => (
      c.send_oct_details ? `${bytes(c.send_oct_details.rate)}/s` : ''), hidden: true },
  { id: 'since', title: 'Since', width: '168px', sort: 'connected_at', needs: ['connected_at'],
    render: (c) => (c.connected_at ? clock(c.connected_at) : ''), hidden: true }
];

/** Asks why, and closes connections with that as the reason that the client is told. */
async function close(list) {
  const reason = input({ value: 'Closed by an operator', autofocus: true });
  const what = list.length === 1 ? list[0].user_provided_name || list[0].name
    : plural(list.length, 'connection');
  const go = await open({ title: `Close ${what}?`, action: 'Close', danger: true,
      content: [h('p',
          'What its consumers hold goes back to the queues. Most clients connect again by themselves.'),
        field('Reason, which the client is told', reason)],
      submit: () => reason.value || 'Closed by an operator' });
  if (!go) return false;
  const work = (c) => del(path('connections', c.name),
    { headers: { 'x-reason': go.replace(/[^\x20-\x7e]/g, '?') } });
  if (list.length === 1) return attempt(() => work(list[0]), `${what} is closed`);
  await attemptAll(list, work, 'connection', 'Closed');
  return true;
}

async function one(ctx) {
  const base = path('connections', ctx.params[0]);
  let current = await get(base);
  const words = h('div.row'), numbers = figures(), who = h('div'), channels = h('div'), gone = h('div');
  const title = current.user_provided_name || current.name;
  function draw(c) {
    current = c;
    show(words, stateCell(c.state), c.ssl ? tag(c.ssl_protocol || 'TLS', '', 'lock') : tag('not encrypted'),
      c.user_provided_name ? h('span.quiet.wrap', c.name) : null);
    numbers.set([['Channels', count(c.channels)],
        ['From client', c.recv_oct_details ? `${bytes(c.recv_oct_details.rate)}/s` : bytes(c.recv_oct)],
        ['To client', c.send_oct_details ? `${bytes(c.send_oct_details.rate)}/s` : bytes(c.send_oct)],
        ['Heartbeat', c.timeout ? `${c.timeout} s` : 'none']]);
  }
  draw(current);
  const c = current;
  show(who, pairs([['User', h('a', { href: link('users', c.user) }, c.user)], ['Virtual host', c.vhost],
        ['From', `${c.peer_host}:${c.peer_port}`], ['To', `${c.host}:${c.port}`],
        ['Since', c.connected_at ? `${clock(c.connected_at)}, ${ago(c.connected_at)}` : null],
        ['Protocol', c.protocol], ['Login by', c.auth_mechanism],
        ['TLS', c.ssl ? [c.ssl_protocol, c.ssl_cipher].filter(Boolean).join(', ') || 'yes' : 'no'],
        ['Certificate', c.peer_cert_subject], ['Frames up to', bytes(c.frame_max)],
        ['Channels up to', c.channel_max]]));
  ctx.live(base, draw, (error) => show(gone, note('warning',
        error.status === 404 ? 'This connection has ended.' : error.message)));
  ctx.live(`${base}/channels`, (list) => show(channels,
      list.length ? plainTable('Channels', ['Channel', 'State', '#Consumers', '#Prefetch', '#Unacked',
          '#Unconfirmed', '#Publish', '#Deliver'],
        list.map((ch) => [h('a', { href: link('channels', ch.name) }, `channel ${ch.number}`),
            stateCell(ch.state), count(ch.consumer_count), ch.prefetch_count || 'no limit',
            count(ch.messages_unacknowledged), count(ch.messages_unconfirmed),
            rate(ch.message_stats?.publish_details?.rate ?? 0),
            rate(ch.message_stats?.deliver_get_details?.rate ?? 0)]))
        : h('p.quiet', 'It has no channels open.')), () => {});
  return h('div.page', ctx.head(title, button('Close', async () => {
    if (await close([current])) ctx.go('#/connections');
  }, { kind: 'danger', image: 'close' })), words, gone, numbers, card('Channels', channels),
  h('div.cards', card('Who', who),
  card('What the client says', pairs(Object.entries(c.client_properties ?? {}).map(
      ([k, v]) => [k, value(v)])))));
}

export default function connections(ctx) {
  if (ctx.params.length) return one(ctx);
  return h('div.page.full', ctx.head('Connections'),
    table({ label: 'Connections', thing: 'connection', columns: columns(),
        path: ctx.vhost ? path('vhosts', ctx.vhost, 'connections') : '/api/connections',
        always: ['name', 'user_provided_name'], fields: FIELDS, href: (c) => link('connections', c.name),
        ...kept(ctx), actions: [{ label: 'Close', image: 'close', kind: 'danger', run: close }],
        whenEmpty: () => empty(h('p', 'Nobody is connected. Clients connect with:'),
          snippet(`amqp://USER:PASSWORD@${location.hostname}:5672/%2f`)) }));
}
