"""The application, as its author would write it; the worker and the tests import it."""
import os

from celery import Celery
from kombu import Exchange, Queue

# The queues carry the run's name, so that runs against one broker do not meet.
RUN = os.environ.get("INTEROP_RUN", "interop")

app = Celery("tasks", broker=os.environ["AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=f"celery-{RUN}",
    task_default_exchange=f"celery-{RUN}",
    task_default_routing_key="default",
    task_queues=[
        Queue(f"celery-{RUN}", Exchange(f"celery-{RUN}"), routing_key="default",
              max_priority=10),
        Queue(f"celery-{RUN}-slow", Exchange(f"celery-{RUN}-topic", type="topic"),
              routing_key="slow.#"),
    ],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    result_expires=60,
    worker_send_task_events=True,
    task_send_sent_event=True,
)


@app.task
def add(x, y):
    return x + y


@app.task
def echo(value):
    return value


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def succeeds_at_third_try(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(bind=True, max_retries=1)
def never_succeeds(self):
    raise self.retry(exc=ValueError("never"), countdown=0)


@app.task
def fails():
    raise ValueError("as planned")


@app.task(bind=True)
def where(self):
    return self.request.delivery_info["routing_key"]


@app.task(bind=True)
def progress(self):
    self.update_state(state="HALF", meta={"done": 1, "of": 2})
    return "done"
