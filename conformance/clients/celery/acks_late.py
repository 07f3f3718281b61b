"""A worker that is killed in the middle of a task: another one gets the task, marked as redelivered."""

import os

from house import PATIENCE_S, PLACE, Worker, clean, wait, worker
from tasks import app, slow


def begun():
    """How many processes have begun the task."""
    return sum(name.startswith("begun-") for name in os.listdir(PLACE))


doomed = Worker(concurrency=1).ready()
try:
    result = slow.delay(PLACE)
    wait(lambda: begun() == 1, "the task's begin")
finally:
    doomed.kill()
with worker(concurrency=1):
    wait(lambda: begun() == 2, "the task's second begin")
    with open(os.path.join(PLACE, "go"), "w", encoding="ascii"):
        pass
    assert result.get(timeout=PATIENCE_S) is True, "it was not marked as redelivered"
with app.connection_for_read() as connection:
    left = connection.default_channel.queue_declare(app.conf.task_default_queue, passive=True)
    assert left.message_count == 0, left
clean(app)
