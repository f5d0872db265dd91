"""A host that leaves waits for its runs, whatever happens meanwhile."""

from __future__ import annotations

import pytest
from headway_cluster import evacuating
from headway_cluster.node.api import ApiError, ApiUnavailableError


class Person:
    """A cluster that answers each list of pods with the next of these."""

    def __init__(self, *lists):
        self.lists = list(lists)
        self.evicted = []

    def request(self, method, path, body=None):
        if method == "POST":
            self.evicted.append(body["metadata"]["name"])
            return {}
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"items": answer}


def pod(name, **metadata):
    return {
        "metadata": {"name": name, "namespace": "ns", **metadata},
        "status": {"phase": "Running"},
    }


def over(name):
    return {"metadata": {"name": name, "namespace": "ns"}, "status": {"phase": "Succeeded"}}


def test_an_outage_of_the_cluster_is_waited_out():
    said = []
    person = Person([pod("a")], ApiUnavailableError("503"), [pod("a")], [over("a")])
    evacuating.empty(person, "host", said.append, now=False)
    assert said == [
        "waiting for the end of ns/a",
        "the cluster does not answer, and is asked again: 503",
    ]
    assert person.evicted == []


def test_runs_are_evicted_until_they_go_and_only_where_that_is_asked_for():
    person = Person([pod("a"), pod("b")], [pod("a", deletionTimestamp="now")], [])
    evacuating.empty(person, "host", lambda _: None, now=True)
    assert person.evicted == ["a", "b"]


def test_what_is_not_allowed_is_told():
    with pytest.raises(ApiError):
        evacuating.empty(Person(ApiError(403, "Forbidden", "no")), "host", print, now=False)
