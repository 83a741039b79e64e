'use strict';
// Exchanges, bindings, queue options, and the errors that close a channel or a connection.
const assert = require('node:assert/strict');
const amqp = require('amqplib');
const { test } = require('node:test');
const {
  LIMIT_MS, closing, collect, ownQueue, uniqueName, until, withChannel, withConnection,
} = require('./harness');

const limited = { timeout: 2 * LIMIT_MS };

for (const [type, binding, key, misses] of [
  ['direct', 'key', 'key', 'other'],
  ['topic', 'a.*.#', 'a.b.c', 'b.a'],
]) {
  test(`a ${type} exchange routes by its binding`, limited, () =>
    withChannel(async (channel) => {
      const exchange = uniqueName();
      await channel.assertExchange(exchange, type, { durable: false, autoDelete: true });
      const queue = await ownQueue(channel);
      await channel.bindQueue(queue, exchange, binding);
      channel.publish(exchange, misses, Buffer.from('no'));
      channel.publish(exchange, key, Buffer.from('yes'));
      const [message] = await collect(channel, queue, 1);
      assert.equal(message.content.toString(), 'yes');
    }));
}

test('a fanout exchange copies to every queue', limited, () =>
  withChannel(async (channel) => {
    const exchange = uniqueName();
    await channel.assertExchange(exchange, 'fanout', { durable: false, autoDelete: true });
    const queues = [await ownQueue(channel), await ownQueue(channel)];
    for (const queue of queues) await channel.bindQueue(queue, exchange, '');
    channel.publish(exchange, '', Buffer.from('copy'));
    for (const queue of queues) await collect(channel, queue, 1);
  }));

test('a headers exchange matches all or any', limited, () =>
  withChannel(async (channel) => {
    const all = await ownQueue(channel);
    const any = await ownQueue(channel);
    await channel.bindQueue(all, 'amq.headers', '', { 'x-match': 'all', a: 1, b: 'two' });
    await channel.bindQueue(any, 'amq.headers', '', { 'x-match': 'any', a: 1, b: 'two' });
    channel.publish('amq.headers', '', Buffer.from('half'), { headers: { a: 1 } });
    channel.publish('amq.headers', '', Buffer.from('both'), { headers: { a: 1, b: 'two' } });
    const bodies = (messages) => messages.map((message) => message.content.toString());
    assert.deepEqual(bodies(await collect(channel, any, 2)), ['half', 'both']);
    assert.deepEqual(bodies(await collect(channel, all, 1)), ['both']);
  }));

test('exchanges bind to exchanges', limited, () =>
  withChannel(async (channel) => {
    const [from, to] = [uniqueName(), uniqueName()];
    await channel.assertExchange(from, 'fanout', { durable: false, autoDelete: true });
    await channel.assertExchange(to, 'fanout', { durable: false, autoDelete: true });
    await channel.bindExchange(to, from, '');
    const queue = await ownQueue(channel);
    await channel.bindQueue(queue, to, '');
    channel.publish(from, '', Buffer.from('through'));
    await collect(channel, queue, 1);
  }));

test('a dead letter says why it died', limited, () =>
  withChannel(async (channel) => {
    const dead = await ownQueue(channel);
    const source = await ownQueue(channel, {
      deadLetterExchange: '', deadLetterRoutingKey: dead, messageTtl: 50,
    });
    channel.sendToQueue(source, Buffer.from('late'));
    const [message] = await collect(channel, dead, 1);
    const [death] = message.properties.headers['x-death'];
    assert.equal(death.reason, 'expired');
    assert.equal(death.queue, source);
    assert.equal(death.count, 1);
    assert.equal(message.properties.headers['x-first-death-queue'], source);
  }));

test('a queue tells its counts', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    for (let i = 0; i < 3; i++) channel.sendToQueue(queue, Buffer.from(''));
    await until(async () => (await channel.checkQueue(queue)).messageCount === 3);
    assert.equal((await channel.checkQueue(queue)).consumerCount, 0);
    assert.equal((await channel.purgeQueue(queue)).messageCount, 3);
    channel.sendToQueue(queue, Buffer.from(''));
    await until(async () => (await channel.checkQueue(queue)).messageCount === 1);
    assert.equal((await channel.deleteQueue(queue)).messageCount, 1);
  }));

for (const [what, code, text, act] of [
  ['a missing queue', 404, /NOT_FOUND - no queue 'gone' in vhost '\/'/,
    (channel) => channel.checkQueue('gone')],
  ['a missing exchange', 404, /NOT_FOUND - no exchange 'gone' in vhost '\/'/,
    (channel) => channel.checkExchange('gone')],
  ['a reserved name', 403, /ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix/,
    (channel) => channel.assertExchange('amq.mine', 'direct')],
  ['an exchange of another type', 406, /PRECONDITION_FAILED - inequivalent arg 'type'/,
    (channel) => channel.assertExchange('amq.direct', 'fanout')],
]) {
  test(`${what} closes the channel with ${code}`, limited, () =>
    withChannel(async (channel, connection) => {
      const closed = closing(channel);
      await assert.rejects(act(channel), text);
      assert.equal((await closed).code, code);
      await ownQueue(await connection.createChannel());
    }));
}

test('an unknown delivery tag closes the channel with 406', limited, () =>
  withChannel(async (channel) => {
    const closed = closing(channel);
    channel.ack({ fields: { deliveryTag: 99 } });
    const error = await closed;
    assert.equal(error.code, 406);
    assert.match(error.message, /PRECONDITION_FAILED - unknown delivery tag 99/);
  }));

test('an exclusive queue is locked to other connections', limited, () =>
  withChannel(async (channel) => {
    const queue = await ownQueue(channel);
    await withChannel((other) => assert.rejects(other.checkQueue(queue), /RESOURCE_LOCKED/));
  }));

test('a wrong password is refused', limited, async () => {
  const url = new URL(process.env.AMQP_URL);
  url.password = 'wrong';
  await assert.rejects(amqp.connect(url.href), /ACCESS.REFUSED/i);
});

test('a missing virtual host is refused', limited, async () => {
  const url = new URL(process.env.AMQP_URL);
  url.pathname = '/no-such-vhost';
  // All that this client tells of the reason is the method it got.
  await assert.rejects(amqp.connect(url.href), /ConnectionClose/);
});

test('the broker names itself and what it can do', limited, () =>
  withConnection(async (connection) => {
    const { capabilities, product, version } = connection.connection.serverProperties;
    for (const name of ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify',
      'exchange_exchange_bindings', 'connection.blocked', 'authentication_failure_close']) {
      assert.equal(capabilities[name], true, name);
    }
    assert.ok(product && version);
  }));
