"""A connection for every test, names of its own, and nothing left behind."""
import os
import pathlib
import sys
import time
import uuid

import pika
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "docs" / "patterns"))


@pytest.fixture
def connection():
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    parameters.socket_timeout = 30
    with pika.BlockingConnection(parameters) as opened:
        yield opened


@pytest.fixture
def name():
    return "pattern-" + uuid.uuid4().hex[:12]


@pytest.fixture
def clean(connection):
    """Deletes the queues and exchanges that it is told of."""
    queues, exchanges = [], []
    yield queues.append, exchanges.append
    channel = connection.channel()
    for queue in queues:
        channel.queue_delete(queue)
    for exchange in exchanges:
        channel.exchange_delete(exchange)


@pytest.fixture
def until(connection):
    """Handles what comes until `condition()` holds."""
    def wait(condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about in time"
            connection.process_data_events(time_limit=0.05)
    return wait
