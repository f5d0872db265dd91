"""A log over the real connection that the API server makes."""

from __future__ import annotations

import http.client
import ssl
import time

import pytest
from headway_cluster.node import log_endpoint
from headway_cluster.node.log_endpoint import LogEndpoint, Source, tls
from headway_cluster.node.supervisor import Log
from headway_cluster.pki import Authority
from headway_cluster.ports import LOOPBACK

LINES = 80_000


@pytest.fixture
def connection(tmp_path):
    authority = Authority.load_or_make(tmp_path, "ca")
    serving = authority.issue(tmp_path, "serving", "node", hosts=[LOOPBACK])
    user = authority.issue(tmp_path, "client", "kube-apiserver")
    log = Log(str(tmp_path / "output.log"), 1 << 30, 1)
    log.feed("stdout", b"".join(b"%0100d\n" % n for n in range(LINES)))
    log.close()
    endpoint = LogEndpoint(
        LOOPBACK,
        0,
        tls(serving.certificate, serving.key, authority.files.certificate),
        lambda *_: True,
        lambda _: Source(tmp_path / "output.log", lambda: True),
    )
    endpoint.start()
    context = ssl.create_default_context(cafile=str(authority.files.certificate))
    context.load_cert_chain(user.certificate, user.key)
    made = http.client.HTTPSConnection(LOOPBACK, endpoint.port, context=context, timeout=30)
    yield made
    made.close()
    endpoint.stop()


def test_who_reads_slowly_gets_all_of_it(connection, monkeypatch):
    monkeypatch.setattr(log_endpoint, "_HANDSHAKE_SECONDS", 0.5)
    connection.request("GET", "/containerLogs/ns/pod/main?follow=true")
    answer = connection.getresponse()
    assert answer.readline().strip() == b"0" * 100
    time.sleep(1.5)  # as in a pager that nobody scrolls
    assert answer.read().count(b"\n") == LINES - 1
