"""Waiting with a limit, as the tests need it in several places."""
import time


def take(channel, queue, count, seconds=10, auto_ack=True):
    """Gets `count` messages, waiting for them."""
    messages = []
    end = time.monotonic() + seconds
    while len(messages) < count:
        method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
        if method is not None:
            messages.append((method, properties, body))
            continue
        assert time.monotonic() < end, f"{len(messages)} of {count} messages after {seconds} s"
        channel.connection.process_data_events(time_limit=0.02)
    return messages


def bodies(messages):
    return [body for _, _, body in messages]


def depth(channel, queue):
    """How many messages are ready."""
    return channel.queue_declare(queue, passive=True).method.message_count


def until(channel, condition, seconds=10):
    """Lets the connection work until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s"
        channel.connection.process_data_events(time_limit=0.02)
