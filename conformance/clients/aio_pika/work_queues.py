"""Work queues: two workers share the tasks, one dies with its own unfinished, and nothing is left undone."""

import asyncio

import aio_pika
from house import URI, main, name, publish

TASKS = [f"task {number}".encode() for number in range(20)]


async def share(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("tasks"), durable=True)
    for task in TASKS:
        await publish(channel.default_exchange, queue.name, task)

    done, held, all_done = [], asyncio.Queue(), asyncio.Event()

    async def work(message):
        async with message.process():
            done.append((message.body, message.redelivered))
            if len(done) == len(TASKS):
                all_done.set()

    dying = await aio_pika.connect(URI)
    dying_channel = await dying.channel()
    await dying_channel.set_qos(prefetch_count=5)
    await (await dying_channel.get_queue(queue.name)).consume(held.put)
    first = [await held.get() for _ in range(5)]
    assert [message.body for message in first] == TASKS[:5]
    await first[0].ack()
    sixth = await held.get()
    assert sixth.body == TASKS[5]
    done.append((first[0].body, False))

    living_channel = await connection.channel()
    await living_channel.set_qos(prefetch_count=1)
    await (await living_channel.get_queue(queue.name)).consume(work)
    await dying.close()
    await all_done.wait()
    assert sorted(done) == sorted((task, task in TASKS[1:6]) for task in TASKS), done
    assert await queue.delete(if_unused=False)


main(share)
