"""Startup, liveness and readiness probes: one thread checks one run of one container.

The rules are those of the pod lifecycle
(https://kubernetes.io/docs/concepts/workloads/pods/probes/): nothing else is checked before the
startup probe has passed; a container is not ready until its readiness probe has passed, and alive
until its liveness probe has failed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from headway_cluster.node.pods import Container, Probe

_BODY_BYTES = 10 * 1024
_MESSAGE_CHARACTERS = 1024


class Kind(StrEnum):
    """What a probe decides."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True)
class Outcome:
    """What probing a container has come to.

    Attributes:
        kind: which probe says so.
        passed: whether its threshold of successes has been reached, or that of failures.
        message: why a check failed, for a person.
        decided: whether a threshold has been reached; otherwise it is one failure on the way.
    """

    kind: Kind
    passed: bool
    message: str = ""
    decided: bool = True


@dataclass(frozen=True)
class Target:
    """Where the checks of a container go.

    Attributes:
        host: the pod's address.
        ports: container ports by name.
        env: environment of the container's command.
        cwd: its working directory.
        translate: turns the container's paths into real ones.
    """

    host: str
    ports: Mapping[str, int]
    env: Mapping[str, str]
    cwd: str
    translate: Callable[[str], str]


def check(probe: Probe, target: Target) -> str | None:
    """One check; None when it passes, otherwise why it does not."""
    if probe.exec_command is not None:
        return _exec(probe, target)
    if probe.http_get is not None:
        return _http(probe.http_get, target, probe.timeout)
    if probe.tcp_socket is not None:
        return _tcp(probe.tcp_socket, target, probe.timeout)
    return "the probe has no action that this node knows"


def _exec(probe: Probe, target: Target) -> str | None:
    argv = [target.translate(part) for part in probe.exec_command or ()]
    try:
        process = subprocess.Popen(
            argv,
            env=dict(target.env),
            cwd=target.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    try:
        output, _ = process.communicate(timeout=probe.timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"command timed out after {probe.timeout:g}s"
    if process.returncode == 0:
        return None
    return output.decode(errors="replace")[-_MESSAGE_CHARACTERS:].strip() or (
        f"command exited with code {process.returncode}"
    )


def _http(action: Mapping[str, Any], target: Target, timeout: float) -> str | None:
    host = action.get("host") or target.host
    secure = (action.get("scheme") or "HTTP").upper() == "HTTPS"
    path = action.get("path") or "/"
    if not path.startswith("/"):
        path = f"/{path}"
    headers = {"User-Agent": "kube-probe/headway", "Accept": "*/*", "Connection": "close"}
    headers |= {one["name"]: one.get("value") or "" for one in action.get("httpHeaders") or ()}
    connection: http.client.HTTPConnection | None = None
    try:
        port = _port(action.get("port"), target.ports)
        url = f"{'https' if secure else 'http'}://{host}:{port}{path}"
        if secure:
            # As kubelet does: a probe asks whether it answers, not who it is.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read(_BODY_BYTES)
    except ValueError as error:
        return str(error)
    except (OSError, http.client.HTTPException) as error:
        return f'Get "{url}": {error or type(error).__name__}'
    finally:
        if connection is not None:
            connection.close()
    if HTTPStatus.OK <= answer.status < HTTPStatus.BAD_REQUEST:
        return None
    return f"HTTP probe failed with statuscode: {answer.status}"


def _tcp(action: Mapping[str, Any], target: Target, timeout: float) -> str | None:
    host = action.get("host") or target.host
    try:
        port = _port(action.get("port"), target.ports)
        with socket.create_connection((host, port), timeout=timeout):
            return None
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"dial tcp {host}:{port}: {error}"


def _port(value: Any, ports: Mapping[str, int]) -> int:
    if isinstance(value, int):
        return value
    if str(value) in ports:
        return ports[str(value)]
    if str(value).isdigit():
        return int(value)
    raise ValueError(f'the container has no port "{value}"')


class Threshold:
    """Counts results in a row until there are enough of one kind."""

    def __init__(self, probe: Probe, *, passed: bool) -> None:
        """Take the probe, and what holds before anything has been decided."""
        self._needed = {True: probe.success_threshold, False: probe.failure_threshold}
        self.passed = passed
        self._last: bool | None = None
        self._row = 0

    def count(self, *, passed: bool) -> bool:
        """Whether this result decides: it is the last of enough in a row."""
        self._row = self._row + 1 if passed == self._last else 1
        self._last = passed
        if self._row < self._needed[passed]:
            return False
        self.passed = passed
        return True


class Prober:
    """The thread that checks one run. ``tell`` is called from it."""

    def __init__(
        self,
        container: Container,
        target: Target,
        tell: Callable[[Outcome], None],
        *,
        started: float,
        passed_startup: bool,
    ) -> None:
        """Take what to check.

        Args:
            container: the container.
            target: where.
            tell: is told what was decided, and of every failed check.
            started: when the run started, in seconds since the epoch.
            passed_startup: the startup probe has passed before.
        """
        self._container = container
        self._target = target
        self._tell = tell
        self._started = time.monotonic() - max(time.time() - started, 0.0)
        self._passed_startup = passed_startup or container.startup is None
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"probe-{container.name}", daemon=True
        )

    def start(self) -> None:
        """Begin to check."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        startup = self._container.startup
        if (
            not self._passed_startup
            and startup is not None
            and not self._rounds({Kind.STARTUP: startup})
        ):
            return
        later = {
            kind: probe
            for kind, probe in (
                (Kind.READINESS, self._container.readiness),
                (Kind.LIVENESS, self._container.liveness),
            )
            if probe is not None
        }
        if later:
            self._rounds(later)

    def _rounds(self, probes: Mapping[Kind, Probe]) -> bool:
        """Check until a startup probe has passed (True), or the container is to be ended."""
        counts = {
            kind: Threshold(probe, passed=kind is Kind.LIVENESS) for kind, probe in probes.items()
        }
        due = {kind: self._started + probe.initial_delay for kind, probe in probes.items()}
        told: dict[Kind, bool] = {}
        while True:
            kind = min(due, key=lambda one: due[one])
            if self._stopped.wait(max(due[kind] - time.monotonic(), 0.0)):
                return False
            probe = probes[kind]
            problem = check(probe, self._target)
            if self._stopped.is_set():
                return False
            due[kind] = max(due[kind] + probe.period, time.monotonic())
            passed = problem is None
            decided = counts[kind].count(passed=passed)
            if decided and told.get(kind) != passed:
                told[kind] = passed
                self._tell(Outcome(kind, passed, problem or ""))
                if kind is Kind.STARTUP:
                    return passed
                if kind is Kind.LIVENESS and not passed:
                    return False
            elif not passed:
                self._tell(Outcome(kind, passed=False, message=problem or "", decided=False))
