// The topology of a virtual host, drawn: exchanges, bindings, queues and the ways of dead letters.
import { h, show, empty, note, button, problem } from '../dom.js';
import { each, get, path, query } from '../api.js';
import { short, value, count, plural } from '../format.js';
import { link, exchangeLink } from '../link.js';
import { field, input, select, check } from '../fields.js';
import { canvas, bindingLabel } from '../graph.js';

const NODES_MAX = 400;
const EXCHANGES_MAX = 200;
const QUEUES_MAX = 500;

export default async function topology(ctx) {
  const vhosts = (await get('/api/vhosts?columns=name')).map((v) => v.name);
  const vhost = select(vhosts, ctx.query.get('vhost') ?? (ctx.vhost || vhosts[0]));
  const filter = input({ type: 'search', value: ctx.query.get('filter') ?? '',
      placeholder: 'part of a name' });
  const idle = check('Unbound ones too', ctx.query.has('all'));
  const stage = h('div.stack.grow'), told = h('span.quiet', { role: 'status' });
  let data = null;

  async function load() {
    const v = vhost.value;
    try {
      const [exchanges, queues] = await Promise.all(
        [get(query(path('exchanges', v), { columns: 'name,type,arguments,policy,internal' })),
          get(query(path('queues', v), { page: 1, page_size: QUEUES_MAX,
                name: filter.value.length > 1 ? filter.value : '', sort: 'messages', sort_reverse: true,
                columns: 'name,type,messages,arguments,effective_policy_definition' }))]);
      const named = exchanges.filter((x) => x.name).slice(0, EXCHANGES_MAX);
      // exchange by exchange: all bindings of the virtual host would be one more for every queue
      const bound = new Map();
      const errors = await each(named, async (x) => {
        bound.set(x, await get(`${path('exchanges', v, x.name)}/bindings/source`));
      });
      if (errors.length) throw errors[0].error;
      data = { exchanges: named, bindings: named.flatMap((x) => bound.get(x)), queues: queues.items,
        unseen: queues.filtered_count - queues.items.length };
      draw();
    } catch (error) {
      show(stage, problem(error));
    }
  }

  function draw() {
    if (!data) return;
    const v = vhost.value, words = filter.value.toLowerCase();
    const nodes = new Map(), edges = [];
    for (const x of data.exchanges) if (x.name)
      nodes.set(`x ${x.name}`, { id: `x ${x.name}`, kind: 'exchange', name: x.name,
        note: x.type.replace(/^x-/, ''), href: exchangeLink(v, x.name) });
    const queueNode = (name, messages) => nodes.set(`q ${name}`,
      { id: `q ${name}`, kind: 'queue', name, note: messages ? short(messages) : null,
        href: link('queues', v, name) });
    for (const b of data.bindings) if (b.destination_type === 'queue') queueNode(b.destination);
    for (const q of data.queues) queueNode(q.name, q.messages);
    const edge = (from, to, label, kind) => {
      if (nodes.has(from) && nodes.has(to)) edges.push({ from, to, label, kind });
    };
    for (const b of data.bindings) edge(`x ${b.source}`,
      `${b.destination_type === 'queue' ? 'q' : 'x'} ${b.destination}`, bindingLabel(b));
    for (const x of data.exchanges) if (x.arguments?.['alternate-exchange'])
      edge(`x ${x.name}`, `x ${x.arguments['alternate-exchange']}`, 'alternate', 'alternate');
    for (const q of data.queues) {
      const of = (key) => q.arguments?.[`x-${key}`] ?? q.effective_policy_definition?.[key];
      const dlx = of('dead-letter-exchange');
      if (dlx === '') edge(`q ${q.name}`, `q ${of('dead-letter-routing-key') ?? q.name}`, 'dead letters',
        'dead');
      else if (dlx !== undefined) edge(`q ${q.name}`, `x ${dlx}`, 'dead letters', 'dead');
    }
    const kept = new Set();
    if (words) {
      for (const n of nodes.values()) if (n.name.toLowerCase().includes(words)) kept.add(n.id);
      for (const e of edges) if (nodes.get(e.from).name.toLowerCase().includes(words)
          || nodes.get(e.to).name.toLowerCase().includes(words)) {
        kept.add(e.from);
        kept.add(e.to);
      }
    } else for (const e of edges) {
      kept.add(e.from);
      kept.add(e.to);
    }
    if (idle.box.checked && !words) for (const id of nodes.keys()) kept.add(id);
    let shown = [...nodes.values()].filter((n) => kept.has(n.id));
    const over = shown.length - NODES_MAX;
    if (over > 0) shown = shown.slice(0, NODES_MAX);
    const there = new Set(shown.map((n) => n.id));
    const lines = edges.filter((e) => there.has(e.from) && there.has(e.to));
    told.textContent = `${plural(shown.length, 'node')}, ${plural(lines.length, 'way')}`;
    ctx.keep({ vhost: v, filter: filter.value || null, all: idle.box.checked ? '1' : null });
    show(stage, over > 0 && note('warning', `${count(over)} more are not drawn. Filter to see them.`),
      data.unseen > 0
        && note(null,
        `Messages and dead-letter ways are drawn of the ${count(data.queues.length)} queues with the most messages.`),
      shown.length ? canvas({ nodes: shown, edges: lines, label: `Topology of ${v}` })
        : empty(words ? 'Nothing with this in its name.'
          : 'Nothing is bound here but to the default exchange.'));
  }
  vhost.addEventListener('change', load);
  idle.addEventListener('change', draw);
  let timer = 0;
  filter.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(load, 200);
  });
  ctx.onclose(() => clearTimeout(timer));
  load();
  const legend = h('ul.legend', h('li', 'Round: exchange'), h('li', 'Square: queue with its messages'),
    h('li', 'Dashed: dead letters'), h('li', 'Dotted: alternate exchange'));
  return h('div.page.full', ctx.head('Topology', button('Draw anew', load)),
    h('div.row.browse', field('Virtual host', vhost), field('Filter', filter), idle, told), stage, legend);
}
