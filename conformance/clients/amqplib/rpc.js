// RPC: questions by one queue, answers by the asker's own.
'use strict';

const { assert, main, name, soon } = require('./house');

const double = (number) => String(2 * Number(number));

main(async (connection) => {
  const serving = await connection.createChannel();
  const asking = await connection.createChannel();
  const questions = name('questions');
  await serving.assertQueue(questions, { durable: true });
  await serving.prefetch(1);
  await serving.consume(questions, (message) => {
    if (message === null) return;
    const { replyTo, correlationId } = message.properties;
    serving.sendToQueue(replyTo, Buffer.from(double(message.content)), { correlationId });
    serving.ack(message);
  });
  const { queue: replyTo } = await asking.assertQueue('', { exclusive: true });
  const answers = new Map();
  const all = new Promise((resolve) => {
    asking.consume(
      replyTo,
      ({ content, properties }) => {
        answers.set(properties.correlationId, content.toString());
        if (answers.size === 50) resolve();
      },
      { noAck: true },
    );
  });
  for (let number = 0; number < 50; number++) {
    asking.sendToQueue(questions, Buffer.from(String(number)), { correlationId: `c${number}`, replyTo });
  }
  await soon(all, 'all answers');
  for (let number = 0; number < 50; number++) assert.equal(answers.get(`c${number}`), double(number));
  await serving.deleteQueue(questions);
});
