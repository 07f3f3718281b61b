// Hello world and work queues: tasks are dealt by prefetch, and what a dying worker held is done by another.
'use strict';

const { URI, amqp, assert, bodies, main, name, soon, take } = require('./house');

const TASKS = Array.from({ length: 20 }, (_, number) => `task ${number}`);

main(async (connection) => {
  const channel = await connection.createChannel();
  const queue = name('tasks');
  assert.deepEqual(await channel.assertQueue(queue, { durable: true }), { queue, messageCount: 0, consumerCount: 0 });
  for (const task of TASKS) channel.sendToQueue(queue, Buffer.from(task), { persistent: true, headers: { task } });

  const dying = await amqp.connect(URI);
  const worker = await dying.createChannel();
  await worker.prefetch(5);
  const held = [];
  await soon(
    new Promise((resolve) => {
      worker.consume(queue, (message) => {
        if (message) held.push(message);
        if (held.length === 5) resolve();
      });
    }),
    'five tasks',
  );
  assert.deepEqual(bodies(held), TASKS.slice(0, 5));
  assert.equal(held[0].properties.deliveryMode, 2);
  assert.equal(held[0].properties.headers.task, 'task 0');
  worker.ack(held[1], true);
  await worker.checkQueue(queue);
  await dying.close();

  const rest = await take(channel, queue, 18);
  assert.deepEqual(bodies(rest), TASKS.slice(2));
  assert.ok(rest.slice(0, 3).every((message) => message.fields.redelivered));

  for (const task of TASKS.slice(0, 3)) channel.sendToQueue(queue, Buffer.from(task));
  await channel.checkQueue(queue);
  const first = await channel.get(queue);
  assert.equal(first.fields.messageCount, 2);
  channel.nack(first);
  assert.deepEqual(bodies(await take(channel, queue, 3)), TASKS.slice(0, 3));
  assert.equal(await channel.get(queue), false);
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 0 });
});
