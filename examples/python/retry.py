"""Retry a task that fails, each time later, and set it aside in the end: python retry.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("emails.failed", durable=True)
channel.queue_declare("emails", durable=True, arguments={
    "x-retry-delays": [100, 200, 400],  # milliseconds: after the first, second and third failure
    "x-retry-jitter": 20,               # each up to 20 % shorter or longer, so that they spread
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "emails.failed",
})
channel.confirm_delivery()
channel.basic_publish("", "emails", b"poison", pika.BasicProperties(delivery_mode=2))


def work(channel, method, properties, body):
    failures = (properties.headers or {}).get("x-delivery-count", 0)
    print("attempt", failures + 1)
    channel.basic_nack(method.delivery_tag, requeue=True)


def inspect(channel, method, properties, body):
    death = properties.headers["x-death"][0]
    print("set aside", body.decode(), "from", death["queue"], "because of", death["reason"])
    channel.basic_ack(method.delivery_tag)
    channel.stop_consuming()


channel.basic_consume("emails", work)
channel.basic_consume("emails.failed", inspect)
channel.start_consuming()
connection.close()
