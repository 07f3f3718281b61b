// Every page: it opens, fits a narrow screen, has light and dark, is used by keys, and is accessible.
import assert from 'node:assert/strict';
import { api, axe, has, login, needs, visit, until } from './browser.mjs';

const V = '%2F';
const WIDE = { width: 1280, height: 800 }, NARROW = { width: 360, height: 740 };
const QUEUE = 'ui.page', EXCHANGE = 'ui.exchange', POLICY = 'ui-policy';

/** Every page, with what shows that it is complete. */
const ALL = [['overview', '.legend'], ['queues', '.line a'], ['queue', '.legend', `queues/${V}/${QUEUE}`],
  ['messages', '.line, .missing', `queues/${V}/${QUEUE}/messages`], ['streams', '.grid, .empty'],
  ['exchanges', '.line a'], ['exchange', '.legend', `exchanges/${V}/${EXCHANGE}`],
  ['topology', '.node', `topology?vhost=${V}`], ['connections', '.line a, .empty'],
  ['channels', '.line a, .empty'], ['policies', '.line a'],
  ['policy', '.note.success', `policies/${V}/${POLICY}`], ['users', '.line a'],
  ['user', '.sentences', 'users/guest'], ['vhosts', '.line a'], ['vhost', '.figures', `vhosts/${V}`],
  ['definitions', '.card'], ['cluster', '.legend'], ['log', '.line, .empty, .missing']];

async function furnish({ url }) {
  await api(url, 'PUT', `/api/queues/${V}/${QUEUE}`, { durable: true, arguments: {} });
  await api(url, 'PUT', `/api/exchanges/${V}/${EXCHANGE}`,
    { type: 'topic', durable: true, auto_delete: false, internal: false, arguments: {} });
  await api(url, 'POST', `/api/bindings/${V}/e/${EXCHANGE}/q/${QUEUE}`,
    { routing_key: 'order.#', arguments: {} });
  await api(url, 'PUT', `/api/policies/${V}/${POLICY}`,
    { pattern: '^ui\\.page', 'apply-to': 'queues', priority: 9, definition: { 'max-length': 10000 } });
  await api(url, 'DELETE', `/api/queues/${V}/${QUEUE}/contents`);
  await api(url, 'POST', `/api/exchanges/${V}/${EXCHANGE}/publish`,
    { routing_key: 'order.paid', payload: '{"id":1,"lines":[{"sku":"HARE"}]}', payload_encoding: 'string',
      properties: { content_type: 'application/json', headers: { tenant: 't-1' } } });
}
async function inside(broker, options, work) {
  await furnish(broker);
  const view = await visit(broker, options);
  await login(broker, view);
  await view.page.waitForSelector('.shell');
  await work(view, view.page);
  assert.deepEqual(view.faults(), []);
  await view.context.close();
}

async function eachPage(view, work) {
  for (const [name, ready, hash = name] of ALL) {
    await view.go(hash, '.page');
    await view.page.locator(ready).first().waitFor({ state: 'attached' }).catch((e) => {
      throw new Error(`${name}: ${e.message}`);
    });
    await work(name, hash);
  }
}

async function accessible(page, name) {
  await page.evaluate(axe());
  const { violations } = await page.evaluate(
    () => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  assert.deepEqual(
    serious.map(
      (v) => `${name}: ${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join('; ')}`),
    []);
}

const accessibleIn = (colorScheme) => (broker) => inside(broker, { viewport: WIDE, colorScheme },
  async (view, page) => {
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(/^rgb\((\d+)/.exec(ground)[1] < 60, colorScheme === 'dark');
  await eachPage(view, async (name) => {
    await accessible(page, name);
  });
});

export const PAGES = {
  'every page opens and is accessible in light': accessibleIn('light'),
  'every page opens and is accessible in dark': accessibleIn('dark'),
  'every page fits a narrow screen': (broker) => inside(broker, { viewport: NARROW, hasTouch: true },
    async (view, page) => {
    await eachPage(view, async (name) => {
      const wide = await page.evaluate(() => [document.documentElement.scrollWidth,
          document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth]);
      assert.ok(wide[0] <= NARROW.width && wide[1] <= 0, `${name} is ${wide} wide`);
      await accessible(page, name);
    });
    await page.click('[aria-label="Menu"]');
    await page.click('nav.side >> text=Exchanges');
    await page.waitForSelector('h1:has-text("Exchanges")');
    assert.equal(await page.isVisible('nav.side'), false);
  }),
  'the login and the dialogs are accessible': async (broker) => {
    const view = await visit(broker);
    await view.page.goto(`${broker.url}/`);
    await view.page.waitForSelector('#password');
    await accessible(view.page, 'login');
    await view.context.close();
    await inside(broker, {}, async (inner, page) => {
      for (const [hash, open] of [['queues', 'Declare a queue'], [`queues/${V}/${QUEUE}`, 'Publish'],
          [`queues/${V}/${QUEUE}`, 'Move'], [`queues/${V}/${QUEUE}`, 'Delete'], ['users', 'Add a user'],
          ['vhosts', 'Add a virtual host'], ['exchanges', 'Declare an exchange']]) {
        if (open === 'Move' && !(await has(broker, { needs: '/api/queues/{}/{}/move' }))) continue;
        await inner.go(hash);
        await page.click(`.page-head button:has-text("${open}")`);
        await page.waitForSelector('dialog[open]');
        await accessible(page, open);
        await page.keyboard.press('Escape');
        await page.waitForSelector('dialog', { state: 'detached' });
      }
    });
  },
  'the colours are chosen and remembered': (broker) => inside(broker, { colorScheme: 'light' },
    async (view, page) => {
    await page.click('[aria-label="Dark colours"]');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
    await page.reload();
    await page.waitForSelector('.shell');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
  }),
  'everything is reached with keys alone': (broker) => inside(broker, {}, async (view, page) => {
    await view.go('overview');
    await page.keyboard.press('/');
    await page.keyboard.type('ui.page');
    await page.waitForSelector('.results li[aria-selected=true]');
    await page.keyboard.press('Enter');
    await page.waitForSelector(`h1:has-text("${QUEUE}")`);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'MAIN');
    await view.go('queues?filter=ui.page');
    await page.waitForSelector('.line a');
    await page.focus('.filter input');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press(' ');
    await page.waitForSelector('.selected-bar:has-text("1 selected")');
    const id = await page.getAttribute('.grid', 'aria-activedescendant');
    assert.ok(await page.locator(`[id="${id}"].active`).count());
    await page.keyboard.press('Enter');
    await page.waitForSelector(`h1:has-text("${QUEUE}")`);
    const reach = async (label) => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        if ((await page.evaluate(() => document.activeElement.textContent.trim())) === label) return;
      }
      throw new Error(`Tab does not reach ${label}`);
    };
    await reach('Purge');
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog[open]');
    assert.equal(await page.evaluate(() => document.activeElement.closest('dialog') !== null), true);
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Purge');
    await view.go('topology?vhost=%2F&filter=ui.');
    await page.focus('.canvas');
    const before = await page.getAttribute('.canvas g', 'transform');
    await page.keyboard.press('+');
    assert.notEqual(await page.getAttribute('.canvas g', 'transform'), before);
  }),
  'a policy shows what it would change before it is set': (broker) => inside(broker, {},
    async (view, page) => {
    await api(broker.url, 'DELETE', `/api/policies/${V}/ui-fresh`);
    await view.go('policies');
    await page.click('text=New policy');
    await page.waitForSelector('text=Give a pattern and a setting');
    const form = page.locator('form.card');
    await form.getByLabel('Name', { exact: true }).fill('ui-fresh');
    await form.getByLabel('Virtual host').selectOption('/');
    await form.getByLabel('Pattern').fill('^ui\\.page$');
    await form.getByLabel('Priority').fill('20');
    await page.click('text=Add setting');
    await page.fill('[aria-label="Settings: name"]', 'max-length');
    await page.fill('[aria-label="Settings: value"]', '77');
    await page.waitForSelector('text=1 queue or exchange would change');
    assert.match(await page.textContent('table'), /ui\.page\s*max-length\s*10000\s*77/);
    await page.click('text=Set policy');
    await page.waitForSelector('.line a:has-text("ui-fresh")');
    await view.go(`queues/${V}/${QUEUE}`);
    await page.waitForSelector('tr:has-text("max-length"):has-text("77"):has-text("ui-fresh")');
    await api(broker.url, 'DELETE', `/api/policies/${V}/ui-fresh`);
  }),
  'the tester of an exchange draws where a message goes': (broker) => inside(broker, {},
    async (view, page) => {
    await view.go(`exchanges/${V}/${EXCHANGE}`);
    await page.fill('form .field input', 'order.paid');
    await page.click('form >> text=Test');
    await page.waitForSelector('.note.success:has-text("To 1 queue: ui.page")');
    assert.equal(await page.locator('.canvas .node').count(), 2);
    await page.fill('form .field input', 'user.left');
    await page.click('form >> text=Test');
    await page.waitForSelector('.note.warning:has-text("Nowhere")');
  }),
  'definitions are compared before they are imported': needs('/api/definitions/preview', (broker) => inside(broker, {},
    async (view, page) => {
    await api(broker.url, 'DELETE', `/api/queues/${V}/ui.imported`);
    await view.go('definitions');
    const saved = page.waitForEvent('download');
    await page.click('button:has-text("Download")');
    assert.match((await saved).suggestedFilename(), /^definitions-all-.*\.json$/);
    await page.setInputFiles('input[type=file]',
      { name: 'bad.json', mimeType: 'application/json', buffer: Buffer.from('{') });
    await page.waitForSelector('.note.error:has-text("is not JSON")');
    const document_ = { queues: [{ name: 'ui.imported', vhost: '/', durable: true, auto_delete: false,
          arguments: {} }], policies: [{ vhost: '/', name: POLICY, pattern: '^ui\\.page',
          'apply-to': 'queues', priority: 9, definition: { 'max-length': 5 } }] };
    await page.setInputFiles('input[type=file]',
      { name: 'new.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(document_)) });
    await page.waitForSelector('text=1 addition, 1 change');
    assert.match(await page.textContent('.page'), /queue\s*ui\.imported/);
    await page.click('button:has-text("Import")');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=are imported');
    await page.waitForSelector('text=Nothing: 2 definitions');
    await api(broker.url, 'DELETE', `/api/queues/${V}/ui.imported`);
  })),
  'what the broker does not have is said in words': (broker) => inside(broker, {}, async (view, page) => {
    await page.route('**/api/openapi.json', (route) => route.fulfill({ json: { paths: {} } }));
    const told = (selector, words) => page.waitForSelector(
      `${selector}:has-text("${words} not available in this version of Leveret.")`);
    await view.go('log');
    await told('.missing', 'The log in the browser is');
    await view.go(`queues/${V}/${QUEUE}/messages`);
    await told('.missing', 'Looking into queues is');
    await page.click('.page-head button:has-text("Move")');
    await told('.toasts', 'Moving messages is');
    await page.click('.page-head button:has-text("Redrive")');
    await told('.toasts', 'Redriving messages is');
    await api(broker.url, 'DELETE', `/api/vhosts/ui-imported`);
    await view.go('definitions');
    await page.setInputFiles('input[type=file]', { name: 'new.json', mimeType: 'application/json',
        buffer: Buffer.from('{"vhosts":[{"name":"ui-imported"}]}') });
    await told('.missing', 'Comparing a file with what is there is');
    await page.click('button:has-text("Import")');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('.toasts:has-text("are imported")');
    await api(broker.url, 'DELETE', `/api/vhosts/ui-imported`);
  }),
  'a user is added, gets permissions, and the tester says what it may': (broker) => inside(broker, {},
    async (view, page) => {
    await api(broker.url, 'DELETE', '/api/users/ui-user');
    await view.go('users');
    await page.click('text=Add a user');
    await page.fill('dialog input >> nth=0', 'ui-user');
    await page.fill('dialog input[type=password]', 'secret');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('text=It may nothing');
    await page.click('.card:has-text("What it may") >> text=Add');
    await page.fill('dialog input >> nth=0', '^$');
    await page.fill('dialog input >> nth=1', '^ui\\.ex');
    await page.click('dialog button[type=submit]');
    await page.getByText('it may configure nothing, write to what fits ^ui\\.ex').waitFor();
    const ask = page.locator('form:has-text("It wants to")');
    await ask.getByLabel('Name').fill(EXCHANGE);
    await ask.getByLabel('In virtual host').selectOption('/');
    await page.click('button:has-text("Ask")');
    await page.waitForSelector('.note.success:has-text("Yes.")');
    await ask.getByLabel('It wants to').selectOption('declare');
    await page.click('button:has-text("Ask")');
    await page.waitForSelector('.note.warning:has-text("No.")');
    await api(broker.url, 'DELETE', '/api/users/ui-user');
  }),
  'pages leave nothing behind': (broker) => inside(broker, {}, async (view, page) => {
    const client = await view.context.newCDPSession(page);
    const measure = async () => {
      await client.send('HeapProfiler.collectGarbage');
      const { metrics } = await client.send('Performance.getMetrics');
      return Object.fromEntries(metrics.map((m) => [m.name, m.value]));
    };
    await client.send('Performance.enable');
    const round = () => eachPage(view, () => {});
    await round();
    await view.go('overview');
    const before = await measure();
    for (let i = 0; i < 3; i++) await round();
    await view.go('overview');
    const after = await until('less memory', async () => {
      const now = await measure();
      return now.Nodes < before.Nodes * 1.5 + 500 && now;
    }).catch(measure);
    assert.ok(after.Nodes < before.Nodes * 1.5 + 500, `nodes ${before.Nodes} -> ${after.Nodes}`);
    assert.ok(after.JSEventListeners < before.JSEventListeners * 1.5 + 200,
      `listeners ${before.JSEventListeners} -> ${after.JSEventListeners}`);
    assert.ok(after.JSHeapUsedSize < before.JSHeapUsedSize + 4e6,
      `heap ${before.JSHeapUsedSize} -> ${after.JSHeapUsedSize}`);
  })
};
