"""A broker that dies and comes back: a client that connects again finds all that was confirmed."""

import contextlib
import sys
import time

import pika
from house import PATIENCE_S, bodies, connect, name, take
from pika.exceptions import AMQPError

connection = connect()
channel = connection.channel()
channel.confirm_delivery()
queue, exchange = name("kept"), name("kept")
persistent = pika.BasicProperties(delivery_mode=2)


def declare():
    channel.exchange_declare(exchange, exchange_type="topic", durable=True)
    channel.queue_declare(queue, durable=True, arguments={"x-delivery-limit": 5, "x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, routing_key="a.#")


declare()
lines = [f"line {number}".encode() for number in range(200)]
for line in lines[:100]:
    channel.basic_publish(exchange, "a.b", line, persistent, mandatory=True)

# Whoever runs this kills the broker and starts it again before he answers.
print("published", flush=True)
assert sys.stdin.readline() == "restarted\n"
with contextlib.suppress(AMQPError):
    while connection.is_open:
        connection.process_data_events(time_limit=1)

end = time.monotonic() + PATIENCE_S
while not connection.is_open:
    assert time.monotonic() < end, "the broker does not come back"
    try:
        connection = connect()
    except AMQPError:
        continue
channel = connection.channel()
channel.confirm_delivery()
declare()
for line in lines[100:]:
    channel.basic_publish(exchange, "a.b.c", line, persistent, mandatory=True)
assert bodies(take(connection, channel, queue, len(lines))) == lines
channel.queue_delete(queue)
channel.exchange_delete(exchange)
connection.close()
