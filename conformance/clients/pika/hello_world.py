"""Hello world: a message goes through a queue by the default exchange."""

from house import connect, name, take

connection = connect()
channel = connection.channel()
queue = name("hello")
channel.queue_declare(queue, exclusive=True)
channel.basic_publish(exchange="", routing_key=queue, body=b"Hello World!")
[(method, properties, body)] = take(connection, channel, queue, 1)
assert body == b"Hello World!"
assert (method.exchange, method.routing_key, method.redelivered) == ("", queue, False)
assert properties.headers is None
connection.close()
