// Retry a task that fails, each time later, and set it aside in the end: node retry.js [AMQP-URL]
'use strict';

const amqp = require('amqplib');

const url = process.argv[2] ?? process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2F';

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('tasks.failed', { durable: true });
  await channel.assertQueue('tasks', {
    durable: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: 'tasks.failed',
    arguments: { 'x-retry-delays': [100, 200], 'x-retry-jitter': 20 },
  });
  channel.sendToQueue('tasks', Buffer.from('poison'), { persistent: true });
  await channel.waitForConfirms();

  await channel.consume('tasks', (message) => {
    const failures = message.properties.headers['x-delivery-count'] ?? 0;
    console.log('attempt', failures + 1);
    channel.nack(message); // back to the queue, where it waits for its delay
  });
  const failed = await new Promise((resolve) => channel.consume('tasks.failed', resolve));
  const [death] = failed.properties.headers['x-death'];
  console.log('set aside because of', death.reason);
  channel.ack(failed);

  await channel.close();
  await connection.close();
}

main();
