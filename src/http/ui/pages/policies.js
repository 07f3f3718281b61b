// Policies: what they match now, and an editor that shows which queues would change before it is
// set.
import { h, show, card, button, note, problem, empty } from '../dom.js';
import { get, put, post, del, path, query } from '../api.js';
import { count, plural, value } from '../format.js';
import { link } from '../link.js';
import { table, linkColumn } from '../table.js';
import { field, input, select, table as pairsTable, segments } from '../fields.js';
import { confirm, attempt } from '../dialog.js';
import { POLICY_KEYS } from '../keys.js';
import { changes } from '../jobs.js';

const APPLY = [['queues', 'queues and streams'], ['classic_queues', 'classic queues'],
  ['quorum_queues', 'quorum queues'], ['streams', 'streams'], ['exchanges', 'exchanges'],
  ['all', 'queues and exchanges']];
const KINDS = { policies: 'Policies', 'operator-policies': 'Operator policies' };
const words = (definition) => Object.entries(definition).map(([k, v]) => `${k} = ${value(v)}`).join(', ');

/** How many queues a pattern fits: the server counts names. */
const matched = (p) => get(query(path('queues', p.vhost),
    { page: 1, page_size: 1, name: p.pattern, use_regex: true, columns: 'name' }))
  .then((a) => a.filtered_count);

const columns = (kind, counts) => [
  linkColumn('Name',
    (p) => `${link('policies', p.vhost, p.name)}${kind === 'policies' ? '' : '?operator=1'}`,
    { width: 'minmax(160px, 1fr)' }),
  { id: 'vhost', title: 'Virtual host', width: '120px', sort: 'vhost', render: (p) => p.vhost },
  { id: 'pattern', title: 'Pattern', width: 'minmax(120px, 1fr)', sort: 'pattern', narrow: true,
    memo: (p) => p.pattern, render: (p) => h('code', { title: p.pattern }, p.pattern) },
  { id: 'applies', title: 'Applies to', width: '152px',
    render: (p) => Object.fromEntries(APPLY)[p['apply-to']] ?? p['apply-to'] },
  { id: 'priority', title: 'Priority', width: '88px', num: true, sort: 'priority',
    render: (p) => String(p.priority) },
  { id: 'definition', title: 'Sets', width: 'minmax(200px, 2fr)', render: (p) => words(p.definition) },
  { id: 'matches', title: 'Names that fit', width: '136px', num: true, memo: (p) => String(counts.get(p)),
    render: (p) => counts.has(p) ? h('a', { tabindex: -1,
        href: `#/queues?filter=${encodeURIComponent(`/${p.pattern}/`)}` }, plural(counts.get(p), 'queue'))
      : h('span.quiet', '\u2026') }
];

async function editor(ctx) {
  const [vhostGiven, nameGiven] = ctx.params;
  const operator = ctx.query.has('operator');
  const kind = operator ? 'operator-policies' : 'policies';
  const fresh = nameGiven === undefined || nameGiven === '';
  const old = fresh ? { pattern: '', 'apply-to': 'queues', priority: 0, definition: {} }
    : await get(path(kind, vhostGiven, nameGiven));
  const vhosts = fresh ? (await get('/api/vhosts?columns=name')).map((v) => v.name) : [vhostGiven];
  const vhost = select(vhosts, ctx.vhost || vhostGiven || vhosts[0]),
    name = input({ value: fresh ? '' : nameGiven, readonly: !fresh });
  const pattern = input({ value: old.pattern, placeholder: '^orders\\.' }),
    applies = select(APPLY, old['apply-to']), priority = input({ type: 'number', value: old.priority });
  const definition = pairsTable({ label: 'Settings', known: POLICY_KEYS, value: old.definition,
      addLabel: 'Add setting', onchange: () => soon() });
  const preview = h('div.stack.close', { 'aria-live': 'polite' }), errors = h('div');
  let timer = 0, turn = 0;
  const body = () => ({ pattern: pattern.value, 'apply-to': applies.value,
      priority: Number(priority.value) || 0, definition: definition.values() });
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, 300);
  }
  async function look() {
    const mine = ++turn;
    let wish;
    try {
      wish = body();
    } catch (e) {
      show(preview, note('warning', e.message));
      return;
    }
    if (!wish.pattern || !Object.keys(wish.definition).length) {
      show(preview, h('p.quiet', 'Give a pattern and a setting to see what would change.'));
      return;
    }
    try {
      if (operator) {
        const n = await matched({ vhost: vhost.value, pattern: wish.pattern });
        if (mine === turn) show(preview, note(null,
            `The pattern fits the names of ${plural(n, 'queue')}. The stricter of policy and operator policy counts.`));
        return;
      }
      const result = await post(`${path('policies', vhost.value, name.value || 'new')}/preview`, wish);
      if (mine !== turn) return;
      const rows = [...result.queues, ...(result.exchanges ?? [])];
      show(preview, result.total ? [note('warning',
            `${plural(result.total, 'queue or exchange', 'queues and exchanges')} would change.`),
          changes('What would change', rows), result.total > rows.length
            && h('p.quiet', `and ${count(result.total - rows.length)} more`)]
          : note('success', 'Nothing that is there now would change.'));
    } catch (e) {
      if (mine === turn) show(preview, problem(e));
    }
  }
  for (const box of [pattern, applies, priority, vhost]) box.addEventListener('input', soon);
  ctx.onclose(() => clearTimeout(timer));
  soon();
  const back = `#/policies${operator ? '?operator=1' : ''}`;
  return h('div.page', ctx.head(fresh ? `New ${operator ? 'operator ' : ''}policy`
        : [nameGiven, h('span.crumb', ` in ${vhostGiven}`)], !fresh && button('Delete', async () => {
    if ((await confirm({ title: `Delete policy ${nameGiven}?`,
            text: 'What it sets is no longer in effect in the queues that it matches.', action: 'Delete' }))
        && (await attempt(() => del(path(kind, vhostGiven, nameGiven)), `${nameGiven} is deleted`)))
      ctx.go(back);
  }, { kind: 'danger', image: 'trash' })),
  h('div.cards', h('form.card.stack', { onsubmit: async (event) => {
    event.preventDefault();
    try {
      if (!name.value) throw new Error('A policy needs a name.');
      await put(path(kind, vhost.value, name.value), body());
      ctx.go(back);
    } catch (e) {
      show(errors, problem(e));
    }
  } }, h('h2', 'Policy'),
  h('div.form', field('Name', name), field('Virtual host', vhost),
  field('Pattern', pattern, { hint: 'an expression for names; ^ and $ hold it to their ends' }),
  field('Applies to', applies), field('Priority', priority,
    { hint: 'the highest that matches is in effect' }), definition), errors,
  h('div.row', h('button.btn.primary', { type: 'submit' }, fresh ? 'Set policy' : 'Save'),
  h('a.btn', { href: back }, 'Cancel'))), card('What would change', preview)));
}

export default function policies(ctx) {
  if (ctx.params.length) return editor(ctx);
  const operator = ctx.query.has('operator');
  const kind = operator ? 'operator-policies' : 'policies';
  const counts = new Map();
  const list = table({
    label: KINDS[kind],
    thing: 'policy',
    whole: 'policy',
    plural: 'policies',
    columns: columns(kind, counts),
    href: (p) => `${link('policies', p.vhost, p.name)}${operator ? '?operator=1' : ''}`,
    keyOf: (p) => `${p.vhost} ${p.name}`,
    filter: ctx.query.get('filter') ?? '',
    actions: [{ label: 'Delete', image: 'trash', kind: 'danger', run: async (some) => {
      if (!(await confirm({ title: some.length === 1 ? `Delete policy ${some[0].name}?`
                : `Delete ${some.length} policies?`,
              text: 'What they set is no longer in effect in the queues that they match.',
              action: 'Delete' }))) return false;
      for (const p of some) await attempt(() => del(path(kind, p.vhost, p.name)));
      ctx.again();
      return true;
    } }],
    whenEmpty: () => empty(
      operator ? 'No operator policies. They limit what policies and declarations may ask for.'
        : 'No policies yet. A policy sets limits, dead-lettering and the like by the names of queues.',
      h('a.btn.primary', { href: fresh }, 'New policy'))
  });
  const fresh = `${link('policies', ctx.vhost || '/', '')}${operator ? '?operator=1' : ''}`;
  ctx.live(ctx.vhost ? path(kind, ctx.vhost) : `/api/${kind}`, async (rows) => {
    list.rows = rows;
    for (const p of rows.slice(0, 100)) {
      await matched(p).then((n) => counts.set(p, n), () => {});
    }
    list.rows = rows.map((p) => {
      const copy = { ...p };
      if (counts.has(p)) counts.set(copy, counts.get(p));
      return copy;
    });
  });
  return h('div.page.full', ctx.head(KINDS[kind],
      segments('Kind', [['policies', 'Policies'], ['operator-policies', 'Operator policies']], kind,
        (k) => ctx.go(k === 'policies' ? '#/policies' : '#/policies?operator=1')),
      h('a.btn.primary', { href: fresh }, operator ? 'New operator policy' : 'New policy')),
    operator && note(null,
      'An operator policy is laid over policies and declarations: of both limits, the stricter counts.'),
    list);
}
