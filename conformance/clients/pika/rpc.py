"""RPC: questions by one queue, answers by an exclusive queue of the asker."""

import uuid

import pika
from house import connect, name, wait


def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def answer(channel, method, properties, body):
    reply = pika.BasicProperties(correlation_id=properties.correlation_id)
    channel.basic_publish("", properties.reply_to, str(fibonacci(int(body))).encode(), reply)
    channel.basic_ack(method.delivery_tag)


server = connect()
questions = name("questions")
serving = server.channel()
serving.queue_declare(questions, durable=True)
serving.basic_qos(prefetch_count=1)
serving.basic_consume(questions, answer)

asker = connect()
asking = asker.channel()
replies = asking.queue_declare("", exclusive=True).method.queue
answers = {}
asking.basic_consume(
    replies, lambda _channel, _, properties, body: answers.update({properties.correlation_id: int(body)}), auto_ack=True
)
asked = {str(uuid.uuid4()): number for number in range(10)}
for correlation_id, number in asked.items():
    properties = pika.BasicProperties(reply_to=replies, correlation_id=correlation_id)
    asking.basic_publish("", questions, str(number).encode(), properties)


def answered():
    server.process_data_events(time_limit=0)
    return len(answers) == len(asked)


wait(asker, answered, "all answers")
assert answers == {correlation_id: fibonacci(number) for correlation_id, number in asked.items()}
asker.close()
# The replies' queue went with its owner: a late answer goes nowhere.
serving.basic_publish("", replies, b"late")
serving.queue_delete(questions)
server.close()
