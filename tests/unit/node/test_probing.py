"""Checks of containers, against real listeners on loopback."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from headway_cluster.node.pods import parse
from headway_cluster.node.probing import Kind, Outcome, Prober, Target, Threshold, check
from podspecs import a_container, a_pod


def container(**probes):
    return parse(a_pod(a_container("main", **probes))).containers[0]


PATIENT = {"timeoutSeconds": 30}
"""A busy machine may take longer to start a shell than the second that is usual."""


def probe(**fields):
    return container(readinessProbe={**PATIENT, **fields}).readiness


def target(**ports):
    return Target(
        host="127.0.0.1",
        ports=ports,
        env={"PATH": os.environ["PATH"], "ANSWER": "42"},
        cwd="/",
        translate=lambda text: text.replace("/data", "/tmp"),
    )


@pytest.fixture
def web():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(("path", "passes"), [("/200", True), ("/302", True), ("/500", False)])
def test_an_http_check_passes_below_400(web, path, passes):
    problem = check(probe(httpGet={"port": web, "path": path}), target())
    assert (problem is None) is passes
    assert passes or problem == "HTTP probe failed with statuscode: 500"


def test_a_port_may_have_a_name(web):
    assert check(probe(httpGet={"port": "http", "path": "/200"}), target(http=web)) is None
    problem = check(probe(httpGet={"port": "nope", "path": "/200"}), target(http=web))
    assert problem == 'the container has no port "nope"'


def test_nobody_listening_is_a_failure(closed_port):
    assert "refused" in (check(probe(httpGet={"port": closed_port}), target()) or "")
    assert "refused" in (check(probe(tcpSocket={"port": closed_port}), target()) or "")


def test_a_tcp_check_needs_a_listener_only(web):
    assert check(probe(tcpSocket={"port": web}), target()) is None


def test_an_exec_check_runs_in_the_environment_of_the_container():
    def run(*argv, **fields):
        return check(probe(exec={"command": list(argv)}, **fields), target())

    assert run("sh", "-c", 'test "$ANSWER" = 42') is None
    assert run("test", "-d", "/data") is None
    assert run("sh", "-c", "echo not yet; exit 1") == "not yet"
    assert run("sh", "-c", "exit 3") == "command exited with code 3"
    assert run("no-such-program") == "no-such-program: No such file or directory"
    assert run("sleep", "60", timeoutSeconds=0.2) == "command timed out after 0.2s"


def test_only_enough_results_in_a_row_decide():
    counted = Threshold(probe(failureThreshold=3, successThreshold=2), passed=False)
    results = [True, False, True, True, False, False, True, False, False, False]
    assert [counted.count(passed=one) for one in results] == [
        False, False, False, True, False, False, False, False, False, True,
    ]  # fmt: skip


def outcomes(of, wanted, **more):
    told: queue.Queue[Outcome] = queue.Queue()
    prober = Prober(of, target(), told.put, started=time.time() - 60, passed_startup=False)
    prober.start()
    try:
        return [told.get(timeout=30) for _ in range(wanted)]
    finally:
        prober.stop()


def quick(*argv, **fields):
    return {"exec": {"command": list(argv)}, "periodSeconds": 0.05, **PATIENT, **fields}


def test_nothing_is_checked_before_the_startup_probe_has_passed():
    both = container(startupProbe=quick("true"), readinessProbe=quick("true"))
    assert [one.kind for one in outcomes(both, 2)] == [Kind.STARTUP, Kind.READINESS]


def test_failed_checks_on_the_way_are_told_before_the_decision():
    failing = container(livenessProbe=quick("sh", "-c", "echo dead; exit 1", failureThreshold=3))
    told = outcomes(failing, 3)
    assert [one.decided for one in told] == [False, False, True]
    assert all(not one.passed and one.message == "dead" for one in told)
