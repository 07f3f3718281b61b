"""The first steps: tasks are called, their results come back over the broker, chains and groups among them."""

from celery import chain, group
from house import PATIENCE_S, clean, worker
from tasks import add, app

with worker():
    assert add.delay(4, 4).get(timeout=PATIENCE_S) == 8
    results = [add.delay(number, number) for number in range(50)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == [2 * number for number in range(50)]
    assert chain(add.s(1, 2), add.s(3), add.s(4)).apply_async().get(timeout=PATIENCE_S) == 10
    assert group(add.s(number, 1) for number in range(10))().get(timeout=PATIENCE_S) == list(range(1, 11))
    ignored = add.apply_async((1, 1), ignore_result=True)
    assert ignored.get(timeout=PATIENCE_S) is None
clean(app)
