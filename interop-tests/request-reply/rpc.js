'use strict';
// The pattern itself, as an application would hold it: a server, and a client with a time limit.
const { randomUUID } = require('node:crypto');

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to';

/** Answers requests on `queue` with what `handle` returns or throws. */
async function serve(connection, queue, handle) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await channel.assertQueue(queue, { durable: false, autoDelete: true });
  await channel.prefetch(10);
  await channel.consume(queue, async (request) => {
    if (request === null) return;
    let reply;
    try {
      reply = { result: await handle(JSON.parse(request.content)) };
    } catch (error) {
      reply = { error: error.message };
    }
    const { replyTo, correlationId } = request.properties;
    channel.publish('', replyTo, Buffer.from(JSON.stringify(reply)), { correlationId });
    channel.ack(request);
  });
  return channel;
}

/** Calls a server; `direct` chooses the pseudo-queue over a queue of its own. */
class Client {
  #waiting = new Map();

  static async open(connection, { direct }) {
    const client = new Client();
    client.channel = await connection.createChannel();
    client.channel.on('error', () => {});
    client.replyTo = direct
      ? DIRECT_REPLY_TO
      : (await client.channel.assertQueue('', { exclusive: true })).queue;
    await client.channel.consume(client.replyTo, (message) => client.#onReply(message), { noAck: true });
    // What nobody serves comes back at once instead of running into the time limit.
    client.channel.on('return', (message) => client.#settle(message, { error: 'nobody serves this' }));
    return client;
  }

  call(queue, argument, { timeoutMs = 5000 } = {}) {
    const correlationId = randomUUID();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(correlationId);
        reject(new Error(`no reply in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(correlationId, { resolve, reject, timer });
      this.channel.publish('', queue, Buffer.from(JSON.stringify(argument)), {
        correlationId, replyTo: this.replyTo, expiration: timeoutMs, mandatory: true,
      });
    });
  }

  #onReply(message) {
    if (message !== null) this.#settle(message, JSON.parse(message.content));
  }

  #settle(message, reply) {
    const call = this.#waiting.get(message.properties.correlationId);
    if (!call) {
      this.late = (this.late ?? 0) + 1;
      return;
    }
    this.#waiting.delete(message.properties.correlationId);
    clearTimeout(call.timer);
    if ('error' in reply) call.reject(new Error(reply.error));
    else call.resolve(reply.result);
  }
}

module.exports = { Client, DIRECT_REPLY_TO, serve };
