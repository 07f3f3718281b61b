// Refusals with the codes and texts that programs look for, and options that become arguments.
'use strict';

const { URI, amqp, assert, bodies, main, name, refused, soon, take } = require('./house');

main(async (connection) => {
  const channel = await connection.createChannel();
  const [queue, dead] = [name('known'), name('dead')];
  await channel.assertQueue(dead, { durable: true });
  const options = { durable: true, deadLetterExchange: '', deadLetterRoutingKey: dead };
  await channel.assertQueue(queue, options);
  await channel.assertQueue(queue, options);
  await refused(connection, 404, ['NOT_FOUND', 'no queue'], (mine) => mine.checkQueue(name('missing')));
  await refused(connection, 404, ['NOT_FOUND', 'no exchange'], (mine) => mine.checkExchange(name('missing')));
  await refused(connection, 406, ['PRECONDITION_FAILED', 'inequivalent arg', queue], (mine) =>
    mine.assertQueue(queue, { durable: false }),
  );
  await refused(connection, 406, ['PRECONDITION_FAILED', 'inequivalent arg', queue], (mine) =>
    mine.assertQueue(queue, { ...options, deadLetterRoutingKey: 'other' }),
  );
  await refused(connection, 403, ['ACCESS_REFUSED', 'reserved prefix'], (mine) => mine.assertQueue('amq.mine'));

  const exclusive = await connection.createChannel();
  const { consumerTag } = await exclusive.consume(queue, () => {}, { exclusive: true });
  await refused(connection, 403, ['ACCESS_REFUSED', 'exclusive use'], (mine) => mine.consume(queue, () => {}));
  await exclusive.cancel(consumerTag);

  for (const body of ['a', 'b']) channel.sendToQueue(queue, Buffer.from(body));
  await channel.checkQueue(queue);
  const first = await channel.get(queue);
  const second = await channel.get(queue);
  channel.nack(second, true, false);
  const buried = await take(channel, dead, 2);
  assert.deepEqual(bodies(buried), ['a', 'b']);
  assert.equal(first.fields.redelivered, false);
  assert.equal(buried[0].properties.headers['x-death'][0].reason, 'rejected');
  assert.equal(buried[0].properties.headers['x-first-death-queue'], queue);

  const cancelled = new Promise((resolve) => {
    channel.consume(queue, (message) => message === null && resolve());
  });
  await channel.checkQueue(queue);
  await exclusive.deleteQueue(queue);
  await soon(cancelled, 'the cancellation of a consumer whose queue is gone');
  await channel.deleteQueue(dead);
  const wrong = URI.replace('guest:guest@', 'guest:wrong@');
  assert.notEqual(wrong, URI, 'these programs log in as guest');
  await assert.rejects(amqp.connect(wrong), /ACCESS_REFUSED|403/);
});
