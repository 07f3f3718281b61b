"""The application of every program here: its tasks, and the settings that programs differ in."""

import os
import time

from celery import Celery

WORD = os.environ["TASKS_WORD"]

app = Celery("tasks", broker=os.environ["TASKS_BROKER"], backend=os.environ.get("TASKS_BACKEND", "rpc://"))
app.conf.update(
    task_default_queue=f"celery-{WORD}",
    task_default_exchange=f"celery-{WORD}",
    task_default_routing_key=f"celery-{WORD}",
    task_default_queue_type=os.environ.get("TASKS_QUEUE_TYPE", "classic"),
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    control_exchange=f"pidbox-{WORD}",
    event_exchange=f"events-{WORD}",
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # Redis and databases count a chord's parts themselves; with files it is a task that asks again and again.
    result_chord_retry_interval=0.2,
)


@app.task
def add(x, y):
    """The tutorial's task."""
    return x + y


@app.task
def total(numbers):
    """The end of a chord."""
    return sum(numbers)


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def unreliable(self, failures):
    """Fails so many times before it succeeds; the number of tries."""
    if self.request.retries < failures:
        raise self.retry(exc=ValueError("not yet"))
    return self.request.retries + 1


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def slow(self, place):
    """Tells by a file in `place` that it has begun, then waits for the file that lets it end."""
    with open(os.path.join(place, f"begun-{os.getpid()}"), "w", encoding="ascii") as begun:
        begun.write(self.request.id)
    while not os.path.exists(os.path.join(place, "go")):
        time.sleep(0.05)
    return bool(self.request.delivery_info["redelivered"])


@app.task(bind=True)
def when(self):
    """The time at which it was run."""
    return time.time()
