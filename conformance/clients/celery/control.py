"""What an operator asks workers over the broker: who is there, what they do, to take another queue, to revoke."""

import os

from house import PATIENCE_S, PLACE, clean, wait, worker
from tasks import WORD, add, app, slow, when

with worker("-E") as one, worker("-E"):
    asked = app.control.inspect(limit=2, timeout=10)
    answers = asked.ping()
    assert len(answers) == 2 and all(answer == {"ok": "pong"} for answer in answers.values()), answers
    assert all("tasks.add" in names for names in asked.registered().values())

    events = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        capturing = receiver.itercapture(limit=None, timeout=PATIENCE_S, wakeup=False)
        next(capturing)
        add.delay(1, 2).get(timeout=PATIENCE_S)
        for _ in capturing:
            if results := [event["result"] for event in events if event["type"] == "task-succeeded"]:
                assert results == ["3"], events
                break

    result = slow.delay(PLACE)
    wait(lambda: any(asked.active().values()), "the running task")
    with open(os.path.join(PLACE, "go"), "w", encoding="ascii"):
        pass
    assert result.get(timeout=PATIENCE_S) is False

    revoked = when.apply_async(countdown=1)
    app.control.revoke(revoked.id, reply=True, limit=2, timeout=10)
    try:
        revoked.get(timeout=PATIENCE_S)
    except Exception as fault:
        assert type(fault).__name__ == "TaskRevokedError", fault
    else:
        raise AssertionError("a revoked task was run")

    another = f"another-{WORD}"
    assert len(app.control.add_consumer(another, reply=True, limit=2, timeout=10)) == 2
    assert add.apply_async((5, 6), queue=another).get(timeout=PATIENCE_S) == 11
    assert len(app.control.cancel_consumer(another, reply=True, limit=2, timeout=10)) == 2
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(another)
clean(app)
