// The last thousand lines of the broker's log, filtered and followed.
import { h, note, tag, empty, missing } from '../dom.js';
import { has } from '../api.js';
import { clock } from '../format.js';
import { table } from '../table.js';
import { check } from '../fields.js';

const LEVELS = { error: ['bad', 'warning'], warn: ['warn', 'warning'], info: ['', null], debug: ['', null],
  trace: ['', null] };
const FIELDS = { level: { exact: true, read: (l) => l.level.toLowerCase(), example: 'level:warn',
    hint: 'error, warn, info or debug' }, from: { read: (l) => l.target, example: 'from:audit',
    hint: 'the part of the broker' }, text: { read: (l) => l.text, example: 'text:refused',
    hint: 'in the line' } };

export default async function log(ctx) {
  if (!(await has('/api/log')))
    return h('div.page', ctx.head('Log'), missing('The log in the browser is'));
  const follow = check('Follow', true);
  const list = table({
    label: 'Log',
    thing: 'line',
    fields: FIELDS,
    filter: ctx.query.get('filter') ?? '',
    onstate: ({ filter }) => ctx.keep({ filter }),
    keyOf: (l) => l.key,
    tools: [follow],
    columns: [
      { id: 'at', title: 'At', width: '176px', narrow: true, render: (l) => clock(l.at) },
      { id: 'level', title: 'Level', width: '96px', narrow: true, memo: (l) => l.level, render: (l) => {
        const [kind, image] = LEVELS[l.level.toLowerCase()] ?? [''];
        return tag(l.level.toLowerCase(), kind, image);
      }
      },
      { id: 'target', title: 'From', width: '176px',
        render: (l) => h('span.quiet', { title: l.target }, l.target) },
      { id: 'text', title: 'Text', width: 'minmax(560px, 1fr)', narrow: true, render: (l) => l.text }
    ],
    whenEmpty: () => empty('Nothing has been logged yet.'),
    onpick: (l) => {
      if (l) whole.replaceChildren(note(l.level === 'error' ? 'error' : l.level === 'warn' ? 'warning'
            : null, h('div.quiet', `${clock(l.at)} ${l.target}`), h('div.wrap', l.text)));
    }
  });
  const whole = h('div');
  ctx.live('/api/log?lines=1000', ({ lines }) => {
    list.rows = lines.map((l, i) => ({ ...l, name: `${l.text} ${l.target}`, key: `${l.at} ${i}` }));
    if (follow.box.checked) requestAnimationFrame(() => requestAnimationFrame(() => list.toEnd()));
  });
  return h('div.page.full', ctx.head('Log'), list, whole);
}
