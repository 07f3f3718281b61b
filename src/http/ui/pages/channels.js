// Channels: what clients do with their connections; one channel with its consumers.
import { h, show, card, tag, figures, plainTable, note, empty } from '../dom.js';
import { get, path } from '../api.js';
import { count, rate } from '../format.js';
import { link } from '../link.js';
import { table, linkColumn, kept, numberField, numberColumn } from '../table.js';
import { chart } from '../chart.js';
import { ranged, rateSeries } from '../history.js';
import { samples } from '../live.js';
import { stateCell } from '../clients.js';

const FIELDS = { user: { sort: 'user', exact: true, needs: ['user'], read: (c) => c.user,
    example: 'user:app', hint: 'who is logged in' },
  unacked: numberField('messages_unacknowledged', 'unacked>100', 'delivered, not yet settled'),
  unconfirmed: numberField('messages_unconfirmed', 'unconfirmed>0', 'published, not yet confirmed'),
  prefetch: numberField('prefetch_count', 'prefetch<1', 'limit of a consumer; 0 is none'),
  consumers: numberField('consumer_count', 'consumers>0', 'number of consumers'),
  state: { needs: ['state'], read: (c) => c.state, example: 'state:flow', hint: 'running, flow' } };

const columns = () => [
  linkColumn('Channel', (c) => link('channels', c.name), { width: 'minmax(232px, 1fr)' }),
  { id: 'vhost', title: 'Virtual host', width: '112px', sort: 'vhost', needs: ['vhost'],
    render: (c) => c.vhost, hidden: true },
  { id: 'user', title: 'User', width: '112px', sort: 'user', needs: ['user'], render: (c) => c.user },
  { id: 'mode', title: 'Mode', width: '88px', needs: ['confirm', 'transactional'], render: modeWords },
  { id: 'state', title: 'State', width: '96px', sort: 'state', needs: ['state'], memo: (c) => c.state,
    render: (c) => stateCell(c.state) },
  numberColumn('consumers', 'Consumers', 'consumer_count', count, { hidden: true }),
  numberColumn('prefetch', 'Prefetch', 'prefetch_count', (n) => (n ? count(n) : 'none'), { width: '96px' }),
  numberColumn('unacked', 'Unacked', 'messages_unacknowledged', count, { narrow: true, width: '96px' }),
  numberColumn('unconfirmed', 'Unconfirmed', 'messages_unconfirmed', count, { width: '120px' }),
  numberColumn('publish', 'Publish', 'message_stats.publish_details.rate', rate, { width: '88px' }),
  numberColumn('deliver', 'Deliver', 'message_stats.deliver_get_details.rate', rate, { width: '88px' }),
  numberColumn('ack', 'Acked', 'message_stats.ack_details.rate', rate, { width: '88px' })
];
function modeWords(c) {
  return c.transactional ? 'transactions' : c.confirm ? 'confirms' : '';
}

async function one(ctx) {
  const base = path('channels', ctx.params[0]);
  const first = await get(base);
  const words = h('div.row'), numbers = figures(), consumers = h('div'), gone = h('div'),
    speeds = chart('Rates');
  function draw(c, rangeMs) {
    show(words, stateCell(c.state), modeWords(c) && tag(modeWords(c)),
      h('a', { href: link('connections', c.connection_details?.name ?? '') }, c.connection_details?.name),
      h('span.quiet', `user ${c.user}, virtual host ${c.vhost}`));
    numbers.set([['Unacked', count(c.messages_unacknowledged)],
        ['Unconfirmed', count(c.messages_unconfirmed)], ['Uncommitted', count(c.messages_uncommitted)],
        ['Prefetch', c.prefetch_count ? count(c.prefetch_count) : 'no limit'],
        ['Consumers', count(c.consumer_count)]]);
    speeds.set(rateSeries(c.message_stats, rangeMs));
    const list = c.consumer_details ?? [];
    show(consumers, list.length ? plainTable('Consumers',
        ['Consumer', 'Queue', '#Prefetch', 'Acknowledges'],
        list.map((x) => [h('code.name-chip', x.consumer_tag),
            h('a', { href: link('queues', x.queue.vhost, x.queue.name) }, x.queue.name),
            x.prefetch_count || 'no limit', x.ack_required ? 'yes' : 'no']))
        : h('p.quiet', 'It consumes nothing.'));
  }
  const control = ranged((ms) => {
    draw(first, ms);
    return [ctx.live(samples(base, ms), (c) => draw(c, ms),
        (error) => show(gone, note('warning', error.status === 404 ? 'This channel has ended.'
              : error.message)))];
  });
  return h('div.page', ctx.head(`Channel ${first.number}`, control), words, gone, numbers,
    h('div.cards', card('Rates', speeds), card('Consumers', consumers)));
}

export default function channels(ctx) {
  if (ctx.params.length) return one(ctx);
  return h('div.page.full', ctx.head('Channels'),
    table({ label: 'Channels', thing: 'channel', columns: columns(),
        path: ctx.vhost ? path('vhosts', ctx.vhost, 'channels') : '/api/channels', always: ['name'],
        fields: FIELDS, href: (c) => link('channels', c.name), ...kept(ctx),
        whenEmpty: () => empty('No channels are open.') }));
}
