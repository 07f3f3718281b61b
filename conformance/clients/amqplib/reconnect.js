// The client's own recovery over the broker's death: it connects again, sets up again, and what was confirmed is there.
'use strict';

const { once } = require('node:events');
const { createInterface } = require('node:readline');
const { URI, amqp, assert, name, soon } = require('./house');

const COUNT = 50;
const kept = name('kept');
const heard = [];

async function persist() {
  let connects = 0;
  let enough;
  const all = new Promise((resolve) => (enough = resolve));

  // On the first connection it declares, on the second it consumes as well.
  async function setup(model) {
    connects += 1;
    const channel = await model.createChannel();
    channel.on('error', () => {});
    await channel.assertQueue(kept, { durable: true });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'amq.topic', kept);
    if (connects === 1) return;
    await channel.consume(kept, (message) => {
      if (message === null) return;
      heard.push(message.content.toString());
      channel.ack(message);
      if (heard.length === COUNT) enough();
    });
  }

  const connection = await amqp.connect(URI, { recovery: { initialDelay: 50, maxDelay: 200, setup } });
  connection.on('error', () => {});
  const publishing = await connection.createConfirmChannel();
  publishing.on('error', () => {});
  for (let number = 0; number < COUNT; number++) {
    publishing.sendToQueue(kept, Buffer.from(String(number)), { persistent: true });
  }
  await publishing.waitForConfirms();
  const back = new Promise((resolve) => {
    connection.once('disconnect', () => connection.once('connect', resolve));
  });

  // Whoever runs this kills the broker and starts it again before he answers.
  console.log('published');
  const lines = createInterface({ input: process.stdin });
  const [line] = await once(lines, 'line');
  lines.close();
  assert.equal(line, 'restarted');
  await soon(back, 'the recovery');
  await soon(all, 'what was confirmed');
  assert.deepEqual(heard, Array.from({ length: COUNT }, (_, number) => String(number)));
  const channel = await connection.createChannel();
  await channel.deleteQueue(kept);
  await connection.close();
}

persist().then(
  () => process.exit(0),
  (fault) => {
    console.error(fault);
    process.exit(1);
  },
);
