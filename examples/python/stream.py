"""Read a stream from its beginning, as often as wanted: python stream.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("events", durable=True, arguments={
    "x-queue-type": "stream",
    "x-max-age": "7D",
    "x-max-length-bytes": 1_000_000_000,
})
channel.confirm_delivery()
for number in range(3):
    channel.basic_publish("", "events", f"event {number}".encode())


def read(channel, method, properties, body):
    print(properties.headers["x-stream-offset"], body.decode())
    channel.basic_ack(method.delivery_tag)
    if body == b"event 2":
        channel.basic_cancel(method.consumer_tag)


channel.basic_qos(prefetch_count=100)  # a stream's consumer must have a prefetch
for offset in ["first", 1, -1]:
    print("from", offset)
    channel.basic_consume("events", read, arguments={"x-stream-offset": offset})
    channel.start_consuming()

connection.close()
