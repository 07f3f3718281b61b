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

  const workers = [await connection.createChannel(), await connection.createChannel()];
  let done = 0;
  await new Promise((resolve) => {
    for (const worker of workers) {
      worker.prefetch(1);
      worker.consume('tasks', (message) => {
        worker.ack(message);
        done += 1;
        if (done === TASKS) resolve();
      });
    }
  });
  console.log('done', done);
  // Closing a channel sends its last acknowledgements; closing the connection alone may lose them.
  for (const worker of workers) await worker.close();
  await connection.close();
}

main();
