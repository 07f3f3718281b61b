"""Share tasks between workers and lose none when a worker dies: python work_queue.py [AMQP-URL]"""

import os
import sys

import pika

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare("tasks", durable=True)
channel.confirm_delivery()
for number in range(5):
    channel.basic_publish("", "tasks", f"task {number}".encode(), pika.BasicProperties(delivery_mode=2))

# A worker that dies holding two tasks: both go back to their places in the queue.
doomed = pika.BlockingConnection(pika.URLParameters(url))
worker = doomed.channel()
worker.basic_qos(prefetch_count=2)
for method, properties, body in worker.consume("tasks"):
    print("started", body.decode())
    if method.delivery_tag == 2:
        break
doomed.close()

# Another worker does all of them. With a prefetch of 1 it holds one task at a time.
channel.basic_qos(prefetch_count=1)
for method, properties, body in channel.consume("tasks"):
    print("done", body.decode() + (" (redelivered)" if method.redelivered else ""))
    channel.basic_ack(method.delivery_tag)
    if body == b"task 4":
        break

connection.close()
