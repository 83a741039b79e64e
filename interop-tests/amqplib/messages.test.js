'use strict';
// Publishing, consuming, acknowledging, confirming.
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const {
  LIMIT_MS, collect, ownQueue, uniqueName, until, withChannel, withConnection,
} = require('./harness');

const limited = { timeout: 2 * LIMIT_MS };

test('a message arrives with its properties and headers', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    const sent = {
      contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 4,
      correlationId: 'c', replyTo: 'r', messageId: 'm', timestamp: 1700000000, type: 't',
      appId: 'a', userId: 'guest', expiration: '60000',
      headers: { text: 'ä', number: 7, far: 2 ** 40, half: 0.5, yes: true, nothing: null,
        list: [1, 'two'], table: { inner: 1 } },
    };
    channel.sendToQueue(queue, Buffer.from('hello'), sent);
    const [message] = await collect(channel, queue, 1);
    assert.equal(message.content.toString(), 'hello');
    for (const [name, value] of Object.entries(sent)) {
      assert.deepEqual(message.properties[name], value, name);
    }
    assert.equal(message.fields.redelivered, false);
    assert.equal(message.fields.routingKey, queue);
  }));

test('an empty body and a large one arrive whole', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    const large = Buffer.alloc(2_000_000, 'leveret');
    channel.sendToQueue(queue, Buffer.alloc(0));
    channel.sendToQueue(queue, large);
    const [first, second] = await collect(channel, queue, 2);
    assert.equal(first.content.length, 0);
    assert.ok(second.content.equals(large));
  }));

test('ten thousand messages keep their order', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    const received = collect(channel, queue, 10_000);
    for (let i = 0; i < 10_000; i++) {
      if (!channel.sendToQueue(queue, Buffer.from(String(i)))) await once(channel, 'drain');
    }
    (await received).forEach((message, i) => assert.equal(message.content.toString(), String(i)));
  }));

test('every publish on a confirm channel is confirmed', limited, () =>
  withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const queue = await ownQueue(channel);
    let confirmed = 0;
    for (let i = 0; i < 1000; i++) {
      channel.sendToQueue(queue, Buffer.from('x'), { persistent: true }, (error) => {
        if (!error) confirmed++;
      });
    }
    await channel.waitForConfirms();
    assert.equal(confirmed, 1000);
    assert.equal((await channel.checkQueue(queue)).messageCount, 1000);
  }));

test('a refused publish is nacked', limited, () =>
  withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const queue = await ownQueue(channel, { maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } });
    channel.sendToQueue(queue, Buffer.from('first'));
    await channel.waitForConfirms();
    channel.sendToQueue(queue, Buffer.from('second'));
    await assert.rejects(channel.waitForConfirms(), /nacked/);
  }));

test('an unroutable mandatory message is returned before its confirm', limited, () =>
  withConnection(async (connection) => {
    const channel = await connection.createConfirmChannel();
    const order = [];
    channel.on('return', (message) => order.push(`${message.fields.replyCode} ${message.content}`));
    await new Promise((resolve) => {
      channel.publish('', uniqueName(), Buffer.from('back'), { mandatory: true }, () => {
        order.push('confirmed');
        resolve();
      });
    });
    assert.deepEqual(order, ['312 back', 'confirmed']);
  }));

test('get gives a message or false', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    assert.equal(await channel.get(queue), false);
    channel.sendToQueue(queue, Buffer.from('one'));
    let message;
    await until(async () => (message = await channel.get(queue)));
    assert.equal(message.fields.messageCount, 0);
    channel.ack(message);
  }));

test('prefetch bounds what is unacknowledged', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    await channel.prefetch(5);
    for (let i = 0; i < 20; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
    const seen = [];
    await channel.consume(queue, (message) => seen.push(message));
    await until(() => seen.length >= 5);
    assert.equal((await channel.checkQueue(queue)).messageCount, 15);
    channel.ackAll();
    await until(() => seen.length >= 10);
    assert.equal((await channel.checkQueue(queue)).messageCount, 10);
  }));

test('a requeued message comes back marked', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    channel.sendToQueue(queue, Buffer.from('again'));
    const seen = [];
    await channel.consume(queue, (message) => {
      seen.push(message.fields.redelivered);
      if (seen.length === 1) channel.nack(message);
      else channel.ack(message);
    });
    await until(() => seen.length === 2);
    assert.deepEqual(seen, [false, true]);
  }));

test('recover delivers what is unacknowledged again', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    channel.sendToQueue(queue, Buffer.from('kept'));
    await until(async () => channel.get(queue));
    await channel.recover();
    let message;
    await until(async () => (message = await channel.get(queue, { noAck: true })));
    assert.equal(message.fields.redelivered, true);
  }));

test('a cancelled consumer gets nothing more', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    const seen = [];
    const { consumerTag } = await channel.consume(queue, (message) => seen.push(message));
    await channel.cancel(consumerTag);
    channel.sendToQueue(queue, Buffer.from('left'));
    await until(async () => (await channel.checkQueue(queue)).messageCount === 1);
    assert.deepEqual(seen, []);
  }));

test('a consumer hears that its queue was deleted', limited, () =>
  withChannel(async (channel, connection) => {
    const queue = await ownQueue(channel);
    const seen = [];
    await channel.consume(queue, (message) => seen.push(message));
    await (await connection.createChannel()).deleteQueue(queue);
    await until(() => seen.length === 1);
    assert.deepEqual(seen, [null]);
  }));

test('consumers of higher priority come first', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    const seen = [];
    await channel.consume(queue, () => seen.push('low'), { noAck: true });
    await channel.consume(queue, () => seen.push('high'), { noAck: true, priority: 10 });
    for (let i = 0; i < 5; i++) channel.sendToQueue(queue, Buffer.from(''));
    await until(() => seen.length === 5);
    assert.deepEqual(seen, Array(5).fill('high'));
  }));
