// One queue: its numbers, who consumes, what sends to it, what is in effect and why, its messages.
import { h, show, renew, card, cardWith, icon, button, iconButton, tag, figures, plainTable, empty, snippet, missing,
  note } from '../dom.js';
import { get, post, del, has, path, enc } from '../api.js';
import { count, bytes, duration, exchangeName, value, ago } from '../format.js';
import { link, exchangeLink } from '../link.js';
import { chart } from '../chart.js';
import { ranged, rateSeries, depthSeries } from '../history.js';
import { samples } from '../live.js';
import { field, input, table as pairsTable } from '../fields.js';
import { open, confirm, attempt } from '../dialog.js';
import { explanation, SMALLER_WINS } from '../keys.js';
import { publish } from '../publish.js';
import { messages } from '../messages.js';
import { jobList, ask } from '../jobs.js';
import { features, held, stateTag, purgeQueues, deleteQueues } from './queues.js';

/** How a binding reads. */
export function bindingWords(b) {
  const args = Object.entries(b.arguments ?? {}).filter(([k]) => k !== 'x-match');
  const headers = args.length ? [' with ', h('code.name-chip',
      args.map(([k, v]) => `${k} = ${value(v)}`).join(b.arguments['x-match'] === 'any' ? ' or ' : ' and '))]
    : null;
  return [' sends ', b.routing_key || !args.length ? b.routing_key === '' ? 'everything, or the empty key'
      : h('code.name-chip', b.routing_key) : 'messages', headers];
}

export function unbind(b, done) {
  return iconButton('Unbind', 'close', async () => {
    const to = `${b.destination_type} ${b.destination}`;
    if ((await confirm({ title: `Unbind ${to} from ${exchangeName(b.source)}?`,
            text: `${exchangeName(b.source)} does not send "${b.routing_key}" to it any more.`,
            action: 'Unbind' })) && (await attempt(
          () => del(`/api/bindings/${enc(b.vhost)}/e/${enc(b.source)}/${b.destination_type === 'queue' ? 'q' : 'e'}/${enc(b.destination)}/${enc(b.properties_key)}`),
          'It is unbound'))) done();
  });
}

/** Asks for a binding from or to something. */
export function bind({ vhost, source, type = 'queue', destination }, done) {
  const other = input({ autofocus: true });
  const key = input({});
  const args = pairsTable({ label: 'Arguments (headers exchanges: x-match and the headers)',
      known: [{ key: 'x-match', type: 'text', hint: 'all or any of the headers' }] });
  return open({ title: destination ? `Bind ${destination}` : `Bind a queue to ${exchangeName(source)}`,
      action: 'Bind', content: h('div.form', field(destination ? 'From exchange' : 'To queue', other),
        field('Routing key', key), args), submit: async () => {
    if (!other.value) throw new Error(destination ? 'Say from which exchange.' : 'Say to which queue.');
    const [from, to] = destination ? [other.value, destination] : [source, other.value];
    await post(`/api/bindings/${enc(vhost)}/e/${enc(from)}/${type === 'queue' ? 'q' : 'e'}/${enc(to)}`,
      { routing_key: key.value, arguments: args.values() });
    done();
  } });
}

/** Every setting in effect, with where it comes from. */
function settings(queue, policies) {
  const { policy, operator } = policies;
  const effective = queue.effective_policy_definition ?? {};
  const args = Object.fromEntries(Object.entries(queue.arguments ?? {}).map(
      ([k, v]) => [k.replace(/^x-/, ''), v]));
  const rows = [];
  for (const key of new Set([...Object.keys(args), ...Object.keys(effective)])) {
    const a = args[key], e = effective[key];
    const byOperator = operator?.definition?.[key] !== undefined
      && JSON.stringify(operator.definition[key]) === JSON.stringify(e);
    const source = byOperator ? ['operator policy ', h('strong', queue.operator_policy)]
      : ['policy ', h('a', { href: link('policies', queue.vhost, queue.policy ?? '') }, queue.policy)];
    if (a === undefined) rows.push([key, value(e), source,
        policy?.definition?.[key] !== undefined && byOperator && policy.definition[key] !== e
          ? `policy ${queue.policy} says ${value(policy.definition[key])}; the operator's is stricter`
          : '']);
    else if (e === undefined) rows.push([key, value(a), 'its declaration', '']);
    else if (SMALLER_WINS.has(key)) rows.push(
      [key, value(Math.min(a, e)), a <= e ? 'its declaration' : source,
        `the smaller of ${value(a)} (declared) and ${value(e)} (policy)`]);
    else rows.push([key, value(a), 'its declaration',
        `policy says ${value(e)}; what is declared goes first`]);
  }
  return rows;
}

function consumers(queue) {
  const list = queue.consumer_details ?? [];
  if (!list.length) return h('p.quiet', queue.messages ? 'None: its messages wait until one comes.'
      : 'None.');
  return plainTable('Consumers', ['Consumer', 'Connection', 'State', '#Prefetch', '#Unacked'],
    list.map((c) => [h('code.name-chip', c.consumer_tag),
        h('span', h('a', { href: link('connections', c.channel_details?.connection_name ?? '') },
            c.channel_details?.connection_name ?? ''),
          h('span.quiet', ` channel ${c.channel_details?.number}, ${c.channel_details?.user ?? ''}`)),
        [c.active === false ? tag('waiting') : h('span.row.tight.good', icon('ok'), 'active'),
          c.ack_required ? null : ' no ack', c.exclusive ? ' exclusive' : null],
        c.prefetch_count || 'no limit', count(c.messages_unacknowledged)]));
}

export default async function queue(ctx) {
  const [vhost, name, tab = 'overview'] = ctx.params;
  const base = path('queues', vhost, name);
  let current = await get(base);
  const jobs = jobList(current, () => {});
  ctx.onclose(() => jobs.close());
  const start = async (kind) => {
    const id = await ask(kind, current, { total: held(current) - (current.messages_unacknowledged ?? 0) });
    if (id !== false) jobs.watch(id);
  };
  const stream = current.type === 'stream';
  const head = ctx.head([name, h('span.crumb', ` in ${vhost}`)],
    button('Publish', () => publish({ vhost, exchange: '', routingKey: name }), { image: 'send' }),
    !stream && button('Move', () => start('move'), { image: 'move' }),
    !stream && button('Redrive', () => start('redrive'), { image: 'back' }),
    !stream && button('Purge', () => purgeQueues([current]), { kind: 'danger' }),
    button('Delete', async () => {
    if (await deleteQueues([current])) ctx.go(stream ? '#/streams' : '#/queues');
  }, { kind: 'danger', image: 'trash' }));
  const words = h('div.row');
  const tabLink = (key, label) => h('a', { href: link('queues', vhost, name,
        ...(key === 'overview' ? [] : [key])), 'aria-current': tab === key ? 'page' : null }, label);
  const aside = h('div');
  const top = [head, h('div.row.apart', words, aside),
    h('nav.tabs', { 'aria-label': 'Parts of the queue' }, tabLink('overview', 'Overview'),
      tabLink('messages', stream ? 'Messages by offset and time' : 'Messages')), jobs.element];
  const describe = (q) => show(words, tag(q.type), features(q).map((f) => tag(f)),
    q.policy && h('a.tag', { href: link('policies', vhost, q.policy) }, icon('policy'), q.policy),
    stateTag(q), q.idle_since ? h('span.quiet', `since ${ago(Date.parse(q.idle_since))}`) : null);
  describe(current);
  if (tab === 'messages') {
    ctx.live(base, (q) => {
      current = q;
    }, () => {});
    return h('div.page.full', top, await has('/api/queues/{}/{}/messages')
        ? messages(ctx, current, { jobs }) : missing('Looking into queues is'));
  }

  const numbers = figures(), whoConsumes = h('div'), bindingList = h('div'), effect = h('div'),
    gone = h('div');
  const charts = { rates: chart('Rates'), depth: chart('Messages in the queue') };
  const [policy, operator] = await Promise.all(
    [['policies', current.policy], ['operator-policies', current.operator_policy]].map(
      ([kind, n]) => (n ? get(path(kind, vhost, n)).catch(() => null) : null)));
  async function loadBindings() {
    const list = await get(`${base}/bindings`).catch(() => []);
    show(bindingList, h('ul.sentences', list.map(
          (b) => h('li', b.source === '' ? h('span.grow', 'The ',
              h('a', { href: exchangeLink(vhost, '') }, 'default exchange'), ' sends its name, ',
              h('code.name-chip', b.routing_key)) : [
              h('span.grow', h('a', { href: exchangeLink(vhost, b.source) }, b.source), bindingWords(b)),
              unbind(b, loadBindings)]))));
  }
  const waiting = (state, n) => n === undefined ? '\u2013' : n
    ? h('a', { href: `${link('queues', vhost, name, 'messages')}?state=${state}` }, count(n)) : '0';
  function draw(q, rangeMs) {
    current = q;
    describe(q);
    numbers.set([['Ready', count(q.messages_ready)], ['Unacked', count(q.messages_unacknowledged)],
        ['Delayed', waiting('delayed', q.messages_delayed)],
        ['Parked', waiting('parked', q.messages_parked)], ['Total', count(held(q))],
        ['Bytes', bytes(q.message_bytes ?? 0)], ['Oldest',
          q.oldest_message_age_ms ? duration(q.oldest_message_age_ms, 1) : '\u2013'],
        ['Average wait', duration(q.average_message_wait_ms, 1)],
        ['Consumers', count(q.consumers)]]);
    charts.rates.set(rateSeries(q.message_stats, rangeMs));
    charts.depth.set(depthSeries(q, rangeMs));
    renew(whoConsumes, q.consumer_details, () => consumers(q));
    renew(effect, [q.arguments, q.effective_policy_definition, q.policy], () => {
      const rows = settings(q, { policy, operator });
      return rows.length ? plainTable('Settings in effect', ['Setting', 'Value', 'From', 'Why'],
        rows.map(([key, v, from, why]) => [h('span', { title: explanation(key) ?? '' }, key),
            h('code.name-chip', v), from, h('span.quiet', why)]))
        : h('p.quiet', 'No arguments, and no policy matches.');
    });
  }
  show(aside, ranged((ms) => {
    draw(current, ms);
    return [ctx.live(samples(base, ms), (q) => draw(q, ms),
        (error) => show(gone, note('error', error.status === 404 ? 'This queue has been deleted.'
              : error.message)))];
  }));
  loadBindings();
  return h('div.page', top, gone, numbers, h('div.cards', card('Rates', charts.rates),
      card('Messages in the queue', charts.depth)), card('Consumers', whoConsumes),
    h('div.cards', cardWith('Bindings', button('Bind',
          () => bind({ vhost, destination: name }, loadBindings), { image: 'plus' }), bindingList),
      card('What is in effect, and why', effect)),
    !current.messages && !current.consumers ? card('Use it',
      snippet(`channel.basic_publish(exchange="", routing_key=${JSON.stringify(name)}, body=b"hello")`))
      : null);
}
