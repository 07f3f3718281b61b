"""Chords: many tasks, and one that gets all their results.

Celery's rpc backend refuses chords, and says so; results are kept in files here. The worker then asks again and again,
by a task with a countdown, whether all parts are there.
"""

import os

from house import PATIENCE_S, PLACE, clean, worker

os.environ["TASKS_BACKEND"] = f"file://{PLACE}"

from celery import chain, chord, group
from celery.backends.rpc import RPCBackend
from tasks import add, app, total

with worker():
    assert chord(add.s(number, number) for number in range(10))(total.s()).get(timeout=PATIENCE_S) == 90
    nested = chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(100))
    assert nested().get(timeout=PATIENCE_S) == 107

try:
    RPCBackend(app).ensure_chords_allowed()
except NotImplementedError as refusal:
    assert "does not support chords" in str(refusal)
else:
    raise AssertionError("the rpc backend takes chords now: use it here")
clean(app)
