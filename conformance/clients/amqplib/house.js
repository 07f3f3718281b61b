// What every program here starts from: the broker's URI, a connection, and waiting with an end in sight.
'use strict';

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const amqp = require('amqplib');

const PATIENCE_MS = 30000;
const URI = process.argv[2];

// A name that nothing else has, so that programs may share a broker.
const name = (word) => `${word}-${randomUUID().slice(0, 8)}`;

// `promise`, unless it takes too long.
function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Consumes `count` messages of `queue`, acknowledged as they come; the messages.
async function take(channel, queue, count) {
  const taken = [];
  const tag = name('taker');
  const all = new Promise((resolve) => {
    channel.consume(
      queue,
      (message) => {
        if (message === null || taken.length === count) return;
        taken.push(message);
        channel.ack(message);
        if (taken.length === count) resolve();
      },
      { consumerTag: tag },
    );
  });
  await soon(all, `${count} messages of ${queue}`);
  await channel.cancel(tag);
  return taken;
}

const bodies = (messages) => messages.map((message) => message.content.toString());

// What is done with a channel of its own is refused with this code and a text that has these words.
async function refused(connection, code, words, action) {
  const channel = await connection.createChannel();
  const closed = new Promise((resolve) => channel.on('error', resolve));
  await assert.rejects(action(channel), (fault) => {
    for (const word of words) assert.ok(fault.message.includes(word), fault.message);
    return true;
  });
  assert.equal((await soon(closed, 'the end of the channel')).code, code);
}

// Runs a program with a connection; whatever goes wrong ends the process with a failure.
function main(program, options) {
  const timer = setTimeout(() => {
    console.error('the program hangs');
    process.exit(1);
  }, 2 * PATIENCE_MS - 5000);
  (async () => {
    const connection = await amqp.connect(URI, options);
    await program(connection);
    await connection.close();
    clearTimeout(timer);
  })().catch((fault) => {
    console.error(fault);
    process.exit(1);
  });
}

module.exports = { URI, amqp, assert, bodies, main, name, refused, soon, take };
