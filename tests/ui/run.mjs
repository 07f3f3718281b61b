// Tests the web pages in a real Chromium. Each test is run against the real broker, if browser.mjs was
// told of one, and else against the made-up one; so is what the real one does not have.
//
//   node tests/ui/run.mjs [WORD...]    all tests, or those whose names have one of the words
//
// LEVERET_UI_ALARMED    the address of a real broker that has a memory alarm
import { has, open } from './browser.mjs';
import { FILES } from './files.test.mjs';
import { PAGES } from './pages.test.mjs';
import { QUEUES } from './queues.test.mjs';
import { ACCESS } from './access.test.mjs';

const words = process.argv.slice(2);
const { brokers, close } = await open();
const called = (broker) => broker.mock && brokers.length > 1 ? ', against the made-up broker' : '';
let passed = 0, failed = 0;

/** Runs a test against the first broker that has what it needs; what it said. */
async function run(test) {
  for (const broker of brokers) {
    if (!(await has(broker, test))) continue;
    const why = await test(broker);
    if (!why) return called(broker);
    if (broker.mock) throw new Error(why);
  }
  throw new Error(`no broker has ${test.needs}`);
}

for (const [name, test] of Object.entries({ ...FILES, ...ACCESS, ...QUEUES, ...PAGES })) {
  if (words.length && !words.some((word) => name.includes(word))) continue;
  const began = Date.now();
  try {
    const how = await run(test);
    passed++;
    console.log(`ok - ${name} (${Date.now() - began} ms${how})`);
  } catch (error) {
    failed++;
    console.log(`not ok - ${name}\n${String(error.stack).replace(/^/gm, '    ')}`);
  }
}
await close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
