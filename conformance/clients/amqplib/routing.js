// Publish and subscribe, routing, topics and headers; exchanges that feed exchanges, and the alternate one.
'use strict';

const { assert, bodies, main, name, take } = require('./house');

const KEYS = ['kern.error', 'kern.info', 'cron', 'a.b.c', ''];
const KINDS = {
  fanout: { '': KEYS },
  direct: { 'kern.error': ['kern.error'], cron: ['cron'] },
  topic: { 'kern.*': ['kern.error', 'kern.info'], '#': KEYS, '*.*.*': ['a.b.c'], '*.error': ['kern.error'] },
};

main(async (connection) => {
  const channel = await connection.createChannel();
  for (const [kind, patterns] of Object.entries(KINDS)) {
    const exchange = name(kind);
    assert.deepEqual(await channel.assertExchange(exchange, kind, { durable: false }), { exchange });
    const queues = {};
    for (const pattern of Object.keys(patterns)) {
      queues[pattern] = (await channel.assertQueue('', { exclusive: true })).queue;
      await channel.bindQueue(queues[pattern], exchange, pattern);
    }
    for (const key of KEYS) channel.publish(exchange, key, Buffer.from(key));
    for (const [pattern, keys] of Object.entries(patterns)) {
      assert.deepEqual(bodies(await take(channel, queues[pattern], keys.length)), keys, `${kind} ${pattern}`);
    }
    await channel.deleteExchange(exchange);
  }

  const source = name('source');
  const stray = name('stray');
  await channel.assertExchange(stray, 'fanout', { durable: false });
  await channel.assertExchange(source, 'headers', { durable: false, alternateExchange: stray });
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const { queue: lost } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, source, '', { 'x-match': 'all', kind: 'report', size: 3 });
  await channel.bindQueue(lost, stray, '');
  channel.publish(source, '', Buffer.from('both'), { headers: { kind: 'report', size: 3 } });
  channel.publish(source, '', Buffer.from('one'), { headers: { kind: 'report' } });
  assert.deepEqual(bodies(await take(channel, queue, 1)), ['both']);
  assert.deepEqual(bodies(await take(channel, lost, 1)), ['one']);

  const archive = name('archive');
  await channel.assertExchange(archive, 'fanout', { autoDelete: true });
  await channel.bindExchange(archive, stray, '');
  await channel.bindQueue(queue, archive, '');
  channel.publish(stray, '', Buffer.from('kept'));
  assert.deepEqual(bodies(await take(channel, queue, 1)), ['kept']);
  await channel.unbindExchange(archive, stray, '');
  for (const exchange of [source, stray]) await channel.deleteExchange(exchange);
});
