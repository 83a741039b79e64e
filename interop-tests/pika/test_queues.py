"""Queue arguments, dead letters, exchanges and bindings."""
import pika
import pytest
from helpers import bodies, depth, take, until


def declare(channel, **arguments):
    arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
    return channel.queue_declare("", exclusive=True, arguments=arguments).method.queue


def test_higher_priority_comes_first(channel):
    queue = declare(channel, max_priority=5)
    for priority in (1, 5, 3, 5):
        body = str(priority).encode()
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
    assert bodies(take(channel, queue, 4)) == [b"5", b"5", b"3", b"1"]


def test_expired_message_is_dead_lettered(channel, queue):
    source = declare(channel, message_ttl=100, dead_letter_exchange="",
                     dead_letter_routing_key=queue)
    channel.basic_publish("", source, b"late")
    [(_, properties, body)] = take(channel, queue, 1)
    [death] = properties.headers["x-death"]
    assert body == b"late"
    assert (death["queue"], death["reason"], death["count"]) == (source, "expired", 1)
    assert (death["exchange"], death["routing-keys"]) == ("", [source])


def test_expiration_of_a_message(channel, queue):
    source = declare(channel, dead_letter_exchange="", dead_letter_routing_key=queue)
    channel.basic_publish("", source, b"", pika.BasicProperties(expiration="100"))
    [(_, properties, _)] = take(channel, queue, 1)
    assert properties.expiration is None
    assert properties.headers["x-death"][0]["original-expiration"] == "100"


def test_rejected_message_is_dead_lettered(channel, queue):
    source = declare(channel, dead_letter_exchange="", dead_letter_routing_key=queue)
    channel.basic_publish("", source, b"bad")
    [(method, _, _)] = take(channel, source, 1, auto_ack=False)
    channel.basic_reject(method.delivery_tag, requeue=False)
    [(_, properties, _)] = take(channel, queue, 1)
    assert properties.headers["x-first-death-reason"] == "rejected"
    assert properties.headers["x-first-death-queue"] == source


def test_full_queue_drops_its_oldest_message(channel, queue):
    source = declare(channel, max_length=2, dead_letter_exchange="",
                     dead_letter_routing_key=queue)
    for body in (b"1", b"2", b"3"):
        channel.basic_publish("", source, body)
    [(_, properties, body)] = take(channel, queue, 1)
    assert (body, properties.headers["x-death"][0]["reason"]) == (b"1", "maxlen")
    assert bodies(take(channel, source, 2)) == [b"2", b"3"]


def test_full_queue_refuses_when_asked_to(channel):
    queue = declare(channel, max_length=1, overflow="reject-publish")
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"first")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", queue, b"second")
    assert depth(channel, queue) == 1


def test_unused_queue_expires(connection, channel, name):
    channel.queue_declare(name, arguments={"x-expires": 200})

    def gone():
        probe = connection.channel()
        try:
            probe.queue_declare(name, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            return closed.reply_code == 404
        probe.close()
        # Every look renews the lease, so the next one comes after it has run out.
        connection.sleep(0.5)
        return False

    until(channel, gone)


def test_single_active_consumer_hands_over(connection, channel, name):
    channel.queue_declare(name, exclusive=True, arguments={"x-single-active-consumer": True})
    second = connection.channel()
    got = []
    tag = channel.basic_consume(name, lambda *_: got.append("first"), auto_ack=True)
    second.basic_consume(name, lambda *_: got.append("second"), auto_ack=True)
    for _ in range(3):
        channel.basic_publish("", name, b"")
    until(channel, lambda: len(got) == 3)
    channel.basic_cancel(tag)
    channel.basic_publish("", name, b"")
    until(channel, lambda: got == ["first", "first", "first", "second"])


def test_idle_consumers_take_turns(connection, channel, queue):
    second = connection.channel()
    got = []
    channel.basic_consume(queue, lambda _c, _m, _p, body: got.append(("a", body)), auto_ack=True)
    second.basic_consume(queue, lambda _c, _m, _p, body: got.append(("b", body)), auto_ack=True)
    for i in range(20):
        channel.basic_publish("", queue, b"%d" % i)
    until(channel, lambda: len(got) == 20)
    assert sum(who == "a" for who, _ in got) == 10


@pytest.mark.parametrize("kind, binding, expected", [
    ("direct", "a.b", {"a.b"}),
    ("fanout", "", {"a.b", "a.c", "a.b.c", "b"}),
    ("topic", "a.*", {"a.b", "a.c"}),
    ("topic", "a.#", {"a.b", "a.c", "a.b.c"}),
    ("topic", "#.c", {"a.c", "a.b.c"}),
])
def test_exchange_types(channel, queue, name, kind, binding, expected):
    channel.exchange_declare(name, kind, auto_delete=True)
    channel.queue_bind(queue, name, binding)
    keys = ["a.b", "a.c", "a.b.c", "b"]
    for key in keys:
        channel.basic_publish(name, key, key.encode())
    got = {body.decode() for body in bodies(take(channel, queue, len(expected)))}
    assert got == expected
    assert depth(channel, queue) == 0


@pytest.mark.parametrize("match, count", [("all", 1), ("any", 2)])
def test_headers_exchange(channel, queue, match, count):
    arguments = {"x-match": match, "format": "pdf", "pages": 2}
    channel.queue_bind(queue, "amq.headers", arguments=arguments)
    for headers in ({"format": "pdf", "pages": 2}, {"format": "pdf"}, {"format": "zip"}):
        channel.basic_publish("amq.headers", "", b"", pika.BasicProperties(headers=headers))
    take(channel, queue, count)
    assert depth(channel, queue) == 0


def test_exchange_to_exchange(channel, queue, name):
    channel.exchange_declare(name, "fanout", auto_delete=True)
    channel.exchange_declare(name + "-source", "topic", auto_delete=True)
    channel.exchange_bind(name, name + "-source", "news.#")
    channel.queue_bind(queue, name)
    channel.basic_publish(name + "-source", "news.today", b"through")
    channel.basic_publish(name + "-source", "weather", b"not")
    assert bodies(take(channel, queue, 1)) == [b"through"]
    assert depth(channel, queue) == 0


def test_alternate_exchange_takes_what_is_unroutable(channel, queue, name):
    channel.exchange_declare(name + "-rest", "fanout")
    channel.exchange_declare(name, arguments={"alternate-exchange": name + "-rest"})
    channel.queue_bind(queue, name + "-rest")
    channel.basic_publish(name, "nobody", b"rest")
    assert bodies(take(channel, queue, 1)) == [b"rest"]
    channel.exchange_delete(name)
    channel.exchange_delete(name + "-rest")


def test_unbound_queue_gets_nothing_more(channel, queue):
    channel.queue_bind(queue, "amq.topic", "key")
    channel.queue_unbind(queue, "amq.topic", "key")
    channel.basic_publish("amq.topic", "key", b"")
    assert depth(channel, queue) == 0
