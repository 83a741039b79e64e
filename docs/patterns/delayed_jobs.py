"""Jobs that are due later: the exchange keeps them until their time has come. No plugin, no queue for each delay."""
import pika

LATER = "later"


def declare(channel, queue):
    """Declares the exchange and the queue in which jobs appear when they are due."""
    channel.exchange_declare(
        LATER, "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
    channel.queue_declare(queue, durable=True)
    channel.queue_bind(queue, LATER, queue)


def schedule(channel, queue, body, delay_ms):
    """Has `body` appear in `queue` in `delay_ms` milliseconds, never earlier."""
    channel.basic_publish(LATER, queue, body, pika.BasicProperties(
        headers={"x-delay": delay_ms}, delivery_mode=pika.DeliveryMode.Persistent))
