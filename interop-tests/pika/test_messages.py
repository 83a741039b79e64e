"""Publishing, getting, consuming, acknowledging."""
import pika
import pytest
from helpers import bodies, depth, take, until


def test_hello_world(channel, queue):
    channel.basic_publish("", queue, b"hello")
    assert bodies(take(channel, queue, 1)) == [b"hello"]


def test_get_from_an_empty_queue_gives_nothing(channel, queue):
    assert channel.basic_get(queue) == (None, None, None)


def test_properties_arrive_as_they_were_sent(channel, queue):
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"text": "ä", "number": -7, "big": 1 << 40, "yes": True, "list": [1, "two"],
                 "table": {"inner": None}},
        delivery_mode=2,
        priority=3,
        correlation_id="correlation",
        reply_to="reply",
        message_id="message",
        timestamp=1_700_000_000,
        type="type",
        user_id="guest",
        app_id="application",
    )
    channel.basic_publish("", queue, b"{}", sent)
    [(method, received, _)] = take(channel, queue, 1)
    assert received == sent
    assert (method.exchange, method.routing_key, method.redelivered) == ("", queue, False)


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 3_000_000])
def test_bodies_of_every_size_are_whole(channel, queue, size):
    body = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
    channel.basic_publish("", queue, body[:size])
    assert bodies(take(channel, queue, 1)) == [body[:size]]


def test_small_frames_split_bodies(connect):
    channel = connect(frame_max=8192).channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x" * 100_000)
    assert bodies(take(channel, queue, 1)) == [b"x" * 100_000]


def test_consumer_gets_messages_in_order(channel, queue):
    for i in range(500):
        channel.basic_publish("", queue, str(i).encode())
    received = []
    for method, _, body in channel.consume(queue, inactivity_timeout=10):
        assert method is not None, "no message for ten seconds"
        received.append(int(body))
        channel.basic_ack(method.delivery_tag)
        if len(received) == 500:
            break
    assert received == list(range(500))
    assert channel.cancel() == 0


def test_prefetch_limits_what_is_unacknowledged(channel, queue):
    for i in range(10):
        channel.basic_publish("", queue, str(i).encode())
    received = []
    channel.basic_qos(prefetch_count=3)
    channel.basic_consume(queue, lambda _c, method, _p, _b: received.append(method.delivery_tag))
    until(channel, lambda: len(received) == 3)
    assert depth(channel, queue) == 7
    assert len(received) == 3
    channel.basic_ack(received[-1], multiple=True)
    until(channel, lambda: len(received) == 6)


def test_requeued_message_returns_to_its_place(channel, queue):
    for body in (b"a", b"b", b"c"):
        channel.basic_publish("", queue, body)
    [(first, _, _), _] = take(channel, queue, 2, auto_ack=False)
    channel.basic_nack(first.delivery_tag, requeue=True)
    [(again, _, body), (_, _, last)] = take(channel, queue, 2)
    assert (body, again.redelivered, last) == (b"a", True, b"c")


def test_unacknowledged_messages_return_when_the_channel_closes(connection, channel, queue):
    channel.basic_publish("", queue, b"kept")
    other = connection.channel()
    take(other, queue, 1, auto_ack=False)
    other.close()
    [(method, _, body)] = take(channel, queue, 1)
    assert (body, method.redelivered) == (b"kept", True)


def test_cancelled_consumer_gets_nothing_more(channel, queue):
    received = []
    tag = channel.basic_consume(queue, lambda *a: received.append(a), auto_ack=True)
    channel.basic_cancel(tag)
    channel.basic_publish("", queue, b"left")
    until(channel, lambda: depth(channel, queue) == 1)
    assert received == []


def test_deleting_a_queue_cancels_its_consumers(connection, channel, name):
    channel.queue_declare(name)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    tag = channel.basic_consume(name, lambda *_: None)
    connection.channel().queue_delete(name)
    until(channel, lambda: cancelled == [tag])


def test_purge_tells_how_many(channel, queue):
    for _ in range(5):
        channel.basic_publish("", queue, b"")
    assert channel.queue_purge(queue).method.message_count == 5
    assert depth(channel, queue) == 0


def test_confirmed_publish_returns(channel, queue):
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"kept", pika.BasicProperties(delivery_mode=2))
    assert depth(channel, queue) == 1


def test_unroutable_mandatory_message_raises(channel):
    channel.confirm_delivery()
    with pytest.raises(pika.exceptions.UnroutableError) as raised:
        channel.basic_publish("", "no-such-queue", b"back", mandatory=True)
    [returned] = raised.value.messages
    assert (returned.body, returned.method.reply_code) == (b"back", 312)


def test_unroutable_message_returns_without_confirms(channel):
    returned = []
    channel.add_on_return_callback(lambda _c, method, _p, body: returned.append((method, body)))
    channel.basic_publish("amq.direct", "nowhere", b"back", mandatory=True)
    until(channel, lambda: returned)
    [(method, body)] = returned
    assert (method.reply_text, method.routing_key, body) == ("NO_ROUTE", "nowhere", b"back")


def test_transaction_publishes_at_commit_only(channel, queue):
    channel.tx_select()
    channel.basic_publish("", queue, b"rolled back")
    channel.tx_rollback()
    channel.basic_publish("", queue, b"committed")
    assert depth(channel, queue) == 0
    channel.tx_commit()
    assert bodies(take(channel, queue, 1)) == [b"committed"]
