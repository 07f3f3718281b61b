"""Tasks in a quorum queue, as Celery recommends them for RabbitMQ 4: with prefetch by consumer."""

import os

os.environ["TASKS_QUEUE_TYPE"] = "quorum"

from house import PATIENCE_S, clean, worker
from tasks import add, app

with worker("--without-mingle", "--without-gossip"):
    results = [add.delay(number, 1) for number in range(20)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == list(range(1, 21))
clean(app)
