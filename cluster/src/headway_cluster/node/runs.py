"""One run of one container, as the agent sees it: a folder, and a supervisor that may be alive.

Every start of a container is a run with a number of its own (the restart count). All that is known
about it is read from its folder, so that an agent that has been restarted knows the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from headway_cluster.removing import discard
from headway_cluster.writing import PRIVATE, write_whole

SUPERVISOR = Path(__file__).with_name("supervisor.py")
CONTAINER_MARK = "HEADWAY_CONTAINER_ID"
"""Environment variable that every process of a container carries: how lost ones are found."""
_CONTROL_PATIENCE = 5.0
_LOST_PATIENCE = 5.0
"""Seconds that killed processes get to vanish that no supervisor is left for."""


@dataclass(frozen=True)
class Command:
    """What a run executes, everything resolved.

    Attributes:
        argv: program and arguments.
        env: the whole environment.
        cwd: working directory, which must exist.
        log: file that the output goes to.
        log_file_bytes: size at which it is rotated.
        log_files: how many files are kept.
        memory_limit: bytes; 0 means none.
        grace: seconds between SIGTERM and SIGKILL when nobody says otherwise.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    log: str
    log_file_bytes: int
    log_files: int
    memory_limit: int = 0
    grace: float = 30.0


@dataclass(frozen=True)
class Exit:
    """How a run ended.

    Attributes:
        code: exit code; 128 + N after signal N.
        signal: the signal that ended it.
        oom: whether it was ended for using more memory than its limit.
        error: why the command could not be started at all.
        time: seconds since the epoch.
        lost: nobody saw the end: the machine or the supervisor went down with it.
    """

    code: int
    signal: int | None
    oom: bool
    error: str | None
    time: float
    lost: bool = False


@dataclass(frozen=True)
class RunState:
    """What is known about a run now: not begun, running (``started`` is set), or ended."""

    started: float | None
    exit: Exit | None


class Run:
    """A run's folder. Not thread-safe: it belongs to its pod's worker."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.number = number
        self._process: subprocess.Popen[bytes] | None = None
        self._events: int | None = None
        self._exit: Exit | None = None
        self._started: float | None = None
        self.termination_log = folder / "termination-log"

    @property
    def log(self) -> Path:
        """The file that the run's output is in."""
        return self.folder / "output.log"

    @property
    def home(self) -> Path:
        """The folder that belongs to this run alone: its home and first working directory."""
        return self.folder / "home"

    def start(self, command: Command) -> None:
        """Start the supervisor, which starts the command. Returns before either has happened."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        self._write("spec.json", asdict(command))
        for name in ("events", "control"):
            with contextlib.suppress(FileExistsError):
                os.mkfifo(self.folder / name, 0o600)
        self.termination_log.touch(mode=0o600)
        self.open_events()
        lock = self._lock()
        if lock is None:
            # An agent that died had got this far: its supervisor is at work.
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(self.folder), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self.folder / "supervisor.log").open("wb"),
                pass_fds=(lock,),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(lock)

    def open_events(self) -> int:
        """The descriptor that becomes readable when there is something new in the folder."""
        if self._events is None:
            self._events = os.open(self.folder / "events", os.O_RDONLY | os.O_NONBLOCK)
        return self._events

    def take_events(self) -> bool:
        """Take what was told; False when nobody is left to tell anything."""
        try:
            return self._events is not None and os.read(self._events, 512) != b""
        except BlockingIOError:
            return True

    def close(self) -> None:
        """Let go of what the agent holds; the run itself is not touched."""
        if self._events is not None:
            os.close(self._events)
            self._events = None

    @property
    def begun(self) -> bool:
        """Whether the command may have been started: then this run never is again."""
        return (self.folder / "begun").exists()

    @property
    def supervised(self) -> bool:
        """Whether the supervisor is alive."""
        lock = self._lock()
        if lock is None:
            return True
        os.close(lock)
        return False

    def state(self) -> RunState:
        """Read what has happened so far."""
        if self._exit is None:
            if self._started is None:
                started = self._read("started.json")
                self._started = float(started["time"]) if started else None
            self._exit = self._ended()
        return RunState(self._started, self._exit)

    def _ended(self) -> Exit | None:
        found = self._read("exit.json")
        if found is None and not self.supervised:
            # It may have written its last words between the two looks.
            found = self._read("exit.json")
            if found is None and (self.begun or self._process is not None):
                self.end_strays()
                end = Exit(137, signal.SIGKILL, oom=False, error=None, time=time.time(), lost=True)
                with contextlib.suppress(OSError):  # on a full disk the next agent finds the same
                    self._write("exit.json", asdict(end))
                return end
        if found is None:
            return None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        return Exit(
            code=int(found["code"]),
            signal=found["signal"],
            oom=bool(found["oom"]),
            error=found["error"],
            time=float(found["time"]),
            lost=bool(found.get("lost")),
        )

    def count_as_lost(self) -> None:
        """Note a run that is known to have been, but of which nothing is left on the disk."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        (self.folder / "begun").touch()

    def stop(self, grace: float) -> bool:
        """SIGTERM now, SIGKILL after ``grace`` seconds. Again with less shortens it.

        Returns:
            False where the supervisor has not come up in time to hear it: say it again.
        """
        patience = time.monotonic() + _CONTROL_PATIENCE
        while time.monotonic() < patience:
            try:
                control = os.open(self.folder / "control", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                # No reader: it has not come up yet, or it is gone, which the lock tells.
                if not self.supervised:
                    return True
                time.sleep(0.005)
                continue
            with contextlib.suppress(OSError):
                os.write(control, f"stop {grace:g}\n".encode())
            os.close(control)
            return True
        return False

    def termination_message(self, limit: int = 4096) -> str:
        """What the container left in its termination message file."""
        with contextlib.suppress(OSError):
            # What the container has made of it may be anything: nobody waits for a pipe's writer.
            file = os.open(self.termination_log, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return os.read(file, limit).decode(errors="replace")
            finally:
                os.close(file)
        return ""

    def remove(self) -> None:
        """Delete the folder; the run must have ended."""
        self.close()
        discard(self.folder)

    def spec(self) -> dict[str, Any] | None:
        """What was started: the fields of ``Command``."""
        return self._read("spec.json")

    def _lock(self) -> int | None:
        """A descriptor that holds the lock, or None when the supervisor does."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            return None if self.folder.exists() else os.open(os.devnull, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock

    def end_strays(self) -> None:
        """End what no supervisor ends, found by the mark in its environment.

        It is what a killed supervisor left behind, or a probe of an agent that was killed.
        """
        spec = self.spec()
        mark = spec["env"].get(CONTAINER_MARK) if spec else None
        patience = time.monotonic() + _LOST_PATIENCE
        # Again until none is found: what was started during a look is not seen by it.
        while mark and _end_marked(mark) and time.monotonic() < patience:
            pass

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None
        return content

    def _write(self, name: str, content: object) -> None:
        write_whole(self.folder / name, json.dumps(content), PRIVATE)


def _end_marked(mark: str) -> bool:
    """Kill the processes that carry a mark; returns whether there were any."""
    found = False
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(CONTAINER_MARK) == mark:
                found = True
                process.kill()
    return found
