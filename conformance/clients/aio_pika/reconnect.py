"""A robust connection over a broker's death: it comes back by itself with its topology, and its consumers go on."""

import asyncio
import sys

import aio_pika
from house import PATIENCE_S, URI, name, publish


async def persist():
    connection = await aio_pika.connect_robust(URI, reconnect_interval=0.1)
    back = asyncio.Event()
    connection.reconnect_callbacks.add(lambda *_: back.set())
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=10)
    exchange = await channel.declare_exchange(name("logs"), aio_pika.ExchangeType.TOPIC)
    durable = await channel.declare_queue(name("durable"), durable=True)
    own = await channel.declare_queue(exclusive=True)
    fleeting = await channel.declare_queue(name("fleeting"), auto_delete=True, exclusive=True)
    queues = {"durable": durable, "own": own, "fleeting": fleeting}
    heard = {word: asyncio.Queue() for word in queues}
    await publish(channel.default_exchange, durable.name, b"before")
    for word, queue in queues.items():
        await queue.bind(exchange, f"all.{word}")
        await queue.bind(exchange, "all")

    async def hear(word, message):
        async with message.process():
            heard[word].put_nowait(message.body)

    for word, queue in queues.items():
        await queue.consume(lambda message, word=word: hear(word, message))
    assert await heard["durable"].get() == b"before"
    kept = await channel.declare_queue(name("kept"), durable=True)
    for number in range(50):
        await publish(channel.default_exchange, kept.name, str(number).encode())

    # Whoever runs this kills the broker and starts it again before he answers.
    print("published", flush=True)
    assert await asyncio.to_thread(sys.stdin.readline) == "restarted\n"
    await back.wait()
    await channel.ready()
    await publish(exchange, "all", b"to all")
    for word in queues:
        assert await heard[word].get() == b"to all", word
        await publish(exchange, f"all.{word}", word.encode())
        assert await heard[word].get() == word.encode()
    for number in range(50):
        message = await kept.get()
        assert message.body == str(number).encode()
        await message.ack()
    for queue in (durable, kept):
        await queue.delete(if_unused=False)
    await connection.close()


async def bounded():
    async with asyncio.timeout(2 * PATIENCE_S - 5):
        await persist()


asyncio.run(bounded())
