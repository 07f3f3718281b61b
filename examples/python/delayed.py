"""Deliver a message later: python delayed.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
channel.queue_declare("reminders", durable=True)
channel.queue_bind("reminders", "later", "reminders")
channel.confirm_delivery()
for text, delay_ms in [("second", 400), ("first", 200)]:
    properties = pika.BasicProperties(delivery_mode=2, headers={"x-delay": delay_ms})
    channel.basic_publish("later", "reminders", text.encode(), properties)

waiting = channel.queue_declare("amq.delayed.later", passive=True).method.message_count
print("waiting", waiting)

for method, properties, body in channel.consume("reminders"):
    print("received", body.decode())
    channel.basic_ack(method.delivery_tag)
    if body == b"second":
        break

connection.close()
