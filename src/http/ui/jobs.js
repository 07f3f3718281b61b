// Moving and redriving: the question, and the progress of the work.
import { h, show, text, button, plainTable, tag } from './dom.js';
import { get, post, del, has, path, query } from './api.js';
import { count, plural } from './format.js';
import { field, input, select } from './fields.js';
import { open, attempt, toast, uid } from './dialog.js';

const POLL_MS = 400;
const verbs = { move: ['Move', 'Moving', 'Moved'], redrive: ['Redrive', 'Redriving', 'Redriven'] };

/** A list of the jobs of a queue with their progress; `watch(id)` follows one more. */
export function jobList(queue, ended) {
  const element = h('div.stack.close', { 'aria-live': 'polite' });
  const followed = new Set();
  let closed = false;
  async function follow(job) {
    if (followed.has(job.id)) return;
    followed.add(job.id);
    const words = h('span.grow'), bar = h('div'),
      stop = button('Stop', () => attempt(() => del(`/api/jobs/${job.id}`)), { kind: 'plain' });
    const box = h('div.card.stack.close', h('div.row', words, stop), h('div.progress', bar));
    element.append(box);
    let wait = POLL_MS;
    while (!closed) {
      const [, doing, done] = verbs[job.kind];
      bar.style.setProperty('--done', `${job.total ? (100 * job.moved) / job.total : 100}%`);
      text(words,
        job.state === 'running'
          ? `${doing} messages of ${job.queue}: ${count(job.moved)} of ${count(job.total)}`
          : `${done} ${plural(job.moved, 'message')} of ${job.queue}${job.state === 'done' ? '' : `; ${job.state} with ${count(job.left)} left${job.reason ? `: ${job.reason}` : ''}`}`);
      if (job.state !== 'running') {
        show(stop, 'Dismiss');
        stop.onclick = () => box.remove();
        ended();
        return;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, wait);
      });
      wait = Math.min(2000, wait * 1.2);
      try {
        job = await get(`/api/jobs/${job.id}`);
      } catch (e) {
        text(words, e.message);
        return;
      }
    }
  }
  has('/api/jobs').then((known) => (known ? get('/api/jobs') : [])).then((jobs) => {
    for (const job of jobs) if (job.queue === queue.name && job.vhost === queue.vhost
        && job.state === 'running') follow(job);
  }, () => {});
  return {
    element,
    watch: (id) => attempt(async () => {
      await follow(await get(`/api/jobs/${id}`));
    }),
    close() {
      closed = true;
    }
  };
}

function targetField(vhost) {
  const list = h('datalist', { id: uid('queues') });
  const box = input({ list: list.id, autofocus: true });
  let timer = 0;
  box.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const found = await get(query(path('queues', vhost),
          { page: 1, page_size: 12, name: box.value, columns: 'name' })).catch(() => ({ items: [] }));
      show(list, found.items.map((q) => h('option', { value: q.name })));
    }, 150);
  });
  return { box, list };
}

/** Asks where messages should go, and starts it; answers the number of the job. */
export async function ask(kind, queue, { ids, total }) {
  const [verb, doing] = verbs[kind];
  if (!(await has(`/api/queues/{}/{}/${kind}`))) {
    toast(`${doing} messages is not available in this version of Leveret.`, 'error');
    return false;
  }
  const { box: target, list } = targetField(queue.vhost);
  const exchange = input({}), key = input({});
  const which = select([['', 'every state but unacknowledged'], ['ready', 'ready'], ['parked', 'parked'],
      ['delayed', 'delayed']], '');
  const header = input({ placeholder: 'name or name:value' }), words = input({}),
    limit = input({ type: 'number', min: 1, placeholder: 'all' });
  const way = select([['queue', 'a queue'], ['exchange', 'an exchange']], 'queue');
  const toQueue = field('Queue', target), toExchange = field('Exchange', exchange),
    withKey = field('Routing key', key);
  const turn = () => {
    toQueue.hidden = way.value !== 'queue';
    toExchange.hidden = withKey.hidden = way.value === 'queue';
  };
  way.addEventListener('change', turn);
  turn();
  const what = ids ? plural(ids.length, 'message') : 'messages';
  return open({ title: `${verb} ${what} of ${queue.name}`,
      action: ids ? `${verb} ${plural(ids.length, 'message')}` : verb, large: true,
      content: [kind === 'redrive' ? h('p.quiet',
          'Each message goes back to the queue where it died, as its x-death header says.')
          : h('div.form', field('To', way), toQueue, toExchange, withKey, list),
        !ids && h('div.stack.close',
          h('p', `${queue.name} has ${plural(total ?? 0, 'message')}. Those that fit all of this:`),
          h('div.form', field('State', which), field('Header', header), field('Text in the payload', words),
            field('At most', limit))), h('p.quiet',
          'It is done in steps that are whole: a message is in one place or the other, never in both.')],
      submit: async () => {
    const body = ids ? { ids } : { state: which.value || undefined, header: header.value || undefined,
      text: words.value || undefined, limit: limit.value ? Number(limit.value) : undefined };
    if (kind === 'move') Object.assign(body, way.value === 'queue'
        ? { exchange: '', routing_key: target.value }
        : { exchange: exchange.value, routing_key: key.value });
    if (kind === 'move' && way.value === 'queue' && !target.value) throw new Error('Say to which queue.');
    if (kind === 'move' && way.value === 'exchange' && !exchange.value)
      throw new Error('Say to which exchange.');
    return (await post(`${path('queues', queue.vhost, queue.name)}/${kind}`, body)).id;
  } });
}

/** The difference between two tables of settings, for previews. */
export function changes(caption, rows) {
  return plainTable(caption, ['Name', 'Setting', 'Now', 'Then'], rows.flatMap(({ name, before, after }) => {
    const keys = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter(
      (k) => JSON.stringify(before?.[k]) !== JSON.stringify(after?.[k]));
    const say = (v) => v === undefined ? h('span.quiet', 'not set') : typeof v === 'string' ? v
      : JSON.stringify(v);
    return keys.length ? keys.map((k, i) => [i ? '' : name, k, h('span.bad', say(before?.[k])),
        h('span.good', say(after?.[k]))]) : [[name, tag('same settings'), '', '']];
  }));
}
