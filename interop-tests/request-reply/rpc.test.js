'use strict';
// Every scenario twice: with a reply queue, and with direct reply-to.
const assert = require('node:assert/strict');
const amqp = require('amqplib');
const { after, before, test } = require('node:test');
const { randomUUID } = require('node:crypto');
const { once } = require('node:events');
const { Client, DIRECT_REPLY_TO, serve } = require('./rpc');

const LIMIT_MS = 15_000;
const limited = { timeout: LIMIT_MS };

let clients;
let servers;

before(async () => {
  clients = await amqp.connect(process.env.AMQP_URL, { timeout: LIMIT_MS });
  servers = await amqp.connect(process.env.AMQP_URL, { timeout: LIMIT_MS });
}, limited);

after(async () => {
  await clients?.close();
  await servers?.close();
});

async function until(condition) {
  const end = Date.now() + LIMIT_MS;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not so in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const uniqueName = () => `rpc-${randomUUID()}`;

for (const direct of [false, true]) {
  const way = direct ? 'direct reply-to' : 'a reply queue';

  test(`${way}: a call gets its answer`, limited, async () => {
    const queue = uniqueName();
    await serve(servers, queue, async ({ n }) => n * n);
    const client = await Client.open(clients, { direct });
    assert.equal(await client.call(queue, { n: 12 }), 144);
  });

  test(`${way}: many calls at once each get their own`, limited, async () => {
    const queue = uniqueName();
    // Three servers with different delays, so that answers overtake each other.
    for (const delay of [0, 3, 7]) {
      await serve(servers, queue, async ({ n }) => {
        await new Promise((resolve) => setTimeout(resolve, delay));
        return -n;
      });
    }
    const callers = [];
    for (let i = 0; i < 4; i++) callers.push(await Client.open(clients, { direct }));
    const calls = Array.from({ length: 400 }, (_, n) => callers[n % 4].call(queue, { n }));
    assert.deepEqual(await Promise.all(calls), Array.from({ length: 400 }, (_, n) => 0 - n));
  });

  test(`${way}: an error of the server is an error of the call`, limited, async () => {
    const queue = uniqueName();
    await serve(servers, queue, async () => { throw new Error('division by zero'); });
    const client = await Client.open(clients, { direct });
    await assert.rejects(client.call(queue, {}), /division by zero/);
  });

  test(`${way}: a call that is not answered ends, its late answer does no harm`, limited, async () => {
    const queue = uniqueName();
    let answer;
    await serve(servers, queue, ({ slow }) =>
      (slow ? new Promise((resolve) => { answer = resolve; }) : 'quick'));
    const client = await Client.open(clients, { direct });
    await assert.rejects(client.call(queue, { slow: true }, { timeoutMs: 200 }), /no reply in 200 ms/);
    assert.equal(await client.call(queue, {}), 'quick');
    await until(() => answer);
    answer('late');
    await until(() => client.late === 1);
    assert.equal(await client.call(queue, {}), 'quick');
  });

  test(`${way}: a call that nobody serves is refused at once`, limited, async () => {
    const client = await Client.open(clients, { direct });
    await assert.rejects(client.call(uniqueName(), {}), /nobody serves this/);
  });

  test(`${way}: a large argument and answer`, limited, async () => {
    const queue = uniqueName();
    await serve(servers, queue, async (text) => text);
    const client = await Client.open(clients, { direct });
    const text = 'leveret '.repeat(100_000);
    assert.equal(await client.call(queue, text), text);
  });

  test(`${way}: an answer to a client that has gone is dropped`, limited, async () => {
    const queue = uniqueName();
    let answer;
    const server = await serve(servers, queue, ({ slow }) =>
      (slow ? new Promise((resolve) => { answer = resolve; }) : 'still here'));
    const client = await Client.open(clients, { direct });
    client.call(queue, { slow: true }, { timeoutMs: 2000 }).catch(() => {});
    await until(() => answer);
    await client.channel.close();
    answer('to nobody');
    const other = await Client.open(clients, { direct });
    assert.equal(await other.call(queue, {}), 'still here');
    await server.close();
  });
}

test('direct reply-to: the server sees a reply address of its own for each client', limited, async () => {
  const queue = uniqueName();
  const seen = new Set();
  const channel = await servers.createChannel();
  await channel.assertQueue(queue, { exclusive: true });
  await channel.consume(queue, (request) => {
    const { replyTo, correlationId } = request.properties;
    seen.add(replyTo);
    channel.sendToQueue(replyTo, Buffer.from('{"result":1}'), { correlationId });
  }, { noAck: true });
  // An exclusive queue is the server connection's own, but anybody may publish to it.
  for (let i = 0; i < 3; i++) {
    const client = await Client.open(clients, { direct: true });
    assert.equal(await client.call(queue, {}), 1);
  }
  assert.equal(seen.size, 3);
  for (const address of seen) assert.match(address, /^amq\.rabbitmq\.reply-to\./);
});

test('direct reply-to: consuming must be without acknowledgements', limited, async () => {
  const channel = await clients.createChannel();
  const closed = once(channel, 'error');
  await assert.rejects(channel.consume(DIRECT_REPLY_TO, () => {}, { noAck: false }), /PRECONDITION_FAILED/);
  assert.equal((await closed)[0].code, 406);
});

test('direct reply-to: a request without a consumer closes the channel', limited, async () => {
  const channel = await clients.createChannel();
  const closed = once(channel, 'error');
  channel.publish('', uniqueName(), Buffer.from(''), { replyTo: DIRECT_REPLY_TO });
  const [error] = await closed;
  assert.equal(error.code, 406);
  assert.match(error.message, /fast reply consumer does not exist/);
});
