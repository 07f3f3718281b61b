// Queues and their messages: declare, publish, browse, redrive, delete; lists of any length.
import assert from 'node:assert/strict';
import { api, login, needs, slow, user, visit, until } from './browser.mjs';

const V = '%2F';
const MESSAGES = '/api/queues/{}/{}/messages';
const MANY = 1000;
/** The longest that a page may be busy, and until something is seen of it. */
const FRAME_MS = slow ? 2000 : 50;
const PAINT_MS = slow ? 5000 : 200;

async function inside(broker, work, options) {
  const view = await visit(broker, options);
  await login(broker, view);
  await view.page.waitForSelector('.shell');
  await work(view, view.page);
  assert.deepEqual(view.faults(), []);
  await view.context.close();
}
const fresh = async (broker, name, args = {}) => {
  await api(broker.url, 'DELETE', `/api/queues/${V}/${encodeURIComponent(name)}`);
  await api(broker.url, 'PUT', `/api/queues/${V}/${encodeURIComponent(name)}`,
    { durable: true, arguments: args });
};
const send = (broker, queue, payload, properties = {}) => api(broker.url, 'POST',
  `/api/exchanges/${V}/amq.default/publish`, { routing_key: queue, payload, payload_encoding: 'string',
    properties });
const length = (broker, queue) => api(broker.url, 'GET', `/api/queues/${V}/${queue}/messages?count=500`)
  .then((a) => a.messages.length);
const counted = (page) => page.textContent('.table-tools .count');

/** Messages that died in `work`, as a broker makes them. */
async function deadLetters(broker, work, dead, n) {
  await fresh(broker, work, {});
  await fresh(broker, dead, {});
  if (broker.mock) {
    const death = { count: 3, reason: 'rejected', queue: work, time: Math.floor(Date.now() / 1000) - 60,
      exchange: 'orders', 'routing-keys': ['new'] };
    for (let i = 0; i < n; i++) await send(broker, dead, `{"n":${i}}`, { headers: { 'x-death': [death] } });
    return;
  }
  await api(broker.url, 'PUT', `/api/policies/${V}/ui-expire`,
    { pattern: `^${work}$`, 'apply-to': 'queues',
      definition: { 'message-ttl': 1, 'dead-letter-exchange': '', 'dead-letter-routing-key': dead } });
  for (let i = 0; i < n; i++) await send(broker, work, `{"n":${i}}`);
  await until('dead letters', async () => (await length(broker, dead)) === n);
  await api(broker.url, 'DELETE', `/api/policies/${V}/ui-expire`);
}

export const QUEUES = {
  'a queue is declared, and what is wrong is said in the dialog': (broker) => inside(broker,
    async (view, page) => {
    await api(broker.url, 'DELETE', `/api/queues/${V}/ui.declared`);
    view.expect(400);
    await view.go('queues');
    await page.click('text=Declare a queue');
    await page.click('dialog button[type=submit]');
    assert.match(await page.textContent('dialog .note.error'), /needs a name/);
    await page.fill('dialog input', 'ui.declared');
    await page.click('text=Add argument');
    await page.fill('[aria-label="Arguments: name"]', 'x-max-length');
    await page.fill('[aria-label="Arguments: value"]', '-1');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('dialog .note.error:has-text("x-max-length")');
    await page.fill('[aria-label="Arguments: value"]', '5000');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('h1:has-text("ui.declared")');
    await page.waitForSelector('td:has-text("5000")');
    assert.equal((await api(broker.url, 'GET', `/api/queues/${V}/ui.declared`)).arguments['x-max-length'],
      5000);
  }),
  'a message is published, and looked at without a change': needs(MESSAGES, (broker) => inside(broker,
    async (view, page) => {
    await fresh(broker, 'ui.published');
    await view.go(`queues/${V}/ui.published`);
    await page.click('button:has-text("Publish")');
    const payload = '{"name":"<img src=x onerror=alert(1)>","deep":{"list":[1,2,{"three":null}]}}';
    await page.fill('dialog textarea', payload);
    await page.click('text=Add header');
    await page.fill('[aria-label="Headers: name"]', 'tenant');
    await page.fill('[aria-label="Headers: value"]', '<b>t-1</b>');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('.toasts:has-text("published")');
    await page.click('.tabs >> text=Messages');
    await page.waitForSelector('.note:has-text("Looking changes nothing")');
    await page.waitForSelector('.json .str:has-text("onerror")');
    assert.equal(await page.locator('.detail img, .detail b').count(), 0);
    assert.match(await page.textContent('.detail'), /tenant\s*<b>t-1<\/b>/);
    await page.click('.segments >> text=Text');
    assert.equal(await page.textContent('.payload'), payload);
    await page.click('.segments >> text=Hex');
    assert.match(await page.textContent('.payload'), /^00000000 {2}7b 22 6e 61 6d 65/);
    const saved = page.waitForEvent('download');
    await page.click('text=Save');
    assert.match((await saved).suggestedFilename(), /^message-.*\.json$/);
    const after = (await api(broker.url, 'GET', `/api/queues/${V}/ui.published/messages`)).messages;
    assert.deepEqual(after.map((m) => [m.state, m.redelivered, m.delivery_count]), [['ready', false, 0]]);
    await page.click('.detail >> text=Delete');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=The queue has no messages now');
    assert.equal(await length(broker, 'ui.published'), 0);
  })),
  'messages are found by header and text, from the tail and in pages': needs(MESSAGES, (broker) => inside(broker,
    async (view, page) => {
    await fresh(broker, 'ui.found');
    for (let i = 0; i < 120; i++) await send(broker, 'ui.found', `{"order":${i}}`,
      { headers: { kind: i % 2 ? 'odd' : 'even' } });
    await view.go(`queues/${V}/ui.found/messages`);
    await page.waitForSelector('text=50 messages');
    await page.click('text=Show more');
    await page.waitForSelector('text=100 messages');
    await page.selectOption('.browse select >> nth=0', 'tail');
    await page.waitForSelector('.detail .num, .detail .lit:has-text("119")');
    await page.click('text=Show more');
    await page.waitForSelector('text=100 messages');
    await page.fill('.browse input[placeholder^="name or"]', 'kind:odd');
    await page.fill('.browse input[type=search]', '"order":11');
    await page.click('text=Look');
    await page.waitForSelector('text=6 messages');
    assert.match(page.url(), /from=tail&header=kind%3Aodd&text=/);
  })),
  'dead letters tell their history and go back': needs(MESSAGES, (broker) => inside(broker, async (view, page) => {
    await deadLetters(broker, 'ui.work', 'ui.dead', 12);
    await view.go(`queues/${V}/ui.dead/messages`);
    await page.waitForSelector('.timeline');
    assert.match(await page.textContent('.timeline'),
      broker.mock ? /Rejected in ui\.work, third time, the first at \d\d:\d\d:\d\d/
        : /Expired in ui\.work at/);
    await page.click('.detail >> text=Redrive');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=Redriven 1 message of ui.dead');
    assert.equal(await length(broker, 'ui.dead'), 11);
    await page.click('.page-head button:has-text("Redrive")');
    assert.match(await page.textContent('dialog'), /back to the queue where it died/);
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=Redriven 11 messages of ui.dead');
    assert.deepEqual([await length(broker, 'ui.dead'), await length(broker, 'ui.work')], [0, 12]);
  })),
  'messages are moved, and one question names their number': needs(MESSAGES, (broker) => inside(broker,
    async (view, page) => {
    await fresh(broker, 'ui.from');
    await fresh(broker, 'ui.to');
    for (let i = 0; i < 20; i++) await send(broker, 'ui.from', `${i}`);
    await view.go(`queues/${V}/ui.from/messages`);
    await page.waitForSelector('.line >> nth=5');
    await page.click('.line >> nth=1 >> input');
    await page.click('.line >> nth=4 >> .cell >> nth=3', { modifiers: ['Shift'] });
    await page.waitForSelector('.selected-bar:has-text("4 selected")');
    await page.click('.selected-bar >> text=Move');
    view.expect(404);
    await page.fill('dialog input >> nth=0', 'ui.nowhere');
    await page.click('dialog button[type=submit]:has-text("Move 4 messages")');
    await page.waitForSelector('dialog .note.error:has-text("ui.nowhere")');
    await page.fill('dialog input >> nth=0', 'ui.to');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=Moved 4 messages of ui.from');
    assert.deepEqual([await length(broker, 'ui.from'), await length(broker, 'ui.to')], [16, 4]);
  })),
  'a queue with messages is deleted only when its name is typed': (broker) => inside(broker,
    async (view, page) => {
    await fresh(broker, 'ui.deleted');
    for (let i = 0; i < 3; i++) await send(broker, 'ui.deleted', 'x');
    await view.go(`queues/${V}/ui.deleted`);
    await page.waitForSelector('.figures dd:has-text("3")');
    await page.click('.page-head button:has-text("Delete")');
    assert.match(await page.textContent('dialog h2'), /Delete ui\.deleted with 3 messages\?/);
    assert.ok(await page.isDisabled('dialog button[type=submit]'));
    await page.fill('dialog input', 'ui.delete');
    assert.ok(await page.isDisabled('dialog button[type=submit]'));
    await page.fill('dialog input', 'ui.deleted');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('h1:text-is("Queues")');
    await assert.rejects(api(broker.url, 'GET', `/api/queues/${V}/ui.deleted`), /404/);
  }),
  'a name of markup is text everywhere': (broker) => inside(broker, async (view, page) => {
    const name = '<img src=x onerror=alert(1)> "q" \'r\' &amp; /s';
    await fresh(broker, name);
    await send(broker, name, 'x');
    await view.go(`queues?filter=${encodeURIComponent('onerror')}`);
    await page.click('.line a');
    await page.waitForSelector('h1:has-text("onerror")');
    assert.equal(await page.locator('main img').count(), 0);
    assert.ok((await page.textContent('h1')).startsWith(name));
    await page.click('.page-head button:has-text("Purge")');
    assert.ok((await page.textContent('dialog h2')).includes(name));
    await page.fill('dialog input', name);
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('.toasts:has-text("is purged")');
    assert.equal(await page.locator('.toasts img').count(), 0);
    await api(broker.url, 'DELETE', `/api/queues/${V}/${encodeURIComponent(name)}`);
  }),
  'a thousand queues are filtered as typed, and fifty deleted with one question': (broker) => inside(broker,
    async (view, page) => {
    const names = Array.from({ length: MANY }, (_, i) => `ui.many.${String(i).padStart(4, '0')}`);
    const queues = names.map((name, i) => ({ name, vhost: 'ui-many', durable: true, auto_delete: false,
        arguments: i % 100 ? {} : { 'x-queue-type': 'quorum' } }));
    await api(broker.url, 'DELETE', '/api/vhosts/ui-many');
    await api(broker.url, 'PUT', '/api/vhosts/ui-many', {});
    await api(broker.url, 'PUT', `/api/permissions/ui-many/${user}`,
      { configure: '.*', write: '.*', read: '.*' });
    await api(broker.url, 'POST', '/api/definitions', { queues });
    await api(broker.url, 'POST', '/api/exchanges/ui-many/amq.default/publish',
      { routing_key: names[7], payload: 'x', payload_encoding: 'string', properties: {} });
    await view.go('queues');
    const filter = page.locator('.filter input');
    const shows = (text, words) => filter.fill(text)
      .then(() => until(`${text}: ${words}`, async () => words.test(await counted(page))));
    await shows('ui.many', /^1,000 of [\d,]+ queues$/);
    assert.ok((await page.locator('.line').count()) < 80);
    await shows('/many\\.00[0-4].$/', /^50 of /);
    await shows('ui.many type:quorum', /^10 of /);
    const asked = [];
    page.on('request', (request) => /sort=messages&/.test(request.url()) && asked.push(request.url()));
    await shows('ui.many messages>0', /^1 of /);
    assert.equal(asked.length, 1, 'what comes after the first queue without messages is not asked for');
    await shows('/many\\.0/ type:classic dlx:no', /^990 of /);
    await filter.fill('ui.many messages>x');
    await page.waitForSelector('.note.warning:has-text("is compared with a number")');
    await filter.fill('/(/');
    await page.waitForSelector('.note.warning:has-text("is no expression")');
    await shows('ui.many', /^1,000 of /);
    assert.match(page.url(), /filter=ui\.many/);
    await page.click('.head button:has-text("Ready")');
    await until('the order', async () => (await page.textContent('.line a >> nth=0')) === names[7]);
    await page.click('.head .pick input');
    await page.waitForSelector('.selected-bar:has-text("1,000 selected")');
    await page.click('.head .pick input');
    await shows('/many\\.00[0-4].$/', /^50 of /);
    await page.click('.head .pick input');
    await page.waitForSelector('.selected-bar:has-text("50 selected")');
    await page.click('.selected-bar >> text=Delete');
    assert.match(await page.textContent('dialog h2'), /Delete 50 queues with 1 message\?/);
    await page.fill('dialog input', '1');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('.toasts:has-text("Deleted: 50 queues")');
    await until('no queue', async () => /^0 of/.test(await counted(page)));
    await api(broker.url, 'DELETE', '/api/vhosts/ui-many');
  }),
  'a hundred thousand queues are shown without a freeze': async (broker) => {
    if (!broker.mock) return 'only the made-up broker has that many';
    await fetch(`${broker.url}/mock/queues`, { method: 'POST', body: JSON.stringify({ count: 100000 }) });
    await inside(broker, async (view, page) => {
      await page.addInitScript(() => {
        globalThis.long = [];
        new PerformanceObserver((list) => globalThis.long.push(...list.getEntries().map((e) => e.duration)))
          .observe({ type: 'longtask', buffered: true });
      });
      let best = Infinity, paint = Infinity;
      for (let round = 0; round < 3; round++) {
        await view.go('queues');
        await page.reload();
        await page.waitForSelector('.line a');
        paint = Math.min(paint, await page.evaluate(
            () => performance.getEntriesByName('first-contentful-paint')[0].startTime));
        assert.match(await counted(page), /^100,0\d\d queues$/);
        await page.evaluate(() => {
          globalThis.long.length = 0;
        });
        for (const top of [400, 64000, 1600000, 3200000, 20000, 0]) {
          await page.evaluate((to) => {
            document.querySelector('.grid').scrollTop = to;
          }, top);
          await page.waitForFunction(() => document.querySelectorAll('.line').length > 10
              && [...document.querySelectorAll('.line a')].length > 10);
        }
        await page.click('.head button:has-text("Ready")');
        await page.fill('.filter input', 'tenant-000');
        await until('the filter', async () => /^100 of 100,0/.test(await counted(page)));
        await page.fill('.filter input', '');
        await until('all', async () => /^100,0\d\d queues/.test(await counted(page)));
        best = Math.min(best, Math.max(0, ...(await page.evaluate(() => globalThis.long))));
      }
      assert.ok(best < FRAME_MS, `the longest task took ${best} ms`);
      assert.ok(paint < PAINT_MS, `the first paint took ${paint} ms`);
      assert.ok((await page.locator('.line').count()) < 80);
      await page.fill('.filter input', 'messages>3900');
      await until('the scan', async () => /^\d+ of 100,0\d\d queues/.test(await counted(page)), 30000);
      await page.fill('.filter input', 'dlx:yes');
      await until('the whole scan', async () => /^\d+ of 100,0\d\d queues/.test(await counted(page)),
        60000);
    });
  }
};
