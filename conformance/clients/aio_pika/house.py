"""What every program here starts from: the broker's URI, a connection, and an end in sight."""

import asyncio
import contextlib
import sys
import uuid

import aio_pika

PATIENCE_S = 30
URI = sys.argv[1]


def main(program):
    """Runs a program with a connection to the broker under test, for a limited time."""

    async def bounded():
        async with asyncio.timeout(PATIENCE_S):
            async with await aio_pika.connect(URI) as connection:
                await program(connection)

    asyncio.run(bounded())


def name(word):
    """A name that nothing else has, so that programs may share a broker."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


async def publish(exchange, key, body, **properties):
    """Publishes a persistent message and waits for the confirm."""
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
    return await exchange.publish(message, routing_key=key)


async def take(queue, count):
    """Consumes `count` messages, acknowledged as they come; their bodies."""
    bodies = []
    async with queue.iterator() as messages:
        async for message in messages:
            async with message.process():
                bodies.append(message.body)
            if len(bodies) == count:
                break
    return bodies


@contextlib.contextmanager
def raises(kind, *words):
    """What is done inside must raise this exception with a text that has these words."""
    try:
        yield
    except kind as fault:
        for word in words:
            assert word in str(fault), fault
    else:
        raise AssertionError(f"no {kind.__name__}")
