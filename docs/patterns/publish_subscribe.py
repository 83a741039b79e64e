"""Publish and subscribe, with retries that come later each time, and a place for what never works.

Each subscription is a queue of its own, so each gets every event that it asked for, also while its program is down.
"""
import pika

EVENTS = "events"


class Subscription:
    """What one program wants to hear of."""

    def __init__(self, channel, name, topics, delays_ms=(1_000, 10_000, 60_000)):
        """Declares the queue `name` for `topics` such as `order.*`. What fails is tried again after each of
        `delays_ms`, and then goes to the queue `name.dead`."""
        self.channel, self.name, self.delays_ms = channel, name, delays_ms
        channel.exchange_declare(EVENTS, "topic", durable=True)
        channel.queue_declare(f"{name}.dead", durable=True)
        channel.queue_declare(name, durable=True, arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dead"})
        for topic in topics:
            channel.queue_bind(name, EVENTS, topic)
        for delay in delays_ms:
            # Nobody consumes here: what has waited its time goes back.
            channel.queue_declare(self.waiting(delay), durable=True, arguments={
                "x-message-ttl": delay,
                "x-dead-letter-exchange": "", "x-dead-letter-routing-key": name})
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=50)

    def waiting(self, delay_ms):
        """The queue of what is tried again after `delay_ms`."""
        return f"{self.name}.again-after-{delay_ms}ms"

    def listen(self, work):
        """Calls `work(topic, body)` for each event; an exception means that it failed."""
        def on_message(channel, method, properties, body):
            headers = properties.headers or {}
            topic = headers.get("topic", method.routing_key)
            try:
                work(topic, body)
            except Exception:
                self.try_again(method, properties, body, topic)
            else:
                channel.basic_ack(method.delivery_tag)
        self.channel.basic_consume(self.name, on_message)

    def try_again(self, method, properties, body, topic):
        """Lets a failed event wait, or gives it up."""
        headers = dict(properties.headers or {})
        tries = headers.get("tries", 0)
        if tries == len(self.delays_ms):
            # To `name.dead`, where x-death tells from which queue and why.
            self.channel.basic_reject(method.delivery_tag, requeue=False)
            return
        headers.update(tries=tries + 1, topic=topic)
        properties.headers = headers
        # The copy is confirmed before the original goes: a crash in between makes two of it, never none.
        self.channel.basic_publish(
            "", self.waiting(self.delays_ms[tries]), body, properties, mandatory=True)
        self.channel.basic_ack(method.delivery_tag)


def publish(channel, topic, body):
    """Tells all subscriptions of `topic`. The channel confirms: when this returns, it is on their disks."""
    kept = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    channel.basic_publish(EVENTS, topic, body, kept)
