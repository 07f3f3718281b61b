// The same client by its other face, the callback API.
'use strict';

const assert = require('node:assert/strict');
const amqp = require('amqplib/callback_api');
const { URI, name } = require('./house');

const timer = setTimeout(() => assert.fail('the program hangs'), 30000);

amqp.connect(URI, (fault, connection) => {
  assert.ifError(fault);
  connection.createConfirmChannel((fault, channel) => {
    assert.ifError(fault);
    const queue = name('callbacks');
    channel.assertQueue(queue, { durable: true, autoDelete: true }, (fault, ok) => {
      assert.ifError(fault);
      assert.equal(ok.queue, queue);
      const heard = [];
      channel.consume(queue, (message) => {
        heard.push(message.content.toString());
        channel.ack(message);
        if (heard.length < 3) return;
        assert.deepEqual(heard, ['0', '1', '2']);
        channel.waitForConfirms((fault) => {
          assert.ifError(fault);
          channel.close(() => connection.close(() => clearTimeout(timer)));
        });
      });
      for (let number = 0; number < 3; number++) {
        channel.sendToQueue(queue, Buffer.from(String(number)), {}, (fault) => assert.ifError(fault));
      }
    });
  });
});
