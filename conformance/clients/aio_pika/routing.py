"""Routing by direct, topic and headers exchanges; what no queue takes comes back."""

import aio_pika
from aio_pika.exceptions import DeliveryError
from house import main, name, publish, raises, take

KINDS = {
    aio_pika.ExchangeType.DIRECT: {"kern.error": ["kern.error"], "cron": ["cron"]},
    aio_pika.ExchangeType.TOPIC: {
        "kern.*": ["kern.error", "kern.info"],
        "*.error": ["kern.error"],
        "#": ["kern.error", "kern.info", "cron", "a.b.c"],
        "a.#": ["a.b.c"],
    },
}
KEYS = ["kern.error", "kern.info", "cron", "a.b.c"]


async def route(connection):
    channel = await connection.channel(on_return_raises=True)
    for kind, patterns in KINDS.items():
        exchange = await channel.declare_exchange(name("logs"), kind)
        queues = {}
        for pattern in patterns:
            queues[pattern] = await channel.declare_queue(exclusive=True)
            await queues[pattern].bind(exchange, pattern)
        taken = {key for keys in patterns.values() for key in keys}
        for key in KEYS:
            if key in taken:
                await publish(exchange, key, key.encode())
            else:
                with raises(DeliveryError):
                    await publish(exchange, key, key.encode())
        for pattern, keys in patterns.items():
            assert await take(queues[pattern], len(keys)) == [key.encode() for key in keys], pattern
        await exchange.delete()

    exchange = await channel.declare_exchange(name("logs"), aio_pika.ExchangeType.HEADERS)
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "", arguments={"x-match": "any", "kind": "report", "size": 3})
    await publish(exchange, "", b"size", headers={"size": 3})
    await publish(exchange, "", b"kind", headers={"kind": "report", "size": 4})
    with raises(DeliveryError):
        await publish(exchange, "", b"neither", headers={"size": "3"})
    assert await take(queue, 2) == [b"size", b"kind"]
    await exchange.delete()


main(route)
