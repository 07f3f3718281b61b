"""Routing: a direct exchange gives each queue the severities it asked for."""

from house import bodies, connect, is_empty, name, take

connection = connect()
channel = connection.channel()
logs = name("direct-logs")
channel.exchange_declare(logs, exchange_type="direct")
everything, errors = (channel.queue_declare("", exclusive=True).method.queue for _ in range(2))
for severity in ("info", "warning", "error"):
    channel.queue_bind(everything, logs, routing_key=severity)
channel.queue_bind(errors, logs, routing_key="error")
channel.queue_bind(errors, logs, routing_key="error")
for severity in ("info", "error", "debug", "warning", "error"):
    channel.basic_publish(logs, severity, severity.encode())
assert bodies(take(connection, channel, everything, 4)) == [b"info", b"error", b"warning", b"error"]
assert bodies(take(connection, channel, errors, 2)) == [b"error", b"error"]

channel.queue_unbind(errors, logs, routing_key="error")
channel.basic_publish(logs, "error", b"late")
assert bodies(take(connection, channel, everything, 1)) == [b"late"]
assert is_empty(channel, errors) and is_empty(channel, everything)

# What no queue takes goes to the alternate exchange.
stray, main = name("stray"), name("main")
channel.exchange_declare(stray, exchange_type="fanout")
channel.exchange_declare(main, exchange_type="direct", arguments={"alternate-exchange": stray})
channel.queue_bind(errors, stray)
channel.basic_publish(main, "unknown", b"found again")
assert bodies(take(connection, channel, errors, 1)) == [b"found again"]
for exchange in (logs, main, stray):
    channel.exchange_delete(exchange)
connection.close()
