// A Chromium with a page that is logged in, and what must hold of every page: no error in the
// console, no request to another host.
//
// LEVERET_UI_TOOLS     folder with node_modules (see package.json); this folder unless given
// LEVERET_UI_CHROMIUM  a Chromium to use; else one of the system, else that of @sparticuz/chromium
// LEVERET_UI_URL       a broker's HTTP address; without it a made-up one is started
// LEVERET_UI_USER, LEVERET_UI_PASSWORD  guest and guest unless given
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { start } from './mock.mjs';

const tools = process.env.LEVERET_UI_TOOLS ?? fileURLToPath(new URL('.', import.meta.url));
const require = createRequire(join(tools, 'here.js'));
export const user = process.env.LEVERET_UI_USER ?? 'guest';
export const password = process.env.LEVERET_UI_PASSWORD ?? 'guest';
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

async function executable() {
  if (process.env.LEVERET_UI_CHROMIUM) return process.env.LEVERET_UI_CHROMIUM;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) if (existsSync(join(folder, name))) return join(folder, name);
  }
  const { default: chromium } = await import(pathToFileURL(require.resolve('@sparticuz/chromium')));
  return chromium.executablePath();
}

async function launch() {
  try {
    const { chromium } = require('playwright-core');
    return await chromium.launch({ executablePath: await executable(),
        args: ['--no-sandbox', '--no-zygote', '--disable-gpu'] });
  } catch (error) {
    throw new Error('no Chromium runs here. Install the packages of tests/ui/package.json (npm install) and'
        + ' name their folder in LEVERET_UI_TOOLS; and a Chromium (Debian: chromium), or what the one of'
        + ` @sparticuz/chromium needs (Debian: libnss3). ${error.message}`);
  }
}

/** `{ url, mock, browser, close }`; `mock` is null when the broker is a real one. */
export async function open() {
  const browser = await launch();
  const mock = process.env.LEVERET_UI_URL ? null : await start({ queues: 40 });
  const url = (process.env.LEVERET_UI_URL ?? mock.url).replace(/\/$/, '');
  return { url, mock, browser, close: async () => {
    await browser.close();
    await mock?.close();
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
  page.setDefaultTimeout(15000);
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
export async function until(words, ask, ms = 15000) {
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
