// Takes the pictures of docs/web-ui.md: every page, of the made-up broker.
//
//   node tests/ui/pictures.mjs [FOLDER [png]]    docs/pictures and webp unless given
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from './chromium.mjs';
import { login, visit } from './browser.mjs';
import { start } from './mock.mjs';

const [folder = fileURLToPath(new URL('../../docs/pictures/', import.meta.url)), format = 'webp'] = process.argv.slice(2);
const V = '%2F';
const WIDE = { width: 1280, height: 800 }, NARROW = { width: 360, height: 740 };

/** Files, each with its page, what shows that the page is complete, and what is done before. */
const PAGES = [
  ['overview', 'overview', '.legend'],
  ['queues', 'queues', '.line a'],
  ['queue', `queues/${V}/orders`, '.legend'],
  ['messages', `queues/${V}/orders.dead/messages`, '.detail'],
  ['streams', 'streams', '.line a'],
  ['stream-messages', `queues/${V}/audit/messages`, '.detail'],
  ['exchanges', 'exchanges', '.line a'],
  ['exchange', `exchanges/${V}/events`, '.legend', async (page) => {
    await page.fill('form .field input', 'order.paid');
    await page.click('form >> text=Test');
    await page.waitForSelector('.canvas .node');
    await page.locator('.canvas').first().scrollIntoViewIfNeeded();
  }],
  ['topology', `topology?vhost=${V}&filter=orders`, '.node'],
  ['connections', 'connections', '.line a'],
  ['channels', 'channels', '.line a'],
  ['policies', 'policies', '.line a'],
  ['policy', `policies/${V}/long-queues`, '.note.success'],
  ['users', 'users', '.line a'],
  ['user', 'users/app', '.sentences'],
  ['vhosts', 'vhosts', '.line a'],
  ['vhost', 'vhosts/billing', '.figures'],
  ['definitions', 'definitions', '.card', async (page) => {
    const document = { queues: [{ name: 'refunds', vhost: '/', durable: true, auto_delete: false, arguments: {} }],
      policies: [{ vhost: '/', name: 'long-queues', pattern: '^emails', 'apply-to': 'queues', priority: 1,
        definition: { 'max-length': 5000 } }] };
    await page.setInputFiles('input[type=file]',
      { name: 'new.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(document)) });
    await page.waitForSelector('text=1 addition, 1 change');
  }],
  ['cluster', 'cluster', '.legend'],
  ['log', 'log', '.line']
];
const DARK = ['overview', 'queue', 'messages'];
const ON_A_PHONE = ['queues', 'queue'];

async function take(page, name) {
  if (format === 'png') {
    await page.screenshot({ path: join(folder, `${name}.png`) });
    return;
  }
  const client = await page.context().newCDPSession(page);
  const { data } = await client.send('Page.captureScreenshot', { format, quality: 80 });
  writeFileSync(join(folder, `${name}.${format}`), Buffer.from(data, 'base64'));
}

async function all(broker, options, names, suffix) {
  const view = await visit(broker, options);
  await login(broker, view);
  await view.page.waitForSelector('.shell');
  for (const [name, hash, ready, work] of PAGES) {
    if (!names.includes(name)) continue;
    await view.go(hash);
    await view.page.locator(ready).first().waitFor();
    await work?.(view.page);
    await view.page.mouse.move(0, 0);
    // what comes by the stream of events is drawn with the next frames
    await view.page.waitForTimeout(700);
    await take(view.page, name + suffix);
  }
  await view.context.close();
}

mkdirSync(folder, { recursive: true });
const [browser, mock] = [await launch(), await start({ queues: 40, markup: false })];
const broker = { browser, url: mock.url };
const first = await visit(broker, { viewport: WIDE, colorScheme: 'light' });
await first.page.goto(`${mock.url}/`);
await first.page.waitForSelector('#password');
await take(first.page, 'login');
await first.context.close();
await all(broker, { viewport: WIDE, colorScheme: 'light' }, PAGES.map(([name]) => name), '');
await all(broker, { viewport: WIDE, colorScheme: 'dark' }, DARK, '-dark');
await all(broker, { viewport: NARROW, colorScheme: 'light', hasTouch: true }, ON_A_PHONE, '-narrow');
await browser.close();
await mock.close();
