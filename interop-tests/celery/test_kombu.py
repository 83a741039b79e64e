"""Kombu without Celery."""
import os
import socket
import time
import uuid

import pytest
from kombu import Connection, Consumer, Exchange, Producer, Queue

LIMIT = 10


@pytest.fixture
def connection():
    options = {"confirm_publish": True}
    url = os.environ["AMQP_URL"]
    with Connection(url, heartbeat=10, transport_options=options) as connection:
        yield connection


@pytest.fixture
def name():
    return "kombu-" + uuid.uuid4().hex[:12]


def drain(connection, done):
    end = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < end
        try:
            connection.drain_events(timeout=1)
        except socket.timeout:
            connection.heartbeat_check()


def test_task_queue_with_json_and_compression(connection, name):
    exchange = Exchange(name, "direct", durable=False, auto_delete=True)
    queue = Queue(name, exchange, routing_key="key", exclusive=True)
    received = []

    def on_message(body, message):
        received.append(body)
        message.ack()

    with Consumer(connection, queues=[queue], callbacks=[on_message], accept=["json"]):
        producer = Producer(connection, exchange, routing_key="key", serializer="json")
        producer.publish({"name": "ä", "list": [1, 2.5, None]}, declare=[queue])
        producer.publish({"big": "x" * 100_000}, compression="zlib")
        drain(connection, lambda: len(received) == 2)
    assert received == [{"name": "ä", "list": [1, 2.5, None]}, {"big": "x" * 100_000}]


def test_simple_queue(connection, name):
    with connection.SimpleQueue(name) as queue:
        for i in range(5):
            queue.put({"number": i})
        assert queue.qsize() == 5
        got = []
        for _ in range(5):
            message = queue.get(block=True, timeout=LIMIT)
            got.append(message.payload["number"])
            message.ack()
        assert got == list(range(5))
        with pytest.raises(queue.Empty):
            queue.get(block=False)
    connection.default_channel.queue_delete(name)


def test_rejected_message_comes_again(connection, name):
    queue = Queue(name, exclusive=True)
    seen = []

    def on_message(body, message):
        seen.append(message.delivery_info["redelivered"])
        message.requeue() if len(seen) == 1 else message.ack()

    with Consumer(connection, queues=[queue], callbacks=[on_message]):
        Producer(connection).publish("again", routing_key=name)
        drain(connection, lambda: len(seen) == 2)
    assert seen == [False, True]


def test_producer_pool_and_retry_policy(connection, name):
    queue = Queue(name, exclusive=True)(connection.default_channel)
    queue.declare()
    with connection.Producer() as producer:
        producer.publish("kept", routing_key=name, retry=True,
                         retry_policy={"max_retries": 2, "interval_start": 0.1})
    assert queue.get(no_ack=True).payload == "kept"
    assert queue.get(no_ack=True) is None


def test_broadcast_over_a_fanout(connection, name):
    exchange = Exchange(name, "fanout", durable=False, auto_delete=True)
    queues = [Queue(f"{name}-{i}", exchange, exclusive=True) for i in range(3)]
    received = []
    with Consumer(connection, queues=queues, no_ack=True,
                  callbacks=[lambda body, message: received.append(body)]):
        Producer(connection, exchange).publish("to all")
        drain(connection, lambda: len(received) == 3)
    assert received == ["to all"] * 3
