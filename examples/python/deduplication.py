"""Publish a message twice and have it once: python deduplication.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("orders", durable=True, arguments={
    "x-message-deduplication": True,
    "x-cache-size": 10_000,     # remember the last 10,000 values
    "x-cache-ttl": 86_400_000,  # each for a day at most, in milliseconds
})
channel.confirm_delivery()
order = pika.BasicProperties(delivery_mode=2, headers={"x-deduplication-header": "order-4711"})
channel.basic_publish("", "orders", b"order 4711", order)
channel.basic_publish("", "orders", b"order 4711", order)  # confirmed as well

print("in the queue", channel.queue_declare("orders", passive=True).method.message_count)
connection.close()
