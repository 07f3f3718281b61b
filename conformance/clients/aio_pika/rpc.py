"""RPC: the tutorial's callback queue, and the client's own pattern for it, with its faults."""

import asyncio
import uuid

import aio_pika
from aio_pika.patterns import RPC
from house import main, name, raises


def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


async def ask(connection):
    serving, asking = await connection.channel(), await connection.channel()
    questions = await serving.declare_queue(name("questions"), durable=True)

    async def answer(message):
        async with message.process(requeue=False):
            reply = aio_pika.Message(str(fibonacci(int(message.body))).encode(), correlation_id=message.correlation_id)
            await serving.default_exchange.publish(reply, routing_key=message.reply_to)

    await questions.consume(answer)
    replies = await asking.declare_queue(exclusive=True)
    futures = {}

    async def answered(message):
        futures.pop(message.correlation_id).set_result(int(message.body))

    await replies.consume(answered, no_ack=True)
    waiting = []
    for number in range(10):
        correlation_id = str(uuid.uuid4())
        futures[correlation_id] = asyncio.get_running_loop().create_future()
        waiting.append(futures[correlation_id])
        message = aio_pika.Message(str(number).encode(), correlation_id=correlation_id, reply_to=replies.name)
        await asking.default_exchange.publish(message, routing_key=questions.name)
    assert await asyncio.gather(*waiting) == [fibonacci(number) for number in range(10)]
    await questions.delete(if_unused=False)

    rpc = await RPC.create(await connection.channel())
    method = name("multiply")

    async def multiply(*, x, y):
        return x * y

    await rpc.register(method, multiply, auto_delete=True)
    results = await asyncio.gather(*(rpc.call(method, {"x": x, "y": 2}) for x in range(20)))
    assert results == [2 * x for x in range(20)]
    with raises(TypeError):
        await rpc.call(method, {"wrong": 1})
    with raises(aio_pika.exceptions.MessageProcessError):
        await rpc.call(name("nobody"), {})
    await rpc.unregister(multiply)
    await rpc.close()


main(ask)
