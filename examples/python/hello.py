"""Publish a message, wait for its confirm, consume it, acknowledge it: python hello.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("hello", durable=True)
channel.confirm_delivery()  # from here on basic_publish returns once the message is on disk
channel.basic_publish("", "hello", b"hello", pika.BasicProperties(delivery_mode=2))

for method, properties, body in channel.consume("hello"):
    print("received", body.decode())
    channel.basic_ack(method.delivery_tag)
    break

connection.close()
