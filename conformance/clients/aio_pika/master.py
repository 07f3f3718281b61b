"""The client's master and worker pattern: tasks that are done, refused and given back."""

import asyncio

from aio_pika.patterns import Master, NackMessage, RejectMessage
from house import main, name


async def rule(connection):
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=4)
    master = Master(channel)
    task, done, tried, finished = name("task"), [], {}, asyncio.Event()

    async def work(*, number):
        tried[number] = tried.get(number, 0) + 1
        if number % 5 == 1:
            raise RejectMessage(requeue=False)
        if number % 5 == 2 and tried[number] == 1:
            raise NackMessage(requeue=True)
        done.append(number)
        if len(done) == 40:
            finished.set()

    worker = await master.create_worker(task, work, durable=True)
    for number in range(50):
        await master.create_task(task, kwargs={"number": number})
    await finished.wait()
    assert sorted(done) == [number for number in range(50) if number % 5 != 1]
    assert tried == {number: 2 if number % 5 == 2 else 1 for number in range(50)}
    await worker.close()
    queue = await channel.get_queue(task)
    await queue.delete(if_unused=False, if_empty=False)


main(rule)
