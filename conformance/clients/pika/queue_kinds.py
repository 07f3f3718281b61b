"""Queues that go by themselves: exclusive, auto-delete, server-named; and consumers that learn of it."""

from house import connect, name, refused, wait

owner, other = connect(), connect()
channel = owner.channel()
exclusive = channel.queue_declare("", exclusive=True).method.queue
with refused(405, "RESOURCE_LOCKED", exclusive):
    other.channel().basic_consume(exclusive, print)
owner.close()
with refused(404, f"no queue '{exclusive}' in vhost '/'"):
    other.channel().queue_declare(exclusive, passive=True)

# An auto-delete queue goes with its last consumer, not before it had one.
channel = other.channel()
fleeting = name("fleeting")
channel.queue_declare(fleeting, durable=True, auto_delete=True)
channel.queue_declare(fleeting, passive=True)
tags = [channel.basic_consume(fleeting, print) for _ in range(2)]
assert len(set(tags)) == 2
channel.basic_cancel(tags[0])
assert channel.queue_declare(fleeting, passive=True).method.consumer_count == 1
channel.basic_cancel(tags[1])
with refused(404, fleeting):
    channel.queue_declare(fleeting, passive=True)

# The empty name stands for the queue declared last.
channel = other.channel()
last = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind("", "amq.direct", routing_key=last)
channel.basic_publish("amq.direct", last, b"to the last")
assert channel.basic_get("")[2] == b"to the last"

# Consumers of a queue that is deleted are told.
doomed, cancelled = name("doomed"), []
channel.queue_declare(doomed, durable=True)
channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
tag = channel.basic_consume(doomed, print)
third = connect()
third.channel().queue_delete(doomed)
wait(other, lambda: cancelled, "the cancellation")
assert cancelled == [tag]
third.close()

# Deleting with conditions.
channel.queue_declare(doomed, durable=True)
channel.basic_publish("", doomed, b"still here")
with refused(406, f"queue '{doomed}' in vhost '/' not empty"):
    channel.queue_delete(doomed, if_empty=True)
channel = other.channel()
channel.basic_consume(doomed, print)
with refused(406, f"queue '{doomed}' in vhost '/' in use"):
    channel.queue_delete(doomed, if_unused=True)
channel = other.channel()
assert channel.queue_delete(doomed).method.message_count == 1
assert channel.queue_delete(doomed).method.message_count == 0, "deleting what is not there is no error"
other.close()
