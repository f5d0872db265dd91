"""Programs that run on after the command that started them, found again by a file.

A pid alone may be somebody else's by now: the file holds the time its process began, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import psutil

from headway_cluster.errors import ClusterError

_TAIL = 15
_PR_SET_PDEATHSIG = 1
_POLL = 0.02


@dataclass(frozen=True)
class Daemon:
    """One program, run at most once at a time.

    Attributes:
        name: for people and for its files.
        command: program and arguments.
        folder: where ``<name>.pid`` and ``<name>.log`` are kept.
        env: variables beside the caller's own.
        tied: ends with the thread that started it (Linux), for programs that must not stay behind.
    """

    name: str
    command: Sequence[str]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    tied: bool = False

    @property
    def log(self) -> Path:
        """What the program prints."""
        return self.folder / f"{self.name}.log"

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def process(self) -> psutil.Process | None:
        """The running process; None where there is none."""
        return running(self._file)

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            ClusterError: the program cannot be started.
        """
        if self.process() is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with _uninterrupted(), self.log.open("ab") as log:
            try:
                started = subprocess.Popen(
                    list(self.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.env},
                    start_new_session=True,
                    cwd=self.folder,
                    preexec_fn=_die_with_parent if self.tied else None,
                )
            except OSError as error:
                raise ClusterError(f"{self.name} cannot be started: {error}") from error
            try:
                created = _created(started.pid)
                self._file.write_text(json.dumps({"pid": started.pid, "created": created}))
            except BaseException:
                started.kill()  # nobody would find it again
                raise
            _CHILDREN[started.pid] = started

    def stop(self, grace: float = 10.0) -> bool:
        """End it: SIGTERM, and SIGKILL once ``grace`` seconds have passed.

        Returns:
            Whether it ran.
        """
        process = self.process()
        if process is not None:
            _end(process, grace)
        self._file.unlink(missing_ok=True)
        return process is not None

    def kill(self) -> None:
        """End it the hard way, as a crash would."""
        process = self.process()
        if process is not None:
            process.kill()
            _reap(process)
        self._file.unlink(missing_ok=True)

    def tail(self) -> str:
        """The last lines that it printed."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL:])


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Programs that this very process started: their exit must be collected here."""


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the end of the block.

    Between the start of a program and the note of it, an interruption would leave it to nobody.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda *what: pressed.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if pressed and callable(before):
            before(*pressed[0])


def running(file: Path) -> psutil.Process | None:
    """The process that a pid file tells of, if it is still that one and alive."""
    try:
        told = json.loads(file.read_text())
        process = psutil.Process(told["pid"])
        if child := _CHILDREN.get(process.pid):
            child.poll()
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(_created(process.pid) - told["created"]) < 1 else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def _created(pid: int) -> float:
    """When a process began, on a clock that is never set.

    Source: proc(5), field 22 (starttime) of ``/proc/<pid>/stat``, in clock ticks since the boot.
    """
    try:
        if sys.platform == "linux":
            stat = Path(f"/proc/{pid}/stat").read_text()
            return float(stat.rpartition(")")[2].split()[19])
        return psutil.Process(pid).create_time()
    except (psutil.Error, OSError):
        return 0.0


def _end(process: psutil.Process, grace: float) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGTERM)
    if not _reap(process, grace):
        with contextlib.suppress(psutil.Error):
            process.kill()
        _reap(process)


def _reap(process: psutil.Process, timeout: float = 10.0) -> bool:
    """Wait for the end of a process; returns whether it came."""
    if child := _CHILDREN.get(process.pid):
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        del _CHILDREN[process.pid]
        return True
    deadline = time.monotonic() + timeout
    while _lives(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _lives(process: psutil.Process) -> bool:
    """Whether it has not ended. In many containers nobody collects the exit of orphans."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
