'use strict';
// The pattern itself, as an application would hold it: topology, worker, retry rule.
const { randomUUID } = require('node:crypto');

/** Work, retry and failed queues that point at each other through dead-lettering. */
async function declare(channel, { retryMs = 200 } = {}) {
  const id = randomUUID();
  const names = {
    exchange: `jobs-${id}`, deadExchange: `jobs-${id}.dead`,
    work: `jobs-${id}.work`, retry: `jobs-${id}.retry`, failed: `jobs-${id}.failed`,
  };
  await channel.assertExchange(names.exchange, 'direct', { durable: true });
  await channel.assertExchange(names.deadExchange, 'direct', { durable: true });
  await channel.assertQueue(names.work, {
    durable: true,
    deadLetterExchange: names.deadExchange,
    deadLetterRoutingKey: 'retry',
  });
  await channel.assertQueue(names.retry, {
    durable: true,
    messageTtl: retryMs,
    deadLetterExchange: names.exchange,
    deadLetterRoutingKey: 'work',
  });
  await channel.assertQueue(names.failed, { durable: true });
  await channel.bindQueue(names.work, names.exchange, 'work');
  await channel.bindQueue(names.retry, names.deadExchange, 'retry');
  await channel.bindQueue(names.failed, names.deadExchange, 'failed');
  return names;
}

async function remove(channel, names) {
  for (const queue of [names.work, names.retry, names.failed]) await channel.deleteQueue(queue);
  for (const exchange of [names.exchange, names.deadExchange]) {
    await channel.deleteExchange(exchange);
  }
}

/** How often this job was rejected from the work queue so far. */
function attempts(message, workQueue) {
  const deaths = message.properties.headers?.['x-death'] ?? [];
  return deaths
    .filter((death) => death.queue === workQueue && death.reason === 'rejected')
    .reduce((sum, death) => sum + death.count, 0);
}

/** Consumes jobs; one that throws is retried, and set aside after `maxAttempts`. */
async function work(connection, names, handle, { prefetch = 1, maxAttempts = 3 } = {}) {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  await channel.prefetch(prefetch);
  const { consumerTag } = await channel.consume(names.work, async (message) => {
    if (message === null) return;
    try {
      await handle(JSON.parse(message.content), message);
      channel.ack(message);
    } catch (error) {
      if (attempts(message, names.work) + 1 < maxAttempts) {
        channel.reject(message, false);
      } else {
        const headers = { ...message.properties.headers, 'x-error': error.message };
        channel.publish(names.deadExchange, 'failed', message.content, { persistent: true, headers });
        channel.ack(message);
      }
    }
  });
  return { channel, consumerTag };
}

module.exports = { attempts, declare, remove, work };
