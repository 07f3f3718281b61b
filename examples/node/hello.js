// Publish a message, wait for its confirm, consume it, acknowledge it: node hello.js [AMQP-URL]
'use strict';

const amqp = require('amqplib');

const url = process.argv[2] ?? process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2F';

async function main() {
  const connection = await amqp.connect(url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('hello', { durable: true });
  channel.sendToQueue('hello', Buffer.from('hello'), { persistent: true });
  await channel.waitForConfirms(); // the message is on disk

  const message = await new Promise((resolve) => channel.consume('hello', resolve));
  console.log('received', message.content.toString());
  channel.ack(message);

  await channel.close();
  await connection.close();
}

main();
