// Tests the web pages in a real Chromium, against the made-up broker or a real one (browser.mjs says
// how to choose).
//
//   node tests/ui/run.mjs [WORD...]    all tests, or those whose names have one of the words
//
// LEVERET_UI_SHOTS                     a folder for a picture of every page
// LEVERET_UI_ALARM, LEVERET_UI_CALM    commands that raise and end a memory alarm of a real broker
import { has, open } from './browser.mjs';
import { FILES } from './files.test.mjs';
import { PAGES } from './pages.test.mjs';
import { QUEUES } from './queues.test.mjs';
import { ACCESS } from './access.test.mjs';

const words = process.argv.slice(2);
const broker = await open();
let passed = 0, failed = 0, skipped = 0;
for (const [name, test] of Object.entries({ ...FILES, ...ACCESS, ...QUEUES, ...PAGES })) {
  if (words.length && !words.some((word) => name.includes(word))) continue;
  if (!(await has(broker, test))) {
    skipped++;
    console.log(`skipped - ${name}: this broker has no ${test.needs}`);
    continue;
  }
  const began = Date.now();
  try {
    const why = await test(broker);
    if (why) {
      skipped++;
      console.log(`skipped - ${name}: ${why}`);
    } else {
      passed++;
      console.log(`ok - ${name} (${Date.now() - began} ms)`);
    }
  } catch (error) {
    failed++;
    console.log(`not ok - ${name}\n${String(error.stack).replace(/^/gm, '    ')}`);
  }
}
await broker.close();
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed || !passed ? 1 : 0);
