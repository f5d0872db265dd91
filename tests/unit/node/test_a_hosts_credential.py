"""When a host asks for its next credential, and whom its runs may be."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from headway_cluster import host_user
from headway_cluster.errors import ClusterError
from headway_cluster.node.renewing import due


@pytest.mark.parametrize("life", [timedelta(days=365), timedelta(hours=1)])
def test_the_next_credential_is_asked_for_long_before_the_end(life):
    begins = datetime(2030, 1, 1, tzinfo=UTC)
    at = due(begins, begins + life)
    assert begins.timestamp() + 0.7 * life.total_seconds() < at
    assert at < begins.timestamp() + 0.9 * life.total_seconds()


def test_root_says_whom_runs_shall_be(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ClusterError, match="--as-user"):
        host_user.check(None, as_root=False)
    with pytest.raises(ClusterError, match="--as-root"):
        host_user.check("root", as_root=False)
    with pytest.raises(ClusterError, match="there is no user"):
        host_user.check("nobody-of-that-name", as_root=False)
    host_user.check(None, as_root=True)
    host_user.check("nobody", as_root=False)


def test_only_root_can_choose(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="only root"):
        host_user.check("nobody", as_root=False)
    host_user.check(None, as_root=False)
