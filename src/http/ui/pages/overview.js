// What happens now, and what needs attention.
import { h, show, renew, card, icon, figures, pairs, plainTable } from '../dom.js';
import { get, path, query } from '../api.js';
import { count, short, duration, rate, plural } from '../format.js';
import { link } from '../link.js';
import { chart, levels } from '../chart.js';
import { ranged, rateSeries, depthSeries, memorySeries, diskSeries } from '../history.js';
import { samples } from '../live.js';

const AGAIN_MS = 30000;
const LOOKED_AT = 100;
const OLD_MS = 600000;
const GROWTH_MIN = 0.5;
const DEAD = /(^|[^a-z])(dlq|dlx|dead|failed|failures|poison|rejected)([^a-z]|$)|dead[-_.]?letter/i;

/** Queues that a person should look at: `[{ text, href, kind }]`, worst first. */
async function attention(vhost, nodes) {
  const where = vhost ? `/api/queues/${encodeURIComponent(vhost)}` : '/api/queues';
  const columns =
    'name,vhost,type,messages,messages_ready,messages_parked,messages_details.rate,consumers,oldest_message_age_ms,damaged,arguments,effective_policy_definition';
  const top = (sort) => get(query(where, { page: 1, page_size: LOOKED_AT, sort, sort_reverse: true,
        columns })).then((a) => a.items);
  const [many, growing, old, parked] = await Promise.all(
    ['messages', 'messages_details.rate', 'oldest_message_age_ms', 'messages_parked'].map(top));
  const out = [];
  for (const n of nodes) {
    if (n.mem_alarm) out.push({ kind: 'bad', text: `Memory alarm on ${n.name}: publishers are blocked`,
        href: '#/cluster' });
    if (n.disk_free_alarm) out.push({ kind: 'bad', text: `Disk alarm on ${n.name}: publishers are blocked`,
        href: '#/cluster' });
  }
  const rows = new Map([...many, ...growing, ...old, ...parked].map((q) => [`${q.vhost} ${q.name}`, q]));
  const targets = new Set([...rows.values()].map((q) => {
    const of = (key) => q.arguments?.[`x-${key}`] ?? q.effective_policy_definition?.[key];
    return of('dead-letter-exchange') === '' ? `${q.vhost} ${of('dead-letter-routing-key')}` : null;
  }));
  const say = (q, kind, words, tab) => out.push(
    { kind, name: q.name, where: vhost ? '' : q.vhost, text: words,
      href: link(...['queues', q.vhost, q.name, tab].filter(Boolean)) });
  for (const [key, q] of rows) {
    const old = q.oldest_message_age_ms;
    if (q.damaged)
      say(q, 'bad', `has damaged messages: ${q.damaged === true ? 'the log says which' : q.damaged}`);
    if (q.messages_parked > 0) say(q, 'warn', `parked ${plural(q.messages_parked, 'message')}`, 'messages');
    if (q.type === 'stream') continue;
    const growth = q.messages_details?.rate ?? 0;
    if (!q.consumers && growth >= GROWTH_MIN && q.messages > 0)
      say(q, 'bad', `grows by ${rate(growth)} and has no consumer; ${count(q.messages)} wait`);
    else if ((DEAD.test(q.name) || targets.has(key)) && !q.consumers && q.messages > 0)
      say(q, 'warn',
      `holds ${plural(q.messages, 'dead letter')}${old ? `, the oldest ${duration(old)} old` : ''}`,
      'messages');
    else if (q.consumers && old > OLD_MS && q.messages_ready > 0)
      say(q, 'warn', `keeps its oldest message waiting for ${duration(old)}`, 'messages');
  }
  return out.sort((a, b) => (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0));
}

export default function overview(ctx) {
  const charts = { rates: chart('Messages in and out'), depth: chart('Messages in queues'),
    connections: chart('Connections'), memory: chart('Memory', { low: true }),
    disk: chart('Free disk', { low: true }) };
  const numbers = figures(), needs = h('div', h('p.quiet', 'Looking\u2026')), listeners = h('div'),
    broker = h('div');
  let nodes = [], open = 0;
  const seen = [];

  // of the broker, or of the virtual host that is chosen
  function drawMessages(q, m, t, rangeMs) {
    numbers.set([['Ready', count(q.messages_ready ?? 0)],
        ['Unacked', count(q.messages_unacknowledged ?? 0)], ['Publish', rate(m.publish_details?.rate ?? 0)],
        ['Deliver', rate(m.deliver_get_details?.rate ?? 0)],
        ...(t ? [['Queues', count(t.queues)], ['Consumers', count(t.consumers)],
            ['Connections', count(t.connections)], ['Channels', count(t.channels)]] : [])]);
    charts.rates.set(rateSeries(m, rangeMs));
    charts.depth.set(depthSeries(q, rangeMs));
  }
  function drawOverview(o, rangeMs) {
    const t = o.object_totals ?? {};
    if (!ctx.vhost) drawMessages(o.queue_totals ?? {}, o.message_stats ?? {}, t, rangeMs);
    seen.push([Date.now(), t.connections ?? 0]);
    if (seen.length > 1000) seen.shift();
    open = t.connections ?? 0;
    drawConnections(rangeMs);
    renew(listeners, o.listeners, () => plainTable('Listeners', ['Protocol', 'Address', '#Port'],
        (o.listeners ?? []).map((l) => [l.protocol, l.ip_address, String(l.port)])));
    const [node] = nodes;
    renew(broker, [o.product_version, node && duration(node.uptime)],
      () => pairs([['Cluster', o.cluster_name], ['Node', o.node],
          ['Version', `${o.product_name} ${o.product_version}`],
          ['Compatible with', `RabbitMQ ${o.rabbitmq_version}`], node && ['Up for', duration(node.uptime)],
          node && ['Processors', node.processors]]));
  }
  function drawConnections(rangeMs) {
    const sampled = levels(nodes[0]?.sockets_used_details);
    charts.connections.set({ rangeMs, format: short,
        series: [{ label: 'Open', colour: 's1', points: sampled.some((p) => p[1] > 0) ? sampled : seen,
            now: open }] });
  }
  function drawNodes(list, rangeMs) {
    nodes = list;
    drawConnections(rangeMs);
    charts.memory.set(memorySeries(list[0], rangeMs));
    charts.disk.set(diskSeries(list[0], rangeMs));
  }
  async function look() {
    try {
      const found = await attention(ctx.vhost, nodes);
      show(needs, found.length ? h('ul.sentences',
          found.slice(0, 12).map((f) => h('li', h('span', { class: f.kind }, icon('warning')),
              h('span.sr', f.kind === 'bad' ? 'Serious: ' : 'Notice: '),
              h('a.grow', { href: f.href }, f.name ? [h('strong', f.name), ` ${f.text}`,
                f.where && h('span.quiet', ` in ${f.where}`)] : f.text))))
          : h('p.row.good', icon('ok'),
          'Nothing: no alarms, no queue grows without a consumer, no dead letters wait.'),
        found.length > 12 && h('p.quiet', `and ${count(found.length - 12)} more`));
    } catch (e) {
      show(needs, h('p.quiet', e.message));
    }
  }
  const control = ranged((ms) => [ctx.live(samples('/api/overview', ms), (o) => drawOverview(o, ms)),
      ctx.monitor && ctx.live(samples('/api/nodes', ms, ['node_stats']), (n) => drawNodes(n, ms)),
      ctx.vhost && ctx.live(samples(path('vhosts', ctx.vhost), ms),
        (v) => drawMessages(v, v.message_stats ?? {}, null, ms))].filter(Boolean));
  look();
  const soon = setTimeout(look, 1500);
  const timer = setInterval(() => {
    if (!document.hidden) look();
  }, AGAIN_MS);
  ctx.onclose(() => {
    clearTimeout(soon);
    clearInterval(timer);
  });

  return h('div.page', ctx.head(ctx.vhost ? `Overview of ${ctx.vhost}` : 'Overview', control), numbers,
    card('Needs attention', needs), h('div.cards', card('Messages in and out', charts.rates),
      card('Messages in queues', charts.depth), card('Connections', charts.connections),
      ctx.monitor && card('Memory and disk', charts.memory, charts.disk)),
    h('div.cards', card('Broker', broker), card('Listeners', listeners)));
}
