"""``headway report``: what a script is told, and what of it reaches the status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from headway import shell_report
from headway.transport import Answer, UnreachableError


class Server:
    """The operation as the API server holds it, and every patch that it took."""

    def __init__(self):
        self.spec: dict[str, Any] = {}
        self.status: dict[str, Any] = {"attempt": 1}
        self.patches: list[dict[str, Any]] = []
        self.away = False

    def request(self, method, path, body=None, **_):
        if self.away:
            raise UnreachableError("away")
        if method == "PATCH":
            said = {step["path"]: step["value"] for step in body if step["op"] == "add"}
            self.patches.append(said)
            self.status |= {path.removeprefix("/status/"): v for path, v in said.items()}
        metadata = {"uid": "u", "resourceVersion": "7"}
        return Answer(200, {"metadata": metadata, "spec": self.spec, "status": self.status})


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name, value in {
        "HEADWAY_OPERATION_NAME": "run",
        "HEADWAY_OPERATION_UID": "u",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "HEADWAY_TERMINATION_MESSAGE_PATH": str(tmp_path / "message"),
    }.items():
        monkeypatch.setenv(name, value)
    served = Server()
    now = [1000.0]
    monkeypatch.setattr(shell_report.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(shell_report, "Transport", lambda *_: served)
    monkeypatch.setattr(shell_report.time, "time", lambda: now[0])
    served.wait = lambda seconds: now.__setitem__(0, now[0] + seconds)
    return served


def report(*arguments):
    return shell_report.main([str(a) for a in arguments])


def test_calls_that_come_too_soon_send_nothing_and_the_latest_wins(server):
    for step in range(5):
        assert report("--step", step) == 0
    assert [p["/status/progress"]["step"] for p in server.patches] == [0]
    server.wait(1.0)
    report("--step", 9)
    assert [p["/status/progress"]["step"] for p in server.patches] == [0, 9]


def test_the_metrics_of_every_epochs_end_reach_the_history(server):
    for epoch in range(1, 5):
        report("--epoch-end", epoch, "--metric", f"loss={epoch}")
        server.wait(0.4)
    server.wait(1.0)
    report("--step", 5)
    assert [p["step"] for p in server.status["history"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("spec", "status", "why"),
    [
        ({"cancel": True}, {}, "cancelled"),
        ({"suspend": True}, {}, "suspended"),
        ({}, {"stop": {"attempt": 1, "cause": "DeadlineExceeded"}}, "deadline"),
        ({}, {"stop": {"attempt": 1, "cause": "ProgressDeadlineExceeded"}}, "stalled"),
        ({}, {"attempt": 2}, "fenced"),
    ],
)
def test_a_script_is_asked_to_stop_for_whatever_reason_and_its_report_says_why(
    server, tmp_path, spec, status, why
):
    assert report("--step", 1) == 0
    server.wait(1.0)
    server.spec, server.status = spec, {**server.status, **status}
    assert report("--step", 2) == shell_report.STOP
    assert report("--step", 3) == shell_report.STOP
    assert report("--status", "cancelled") == 0
    told = json.loads((tmp_path / "message").read_text())["report"]
    assert (told["status"], told["stopReason"]) == ("cancelled", why)


def test_an_api_server_that_is_away_fails_no_script(server, tmp_path):
    server.away = True
    assert report("--step", 1, "--epoch-end", 1) == 0
    assert report("--status", "success", "--result", "answer=42") == 0
    told = json.loads((tmp_path / "message").read_text())["report"]
    assert told["summary"] == {"answer": 42}
    server.away = False
    server.wait(5.0)
    report("--step", 2)
    assert [p["step"] for p in server.status["history"]] == [1]


@pytest.mark.parametrize(
    "arguments", [["--step", "-1"], ["--metric", "loss"], ["--metric", "a=b"], ["--status", "done"]]
)
def test_wrong_arguments_are_named(server, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        report(*arguments)
    assert arguments[0] in capsys.readouterr().err


def test_of_several_workers_only_the_first_speaks_and_all_hear_of_a_stop(server, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert report("--step", 1, "--epoch-end", 1) == 0
    server.wait(60)
    server.spec["cancel"] = True
    assert report("--step", 2) == shell_report.STOP
    assert report("--status", "cancelled") == 0
    assert server.patches == []


def test_a_stop_once_heard_is_not_forgotten_while_the_api_server_is_away(server):
    server.spec["cancel"] = True
    assert report("--step", 1) == shell_report.STOP
    server.wait(60)
    server.away = True
    assert report("--step", 2) == shell_report.STOP
    server.wait(60)
    assert report("--step", 3, "--epoch-end", 1) == shell_report.STOP
