"""Order for each key, and still many workers: a key always goes to the same queue, and each queue has one worker at a time."""

ORDERED = "ordered"


def declare(channel, partitions):
    """Declares as many queues as there may ever be workers; returns their names."""
    channel.exchange_declare(ORDERED, "x-consistent-hash", durable=True)
    names = [f"{ORDERED}-{number}" for number in range(partitions)]
    for name in names:
        channel.queue_declare(name, durable=True, arguments={"x-single-active-consumer": True})
        # The routing key of such a binding is its weight.
        channel.queue_bind(name, ORDERED, "1")
    return names


def work(channel, names, handle):
    """Consumes all queues. Of several workers one is active for each queue; when it goes, another takes over.

    `handle(queue, key, body)` is called in the order in which the events of a key were published.
    """
    channel.basic_qos(prefetch_count=10)

    def on_message(channel, method, _properties, body):
        handle(names_by_tag[method.consumer_tag], method.routing_key, body)
        channel.basic_ack(method.delivery_tag)

    names_by_tag = {}
    for name in names:
        tag = f"{name}-{channel.channel_number}-{id(channel)}"
        names_by_tag[tag] = name
        channel.basic_consume(name, on_message, consumer_tag=tag)


def publish(channel, key, body):
    """Publishes an event of `key`, such as a customer's number."""
    channel.basic_publish(ORDERED, key, body)
