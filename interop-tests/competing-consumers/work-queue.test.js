'use strict';
// The pattern under load: nothing lost, nothing done twice without need, shares are fair.
const assert = require('node:assert/strict');
const amqp = require('amqplib');
const { after, before, test } = require('node:test');
const { attempts, declare, remove, work } = require('./work-queue');

const LIMIT_MS = 15_000;
const limited = { timeout: LIMIT_MS };

let connection;
let publisher;

before(async () => {
  connection = await amqp.connect(process.env.AMQP_URL, { timeout: LIMIT_MS });
  publisher = await connection.createConfirmChannel();
}, limited);

after(() => connection?.close());

async function publish(names, jobs) {
  for (const job of jobs) {
    publisher.publish(names.exchange, 'work', Buffer.from(JSON.stringify(job)), { persistent: true });
  }
  await publisher.waitForConfirms();
}

async function until(condition) {
  const end = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const numbers = (count) => Array.from({ length: count }, (_, i) => i);

/** A test with queues of its own. */
function scenario(name, body, options) {
  test(name, limited, async () => {
    const names = await declare(publisher, options);
    try {
      await body(names);
    } finally {
      await remove(publisher, names);
    }
  });
}

scenario('idle workers share the jobs evenly', async (names) => {
  const done = [0, 0, 0, 0];
  for (const worker of numbers(4)) await work(connection, names, async () => { done[worker]++; });
  // One at a time, so that every worker is idle whenever a job comes.
  for (const job of numbers(40)) {
    await publish(names, [job]);
    await until(() => done[0] + done[1] + done[2] + done[3] === job + 1);
  }
  assert.deepEqual(done, [10, 10, 10, 10]);
});

scenario('a backlog is shared by prefetch, and a slow worker holds up no other', async (names) => {
  await publish(names, numbers(200));
  let release;
  const blocked = new Promise((resolve) => { release = resolve; });
  const done = { slow: [], quick: [] };
  await work(connection, names, async (job) => {
    await blocked;
    done.slow.push(job);
  }, { prefetch: 5 });
  for (const _ of numbers(3)) {
    await work(connection, names, async (job) => { done.quick.push(job); }, { prefetch: 5 });
  }
  await until(() => done.quick.length === 195);
  release();
  await until(() => done.slow.length === 5);
  assert.deepEqual([...done.slow, ...done.quick].sort((a, b) => a - b), numbers(200));
});

scenario('a failing job is tried three times and then set aside', async (names) => {
  const tries = [];
  const began = Date.now();
  await work(connection, names, async (job, message) => {
    tries.push(attempts(message, names.work));
    throw new Error('will never work');
  });
  await publish(names, [{ poison: true }]);
  let failed;
  await until(async () => (failed = await publisher.get(names.failed, { noAck: true })));
  assert.deepEqual(tries, [0, 1, 2]);
  assert.ok(Date.now() - began >= 400, 'each retry waits for the time to live');
  const { headers } = failed.properties;
  assert.equal(headers['x-error'], 'will never work');
  assert.equal(headers['x-first-death-queue'], names.work);
  assert.equal(headers['x-first-death-reason'], 'rejected');
  const deaths = headers['x-death'].map(({ queue, reason, count }) => ({ queue, reason, count }));
  assert.deepEqual(deaths.sort((a, b) => a.reason.localeCompare(b.reason)), [
    { queue: names.retry, reason: 'expired', count: 2 },
    { queue: names.work, reason: 'rejected', count: 2 },
  ]);
});

scenario('jobs that fail now and then are all done in the end', async (names) => {
  const tried = new Set();
  const done = new Set();
  for (const _ of numbers(3)) {
    await work(connection, names, async (job) => {
      const first = !tried.has(job);
      tried.add(job);
      if (first && job % 3 === 0) throw new Error('not this time');
      done.add(job);
    }, { prefetch: 10 });
  }
  await publish(names, numbers(300));
  await until(() => done.size === 300);
  await until(async () => (await publisher.checkQueue(names.retry)).messageCount === 0);
  assert.equal((await publisher.checkQueue(names.failed)).messageCount, 0);
});

scenario('a job given back is taken by another worker, at its old place', async (names) => {
  const order = [];
  const shy = await connection.createChannel();
  await shy.prefetch(1);
  await publish(names, ['first', 'second', 'third']);
  let given;
  await shy.consume(names.work, (message) => { given ??= message; });
  await until(() => given);
  assert.equal(given.fields.redelivered, false);
  await shy.cancel(given.fields.consumerTag);
  shy.nack(given, false, true);
  await until(async () => (await publisher.checkQueue(names.work)).messageCount === 3);
  await work(connection, names, async (job, message) => {
    order.push([job, message.fields.redelivered]);
  });
  await until(() => order.length === 3);
  assert.deepEqual(order, [['first', true], ['second', false], ['third', false]]);
});

scenario('the jobs of a worker that dies are done by the others', async (names) => {
  const doomed = await amqp.connect(process.env.AMQP_URL);
  doomed.on('error', () => {});
  let held = 0;
  await work(doomed, names, () => { held++; return new Promise(() => {}); }, { prefetch: 10 });
  await publish(names, numbers(30));
  await until(() => held === 10);
  const done = [];
  await work(connection, names, async (job, message) => {
    done.push([job, message.fields.redelivered]);
  });
  await until(() => done.length === 20);
  // The socket goes without a word, as in a crash.
  doomed.connection.stream.destroy(new Error('crash'));
  await until(() => done.length === 30);
  const again = done.filter(([, redelivered]) => redelivered).map(([job]) => job);
  assert.deepEqual(again.sort((a, b) => a - b), numbers(10));
});

scenario('rejecting everything at once dead-letters everything, in order', async (names) => {
  const channel = await connection.createChannel();
  await publish(names, numbers(50));
  let last;
  await channel.consume(names.work, (message) => { last = message; });
  await until(() => last?.fields.deliveryTag === 50);
  channel.nackAll(false);
  await until(async () => (await publisher.checkQueue(names.retry)).messageCount === 50);
  const jobs = [];
  for (const _ of numbers(50)) {
    jobs.push(JSON.parse((await publisher.get(names.retry, { noAck: true })).content));
  }
  assert.deepEqual(jobs, numbers(50));
  await channel.close();
}, { retryMs: 60_000 });
