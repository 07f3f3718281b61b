"""A worker over the broker's death: it connects again by itself, and all that was published before is done."""

import signal
import sys

from house import PATIENCE_S, clean, wait, worker
from tasks import add, app

with worker() as one:
    assert add.delay(1, 1).get(timeout=PATIENCE_S) == 2
    one.process.send_signal(signal.SIGSTOP)
    waiting = [add.apply_async((number, 1), countdown=0) for number in range(20)]

    # Whoever runs this kills the broker and starts it again before he answers.
    print("published", flush=True)
    assert sys.stdin.readline() == "restarted\n"
    one.process.send_signal(signal.SIGCONT)
    wait(lambda: all(f"[{result.id}] succeeded" in one.said() for result in waiting), "the tasks that were waiting")
    app.pool.force_close_all()
clean(app)
