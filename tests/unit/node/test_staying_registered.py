"""A node stays one, whatever the API server answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway_cluster.node.api import Api, ApiError, ApiUnavailableError
from headway_cluster.node.config import NodeConfig
from headway_cluster.node.registration import Registration
from waiting import eventually


class Server(Api):
    """An API server that answers with these first, and then as it should."""

    def __init__(self, *first):
        self.first = list(first)
        self.renewed = 0

    def request(self, method, path, body=None, *, query=None, content=""):
        if self.first:
            raise self.first.pop(0)
        self.renewed += "leases" in path
        return {"metadata": {"uid": "u"}}


@pytest.mark.parametrize(
    "answer",
    [
        ApiUnavailableError("away"),
        ApiError(403, "Forbidden", "no"),
        ValueError("that is no JSON"),
        OSError("the disk is gone"),
    ],
)
def test_its_lease_is_renewed_after_whatever_went_wrong(tmp_path, answer):
    server = Server(answer, answer)
    node = Registration(server, NodeConfig("n", Path("/k"), tmp_path), None)
    node.start()
    try:
        eventually(lambda: server.renewed, within=20, why="the lease is renewed")
    finally:
        node.leave()
