"""Each refusal is the exception that the client has for it, and ends the channel only."""

import aio_pika
from aio_pika import exceptions
from aiormq.exceptions import ChannelAccessRefused, InvalidFrameError
from house import URI, main, name, publish, raises


async def err(connection):
    channel = await connection.channel()
    queue = await channel.declare_queue(name("known"), durable=True, arguments={"x-max-length": 5})
    with raises(exceptions.ChannelPreconditionFailed, "inequivalent arg 'x-max-length'", queue.name):
        await (await connection.channel()).declare_queue(queue.name, durable=True)
    with raises(exceptions.ChannelNotFoundEntity, "no queue"):
        await (await connection.channel()).get_queue(name("missing"))
    with raises(exceptions.ChannelNotFoundEntity, "no exchange"):
        await (await connection.channel()).get_exchange(name("missing"))
    with raises(ChannelAccessRefused, "reserved prefix"):
        await (await connection.channel()).declare_exchange("amq.mine", aio_pika.ExchangeType.FANOUT)
    with raises(exceptions.ChannelPreconditionFailed, "not empty"):
        await publish(channel.default_exchange, queue.name, b"still here")
        await (await (await connection.channel()).get_queue(queue.name)).delete(if_empty=True)
    with raises(exceptions.QueueEmpty):
        await (await channel.declare_queue(exclusive=True)).get()

    message = await queue.get()
    assert message.body == b"still here" and message.message_count == 0
    await message.reject(requeue=True)
    message = await queue.get()
    assert message.redelivered
    await message.ack()
    await queue.delete()

    locked = URI.replace("guest:guest@", "guest:wrong@")
    assert locked != URI, "these programs log in as guest"
    with raises(exceptions.ProbableAuthenticationError, "ACCESS_REFUSED"):
        await aio_pika.connect(locked)
    with raises(InvalidFrameError, "Connection.Close"):
        await aio_pika.connect(URI.rsplit("/", 1)[0] + "/missing")
    assert not connection.is_closed


main(err)
