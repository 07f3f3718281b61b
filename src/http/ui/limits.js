// Limits of virtual hosts and users.
import { h, show, cardWith, button, iconButton } from './dom.js';
import { get, put, del, path } from './api.js';
import { count } from './format.js';
import { field, input, select } from './fields.js';
import { open, attempt } from './dialog.js';

const NAMES = { vhost: [['max-connections', 'connections'], ['max-queues', 'queues']],
  user: [['max-connections', 'connections'], ['max-channels', 'channels']] };

/** A card with the limits of a virtual host or user, and the means to change them. */
export async function limitsCard(kind, name) {
  const list = h('div');
  async function load() {
    const found = await get(path(`${kind}-limits`, name)).catch(() => []);
    const value = found[0]?.value ?? {};
    show(list, Object.keys(value).length ? h('ul.sentences',
        Object.entries(value).map(([limit, n]) => h('li',
            h('span.grow', n < 0 ? `Any number of ${limit.replace('max-', '')}.`
              : `At most ${count(n)} ${limit.replace('max-', '')}.`),
            iconButton(`Remove ${limit}`, 'close', async () => {
      if (await attempt(() => del(path(`${kind}-limits`, name, limit)))) load();
    })))) : h('p.quiet', 'None.'));
  }
  const change = () => {
    const which = select(NAMES[kind], NAMES[kind][0][0]),
      n = input({ type: 'number', min: -1, value: 100, autofocus: true });
    open({ title: `A limit of ${name}`, action: 'Set',
        content: h('div.form', field('At most', n), field('Of', which)), submit: async () => {
      await put(path(`${kind}-limits`, name, which.value), { value: Number(n.value) });
      load();
    } });
  };
  await load();
  return cardWith('Limits', button('Set', change, { image: 'plus' }), list);
}
