"""One worker process for the whole run, ended with it."""
import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

# Before anything imports the application.
os.environ.setdefault("INTEROP_RUN", uuid.uuid4().hex[:8])


@pytest.fixture(scope="session")
def app():
    import tasks

    return tasks.app


@pytest.fixture(scope="session")
def worker(app, tmp_path_factory):
    """The name of a running worker."""
    import tasks

    name = f"worker-{tasks.RUN}@localhost"
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "threads",
             "--concurrency", "2", "--hostname", name, "--loglevel", "INFO"],
            cwd=os.path.dirname(__file__), stdout=output, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 30
        while not app.control.ping([name], timeout=0.5):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
        yield name
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("the worker did not end:\n" + log.read_text()) from None
        finally:
            clean(app, tasks.RUN)


def clean(app, run):
    """Deletes what the application declared for good."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in (f"celery-{run}", f"celery-{run}-slow"):
            channel.queue_delete(queue)
        for exchange in (f"celery-{run}", f"celery-{run}-topic"):
            channel.exchange_delete(exchange)
