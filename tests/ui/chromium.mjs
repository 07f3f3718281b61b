// Which Chromium is used, and what to install where there is none.
//
//   node tests/ui/chromium.mjs FOLDER    unpacks the one of @sparticuz/chromium into FOLDER
//
// LEVERET_UI_TOOLS     folder with node_modules (see package.json); this folder unless given
// LEVERET_UI_CHROMIUM  a Chromium to use; else that of @sparticuz/chromium, else one of the system
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const tools = process.env.LEVERET_UI_TOOLS ?? fileURLToPath(new URL('.', import.meta.url));
export const require = createRequire(join(tools, 'here.js'));
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const NEEDS = 'No Chromium runs here. The packages of tests/ui/package.json (npm ci) bring one for x86-64 Linux'
    + ' that needs three libraries (Debian: libnss3, libnspr4, libexpat1); elsewhere install a Chromium of the'
    + ' system (Debian: chromium), or name one in LEVERET_UI_CHROMIUM.';

/** Unpacks the package's Chromium into a folder, unless it is there; its path. */
async function unpack(folder) {
  process.env.TMPDIR = folder;
  const { default: chromium } = await import(pathToFileURL(require.resolve('@sparticuz/chromium')));
  return chromium.executablePath();
}

/** What may be a Chromium, the best first; `why` gets what keeps one from being tried. */
async function* candidates(why) {
  if (process.env.LEVERET_UI_CHROMIUM) {
    yield process.env.LEVERET_UI_CHROMIUM;
    return;
  }
  if (process.arch === 'x64' && process.platform === 'linux') {
    const path = await unpack(tools).catch((error) => void why.push(error.message));
    if (path) yield path;
  }
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) if (existsSync(join(folder, name))) yield join(folder, name);
  }
}

/** A Chromium that runs. */
export async function launch() {
  const why = [];
  try {
    const { chromium } = require('playwright-core');
    for await (const executablePath of candidates(why)) {
      try {
        return await chromium.launch({ executablePath, args: ['--no-sandbox', '--no-zygote', '--disable-gpu'] });
      } catch (error) {
        why.push(`${executablePath}: ${error.message}`);
      }
    }
  } catch (error) {
    why.push(error.message);
  }
  throw new Error([NEEDS, ...why].join('\n'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await unpack(process.argv[2]));
