// Publisher confirms, one by one and together; a message that no queue takes comes back before it is confirmed.
'use strict';

const { assert, bodies, main, name, soon, take } = require('./house');

main(async (connection) => {
  const channel = await connection.createConfirmChannel();
  const queue = name('confirmed');
  await channel.assertQueue(queue, { durable: true });
  const confirmed = [];
  for (let number = 0; number < 200; number++) {
    channel.sendToQueue(queue, Buffer.from(String(number)), { persistent: true }, (fault) => confirmed.push(fault));
  }
  await soon(channel.waitForConfirms(), 'the confirms');
  assert.equal(confirmed.length, 200);
  assert.ok(confirmed.every((fault) => fault === null));
  assert.deepEqual(bodies(await take(channel, queue, 200)), Array.from({ length: 200 }, (_, number) => String(number)));

  const told = [];
  channel.on('return', ({ content, fields }) => told.push([content.toString(), fields.replyCode, fields.replyText]));
  const done = new Promise((resolve) => {
    channel.publish('', name('nobody'), Buffer.from('stray'), { mandatory: true }, (fault) => {
      told.push(fault);
      resolve();
    });
  });
  await soon(done, 'the confirm of a stray message');
  assert.deepEqual(told, [['stray', 312, 'NO_ROUTE'], null]);
  const large = Buffer.alloc(5000000, 'hare');
  channel.sendToQueue(queue, large);
  await soon(channel.waitForConfirms(), 'the confirm of a large message');
  assert.ok((await channel.get(queue, { noAck: true })).content.equals(large));
  await channel.deleteQueue(queue);
});
