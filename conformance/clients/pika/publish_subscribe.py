"""Publish and subscribe: a fanout exchange copies every message to every queue that is bound to it."""

from house import bodies, connect, name, take

connection = connect()
channel = connection.channel()
logs = name("logs")
channel.exchange_declare(logs, exchange_type="fanout")
channel.basic_publish(logs, "", b"nobody hears this")

queues = []
for _ in range(3):
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-"), queue
    channel.queue_bind(queue, logs)
    queues.append(queue)
lines = [f"line {number}".encode() for number in range(5)]
for line in lines:
    channel.basic_publish(logs, "any key", line)
for queue in queues:
    assert bodies(take(connection, channel, queue, len(lines))) == lines

# One exchange feeds another.
archive = name("archive")
channel.exchange_declare(archive, exchange_type="fanout", auto_delete=True)
channel.exchange_bind(destination=archive, source=logs)
kept = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(kept, archive)
channel.basic_publish(logs, "", b"kept")
assert bodies(take(connection, channel, kept, 1)) == [b"kept"]
channel.exchange_unbind(destination=archive, source=logs)
channel.exchange_delete(logs)
connection.close()
