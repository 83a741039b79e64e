"""Events that are kept: every reader begins where it likes, as often as it likes, and takes nothing from the others."""


def declare(channel, stream, max_bytes=1_000_000_000):
    """Declares a stream of at most about `max_bytes`, of which the oldest events go first."""
    channel.queue_declare(stream, durable=True, arguments={
        "x-queue-type": "stream", "x-max-length-bytes": max_bytes})


def read(channel, stream, offset, handle):
    """Calls `handle(offset, body)` for each event from `offset` on: a number, `first`, `last`, `next`, or a datetime.

    Whoever keeps the last offset it has handled goes on after it the next time. Returns the consumer's tag.
    """
    # Acks give credit for more; without a prefetch a stream refuses the consumer.
    channel.basic_qos(prefetch_count=100)

    def on_message(channel, method, properties, body):
        handle(properties.headers["x-stream-offset"], body)
        channel.basic_ack(method.delivery_tag)

    return channel.basic_consume(stream, on_message, arguments={"x-stream-offset": offset})
