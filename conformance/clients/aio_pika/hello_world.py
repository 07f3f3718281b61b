"""Hello world, and the message as the client shows it."""

from house import main, name, publish


async def hello(connection):
    async with connection.channel() as channel:
        queue = await channel.declare_queue(name("hello"), durable=True, auto_delete=True)
        await publish(channel.default_exchange, queue.name, b"Hello World!", content_type="text/plain", headers={"a": 1})
        async with queue.iterator(no_ack=True) as messages:
            async for message in messages:
                assert message.body == b"Hello World!" and message.routing_key == queue.name
                assert message.content_type == "text/plain" and message.headers == {"a": 1}
                assert message.redelivered is False
                break


main(hello)
