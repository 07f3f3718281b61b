"""A task that fails is published again by its worker until it succeeds or has been tried often enough."""

from house import PATIENCE_S, clean, worker
from tasks import app, unreliable

with worker():
    assert unreliable.delay(0).get(timeout=PATIENCE_S) == 1
    assert unreliable.delay(3).get(timeout=PATIENCE_S) == 4
    try:
        unreliable.delay(4).get(timeout=PATIENCE_S)
    except ValueError as fault:
        assert str(fault) == "not yet", fault
    else:
        raise AssertionError("a task was tried more often than it allows")
clean(app)
