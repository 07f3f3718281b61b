"""Tasks for later: a worker holds them, unacknowledged, until they are due, and does others meanwhile."""

import time
from datetime import datetime, timedelta, timezone

from house import PATIENCE_S, clean, worker
from tasks import add, app, when

with worker(concurrency=1):
    start = time.time()
    later = [when.apply_async(countdown=2) for _ in range(2)]
    at_eta = when.apply_async(eta=datetime.now(timezone.utc) + timedelta(seconds=2))
    assert add.delay(1, 1).get(timeout=PATIENCE_S) == 2
    assert time.time() - start < 2, "a task that was due waited for those that were not"
    ran = [result.get(timeout=PATIENCE_S) for result in [*later, at_eta]]
    assert min(ran) >= start + 2, ran
    assert add.delay(2, 2).get(timeout=PATIENCE_S) == 4
    expired = add.apply_async((3, 3), countdown=0.5, expires=0.1)
    assert add.delay(4, 4).get(timeout=PATIENCE_S) == 8
    try:
        expired.get(timeout=PATIENCE_S)
    except Exception as fault:
        assert type(fault).__name__ == "TaskRevokedError", fault
    else:
        raise AssertionError("a task was run after it had expired")
clean(app)
