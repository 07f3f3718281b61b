"""The Python script rabbitmqadmin of RabbitMQ 3.x: each of its commands, and what comes of it.

Names are this program's own, so that it may share a broker.
"""

import contextlib
import io
import json
import os
import runpy
import signal
import sys
import tempfile
import time
import urllib.parse
import uuid

import pika
import rabbitmqadmin

PATIENCE_S = 30
URI, API = sys.argv[1:]
# As it was published, beside a copy that can be imported.
SCRIPT = os.path.join(os.path.dirname(rabbitmqadmin.__file__), "upstream", "rabbitmqadmin_original.py")
WORD = uuid.uuid4().hex[:8]
VHOST = f"vhost-{WORD}"

signal.alarm(2 * PATIENCE_S - 5)


def run(*arguments, vhost=VHOST, stdin="", status=0):
    """Runs the script as a program, though in this process; what it prints."""
    where = urllib.parse.urlsplit(API)
    sys.argv = [SCRIPT, "--host", where.hostname, "--port", str(where.port), "--format", "raw_json"]
    sys.argv += (["--vhost", vhost] if vhost else []) + list(arguments)
    said, ended = io.StringIO(), 0
    sys.stdin = io.StringIO(stdin)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(SCRIPT, run_name="__main__")
        except SystemExit as end:
            ended = end.code or 0
    assert ended == status, f"{arguments}: {ended}\n{said.getvalue()}"
    return said.getvalue()


def listed(what, *columns, vhost=VHOST):
    """What `list` tells: rows."""
    return json.loads(run("list", what, *columns, vhost=vhost))


def row(what, name, *columns, vhost=VHOST):
    """The row of that name; none if there is none."""
    named = [found for found in listed(what, *columns, vhost=vhost) if found["name"] == name]
    assert len(named) < 2, named
    return named[0] if named else None


def wait(condition, what):
    """Waits until `condition` holds: RabbitMQ's statistics are late."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def users_and_vhosts():
    """Who there is, and where."""
    user = f"user-{WORD}"
    run("declare", "vhost", f"name={VHOST}", "tracing=true", vhost=None)
    assert row("vhosts", VHOST, vhost=None)["tracing"] is True
    run("declare", "vhost", f"name={VHOST}", "tracing=false", vhost=None)
    assert row("vhosts", VHOST, "name", "tracing", vhost=None)["tracing"] is False
    run("declare", "permission", f"vhost={VHOST}", "user=guest", "configure=.*", "write=.*", "read=.*")
    run("declare", "user", f"name={user}", "password=secret", "tags=monitoring,policymaker")
    assert row("users", user, vhost=None)["tags"] == ["monitoring", "policymaker"]
    run("declare", "permission", f"vhost={VHOST}", f"user={user}", "configure=^a", "write=^b", "read=^c")
    found = [of for of in listed("permissions", vhost=None) if of["user"] == user]
    assert found == [{"user": user, "vhost": VHOST, "configure": "^a", "write": "^b", "read": "^c"}], found
    assert json.loads(run("--username", user, "--password", "secret", "list", "queues")) == []
    assert "Access refused" in run("--username", user, "--password", "wrong", "list", "queues", status=1)
    run("delete", "permission", f"vhost={VHOST}", f"user={user}")
    assert not [of for of in listed("permissions", vhost=None) if of["user"] == user]
    run("delete", "user", f"name={user}")
    assert row("users", user, vhost=None) is None


def topology():
    """Exchanges, queues, bindings."""
    run("declare", "exchange", "name=x", "type=topic", "auto_delete=false", 'arguments={"alternate-exchange":"amq.fanout"}')
    found = row("exchanges", "x")
    assert (found["type"], found["arguments"]) == ("topic", {"alternate-exchange": "amq.fanout"}), found
    run("declare", "queue", "name=q", "durable=true", 'arguments={"x-max-length":100}')
    run("declare", "queue", "name=quorum", "queue_type=quorum")
    assert row("queues", "q")["arguments"]["x-max-length"] == 100
    assert row("queues", "quorum")["type"] == "quorum"
    assert "inequivalent arg" in run("declare", "queue", "name=q", status=1)
    run("declare", "binding", "source=x", "destination=q", "routing_key=a.#", 'arguments={"n":1}')
    run("declare", "binding", "source=x", "destination=quorum", "destination_type=queue")
    run("declare", "binding", "source=x", "destination=amq.direct", "destination_type=exchange", "routing_key=k")
    ends = ["source", "destination", "destination_type", "routing_key", "properties_key"]
    bound = [tuple(of[end] for end in ends) for of in listed("bindings", *ends) if of["source"] == "x"]
    assert len(bound) == 3, bound
    keys = {destination: key for _, destination, _, _, key in bound}
    assert (keys["quorum"], keys["amq.direct"]) == ("~", "k"), keys
    run("delete", "binding", "source=x", "destination=q", "destination_type=queue", f"properties_key={keys['q']}")
    run("delete", "binding", "source=x", "destination=quorum", "destination_type=queue")
    run("delete", "binding", "source=x", "destination=amq.direct", "destination_type=exchange", "properties_key=k")
    assert not [of for of in listed("bindings") if of["source"] == "x"]
    run("delete", "exchange", "name=x")
    run("delete", "queue", "name=quorum")
    assert row("exchanges", "x") is None and row("queues", "quorum") is None
    assert "Not found" in run("delete", "queue", "name=quorum", status=1)


def messages():
    """In and out."""
    run("publish", "routing_key=q", "payload=one", 'properties={"delivery_mode":2,"headers":{"h":1}}')
    run("publish", "exchange=amq.default", "routing_key=q", stdin="two")
    run("publish", "routing_key=nowhere", "payload=lost")
    first = json.loads(run("get", "queue=q"))
    assert [(of["payload"], of["message_count"]) for of in first] == [("one", 1)], first
    assert first[0]["properties"]["headers"] == {"h": 1}, first
    both = json.loads(run("get", "queue=q", "count=5", "ackmode=ack_requeue_false"))
    assert [(of["payload"], of["redelivered"]) for of in both] == [("one", True), ("two", False)], both
    run("publish", "routing_key=q", "payload=three")
    with tempfile.NamedTemporaryFile() as file:
        run("get", "queue=q", f"payload_file={file.name}")
        assert file.read() == b"three"
    run("purge", "queue", "name=q")
    assert json.loads(run("get", "queue=q")) == []


def rules():
    """Policies, parameters, limits."""
    definition = 'definition={"max-length":7}'
    for kind, plural in [("policy", "policies"), ("operator_policy", "operator_policies")]:
        run("declare", kind, "name=p", "pattern=^q", definition, "priority=3", "apply-to=queues")
        found = [of for of in listed(plural, vhost=None) if of["vhost"] == VHOST]
        assert [(of["name"], of["definition"], of["priority"]) for of in found] == [("p", {"max-length": 7}, 3)], found
    wait(lambda: row("queues", "q").get("policy") == "p", "the policy to be in effect")
    parameters = [of for of in listed("parameters", vhost=None) if of["vhost"] == VHOST]
    assert [(of["component"], of["name"]) for of in parameters] == [("operator_policy", "p")], parameters
    run("delete", "parameter", "component=operator_policy", "name=p")
    value = 'value={"pattern":"^q","definition":{"max-length":9},"priority":1,"apply-to":"queues"}'
    run("declare", "parameter", "component=operator_policy", "name=p", value)
    run("delete", "operator_policy", "name=p")
    run("delete", "policy", "name=p")
    for what in ["policies", "operator_policies", "parameters"]:
        assert not [of for of in listed(what, vhost=None) if of["vhost"] == VHOST], what
    run("declare", "vhost_limit", f"vhost={VHOST}", "name=max-queues", "value=10")
    limits = [of["value"] for of in listed("vhost_limits", vhost=None) if of["vhost"] == VHOST]
    assert limits == [{"max-queues": 10}], limits
    run("delete", "vhost_limit", f"vhost={VHOST}", "name=max-queues")
    limits = [of["value"] for of in listed("vhost_limits", vhost=None) if of["vhost"] == VHOST]
    assert not any(limits), limits


def clients():
    """Connections, channels, consumers."""
    parameters = pika.URLParameters(URI)
    parameters.virtual_host = VHOST
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.basic_consume("q", lambda *_: None, consumer_tag="tag")
    own = lambda what: [of for of in listed(what, vhost=None) if of.get("vhost") == VHOST]
    wait(lambda: [of.get("channels") for of in own("connections")] == [1], "the connection's statistics")
    wait(lambda: [of.get("consumer_count") for of in own("channels")] == [1], "the channel's statistics")
    (found,) = own("connections")
    assert found["user"] == "guest", found
    assert [of["consumer_tag"] for of in listed("consumers")] == ["tag"]
    run("close", "connection", f"name={found['name']}")
    try:
        connection.process_data_events(time_limit=PATIENCE_S)
        raise AssertionError("the connection is still there")
    except pika.exceptions.ConnectionClosedByBroker as end:
        assert end.reply_code == 320, end


def definitions():
    """All of it, out and in."""
    with tempfile.TemporaryDirectory() as folder:
        whole, one = os.path.join(folder, "whole"), os.path.join(folder, "one")
        run("export", whole, vhost=None)
        run("export", one)
        with open(whole) as file:
            assert [of["arguments"]["x-max-length"] for of in json.load(file)["queues"] if of["vhost"] == VHOST] == [100]
        run("delete", "queue", "name=q")
        run("import", one)
        wait(lambda: row("queues", "q"), "the queue of the vhost's definitions")
        run("delete", "queue", "name=q")
        run("import", whole, vhost=None)
        wait(lambda: row("queues", "q"), "the queue of all definitions")


def the_whole():
    """What `show` and `list` tell of the broker, and how."""
    (shown,) = json.loads(run("show", "overview", vhost=None))
    assert shown["rabbitmq_version"] and shown["cluster_name"] and "queues" in shown["object_totals"], shown
    (node,) = listed("nodes", vhost=None)
    assert (node["type"], node["running"]) == ("disc", True) and node["mem_used"] > 0, node
    names = [of["name"] for of in json.loads(run("--sort", "name", "--sort-reverse", "list", "exchanges", "name"))]
    assert names == sorted(names, reverse=True) and len(names) > 5, names
    for form in ["long", "table", "kvp", "tsv", "bash", "pretty_json"]:
        assert "q" in run("--format", form, "list", "queues", "name"), form
    assert "list connections" in run("help", "subcommands")


users_and_vhosts()
topology()
messages()
rules()
clients()
definitions()
the_whole()
run("delete", "vhost", f"name={VHOST}", vhost=None)
assert row("vhosts", VHOST, vhost=None) is None
