"""Publish and subscribe: every subscriber's exclusive queue gets a copy, and goes with its connection."""

import aio_pika
from aiormq.exceptions import ChannelLockedResource
from house import URI, main, name, publish, raises, take


async def broadcast(connection):
    channel = await connection.channel()
    logs = await channel.declare_exchange(name("logs"), aio_pika.ExchangeType.FANOUT)
    queues = [await channel.declare_queue(exclusive=True) for _ in range(3)]
    for queue in queues:
        assert queue.name.startswith("amq."), queue.name
        await queue.bind(logs)
    lines = [f"line {number}".encode() for number in range(5)]
    for line in lines:
        await publish(logs, "info", line)
    for queue in queues:
        assert await take(queue, len(lines)) == lines

    other = await aio_pika.connect(URI)
    theirs = await (await other.channel()).declare_queue(exclusive=True)
    foreign = await connection.channel()
    with raises(ChannelLockedResource, "RESOURCE_LOCKED", theirs.name):
        await foreign.get_queue(theirs.name)
    await other.close()
    foreign = await connection.channel()
    with raises(aio_pika.exceptions.ChannelNotFoundEntity, theirs.name):
        await foreign.get_queue(theirs.name)

    archive = await channel.declare_exchange(name("archive"), aio_pika.ExchangeType.FANOUT, auto_delete=True)
    await archive.bind(logs)
    kept = await channel.declare_queue(exclusive=True)
    await kept.bind(archive)
    await publish(logs, "", b"kept")
    assert await take(kept, 1) == [b"kept"]
    await logs.delete()


main(broadcast)
