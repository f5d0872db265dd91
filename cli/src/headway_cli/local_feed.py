"""A run on this machine as a feed: a child process, its progress from a file, its output as lines.

The child gets what a trainer pod gets: the kind of work and its inputs in the environment. It
appends its progress to the file that ``HEADWAY_PROGRESS_FILE`` names, one JSON object a line, with
the members ``progress``, ``history`` and ``report`` of a status. As in a cluster, how it ends is
decided by what happens; its report only explains.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from headway_api import environment, names
from headway_api.vocabulary import CancelOutcome, OperationType, Phase, Reason, ReportStatus

from headway_cli.following import Event, Said, Seen
from headway_cli.problems import usage

if TYPE_CHECKING:
    from types import TracebackType

_POLL = 0.1


def command_of(spec: Mapping[str, Any]) -> list[str]:
    """The child's command line for a spec.

    Raises:
        Problem: the run needs something that only a cluster has.
    """
    kind = OperationType(spec["type"])
    if kind is not OperationType.CUSTOM:
        source = (spec.get("training") or {}).get("strategy") or {}
        if "configMapKeyRef" in source:
            raise usage("A strategy from a ConfigMap needs a cluster: give a file instead.")
        return [sys.executable, "-m", "headway_trainer"]
    member = spec.get("custom") or {}
    if member.get("entrypoint"):
        return [sys.executable, "-m", "headway", "exec"]
    if not member.get("command"):
        raise usage("Without an image there has to be a spec.custom.command or .entrypoint.")
    return [*member["command"], *(member.get("args") or [])]


def _as_in_a_pod(command: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """A command as Kubernetes reads it: ``$(NAME)`` is a variable's value, ``$$`` a dollar."""
    if not any("$" in word for word in command):
        return list(command)
    from headway_cluster.node.environment import expand

    return [expand(word, variables) for word in command]


_OF_A_POD = frozenset(
    {environment.OPERATION_NAME, environment.OPERATION_UID, "KUBERNETES_SERVICE_HOST"}
)
"""What would make a program that was started from a trainer pod report to its operation."""


class LocalFeed:
    """Runs an operation as a child of this process. Use as a context manager.

    Args:
        manifest: the operation.
        variables: environment variables of the run's own.
        workspace: folder for data and models.

    Raises:
        Problem: it is not valid, needs a cluster, or its command cannot be started.
    """

    local = True

    def __init__(
        self, manifest: Mapping[str, Any], variables: Mapping[str, str], workspace: Path
    ) -> None:
        spec = manifest["spec"]
        self._folder = tempfile.TemporaryDirectory(prefix="headway-run-")
        self._file = Path(self._folder.name) / "progress.jsonl"
        self._file.touch()
        self._read = 0
        self._status: dict[str, Any] = {"phase": str(Phase.STARTING), "attempt": 1}
        self._object: dict[str, Any] = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {**manifest["metadata"], "creationTimestamp": _now()},
            "spec": dict(spec),
        }
        asked = self._seen().operation.spec
        if asked.workers > 1:
            raise usage(f"spec.workers is {asked.workers}: several workers need a cluster.")
        self._grace = asked.cancel_grace_period_seconds
        self._cancelled_at: float | None = None
        self._forced = False
        self._shown = False
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        member = spec.get(OperationType(spec["type"]).member) or {}
        own = {
            **(asked.checkpoint.variables() if asked.checkpoint is not None else {}),
            **variables,
            environment.BACKEND: "local",
            environment.OPERATION_TYPE: str(spec["type"]),
            environment.OPERATION_PARAMETERS: json.dumps(member),
            environment.WORKSPACE: str(workspace),
            environment.PROGRESS_FILE: str(self._file),
            "PYTHONUNBUFFERED": "1",
        }
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_POD}
        self._process = _started(_as_in_a_pod(command_of(spec), own), {**inherited, **own})
        self._status["startTime"] = _now()
        self._status["phase"] = str(Phase.RUNNING)
        assert self._process.stdout is not None  # noqa: S101 - asked for a pipe
        self._reader = threading.Thread(
            target=self._pass_on, args=(self._process.stdout,), name="output", daemon=True
        )
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(self._grace)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._folder.cleanup()

    def next(self, timeout: float) -> Event | None:
        """The next event; see :class:`headway_cli.following.Feed`."""
        if not self._shown:
            self._shown = True
            return self._seen()
        try:
            line = self._lines.get(timeout=min(timeout, _POLL))
        except queue.Empty:
            line = None
        if line is not None:
            return Said(line)
        changed = self._take_in()
        since = self._cancelled_at
        if since is not None and not self._forced and time.monotonic() - since > self._grace:
            self._force()
        if self._process.poll() is not None and not self._reader.is_alive() and self._lines.empty():
            self._take_in()
            self._end(self._process.returncode)
            return self._seen()
        return self._seen() if changed else None

    def cancel(self, *, now: bool) -> None:
        """SIGINT, as Ctrl-C would send; ``now`` ends the child and what it started.

        So does the end of the run's own grace period.
        """
        if self._process.poll() is not None:
            return
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            self._object["spec"]["cancel"] = True
            self._status["phase"] = str(Phase.CANCELLING)
            self._status["cancellation"] = {"requestedAt": _now()}
            self._shown = False
            self._signal(signal.SIGINT)
        if now:
            self._force()

    def _force(self) -> None:
        self._forced = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _pass_on(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))

    def _take_in(self) -> bool:
        """Read what was appended to the progress file; returns whether anything was."""
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return False
        self._read += len(whole) + 1
        changed = False
        for line in whole.splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            for member in ("progress", "history", "report"):
                if isinstance(document, dict) and document.get(member) is not None:
                    self._status[member] = document[member]
                    changed = True
        return changed

    def _end(self, code: int) -> None:
        """Decide how the run ended: by its exit code and what was asked of it."""
        report = self._status.get("report") or {}
        stopped = report.get("status") in (ReportStatus.CANCELLED, ReportStatus.INTERRUPTED)
        phase, reason, words = Phase.FAILED, Reason.ERROR, f"the process exited with code {code}"
        if self._cancelled_at is not None and (code != 0 or stopped or "status" not in report):
            phase, reason, words = Phase.CANCELLED, Reason.CANCELLED, "stopped as asked"
            self._status["cancellation"]["podsGoneAt"] = _now()
        elif code == 0 and stopped:
            phase, reason, words = Phase.CANCELLED, Reason.CANCELLED, "it stopped itself"
        elif code == 0:
            phase, reason, words = Phase.SUCCEEDED, Reason.COMPLETED, "the work is done"
        elif code < 0:
            name = signal.Signals(-code).name
            reason, words = Reason.SIGNALLED, f"the process was ended by {name}"
        if self._cancelled_at is not None:
            self._status["cancellation"]["outcome"] = str(self._outcome(phase, stopped=stopped))
        self._status |= {
            "phase": str(phase),
            "completionTime": _now(),
            "result": {"reason": str(reason), "message": words, "report": report or None},
        }
        if code > 0 or (code < 0 and phase is Phase.FAILED):
            self._status["result"]["exitCode"] = code if code > 0 else 128 - code

    def _outcome(self, phase: Phase, *, stopped: bool) -> CancelOutcome:
        if phase is Phase.SUCCEEDED:
            return CancelOutcome.TOO_LATE
        if self._forced:
            return CancelOutcome.FORCED
        # SIGINT without a report is what ends a program that knows nothing of headway.
        by_sigint = self._process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
        if stopped or by_sigint or self._process.returncode == 0:
            return CancelOutcome.GRACEFUL
        return CancelOutcome.CRASHED

    def _seen(self) -> Seen:
        from headway_api.models import TrainingOperation
        from pydantic import ValidationError

        raw = {**self._object, "status": self._status}
        try:
            return Seen(TrainingOperation.model_validate(raw))
        except ValidationError as error:
            why = [
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors()
            ]
            name = self._object["metadata"].get("name", "")
            raise usage(f"The run {name} is not valid.", why="\n".join(why)) from error


def _started(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        with _interruptible():
            return subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                bufsize=1,
                # A group of its own: Ctrl-C comes to us, and what the child started ends with it.
                start_new_session=True,
            )
    except OSError as error:
        raise usage(f"{command[0]} cannot be started.", why=error.strerror or str(error)) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """What is started in here can be interrupted.

    A shell without job control starts what is in its background with SIGINT ignored, and a child
    inherits that: a cancel by SIGINT would not reach it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _now() -> str:
    return datetime.now(UTC).isoformat()
