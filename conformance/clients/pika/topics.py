"""Topics: patterns over dotted keys, `*` for one word and `#` for any number of them."""

from house import bodies, connect, name, take

PATTERNS = {
    "kern.*": ["kern.error", "kern.info"],
    "*.error": ["kern.error", "cron.error"],
    "#": ["kern.error", "kern.info", "cron.error", "kern.disk.error", "kern", ""],
    "kern.#": ["kern.error", "kern.info", "kern.disk.error", "kern"],
    "#.error": ["kern.error", "cron.error", "kern.disk.error"],
    "*.*.*": ["kern.disk.error"],
    # The empty key has no word at all.
    "*": ["kern"],
    "kern.#.error": ["kern.error", "kern.disk.error"],
}
KEYS = PATTERNS["#"]

connection = connect()
channel = connection.channel()
logs = name("topic-logs")
channel.exchange_declare(logs, exchange_type="topic")
queues = {}
for pattern in PATTERNS:
    queues[pattern] = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queues[pattern], logs, routing_key=pattern)
# A queue whose patterns both match still gets one copy.
channel.queue_bind(queues["kern.*"], logs, routing_key="kern.error")

long_key = ".".join(str(number % 2) for number in range(28))
wide = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(wide, logs, routing_key=long_key.replace("0", "*", 5) + ".#")
for key in [*KEYS, long_key, "end"]:
    channel.basic_publish(logs, key, key.encode())
for pattern, keys in PATTERNS.items():
    if pattern == "#":
        keys = [*keys, long_key, "end"]
    if pattern == "*":
        keys = [*keys, "end"]
    got = [body.decode() for body in bodies(take(connection, channel, queues[pattern], len(keys)))]
    assert got == keys, (pattern, got)
assert bodies(take(connection, channel, wide, 1)) == [long_key.encode()]
channel.exchange_delete(logs)
connection.close()
