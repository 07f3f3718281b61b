// The node, plainly: one machine, its limits and what it has used of them.
import { h, show, card, figures, pairs, plainTable, note, tag } from '../dom.js';
import { get, query } from '../api.js';
import { bytes, count, duration } from '../format.js';
import { chart } from '../chart.js';
import { ranged, memorySeries, diskSeries } from '../history.js';
import { samples } from '../live.js';

export default async function cluster(ctx) {
  const overview = await get(query('/api/overview',
      { columns: 'cluster_name,product_name,product_version,rabbitmq_version,listeners' }));
  const body = h('div.stack'), about = h('div.stack');
  const memory = chart('Memory'), disk = chart('Free disk');
  function draw(nodes, rangeMs) {
    const [n] = nodes;
    show(about, nodes.map((node) => h('section.card.stack.close',
          h('div.row', h('h2', node.name), node.running === false ? tag('not running', 'bad', 'warning')
              : tag('running', 'good', 'ok'), node.mem_alarm && tag('memory alarm', 'bad', 'warning'),
            node.disk_free_alarm && tag('disk alarm', 'bad', 'warning')),
          figures([['Up for', duration(node.uptime)],
              ['Memory', bytes(node.mem_used), node.mem_alarm ? 'bad' : null],
              ['Memory limit', bytes(node.mem_limit)],
              ['Free disk', bytes(node.disk_free), node.disk_free_alarm ? 'bad' : null],
              ['Least free disk', bytes(node.disk_free_limit)], ['Connections', count(node.sockets_used)],
              ['Open files', count(node.fd_used)]]))));
    memory.set(memorySeries(n, rangeMs));
    disk.set(diskSeries(n, rangeMs));
  }
  const control = ranged((ms) => [ctx.live(samples('/api/nodes', ms, ['node_stats']),
        (nodes) => draw(nodes, ms))]);
  show(body, h('div.cards', card('Memory', memory), card('Free disk', disk)),
    h('div.cards', card('Broker', pairs([['Cluster', overview.cluster_name],
            ['Version', `${overview.product_name} ${overview.product_version}`],
            ['Compatible with', `RabbitMQ ${overview.rabbitmq_version}`]])),
      card('Listeners', plainTable('Listeners', ['Protocol', 'Address', '#Port'],
          (overview.listeners ?? []).map((l) => [l.protocol, l.ip_address, String(l.port)])))));
  return h('div.page', ctx.head([overview.cluster_name, h('span.crumb', ' cluster')], control),
    note(null, 'This broker is one node: it leads, and no other follows it.'), about, body);
}
