"""Publisher confirms one by one and together, returns as errors or as messages, and transactions."""

import asyncio

import aio_pika
from aio_pika.exceptions import DeliveryError
from house import main, name, publish, raises, take


async def confirm(connection):
    channel = await connection.channel(on_return_raises=True)
    queue = await channel.declare_queue(name("confirmed"), durable=True)
    bodies = [str(number).encode() for number in range(200)]
    for body in bodies[:20]:
        assert await publish(channel.default_exchange, queue.name, body) is not None
    await asyncio.gather(*(publish(channel.default_exchange, queue.name, body) for body in bodies[20:]))
    assert await take(queue, len(bodies)) == bodies
    with raises(DeliveryError):
        await publish(channel.default_exchange, name("nobody"), b"stray")

    calm = await connection.channel()
    returned = asyncio.Queue()
    calm.return_callbacks.add(lambda _, message: returned.put_nowait(message.body))
    await publish(calm.default_exchange, name("nobody"), b"stray")
    assert await returned.get() == b"stray"

    unconfirmed = await connection.channel(publisher_confirms=False)
    mirror = await unconfirmed.get_queue(queue.name)
    transaction = unconfirmed.transaction()
    await transaction.select()
    await publish(unconfirmed.default_exchange, queue.name, b"never")
    await transaction.rollback()
    async with unconfirmed.transaction():
        for body in bodies[:3]:
            await publish(unconfirmed.default_exchange, queue.name, body)
    assert (await mirror.declare()).message_count == 3
    assert await take(queue, 3) == bodies[:3]
    await queue.delete(if_unused=False)


main(confirm)
