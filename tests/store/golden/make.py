"""Makes a golden file: starts a broker, is its client, stops it. Needs pika.

    python make.py LEVERET FORMAT clean|killed FOLDER && gzip -9nc FOLDER/leveret.redb > FORMAT-HOW.gz

Every durable thing that the format knows is in the file. Half of the messages are in the tables and half, after a
kill, in the journal alone: between the halves the broker has time to rest. Of ten messages in each queue the first few
are acknowledged, and some have come back: `counted 0` four times, `counted 3` once, `patient 0` and `patient 1` once
each, to wait for a billion milliseconds, as what `later` delays does. `parking 0` and `parking 1` have died and found no exchange.
From format 8 on a message of each half is so long that it is in parts.
"""

import signal
import subprocess
import sys
import time

import pika

LONG_MS = 1_000_000_000

binary, version, how, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
command = [binary, "serve", "--data-dir", folder, "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline().split("amqp=127.0.0.1:")[1].split()[0])
connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
channel = connection.channel()
channel.confirm_delivery()


def say(exchange, key, body, mode=2, **properties):
    channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=mode, **properties))


def take(queue):
    return channel.basic_get(queue)[0].delivery_tag


def queue(name, durable=True, **arguments):
    arguments = {"x-" + key.replace("_", "-"): value for key, value in arguments.items()}
    channel.queue_declare(name, durable=durable, arguments=arguments)


def topology():
    channel.exchange_declare("orders", "direct", durable=True)
    channel.exchange_declare("spare", "fanout", durable=True)
    channel.exchange_declare("news", "topic", durable=True, arguments={"alternate-exchange": "spare"})
    channel.exchange_declare("passing", "direct", durable=False)
    queue("plain")
    queue("counted", queue_type="quorum", delivery_limit=7)
    queue("urgent", max_priority=10)
    queue("gone")
    queue("fleeting", durable=False)
    channel.queue_bind("plain", "orders", "a")
    channel.queue_bind("plain", "orders", "b")
    channel.queue_bind("counted", "news", "x.#")
    channel.exchange_bind("news", "orders", "c")
    if version >= 3:
        queue("feed", queue_type="stream")
        queue("once", message_deduplication=True)
        queue("patient", queue_type="quorum", delayed_retry_type="all", delayed_retry_min=LONG_MS)
        channel.exchange_declare("later", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
        channel.queue_bind("plain", "later", "d")
    if version >= 5:
        queue("parking", dead_letter_exchange="nowhere")


def half(first):
    for number in range(first, first + 5):
        say("orders", "a", f"plain {number}")
        say("news", "x.y", f"counted {number}")
        say("", "urgent", f"urgent {number}", priority=number)
        say("", "gone", f"gone {number}")
    say("", "plain", f"transient {first}", mode=1)
    large = f"large {first} ".encode() + b"x" * 70_000
    say("orders", "b", large, headers={"text": "value", "number": first})
    say("", "plain", f"expires {first}", expiration="900000000")
    tags = [take("plain") for _ in range(3)]
    channel.basic_ack(tags[0])
    channel.basic_ack(tags[2])
    channel.basic_nack(tags[1], requeue=True)
    tags = [take("counted") for _ in range(3)]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[0], requeue=True)
    channel.basic_nack(tags[2], requeue=True)
    channel.basic_nack(take("counted"), requeue=True)
    channel.basic_ack(take("urgent"))
    if version >= 3:
        half_of_3(first)
    if version >= 5:
        for number in range(first, first + 5):
            say("", "parking", f"parking {number}")
        channel.basic_reject(take("parking"), requeue=False)
    if version >= 8:
        say("", "plain", f"long {first} ".encode() + b"x" * 600_000)


def half_of_3(first):
    for number in range(first, first + 5):
        say("", "feed", f"feed {number}")
        say("", "once", f"once {number}", headers={"x-deduplication-header": f"id {number // 2}"})
        say("", "patient", f"patient {number}")
    say("later", "d", f"later {first}", headers={"x-delay": LONG_MS})
    channel.basic_nack(take("patient"), requeue=True)
    reader = connection.channel()
    reader.basic_qos(prefetch_count=2)
    read = []

    def on_message(_channel, method, _properties, body):
        read.append(body)
        reader.basic_ack(method.delivery_tag)

    arguments = {"x-stream-automatic-offset-tracking": True}
    if first == 0:
        arguments["x-stream-offset"] = "first"
    reader.basic_consume("feed", on_message, arguments=arguments, consumer_tag="reader")
    while len(read) < 3:
        connection.process_data_events(0.1)
    reader.close()


topology()
half(0)
channel.queue_delete("gone")
channel.queue_unbind("plain", "orders", "b")
time.sleep(3)
queue("gone")
channel.queue_bind("plain", "orders", "b")
half(5)
channel.queue_delete("gone")
say("", "plain", "last")
if how == "killed":
    server.kill()
else:
    connection.close()
    server.send_signal(signal.SIGTERM)
server.wait()
