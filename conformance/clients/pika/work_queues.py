"""Work queues: tasks are shared between workers, and what a dying worker held is done by another."""

import pika
from house import bodies, connect, is_empty, name, take, wait

TASKS = [f"task {number}".encode() for number in range(10)]

connection = connect()
channel = connection.channel()
queue = name("tasks")
channel.queue_declare(queue, durable=True)

workers, done = [], {0: [], 1: []}
for index in done:
    worker = connect()
    work = worker.channel()
    work.basic_qos(prefetch_count=len(TASKS))
    work.basic_consume(queue, lambda _channel, method, _, body, index=index: done[index].append((method, body)))
    workers.append((worker, work))
for task in TASKS:
    channel.basic_publish("", queue, task, pika.BasicProperties(delivery_mode=2))
for index, (worker, _) in enumerate(workers):
    wait(worker, lambda index=index: len(done[index]) == len(TASKS) // 2, "half of the tasks")
assert bodies([(None, None, body) for _, body in done[0]]) == TASKS[0::2], "tasks are dealt in turn"
assert [body for _, body in done[1]] == TASKS[1::2]

# The first worker finishes two of its tasks and dies; the second finishes everything.
(dying, dying_channel), (living, living_channel) = workers
for method, _ in done[0][:2]:
    dying_channel.basic_ack(method.delivery_tag)
dying.close()
wait(living, lambda: len(done[1]) == 8, "the tasks of the dead worker")
again = done[1][5:]
assert [body for _, body in again] == TASKS[4::2], again
assert all(method.redelivered for method, _ in again)
living_channel.basic_ack(again[-1][0].delivery_tag, multiple=True)
living.close()
assert is_empty(channel, queue)

# A task that is given back keeps its place.
for task in TASKS[:3]:
    channel.basic_publish("", queue, task)
method, _, body = channel.basic_get(queue)
assert body == TASKS[0]
channel.basic_nack(method.delivery_tag, requeue=True)
assert bodies(take(connection, channel, queue, 3)) == TASKS[:3]
channel.queue_delete(queue)
connection.close()
