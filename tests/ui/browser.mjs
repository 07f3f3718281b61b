// A Chromium with a page that is logged in, and what must hold of every page: no error in the
// console, no request to another host.
//
// LEVERET_UI_URL       a broker's HTTP address; without it a made-up one is started
// LEVERET_UI_USER, LEVERET_UI_PASSWORD  guest and guest unless given
// LEVERET_UI_SLOW      a machine that does much else meanwhile, or a debug build: nothing is late
import { launch, require } from './chromium.mjs';
import { start } from './mock.mjs';

export const user = process.env.LEVERET_UI_USER ?? 'guest';
export const password = process.env.LEVERET_UI_PASSWORD ?? 'guest';
export const slow = Boolean(process.env.LEVERET_UI_SLOW);
/** How long anything may take that is waited for. */
const PATIENCE_MS = slow ? 60000 : 15000;

/** Brokers to test, the real one first if there is one: `{ url, mock, browser }`. */
export async function open() {
  const [browser, mock] = [await launch(), await start({ queues: 40 })];
  const brokers = [{ url: mock.url, mock, browser }];
  const real = process.env.LEVERET_UI_URL?.replace(/\/$/, '');
  if (real) brokers.unshift({ url: real, mock: null, browser });
  return { brokers, close: async () => {
    await browser.close();
    await mock.close();
  }
  };
}

/** The source of axe-core. */
export const axe = () => require('axe-core').source;

/** Asks the API as the tests' user; throws what is not a success. */
export async function api(url, method, path, body) {
  const response = await fetch(url + path, { method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { authorization: `Basic ${btoa(`${user}:${password}`)}`,
        'content-type': 'application/json' } });
  const text = await response.text();
  if (!response.ok && !(method === 'DELETE' && response.status === 404))
    throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A test that is run only where the broker has this path of the API. */
export const needs = (pattern, test) => Object.assign(test, { needs: pattern });

/** Whether the broker has what a test needs. */
export async function has({ url }, { needs: pattern }) {
  if (!pattern) return true;
  const { paths } = await api(url, 'GET', '/api/openapi.json');
  return Object.keys(paths).some((path) => path.replace(/\{[^}]*\}/g, '{}') === pattern);
}

/** A page in a fresh context that counts what must not happen; `faults()` lists it. */
export async function visit(broker, options = {}) {
  const context = await broker.browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = [];
  let expected = null;
  page.on('pageerror', (error) => faults.push(`error: ${error.stack}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !(expected && expected.test(message.text())))
      faults.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const where = new URL(request.url());
    if (where.protocol !== 'blob:' && where.origin !== new URL(broker.url).origin)
      faults.push(`request to ${where.origin}`);
  });
  return {
    page,
    context,
    faults: () => faults,
    /** From now on, failed requests of these statuses are meant to be. */
    expect(...statuses) {
      expected = new RegExp(`status of (${statuses.join('|')})`);
    },
    async go(hash, wait = '.page') {
      await page.goto(`${broker.url}/#/${hash}`);
      // not waitForSelector: its handle would keep the elements alive
      await page.locator(wait).first().waitFor();
    }
  };
}

/** Fills the form and sends it. */
export async function login(broker, view, name = user, secret = password) {
  await view.page.goto(`${broker.url}/`);
  await view.page.fill('#user', name);
  await view.page.fill('#password', secret);
  await view.page.click('button[type=submit]');
}

/** Waits until `ask` answers something true; throws `words` when it does not in time. */
export async function until(words, ask, ms = PATIENCE_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${words} did not come to be`);
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}
