// The tutorials that the package carries, as they are: each receiver hears what its senders say.
//
// On RabbitMQ 4.3 those that declare a queue neither durable nor exclusive are left out: it refuses such queues.
'use strict';

const { spawn } = require('node:child_process');
const { dirname, join } = require('node:path');
const { URI, assert, main, soon } = require('./house');

const FOLDER = join(dirname(require.resolve('amqplib')), 'examples', 'tutorials');
const ELSEWHERE = join(__dirname, 'elsewhere.js');

// Starts a tutorial; it is not waited for.
function start(tutorial, ...words) {
  const env = { ...process.env, TUTORIAL_BROKER: URI };
  const child = spawn(process.execPath, ['--require', ELSEWHERE, join(FOLDER, `${tutorial}.js`), ...words], { env });
  const running = { child, said: '', wake: () => {} };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      running.said += data;
      running.wake();
    });
  }
  running.end = new Promise((resolve) => child.on('close', resolve));
  running.says = (words) =>
    soon(
      new Promise((resolve) => {
        running.wake = () => running.said.includes(words) && resolve();
        running.wake();
      }),
      `${tutorial} to say ${words}`,
    ).catch((fault) => {
      throw new Error(`${fault.message}; it said: ${running.said}`);
    });
  return running;
}

// Starts a receiver, lets each sender speak, and sees that the receiver says what it should.
async function pair(receiver, [tutorial, ...words], heard) {
  const receiving = start(receiver[0], ...receiver.slice(1));
  try {
    await receiving.says('To exit press CTRL+C');
    const sending = start(tutorial, ...words);
    await soon(sending.end, `the end of ${tutorial}`);
    await receiving.says(heard);
    return sending.said;
  } finally {
    receiving.child.kill('SIGINT');
    await receiving.end;
  }
}

main(async (connection) => {
  const product = connection.connection.serverProperties.product;
  const kinds = ['', 'callback_api/'];
  for (const kind of kinds) {
    await pair([`${kind}worker`], [`${kind}new_task`, 'a task'], "Received 'a task'");
    await pair([`${kind}receive_logs`], [`${kind}emit_log`, 'a line'], "'a line'");
    await pair([`${kind}receive_logs_direct`, 'error'], [`${kind}emit_log_direct`, 'error', 'fire'], "error:'fire'");
    await pair([`${kind}receive_logs_topic`, 'kern.*'], [`${kind}emit_log_topic`, 'kern.disk', 'full'], "kern.disk:'full'");
    if (product === 'RabbitMQ') continue;
    await pair([`${kind}receive`], [`${kind}send`], "Received 'Hello World!'");
    const answer = await pair([`${kind}rpc_server`], [`${kind}rpc_client`, '30'], 'fib(30)');
    assert.match(answer, /Got 832040/);
  }
});
