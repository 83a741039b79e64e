"""Tasks sent to a worker, and what comes back."""
import socket
import time
from datetime import datetime, timedelta, timezone

import pytest
import tasks
from celery import chain, chord, group

LIMIT = 15

pytestmark = pytest.mark.usefixtures("worker")


def test_result_comes_back():
    assert tasks.add.delay(2, 3).get(timeout=LIMIT) == 5


def test_many_results_find_their_callers():
    results = [tasks.echo.delay(i) for i in range(100)]
    assert [result.get(timeout=LIMIT) for result in results] == list(range(100))


def test_large_argument_and_result():
    text = "leveret " * 100_000
    assert tasks.echo.delay(text).get(timeout=LIMIT) == text


def test_exception_comes_back():
    with pytest.raises(ValueError, match="as planned"):
        tasks.fails.delay().get(timeout=LIMIT)


def test_task_is_retried_until_it_succeeds():
    assert tasks.succeeds_at_third_try.delay().get(timeout=LIMIT) == 2


def test_task_that_never_succeeds_fails_after_its_retries():
    with pytest.raises(ValueError, match="never"):
        tasks.never_succeeds.delay().get(timeout=LIMIT)


def test_countdown_is_not_early():
    began = time.monotonic()
    assert tasks.echo.apply_async(("later",), countdown=1).get(timeout=LIMIT) == "later"
    assert time.monotonic() - began >= 1


def test_eta_is_not_early():
    began = time.monotonic()
    eta = datetime.now(timezone.utc) + timedelta(seconds=1)
    assert tasks.echo.apply_async(("later",), eta=eta).get(timeout=LIMIT) == "later"
    assert time.monotonic() - began >= 0.9


def test_task_with_a_priority_runs():
    results = [tasks.echo.apply_async((i,), priority=i) for i in range(10)]
    assert sorted(result.get(timeout=LIMIT) for result in results) == list(range(10))


def test_routing_key_of_a_topic_reaches_its_queue():
    result = tasks.where.apply_async(
        exchange=f"celery-{tasks.RUN}-topic", routing_key="slow.report")
    assert result.get(timeout=LIMIT) == "slow.report"


def test_own_state_is_reported():
    states = []
    result = tasks.progress.delay()
    result.get(timeout=LIMIT, on_message=lambda body: states.append(body["status"]))
    assert states == ["HALF", "SUCCESS"]


def test_chain_passes_results_on():
    assert chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4)).delay().get(LIMIT) == 10


def test_group_collects_results():
    job = group(tasks.add.s(i, i) for i in range(10))
    assert job.delay().get(timeout=LIMIT) == [2 * i for i in range(10)]


def test_chord_is_refused_over_rpc():
    # Celery's own rule for this result backend; the broker must not turn it into a hang.
    with pytest.raises(NotImplementedError):
        chord([tasks.add.s(1, 1)])(tasks.echo.s()).get(timeout=LIMIT)


def test_ping(app, worker):
    assert app.control.ping([worker], timeout=5) == [{worker: {"ok": "pong"}}]


def test_inspect(app, worker):
    inspect = app.control.inspect([worker], timeout=5)
    assert "tasks.add" in inspect.registered()[worker]
    queues = {queue["name"] for queue in inspect.active_queues()[worker]}
    assert queues == {f"celery-{tasks.RUN}", f"celery-{tasks.RUN}-slow"}
    assert inspect.stats()[worker]["broker"]["transport"] == "amqp"


def test_scheduled_task_is_seen_and_revoked(app, worker):
    result = tasks.echo.apply_async(("never",), countdown=60)
    inspect = app.control.inspect([worker], timeout=2)
    end = time.monotonic() + LIMIT
    while not any(entry["request"]["id"] == result.id for entry in inspect.scheduled()[worker]):
        assert time.monotonic() < end
    app.control.revoke(result.id)
    while result.id not in inspect.revoked()[worker]:
        assert time.monotonic() < end


def test_consumer_is_cancelled_and_added_by_remote_control(app, worker):
    queue = f"celery-{tasks.RUN}-slow"
    app.control.cancel_consumer(queue, destination=[worker], reply=True, timeout=5)
    result = tasks.where.apply_async(
        exchange=f"celery-{tasks.RUN}-topic", routing_key="slow.held")
    inspect = app.control.inspect([worker], timeout=5)
    assert queue not in {entry["name"] for entry in inspect.active_queues()[worker]}
    assert not result.ready()
    app.control.add_consumer(queue, destination=[worker], reply=True, timeout=5)
    assert result.get(timeout=LIMIT) == "slow.held"


def test_events_tell_the_life_of_a_task(app):
    seen = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"task-succeeded": lambda event: seen.append(event["uuid"])})
        with receiver.consumer_context() as (listening, _channel, _consumers):
            result = tasks.echo.delay("watched")
            end = time.monotonic() + LIMIT
            while result.id not in seen:
                assert time.monotonic() < end
                try:
                    listening.drain_events(timeout=1)
                except socket.timeout:
                    pass
