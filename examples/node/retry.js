// Retry a task that fails, each time later, and set it aside in the end: node retry.js [AMQP-URL]
'use strict';

const amqp = require('amqplib');

const url = process.argv[2] ?? process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2F';

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('emails.failed', { durable: true });
  await channel.assertQueue('emails', {
    durable: true,
    deadLetterExchange: '',
    deadLetterRoutingKey: 'emails.failed',
    arguments: { 'x-retry-delays': [100, 200, 400], 'x-retry-jitter': 20 },
  });
  channel.sendToQueue('emails', Buffer.from('poison'), { persistent: true });
  await channel.waitForConfirms();

  await channel.consume('emails', (message) => {
    const failures = message.properties.headers['x-delivery-count'] ?? 0;
    console.log('attempt', failures + 1);
    channel.nack(message); // back to the queue, where it waits for its delay
  });
  const failed = await new Promise((resolve) => channel.consume('emails.failed', resolve));
  const [death] = failed.properties.headers['x-death'];
  console.log('set aside because of', death.reason);
  channel.ack(failed);

  await channel.close();
  await connection.close();
}

main();
