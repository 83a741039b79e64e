"""The errors that programs catch, with their codes and texts."""
import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker


def refused(call, code, text):
    with pytest.raises(ChannelClosedByBroker) as raised:
        call()
    assert raised.value.reply_code == code
    assert text in raised.value.reply_text


def test_passive_declare_of_a_missing_queue(channel):
    refused(lambda: channel.queue_declare("no-such-queue", passive=True), 404,
            "NOT_FOUND - no queue 'no-such-queue' in vhost '/'")


def test_missing_exchange_closes_the_channel_and_no_other(connection, channel):
    channel.confirm_delivery()
    refused(lambda: channel.basic_publish("no-such-exchange", "", b""), 404,
            "NOT_FOUND - no exchange 'no-such-exchange' in vhost '/'")
    assert connection.is_open
    connection.channel().queue_declare("", exclusive=True)


def test_declaring_again_with_other_arguments(channel, name):
    channel.queue_declare(name, exclusive=True)
    refused(lambda: channel.queue_declare(name, exclusive=True, arguments={"x-max-length": 1}),
            406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue")


def test_exclusive_queue_is_locked_to_others(connect, channel, queue):
    other = connect().channel()
    refused(lambda: other.queue_declare(queue, passive=True), 405,
            f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}'")


def test_exclusive_consumer_shuts_others_out(connection, channel, queue):
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    other = connection.channel()
    refused(lambda: other.basic_consume(queue, lambda *_: None), 403, "ACCESS_REFUSED")


def test_unknown_delivery_tag(channel, queue):
    channel.basic_ack(42)
    refused(lambda: channel.queue_declare(queue, passive=True), 406,
            "PRECONDITION_FAILED - unknown delivery tag 42")


def test_reserved_names_are_refused(channel):
    refused(lambda: channel.queue_declare("amq.mine"), 403,
            "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")


def test_default_exchange_takes_no_bindings(channel, queue):
    refused(lambda: channel.queue_bind(queue, "", "key"), 403, "ACCESS_REFUSED")


def test_queue_in_use_is_kept_when_asked(channel, queue):
    channel.basic_consume(queue, lambda *_: None)
    refused(lambda: channel.queue_delete(queue, if_unused=True), 406, "PRECONDITION_FAILED")


def test_wrong_password(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))


def test_missing_vhost(connect):
    with pytest.raises((ConnectionClosedByBroker, pika.exceptions.ProbableAccessDeniedError)):
        connect(virtual_host="no-such-vhost")


def test_many_channels_on_one_connection(connection):
    channels = [connection.channel() for _ in range(50)]
    names = {c.queue_declare("", exclusive=True).method.queue for c in channels}
    assert len(names) == 50
    for channel in channels:
        channel.close()


def test_exclusive_queues_go_with_their_connection(connect, channel, name):
    first = connect()
    first.channel().queue_declare(name, exclusive=True)
    first.close()
    refused(lambda: channel.queue_declare(name, passive=True), 404, "NOT_FOUND")
