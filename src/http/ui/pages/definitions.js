// Definitions: downloaded as a file, and uploaded after the difference was seen.
import { h, show, card, button, missing, note, problem, save, plainTable } from '../dom.js';
import { get, has, post, path } from '../api.js';
import { plural } from '../format.js';
import { field, select } from '../fields.js';
import { attempt, confirm } from '../dialog.js';
import { changes } from '../jobs.js';

const ROWS_MAX = 500;
const FILE_MAX = 64 << 20;

export default async function definitions(ctx) {
  const vhosts = (await get('/api/vhosts?columns=name')).map((v) => v.name);
  const scope = select([['', 'the whole broker'], ...vhosts.map((v) => [v, `virtual host ${v}`])],
    ctx.vhost);
  const where = () => (scope.value ? path('definitions', scope.value) : '/api/definitions');
  const file = h('input', { type: 'file', accept: '.json,application/json' });
  const result = h('div.stack', { 'aria-live': 'polite' });

  const download = () => attempt(async () => {
    const content = await get(where());
    const name = (scope.value || 'all').replace(/[^\w.-]/g, '_');
    save(`definitions-${name}-${new Date().toISOString().slice(0, 10)}.json`,
      JSON.stringify(content, null, 2), 'application/json');
  });

  async function compare() {
    show(result);
    const chosen = file.files[0];
    if (!chosen) return;
    if (chosen.size > FILE_MAX) {
      show(result,
        note('error', 'This file is greater than 64 MiB. Import it with leveret ctl import_definitions.'));
      return;
    }
    let parsed;
    try {
      parsed = JSON.parse(await chosen.text());
    } catch (e) {
      show(result, note('error', `${chosen.name} is not JSON: ${e.message}`));
      return;
    }
    const offer = (words, danger, then) => h('div', button('Import', async () => {
      if (!(await confirm({ title: `Import ${chosen.name}?`, text: words, action: 'Import', danger }))) return;
      if (await attempt(() => post(where(), parsed), 'The definitions are imported')) {
        dispatchEvent(new Event('vhosts'));
        then();
      }
    }, { kind: 'primary', image: 'upload' }));
    const whole = scope.value ? scoped(parsed, scope.value) : parsed;
    try {
      if (!(await has('/api/definitions/preview'))) {
        show(result, missing('Comparing a file with what is there is'),
          offer('What is here under the same names is replaced.', true, () => show(result)));
        return;
      }
      const { add, change, same, problems, kept, skipped, warnings } = await post('/api/definitions/preview', whole);
      const nothing = !add.length && !change.length;
      show(result, h('h2', `What ${chosen.name} would do`), problems.map((p) => note('error', p)),
        kept.map((s) => note('warning', `Kept: ${s}`)), skipped.map((s) => note('warning', `Skipped: ${s}`)),
        warnings.map((s) => note('warning', s)),
        note(nothing ? 'success' : null,
          nothing ? `Nothing: ${plural(same, 'definition')} of it ${same === 1 ? 'is' : 'are'} here already.`
            : `${plural(add.length, 'addition')}, ${plural(change.length, 'change')}; ${plural(same, 'definition')} the same. Nothing is deleted by an import.`),
        change.length ? card('Changes', changes('Changes',
            change.slice(0, ROWS_MAX).map((c) => ({ ...c,
                name: `${c.kind} ${c.name}${c.vhost ? ` in ${c.vhost}` : ''}` })))) : null,
        add.length ? card('Additions', plainTable('Additions', ['Kind', 'Name', 'Virtual host'],
            add.slice(0, ROWS_MAX).map((a) => [a.kind, a.name, a.vhost ?? ''])),
          add.length > ROWS_MAX && h('p.quiet', `and ${add.length - ROWS_MAX} more`)) : null,
        !nothing && !problems.length && offer(
          `${plural(add.length, 'addition')} and ${plural(change.length, 'change')} are made.`,
          change.length > 0, compare));
    } catch (error) {
      show(result, problem(error));
    }
  }
  file.addEventListener('change', compare);
  scope.addEventListener('change', compare);

  return h('div.page', ctx.head('Definitions'),
    note(null, 'Definitions are all but the messages. Files of RabbitMQ are read too.'),
    h('div.row', field('Of', scope)), h('div.cards',
      h('section.card.stack', h('h2', 'Download'),
        h('p.quiet', 'The file has hashes of passwords; keep it as such.'),
        h('div', button('Download', download, { image: 'download', kind: 'primary' }))),
      h('section.card.stack', h('h2', 'Upload'),
        h('p.quiet', 'The difference is shown first; nothing changes before you say so.'),
        field('File', file))), result);
}

/** A document of one virtual host as one of the whole broker, to be compared. */
function scoped(document_, vhost) {
  const at = (list) => list?.map((entry) => ({ vhost, ...entry }));
  return { ...document_, queues: at(document_.queues), exchanges: at(document_.exchanges),
    bindings: at(document_.bindings), policies: at(document_.policies) };
}
