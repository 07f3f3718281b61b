// Share tasks between two workers, one task at a time each: node work_queue.js [AMQP-URL]
'use strict';

const amqp = require('amqplib');

const url = process.argv[2] ?? process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2F';
const TASKS = 6;

async function main() {
  const connection = await amqp.connect(url);
  const publisher = await connection.createConfirmChannel();
  await publisher.assertQueue('tasks', { durable: true });
  for (let number = 0; number < TASKS; number += 1) {
    publisher.sendToQueue('tasks', Buffer.from(`task ${number}`), { persistent: true });
  }
  await publisher.waitForConfirms();

  let done = 0;
  await new Promise((resolve) => {
    const start = async () => {
      const worker = await connection.createChannel();
      await worker.prefetch(1);
      await worker.consume('tasks', (message) => {
        worker.ack(message);
        done += 1;
        if (done === TASKS) resolve();
      });
    };
    start();
    start();
  });
  console.log('done', done);
  await connection.close();
}

main();
