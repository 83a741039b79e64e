"""A connection, a channel and a queue for every test."""
import os
import uuid

import pika
import pytest


@pytest.fixture
def connect():
    """Opens connections, and closes those that are still open after the test."""
    opened = []

    def open_one(**settings):
        parameters = pika.URLParameters(os.environ["AMQP_URL"])
        parameters.socket_timeout = 10
        parameters.blocked_connection_timeout = 10
        for name, value in settings.items():
            setattr(parameters, name, value)
        opened.append(pika.BlockingConnection(parameters))
        return opened[-1]

    yield open_one
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def channel(connection):
    return connection.channel()


@pytest.fixture
def name():
    """A name that no other test has."""
    return "pika-" + uuid.uuid4().hex[:12]


@pytest.fixture
def queue(channel):
    """A queue that goes with the test's connection."""
    return channel.queue_declare("", exclusive=True).method.queue
