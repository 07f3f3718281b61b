"""rabbitmqadmin 2.29 or newer, as it was published: each of its commands that needs no plugin, and what comes of it.

    cargo install rabbitmqadmin --locked --no-default-features --root target/rabbitmqadmin
    python3 rabbitmqadmin_ng.py target/rabbitmqadmin/bin/rabbitmqadmin http://127.0.0.1:15672 requests.txt

It is run by hand, since to build rabbitmqadmin takes minutes and a newer Rust than Leveret needs. It wants a broker of its own, with the
user guest and nothing declared, and leaves it so. All requests that the program makes are written to the last file, with the statuses of
their answers: `tests/http/rabbitmqadmin.txt` is that file of RabbitMQ 4.3, which `cargo test` holds Leveret to.
"""

import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PATIENCE_S = 60
PROGRAM, API, RECORD = sys.argv[1:]
WHERE = urllib.parse.urlsplit(API)
LOGIN = {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
# What the program asks, command by command.
record = []


def ask(method, path, body=None, headers=LOGIN):
    """Asks the API: status, headers, body."""
    connection = http.client.HTTPConnection(WHERE.hostname, WHERE.port, timeout=PATIENCE_S)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.getheaders(), answer.read()
    connection.close()
    return found


def told(path):
    """What the API tells; none where there is nothing."""
    status, _, body = ask("GET", "/api/" + path)
    return json.loads(body) if status == 200 else None


class Between(http.server.BaseHTTPRequestHandler):
    """Hands requests on and notes them."""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        status, headers, answer = ask(self.command, self.path, body or None, kept)
        record.append(" ".join(filter(None, [self.command, self.path, body.decode()])) + f" -> {status}")
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = pass_on

    def log_message(self, *_):
        pass


def run(line, *more, fails=False):
    """Runs the command that `line` is, with `more` arguments; what it prints."""
    words = line.split() + list(more)
    record.append("# " + " ".join(words))
    port = str(between.server_address[1])
    command = [PROGRAM, "--host", "127.0.0.1", "--port", port, "--username", "guest", "--password", "guest", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode != 0) == fails, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}\n" + "\n".join(record[-5:])
    return done.stdout


def wait(condition, what):
    """Waits until `condition` holds: RabbitMQ's statistics are late."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


def lists(line, *words):
    """A list that has all these words."""
    wait(lambda: all(word in run(line) for word in words), f"{words} in {line}")


def declared():
    """Users, vhosts, exchanges, queues, streams, bindings."""
    run("declare vhost --name v --description tests --default-queue-type quorum")
    assert told("vhosts/v")["default_queue_type"] == "quorum"
    run("vhosts declare --name w --tracing")
    assert told("vhosts/w")["tracing"] is True
    run("vhosts enable_deletion_protection --name w")
    run("delete vhost --name w", fails=True)
    run("vhosts disable_deletion_protection --name w")
    lists("vhosts list", "v", "w")
    lists("list vhosts", "v", "w")
    run("declare user --name u --password secret --tags monitoring")
    assert told("users/u")["tags"] == ["monitoring"]
    run("users declare --name u2 --password secret")
    lists("users list", "u", "u2")
    lists("list users", "u", "u2")
    for words in ["declare permissions", "permissions declare"]:
        run(f"--vhost v {words} --username u --configure ^a --write ^b --read ^c")
    assert told("permissions/v/u")["write"] == "^b"
    run("--vhost v declare permissions --username guest --configure .* --write .* --read .*")
    for words in ["list permissions", "permissions list", "users permissions"]:
        lists(f"--vhost v {words}", "u", "^b")
    for words in ["declare queue", "queues declare"]:
        run(f"--vhost v {words} --name q --type classic --durable true", "--arguments", '{"x-max-length":100}')
    assert told("queues/v/q")["arguments"]["x-max-length"] == 100
    run("--vhost v queues declare --name quorum --type quorum")
    run("--vhost v declare stream --name s --expiration 1h --max-length-bytes 1000000")
    run("--vhost v streams declare --name s2 --expiration 1h")
    assert told("queues/v/s")["arguments"]["x-max-age"] == "1h"
    for words in ["declare exchange", "exchanges declare"]:
        run(f"--vhost v {words} --name x --type topic --durable true", "--arguments", '{"alternate-exchange":"amq.fanout"}')
    assert told("exchanges/v/x")["type"] == "topic"
    ends = "--source x --destination-type queue --destination q --routing-key"
    run(f"--vhost v declare binding {ends} a.#")
    run(f"--vhost v bindings declare {ends} b.#", "--arguments", '{"n":1}')
    run(f"--vhost v exchanges bind {ends} c.#")
    run("--vhost v exchanges bind --source x --destination-type exchange --destination amq.direct --routing-key k")
    assert len(told("exchanges/v/x/bindings/source")) == 4
    for words in ["list bindings", "bindings list"]:
        lists(f"--vhost v {words}", "a.#", "b.#", "c.#")
    for words in ["list queues", "queues list", "list queues --page 1 --page-size 10", "queues list --columns name,type"]:
        lists(f"--vhost v {words}", "q", "quorum")
    lists("--vhost v streams list", "s2")
    lists("--vhost v queues show --name q", "q")
    lists("--vhost v streams show --name s", "s")
    for words in ["list exchanges", "exchanges list"]:
        lists(f"--vhost v {words}", "x", "topic")


def messages():
    """In and out."""
    run("--vhost v publish message --routing-key q --payload one", "--properties", '{"delivery_mode":2}')
    run("--vhost v publish message --routing-key a.b --exchange x --payload two")
    assert "one" in run("--vhost v get messages --queue q --count 1 --ack-mode ack_requeue_true")
    taken = run("--vhost v get messages --queue q --count 5 --ack-mode ack_requeue_false")
    assert "one" in taken and "two" in taken, taken
    for words in ["purge queue", "queues purge"]:
        run("--vhost v publish message --routing-key q --payload gone")
        run(f"--vhost v {words} --name q")
        assert not run("--vhost v --non-interactive --quiet get messages --queue q").strip()


def rules():
    """Policies, parameters, limits."""
    definition = ["--definition", '{"max-length":7,"expires":600000}']
    for kind in ["policy", "operator_policy"]:
        run(f"--vhost v declare {kind} --name p --pattern ^q --apply-to queues --priority 3", *definition)
    run("--vhost v policies declare --name p2 --pattern ^r --apply-to queues", *definition)
    run("--vhost v operator_policies declare --name p2 --pattern ^r --apply-to queues", *definition)
    assert told("policies/v/p")["definition"] == told("operator-policies/v/p")["definition"] == {"max-length": 7, "expires": 600000}
    for kind in ["policies", "operator_policies"]:
        for words in [f"list {kind}", f"{kind} list", f"{kind} list_in", f"{kind} list_in --apply-to queues"]:
            lists(f"--vhost v {words}", "p2")
        lists(f"--vhost v {kind} list_matching_object --name q --type queues", "max-length")
        run(f"--vhost v {kind} patch --name p", "--definition", '{"max-length":8}')
        run(f"--vhost v {kind} update_definition --name p --definition-key expires --new-value 700000")
        path = kind.replace("_", "-") + "/v/p"
        assert told(path)["definition"] == {"max-length": 8, "expires": 700000}, told(path)
        run(f"--vhost v {kind} update_definitions_of_all_in --definition-key max-length --new-value 9")
        assert told(path)["definition"]["max-length"] == told(path + "2")["definition"]["max-length"] == 9
        run(f"--vhost v {kind} delete_definition_keys --name p --definition-keys expires")
        assert told(path)["definition"] == {"max-length": 9}
        run(f"--vhost v {kind} delete_definition_keys_from_all_in --definition-keys expires")
        assert told(path + "2")["definition"] == {"max-length": 9}
    run("--vhost v policies declare_override --name p --override-name p3", "--definition", '{"max-length":1}')
    assert told("policies/v/p3")["priority"] > 3
    run("--vhost v policies declare_blanket --name p4 --apply-to queues", "--definition", '{"max-length":2}')
    assert told("policies/v/p4")["priority"] < 0
    run("--vhost v policies list_conflicting")
    run("--vhost v policies list_conflicting_in")
    run("policies update_definitions_of_all --definition-key max-length --new-value 10")
    assert told("policies/v/p4")["definition"] == {"max-length": 10}
    run("--vhost v policies declare --name p5 --pattern ^r --apply-to queues", *definition)
    run("policies delete_definition_keys_from_all --definition-keys expires")
    assert told("policies/v/p5")["definition"] == {"max-length": 7}
    for name in ["p3", "p4", "p5", "p2"]:
        run(f"--vhost v policies delete --name {name}")
    run("--vhost v operator_policies delete --name p2")
    run("--vhost v delete policy --name p")
    run("--vhost v delete operator_policy --name p")
    assert told("policies/v") == told("operator-policies/v") == []
    value = ["--value", '{"pattern":"^q","definition":{"max-length":5},"priority":1,"apply-to":"queues"}']
    run("--vhost v declare parameter --component operator_policy --name o", *value)
    run("--vhost v parameters set --component operator_policy --name o2", *value)
    for words in ["list parameters --component operator_policy", "parameters list --component operator_policy",
                  "parameters list_in --component operator_policy", "parameters list_all"]:
        lists(f"--vhost v {words}", "o2")
    run("--vhost v delete parameter --component operator_policy --name o")
    run("--vhost v parameters clear --component operator_policy --name o2")
    assert told("operator-policies/v") == []
    run("global_parameters set --name g", "--value", '{"n":1}')
    assert told("global-parameters/g")["value"] == {"n": 1}
    lists("global_parameters list", "g")
    run("global_parameters clear --name g")
    assert told("global-parameters/g") is None
    for number, words in enumerate(["declare vhost_limit", "vhost_limits declare"]):
        run(f"--vhost v {words} --name max-queues --value {50 + number}")
        assert told("vhost-limits/v")[0]["value"]["max-queues"] == 50 + number
        run(f"{words.replace('vhost', 'user')} --username u --name max-channels --value {50 + number}")
        assert told("user-limits/u")[0]["value"]["max-channels"] == 50 + number
    lists("--vhost v list vhost_limits", "max-queues")
    lists("--vhost v vhost_limits list", "max-queues")
    for words in ["list user_limits", "user_limits list", "list user_limits --username u", "users limits"]:
        lists(words, "max-channels")
    run("--vhost v delete vhost_limit --name max-queues")
    run("delete user_limit --username u --name max-channels")
    assert not any(of["value"] for of in told("vhost-limits/v") + told("user-limits/u"))


def the_whole():
    """The node, features, health, passwords, all definitions."""
    (node,) = [of["name"] for of in told("nodes")]
    lists("show overview", "Product")
    run("show churn")
    run("show endpoint")
    for words in ["show", "nodes"]:
        run(f"{words} memory_breakdown_in_bytes --node {node}")
        run(f"{words} memory_breakdown_in_percent --node {node}")
    lists("list nodes", node)
    lists("nodes list", node)
    run(f"auth_attempts stats --node {node}")
    for words in ["list feature_flags", "feature_flags list", "list deprecated_features", "deprecated_features list",
                  "list deprecated_features_in_use", "deprecated_features list_used", "plugins list_all",
                  f"plugins list_on_node --node {node}", "rebalance queues", "queues rebalance",
                  "feature_flags enable --name quorum_queue", "feature_flags enable_all",
                  "health_check local_alarms", "health_check cluster_wide_alarms", "health_check node_is_quorum_critical",
                  f"health_check port_listener --port {WHERE.port}", "health_check protocol_listener --protocol amqp",
                  "passwords salt_and_hash secret", "shell completions --shell bash"]:
        run(words)
    run("health_check port_listener --port 1", fails=True)
    with tempfile.TemporaryDirectory() as folder:
        whole, one = os.path.join(folder, "whole"), os.path.join(folder, "one")
        run(f"definitions export --file {whole}")
        run(f"export definitions --file {whole}")
        run(f"--vhost v definitions export_from_vhost --file {one}")
        assert "x-max-length" in run("definitions export --stdout")
        ask("DELETE", "/api/queues/v/q")
        run(f"--vhost v definitions import_into_vhost --file {one}")
        wait(lambda: told("queues/v/q"), "the queue of the vhost's definitions")
        # `import definitions` of 2.35.0 is the same, but panics before it asks anything.
        ask("DELETE", "/api/queues/v/q")
        run(f"definitions import --file {whole}")
        wait(lambda: told("queues/v/q"), "the queue of all definitions")
        config = os.path.join(folder, "config")
        run(f"--config {config} config_file add_node --node n --host localhost --create-file-if-missing")
        run(f"--config {config} config_file show")
        run(f"--config {config} config_file show_path")
        run(f"--config {config} config_file delete_node --node n")


def clients():
    """Connections, channels, consumers; nobody is there."""
    for words in ["list connections", "connections list", "list channels", "channels list", "list consumers",
                  "list user_connections --username u", "connections list_of_user --username u", "users connections --username u",
                  "close user_connections --username u", "connections close_of_user --username u",
                  "close connection --name nobody --idempotently", "connections close --name nobody --idempotently"]:
        run(f"--vhost v {words}")


def deleted():
    """All of it."""
    ends = "--source x --destination-type queue --destination q --routing-key"
    run(f"--vhost v delete binding {ends} a.#")
    run(f"--vhost v bindings delete {ends} b.#", "--arguments", '{"n":1}')
    run(f"--vhost v exchanges unbind {ends} c.#")
    assert [of["destination"] for of in told("exchanges/v/x/bindings/source")] == ["amq.direct"]
    run("--vhost v delete exchange --name x")
    run("--vhost v exchanges delete --name x --idempotently")
    run("--vhost v delete queue --name q")
    run("--vhost v queues delete --name quorum")
    run("--vhost v queues delete --name quorum --idempotently")
    run("--vhost v delete stream --name s")
    run("--vhost v streams delete --name s2")
    assert told("queues/v") == []
    for name in ["d1", "d2"]:
        run(f"--vhost v queues declare --name {name}")
    run("--vhost v queues delete_multiple --name-pattern ^d --dry-run")
    run("--vhost v queues delete_multiple --name-pattern ^d --approve")
    assert told("queues/v") == []
    run("--vhost v delete permissions --username u")
    run("--vhost v permissions delete --username u --idempotently")
    assert told("permissions/v/u") is None
    run("delete user --name u")
    run("users delete --name u2")
    run("users delete --name u2 --idempotently")
    run("delete vhost --name w")
    run("vhosts delete --name w --idempotently")
    run("vhosts delete_multiple --name-pattern ^v$ --approve")
    assert [of["name"] for of in told("vhosts")] == ["/"] and [of["name"] for of in told("users")] == ["guest"]


between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
threading.Thread(target=between.serve_forever, daemon=True).start()
for part in [declared, messages, rules, the_whole, clients, deleted]:
    part()
(node,) = [of["name"] for of in told("nodes")]
# What is of this broker and of this moment, and commands that were repeated.
parts = re.split(r"^(?=# )", "\n".join(record) + "\n", flags=re.MULTILINE)
text = "".join(part for part, before in zip(parts, ["", *parts]) if part != before)
text = text.replace(node, "NODE").replace(node.replace("@", "%40"), "NODE")
text = text.replace(f"/{WHERE.port} ", "/PORT ").replace(f"--port {WHERE.port}\n", "--port PORT\n")
with open(RECORD, "w") as file:
    file.write(re.sub(re.escape(tempfile.gettempdir()) + r"/\w+/", "", text))
