"""What the API server, or anything on the way to it, answers to a write, and what comes of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from headway.api_sink import ApiSink
from headway.cancellation import CancellationToken, StopReason
from headway.delivery import Outcome
from headway.document import Document
from headway.identity import PodIdentity
from headway.operation_watch import OperationWatch
from headway.transport import Answer, UnreachableError
from headway_api import names
from waiting import eventually

IDENTITY = PodIdentity("run", "team", "u", 2, "https://x", Path("/x"), Path("/x"))
DOCUMENT = Document({"attempt": 2, "sequence": 5})


def held(sequence=4, attempt=2, uid="u", **spec: Any) -> Answer:
    return Answer(
        200,
        {
            "metadata": {"uid": uid, "resourceVersion": "7"},
            "spec": spec,
            "status": {"attempt": attempt, "progress": {"sequence": sequence}},
        },
    )


def status(code: int, **details: Any) -> Answer:
    return Answer(code, {"kind": "Status", "message": "no", "details": details})


GONE = status(404, kind=names.PLURAL, group=names.GROUP, name="run")


class Server:
    """Answers a write, and a read after it."""

    def __init__(self, write, read=None):
        self.answers = {"PATCH": write, "GET": read or held()}
        self.asked: list[str] = []

    def request(self, method, path, **_):
        self.asked.append(method)
        answer = self.answers[method]
        if answer is None:
            raise UnreachableError("away")
        return answer


def delivered(write, read=None):
    token = CancellationToken()
    sink = ApiSink(IDENTITY, Server(write, read), token)
    return sink.deliver(DOCUMENT).outcome, token.reason


@pytest.mark.parametrize(
    ("write", "read", "outcome", "reason"),
    [
        (held(5), None, Outcome.DELIVERED, None),
        (held(5, cancel=True), None, Outcome.DELIVERED, StopReason.CANCELLED),
        (None, None, Outcome.RETRY, None),
        (GONE, None, Outcome.OVER, StopReason.DELETED),
        (status(422), held(uid="another"), Outcome.OVER, StopReason.DELETED),
        (status(422), held(attempt=3), Outcome.OVER, StopReason.FENCED),
        (status(403), held(attempt=3), Outcome.OVER, StopReason.FENCED),
        (status(403), GONE, Outcome.OVER, StopReason.DELETED),
        (status(422), held(9), Outcome.RETRY, None),
        (status(422), held(), Outcome.INVALID, None),
        (status(422), status(500), Outcome.RETRY, None),
        (status(403), held(), Outcome.RETRY, None),
        (status(401), held(), Outcome.RETRY, None),
        (status(409), held(), Outcome.RETRY, None),
        (status(429), held(), Outcome.RETRY, None),
        (status(500), held(), Outcome.RETRY, None),
        (status(400), held(), Outcome.INVALID, None),
        (status(413), held(), Outcome.INVALID, None),
    ],
)
def test_what_comes_of_an_answer(write, read, outcome, reason):
    assert delivered(write, read) == (outcome, reason)


@pytest.mark.parametrize(
    "page",
    [
        Answer(404, {}),
        Answer(404, {"message": "404 page not found"}),
        status(404),
        status(404, kind="namespaces", name="run"),
        Answer(200, {}),
        Answer(200, {"login": "please"}),
        Answer(302, {}),
        Answer(502, {}),
    ],
)
def test_what_something_on_the_way_answers_ends_no_run_and_loses_no_progress(page):
    assert delivered(page, page) == (Outcome.RETRY, None)
    token = CancellationToken()
    assert ApiSink(IDENTITY, Server(page, page), token).read() is None
    assert not token.asked


def test_once_it_is_over_nothing_more_is_sent():
    server = Server(held())
    sink = ApiSink(IDENTITY, server, CancellationToken())
    sink.gone()
    assert sink.deliver(DOCUMENT).outcome is Outcome.OVER
    assert server.asked == []


class Listening:
    """A transport whose watches are told what to do, one after the other."""

    def __init__(self, *watches):
        self.watches = list(watches)
        self.begun = 0
        self.quiet = threading.Event()

    def stream(self, path, silence):
        self.begun += 1
        if not self.watches:
            self.quiet.wait(30)
            return
        yield from self.watches.pop(0)()


def broken():
    yield {"type": "MODIFIED", "object": held().body}
    raise UnreachableError("cut")


def too_old():
    yield {"type": "ERROR", "object": {"code": 410}}


def odd():
    yield {"type": "MODIFIED", "object": {"status": [1]}}


def refused():
    raise UnreachableError("the watch was refused with 403")
    yield


@pytest.mark.parametrize("first", [broken, too_old, odd, refused])
def test_a_watch_that_ends_in_any_way_begins_anew_and_loses_nothing(monkeypatch, first):
    monkeypatch.setattr("headway.operation_watch._FIRST_RETRY", 0.01)
    token, server, listening = CancellationToken(), Server(None), Listening(first, broken)
    sink = ApiSink(IDENTITY, server, token)
    watch = OperationWatch(IDENTITY, listening, sink, token)
    watch.start(held().body)
    eventually(lambda: listening.begun == 3, within=20, why="it watches again, and again")
    server.answers["GET"] = held(cancel=True)  # while it was not watching
    watch2 = OperationWatch(IDENTITY, Listening(first), sink, token)
    watch2.start()
    eventually(lambda: token.reason is StopReason.CANCELLED, within=20, why="the read tells")
    watch.close()
    watch2.close()
    listening.quiet.set()
