'use strict';
// What the tests share: connections that are closed after each test, and waiting with a limit.
const amqp = require('amqplib');
const { randomUUID } = require('node:crypto');
const { once } = require('node:events');

const LIMIT_MS = 10_000;

/** Runs `body` with a connection, and closes it whatever happens. */
async function withConnection(body, url = process.env.AMQP_URL) {
  const connection = await amqp.connect(url, { timeout: LIMIT_MS });
  connection.on('error', () => {});
  try {
    return await body(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Runs `body` with a channel of its own connection. */
function withChannel(body) {
  return withConnection(async (connection) => {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    return body(channel, connection);
  });
}

/** A queue that goes with the connection. */
async function ownQueue(channel, options = {}) {
  return (await channel.assertQueue('', { exclusive: true, ...options })).queue;
}

/** Collects the first `count` messages of a consumer. */
function collect(channel, queue, count, options = { noAck: true }) {
  return new Promise((resolve, reject) => {
    const messages = [];
    const timer = setTimeout(
      () => reject(new Error(`${messages.length} of ${count} messages`)), LIMIT_MS);
    channel.consume(queue, (message) => {
      messages.push(message);
      if (messages.length === count) {
        clearTimeout(timer);
        resolve(messages);
      }
    }, options).catch(reject);
  });
}

/** Asks until the condition holds. */
async function until(condition) {
  const end = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so after ${LIMIT_MS} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The error that closes a channel. */
async function closing(channel) {
  const [error] = await once(channel, 'error', { signal: AbortSignal.timeout(LIMIT_MS) });
  return error;
}

const uniqueName = () => `node-${randomUUID()}`;

module.exports = {
  LIMIT_MS, closing, collect, ownQueue, uniqueName, until, withChannel, withConnection,
};
