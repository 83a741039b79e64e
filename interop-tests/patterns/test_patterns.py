"""What each pattern promises."""
import time

import delayed_jobs
import event_replay
import ordering_by_key
import publish_subscribe
import pytest


@pytest.fixture
def events(name, clean):
    clean[1](name)
    publish_subscribe.EVENTS = name
    return name


def subscribe(connection, clean, name, topics, delays_ms):
    subscription = publish_subscribe.Subscription(connection.channel(), name, topics, delays_ms)
    for queue in [name, f"{name}.dead", *map(subscription.waiting, delays_ms)]:
        clean[0](queue)
    return subscription


def test_every_subscription_gets_what_it_asked_for(connection, events, clean, until):
    bills, mail = [], []
    subscribe(connection, clean, events + "-bills", ["order.*"], [100]).listen(
        lambda topic, body: bills.append((topic, body)))
    subscribe(connection, clean, events + "-mail", ["#"], [100]).listen(
        lambda topic, body: mail.append((topic, body)))
    channel = connection.channel()
    channel.confirm_delivery()
    publish_subscribe.publish(channel, "order.paid", b"1")
    publish_subscribe.publish(channel, "user.left", b"2")
    until(lambda: len(mail) == 2 and len(bills) == 1)
    assert bills == [("order.paid", b"1")]
    assert mail == [("order.paid", b"1"), ("user.left", b"2")]


def test_what_fails_is_tried_later_and_later_and_set_aside_at_last(connection, events, clean, until):
    tries = []

    def work(topic, body):
        tries.append((time.monotonic(), topic, body))
        if body == b"broken" or len(tries) < 3:
            raise ValueError("not now")

    name = events + "-work"
    subscribe(connection, clean, name, ["job"], [100, 400]).listen(work)
    channel = connection.channel()
    channel.confirm_delivery()
    publish_subscribe.publish(channel, "job", b"flaky")
    until(lambda: len(tries) == 3)
    times = [at for at, _, _ in tries]
    assert times[1] - times[0] >= 0.099 and times[2] - times[1] >= 0.399
    assert {topic for _, topic, _ in tries} == {"job"}
    publish_subscribe.publish(channel, "job", b"broken")
    until(lambda: len(tries) == 6)
    dead = []
    until(lambda: dead.append(channel.basic_get(name + ".dead", auto_ack=True)) or dead[-1][0])
    method, properties, body = dead[-1]
    assert body == b"broken"
    assert properties.headers["x-death"][0]["reason"] == "rejected"
    assert properties.headers["x-death"][0]["queue"] == name


def test_a_key_keeps_its_order_and_its_worker(connection, name, clean, until):
    ordering_by_key.ORDERED = name
    clean[1](name)
    setup, first, second = (connection.channel() for _ in range(3))
    queues = ordering_by_key.declare(setup, 4)
    for queue in queues:
        clean[0](queue)
    handled = []
    for number, channel in enumerate((first, second)):
        ordering_by_key.work(channel, queues, lambda queue, key, body, number=number: handled.append(
            (number, queue, key, int(body))))
    keys = [f"customer-{number}" for number in range(20)]
    for step in range(10):
        for key in keys:
            ordering_by_key.publish(setup, key, str(step).encode())
    until(lambda: len(handled) == 200)
    for key in keys:
        mine = [entry for entry in handled if entry[2] == key]
        assert [step for *_, step in mine] == list(range(10))
        assert len({(worker, queue) for worker, queue, *_ in mine}) == 1
    assert len({queue for _, queue, *_ in handled}) > 1
    # The other worker takes over what the first one leaves.
    first.close()
    handled.clear()
    for key in keys:
        ordering_by_key.publish(setup, key, b"10")
    until(lambda: len(handled) == 20)
    assert {worker for worker, *_ in handled} == {1}


def test_jobs_come_when_they_are_due_and_never_earlier(connection, name, clean, until):
    delayed_jobs.LATER = name + "-later"
    clean[1](delayed_jobs.LATER)
    clean[0](name)
    channel = connection.channel()
    delayed_jobs.declare(channel, name)
    done = []
    channel.basic_consume(name, lambda _channel, _method, _properties, body: done.append(
        (time.monotonic(), body)), auto_ack=True)
    start = time.monotonic()
    for delay in (600, 200, 0):
        delayed_jobs.schedule(channel, name, str(delay).encode(), delay)
    until(lambda: len(done) == 3)
    assert [body for _, body in done] == [b"0", b"200", b"600"]
    # The broker counts whole milliseconds.
    assert all(at - start >= int(body) / 1000 - 0.001 for at, body in done)


def test_every_reader_of_a_stream_begins_where_it_likes(connection, name, clean, until):
    clean[0](name)
    channel = connection.channel()
    channel.confirm_delivery()
    event_replay.declare(channel, name)
    for number in range(300):
        channel.basic_publish("", name, str(number).encode())
    everything, rest, new = [], [], []
    for offset, seen in (("first", everything), (250, rest), ("next", new)):
        reader = connection.channel()
        event_replay.read(reader, name, offset, lambda at, body, seen=seen: seen.append((at, int(body))))
    until(lambda: len(everything) == 300 and len(rest) == 50)
    channel.basic_publish("", name, b"300")
    until(lambda: len(everything) == 301 and len(rest) == 51 and len(new) == 1)
    assert everything == [(number, number) for number in range(301)]
    assert (rest[0], new) == ((250, 250), [(300, 300)])
    # Again, from the beginning: nothing was taken away.
    again = []
    event_replay.read(connection.channel(), name, "first", lambda at, body: again.append(at))
    until(lambda: len(again) == 301)
