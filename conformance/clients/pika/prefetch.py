"""Prefetch: no worker holds more than it asked for, and a slow one does not keep work from a fast one."""

from house import connect, name, wait

TASKS = 20

connection = connect()
queue = name("fair")
setup = connection.channel()
setup.queue_declare(queue, durable=True)
slow, fast = [], []


def consume(taken, prefetch, ack):
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)

    def work(channel, method, _, body):
        taken.append((method.delivery_tag, body))
        if ack:
            channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, work)
    return channel


def waiting():
    """How many tasks nobody holds."""
    return setup.queue_declare(queue, passive=True).method.message_count


slow_channel = consume(slow, 3, ack=False)
fast_channel = consume(fast, 1, ack=True)
for number in range(TASKS):
    setup.basic_publish("", queue, str(number).encode())
wait(connection, lambda: len(slow) + len(fast) == TASKS, "all tasks")
assert len(slow) == 3 and len(fast) == TASKS - 3, (slow, fast)
assert [int(body) for _, body in fast] == sorted(int(body) for _, body in fast)

# The slow worker alone: it gets one more task for the one it has done, and not a second.
fast_channel.close()
for number in range(3):
    setup.basic_publish("", queue, f"late {number}".encode())
wait(connection, lambda: waiting() == 3, "the late tasks")
assert len(slow) == 3
slow_channel.basic_ack(slow[0][0])
wait(connection, lambda: len(slow) == 4, "the task that took its place")
wait(connection, lambda: waiting() == 2, "one task less")
assert len(slow) == 4 and slow[3][1] == b"late 0"

# What it held waits again when it goes.
slow_channel.close()
wait(connection, lambda: waiting() == 5, "what the slow worker held")
assert setup.queue_delete(queue).method.message_count == 5
connection.close()
