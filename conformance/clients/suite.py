"""A pytest plugin that runs a client's own suite, as it was published, against the broker under test.

The suite is not changed: what it takes from its surroundings (a host and port, a broker in a container) is given to
it here. A list says, with a reason each, which of its tests are not expected to pass:

    HOW    WHERE     TEST                              REASON, to the end of the line
    fails  leveret   tests/test_a.py::test_ttl[*]      message TTL is not there yet
    skip   any       tests/test_b.py::test_tls*        needs a listener with TLS

`fails` runs the test, and one that passes all the same is reported: its line is stale. `skip` is for what cannot be
run at all. WHERE is `any` or the product that the broker says it is, in lower case. `*` stands for any characters. A
line that fits no test is an error.
"""

import http.server
import json
import os
import re
import socket
import threading
import types
from urllib.parse import unquote, urlsplit

import pytest

BROKER = urlsplit(os.environ["SUITE_BROKER"])
LIST = os.environ["SUITE_LIST"]
CONTAINER = "the-broker-under-test"


def product():
    """What the broker calls itself, in lower case: it says so before anybody has logged in."""
    with socket.create_connection((BROKER.hostname, BROKER.port), timeout=10) as connection:
        connection.sendall(b"AMQP\0\0\x09\x01")
        start = b""
        while not (found := re.search(rb"\x07productS\0\0\0(.)", start, re.DOTALL)) or len(start) < found.end() + found[1][0]:
            more = connection.recv(4096)
            assert more, f"no product in {start!r}"
            start += more
    return start[found.end() : found.end() + found[1][0]].decode().lower()


def expectations():
    """The lines of the list: (line number, how, where, test, reason)."""
    with open(LIST, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("#"):
                words = line.split(maxsplit=3)
                if len(words) != 4 or words[0] not in ("fails", "skip"):
                    raise pytest.UsageError(f"{LIST}:{number}: not `fails` or `skip`, where, test and reason")
                yield number, *words[:3], words[3].strip()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Marks what the list names; a line that names nothing is an error."""
    broker = product()
    for number, how, where, test, reason in expectations():
        pattern = re.compile(".*".join(re.escape(part) for part in test.split("*")))
        fitting = [item for item in items if pattern.fullmatch(item.nodeid)]
        if not fitting:
            raise pytest.UsageError(f"{LIST}:{number}: fits no test: {test}")
        if where in ("any", broker):
            mark = pytest.mark.skip(reason=reason) if how == "skip" else pytest.mark.xfail(reason=reason, strict=True)
            for item in fitting:
                item.add_marker(mark)


class Docker(http.server.BaseHTTPRequestHandler):
    """As much of Docker's API as a suite needs that starts its broker in a container: it gets the one under test."""

    def answer(self):
        """Every request succeeds, and every container is the broker."""
        ports = {"5672/tcp": BROKER.port, "5671/tcp": 1}
        bindings = {port: [{"HostPort": str(bound)}] for port, bound in ports.items()}
        body = json.dumps({"Id": CONTAINER, "NetworkSettings": {"Ports": bindings}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        """Nothing: it is no part of what is tested."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure():
    """Tells the suite where its broker is, in the ways that suites ask for it."""
    docker = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Docker)
    threading.Thread(target=docker.serve_forever, daemon=True).start()
    os.environ["DOCKER_HOST"] = f"tcp://127.0.0.1:{docker.server_port}"
    os.environ["RABBITMQ_HOST"] = BROKER.hostname
    os.environ["RABBITMQ_5672_TCP"] = str(BROKER.port)
    os.environ["TEST_BROKER"] = BROKER.geturl()


@pytest.fixture(scope="session")
def rabbitmq_container():
    """The broker, for a suite that was published without the file that starts its container."""
    return types.SimpleNamespace(id=CONTAINER, host=BROKER.hostname, ports={"5672/tcp": BROKER.port, "5671/tcp": 1})


@pytest.fixture(scope="session")
def amqp_direct_url():
    """Its address, for the same suite."""
    from yarl import URL

    return URL.build(
        scheme="amqp",
        user=unquote(BROKER.username or "guest"),
        password=unquote(BROKER.password or "guest"),
        host=BROKER.hostname,
        port=BROKER.port,
        path="//",
    )
