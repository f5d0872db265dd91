"""The supervisor of one run of one container: a program of its own, ``supervisor.py FOLDER``.

It needs nothing but the standard library and is started without site-packages, because there is
one for every running container. It outlives the agent that started it, so that neither the process
nor its exit code depends on the agent. The folder is the whole protocol:

``spec.json``     in: what to run (see ``Command`` in ``runs.py``)
``lock``          held, by a descriptor that was handed down, as long as the supervisor lives
``begun``         out: written just before the command is started, so that it never starts twice
``started.json``  out: ``{"pid", "created", "time"}``
``exit.json``     out: ``{"code", "signal", "oom", "error", "time"}``, after everything has ended
``control``       in, a FIFO: ``stop SECONDS`` sends SIGTERM now and SIGKILL after so many seconds;
                  again with fewer seconds shortens it
``events``        out, a FIFO: a byte means "look at the files"; its end means the supervisor is
                  gone

On Linux it is the subreaper of the container's processes: whatever they detach comes back to it and
is ended with the container's first process, as the kernel does for a real container.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LONGEST_LINE = 16 * 1024
"""A longer line is stored in parts, as container runtimes do."""
MEMORY_INTERVAL = 0.5
"""Seconds between two looks at the memory of a container that has a limit."""
PATIENCE = 10.0
"""Seconds that killed processes get to vanish before the exit is told without them."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
ROOM_INTERVAL = 0.5
"""Seconds between two tries to write down the end on a disk that is full."""
SIGNALLED = 128
"""A process ended by signal N has the exit code 128 + N, as shells and runtimes count."""


class Log:
    """A log file in the format of container runtimes: time, stream, F or P (partial), text."""

    def __init__(self, path: str, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = max(files, 1)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size
        self._pending = {"stdout": b"", "stderr": b""}

    def feed(self, stream: str, data: bytes) -> None:
        """Store output; an unfinished line waits for its end."""
        lines = (self._pending[stream] + data).split(b"\n")
        rest = lines.pop()
        stamp = self._stamp()
        out = [part for line in lines for part in self._line(stamp, stream, line, b"F")]
        while len(rest) > LONGEST_LINE:
            out += self._line(stamp, stream, rest[:LONGEST_LINE], b"P")
            rest = rest[LONGEST_LINE:]
        self._pending[stream] = rest
        if out:
            self._write(b"".join(out))

    def close(self) -> None:
        """Store what has no line end."""
        for stream, rest in self._pending.items():
            if rest:
                self._write(b"".join(self._line(self._stamp(), stream, rest, b"P")))
        os.close(self._file)

    @staticmethod
    def _stamp() -> bytes:
        now = time.time_ns()
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
        return f"{seconds}.{now % 1_000_000_000:09d}Z".encode()

    @staticmethod
    def _line(stamp: bytes, stream: str, line: bytes, tag: bytes) -> list[bytes]:
        head = stamp + b" " + stream.encode() + b" "
        parts = []
        while len(line) > LONGEST_LINE:
            parts.append(head + b"P " + line[:LONGEST_LINE] + b"\n")
            line = line[LONGEST_LINE:]
        parts.append(head + tag + b" " + line + b"\n")
        return parts

    def _write(self, data: bytes) -> None:
        # A full disk costs log lines, never the container.
        with contextlib.suppress(OSError):
            if self._size and self._size + len(data) > self._limit:
                self._rotate()
            self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, f"{self._path}.{number}")  # noqa: PTH105 - no pathlib: start-up time
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if self._files == 1 else 0)
        file = os.open(self._path, flags, 0o600)
        os.close(self._file)
        self._file, self._size = file, 0


def descendants(root: int) -> list[int]:
    """The processes below ``root``, it not included; parents come before their children."""
    below = _children_by_thread if LINUX else _children_by_table()
    found: list[int] = []
    queue = [root]
    while queue:
        children = below(queue.pop())
        found += children
        queue += children
    return found


def _children_by_thread(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - no pathlib: start-up time
            with contextlib.suppress(OSError):
                children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def _children_by_table() -> Callable[[int], list[int]]:
    table: dict[int, list[int]] = {}
    for line in os.popen("/bin/ps -axo pid=,ppid=").read().splitlines():  # noqa: S605 - fixed
        pid, parent = map(int, line.split())
        table.setdefault(parent, []).append(pid)
    return lambda parent: table.get(parent, [])


def memory_of(pids: list[int], limit: int) -> int:
    """Bytes of memory that cannot be reclaimed, shared pages counted once.

    Resident size is cheap but counts what processes share again and again, and file pages that
    the kernel can drop. So only when it exceeds the limit is the exact figure read.
    """
    if not LINUX:
        listing = os.popen("/bin/ps -o rss= -p " + ",".join(map(str, pids))).read()  # noqa: S605
        return sum(int(line) * 1024 for line in listing.split())
    page = os.sysconf("SC_PAGE_SIZE")
    resident = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            resident += int(_read(f"/proc/{pid}/statm").split()[1]) * page
    if resident <= limit:
        return resident
    exact = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
                if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
                    exact += int(line.split()[1]) * 1024
    return exact


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - no pathlib: start-up time
        return file.read()


class Supervisor:
    """Starts the command, waits for it, and tells in files what became of it."""

    def __init__(self, folder: str) -> None:
        os.chdir(folder)
        self.spec = json.loads(_read("spec.json"))
        self.pid = 0
        self.status: int | None = None
        self.deadline: float | None = None
        self.oom = False
        self.limit = int(self.spec.get("memory_limit") or 0)
        self.next_look = 0.0
        self.selector = selectors.DefaultSelector()
        self.events = os.open("events", os.O_RDWR | os.O_NONBLOCK)
        self.control = os.open("control", os.O_RDWR | os.O_NONBLOCK)
        self.orders = b""
        self.log = Log(self.spec["log"], self.spec["log_file_bytes"], self.spec["log_files"])
        self.streams: dict[int, str] = {}
        self.prctl = _prctl()

    def run(self) -> None:
        """The whole life of the container's run."""
        if self.prctl:
            self.prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake, wake_in = os.pipe()
        for end in (wake, wake_in):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop(float(self.spec["grace"])))
        for quiet in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(quiet, signal.SIG_IGN)
        self.selector.register(wake, selectors.EVENT_READ, "wake")
        self.selector.register(self.control, selectors.EVENT_READ, "control")
        error = self.begin()
        if error:
            self.finish(error)
            return
        self.tell()
        while self.status is None:
            for key, _ in self.selector.select(self.patience()):
                if key.data == "wake":
                    os.read(wake, 512)
                elif key.data == "control":
                    self.obey(os.read(self.control, 512))
                else:
                    self.pump(key.fd)
            self.reap()
            self.watch()
        self.end_descendants()
        self.drain()
        self.finish(None)

    def begin(self) -> str | None:
        """Note that the command may run from now on, and start it; returns why that failed."""
        try:
            _write_json("begun", {"supervisor": os.getpid()})
        except OSError as error:
            return f"its start could not be noted: {error.strerror}"
        return self.start()

    def start(self) -> str | None:
        """Start the command; returns why it could not be started."""
        reads = []
        writes = []
        for stream in ("stdout", "stderr"):
            read, write = os.pipe()
            os.set_blocking(read, False)
            self.streams[read] = stream
            self.selector.register(read, selectors.EVENT_READ, stream)
            reads.append(read)
            writes.append(write)
        failed, failing = os.pipe()
        try:
            self.pid = os.fork()
        except OSError as error:
            for end in (*writes, failed, failing):
                os.close(end)
            self.drain()
            return f"no process could be made for it: {error.strerror}"
        if self.pid == 0:
            self.become(writes, failing)
        for end in (*writes, failing):
            os.close(end)
        problem = os.read(failed, 4096)
        os.close(failed)
        if problem:
            os.waitpid(self.pid, 0)
            self.drain()
            return problem.decode(errors="replace")
        started = {"pid": self.pid, "created": _created(self.pid), "time": time.time()}
        try:
            _write_json("started.json", started)
        except OSError as error:
            # Nobody would know of it: it is as if it had not been started.
            os.kill(self.pid, signal.SIGKILL)
            self.end_descendants()
            self.drain()
            return f"it was ended at once, since its start could not be noted: {error.strerror}"
        return None

    def become(self, writes: list[int], failing: int) -> None:
        """In the child: turn into the command. Never returns."""
        what = self.spec["argv"][0]
        try:
            os.setsid()
            if self.prctl:
                # Should the supervisor be killed, its container does not go on unseen.
                self.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (writes[0], 1), (writes[1], 2)):
                os.dup2(source, target)
            os.umask(0o022)
            what = self.spec["cwd"]
            os.chdir(what)
            what = self.spec["argv"][0]
            os.execvpe(what, self.spec["argv"], self.spec["env"])  # noqa: S606 - that is its work
        except OSError as error:
            os.write(failing, f"{what}: {error.strerror}".encode())
        except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's code
            os.write(failing, f"{what}: {error!r}".encode())
        os._exit(127)

    def patience(self) -> float | None:
        """Seconds until something must be looked at without being told."""
        waits = []
        if self.deadline is not None:
            waits.append(max(0.0, self.deadline - time.monotonic()))
        if self.limit:
            waits.append(max(0.0, self.next_look - time.monotonic()))
        return min(waits) if waits else None

    def obey(self, order: bytes) -> None:
        """Carry out what came through the control FIFO."""
        *orders, self.orders = (self.orders + order).split(b"\n")
        for line in orders:
            with contextlib.suppress(ValueError, IndexError):
                if line.startswith(b"stop "):
                    self.stop(float(line.split()[1]))

    def stop(self, grace: float) -> None:
        """SIGTERM now, SIGKILL after ``grace`` seconds; never later than said before."""
        first = self.deadline is None
        deadline = time.monotonic() + max(grace, 0.0)
        self.deadline = deadline if self.deadline is None else min(self.deadline, deadline)
        if first and grace > 0 and self.pid and self.status is None:
            # The first process alone is told, as in a container: it knows how to end its workers.
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send the first process a signal, if that may be: it may have become another user."""
        with contextlib.suppress(PermissionError):
            os.kill(self.pid, number)

    def watch(self) -> None:
        """Enforce the deadline and the memory limit."""
        if self.status is not None:
            return
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.send(signal.SIGKILL)
            self.deadline = now + 1.0
        if self.limit and now >= self.next_look:
            self.next_look = now + MEMORY_INTERVAL
            if memory_of(descendants(os.getpid()), self.limit) > self.limit:
                self.oom = True
                self.send(signal.SIGKILL)

    def reap(self) -> None:
        """Take the exit codes of everything that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status

    def end_descendants(self) -> None:
        """End what the command left running, as the end of a container's first process does."""
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                for left in descendants(os.getpid()):
                    with contextlib.suppress(OSError):
                        os.kill(left, signal.SIGKILL)
                time.sleep(0.002)
        if not LINUX:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def pump(self, source: int) -> bool:
        """Store what a stream has; False when it has nothing more."""
        try:
            data = os.read(source, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        if data:
            self.log.feed(self.streams[source], data)
            return True
        self.selector.unregister(source)
        del self.streams[source]
        os.close(source)
        return False

    def drain(self) -> None:
        """Store what was still on its way when the command ended."""
        for source in list(self.streams):
            while self.pump(source):
                pass

    def finish(self, error: str | None) -> None:
        """Write down the end."""
        self.log.close()
        code, number = 128, None
        if error is None and self.status is not None:
            if os.WIFSIGNALED(self.status):
                number = os.WTERMSIG(self.status)
                code = SIGNALLED + number
            else:
                code = os.WEXITSTATUS(self.status)
        end = {
            "code": code,
            "signal": number,
            "oom": self.oom and number == signal.SIGKILL,
            "error": error,
            "time": time.time(),
        }
        while True:
            try:
                _write_json("exit.json", end)
                break
            except OSError as problem:
                # The disk may be full just because of what ended here. Its end is told late rather
                # than never; only where the folder itself is gone nobody waits for it.
                if problem.errno not in NO_ROOM:
                    raise
                time.sleep(ROOM_INTERVAL)
        self.tell()

    def tell(self) -> None:
        """Wake the agent, if there is one."""
        with contextlib.suppress(OSError):
            os.write(self.events, b".")


def _write_json(name: str, value: object) -> None:
    # Whole or not at all, and on the disk: a machine that loses power must not lose the exit code.
    with open(f"{name}.new", "w") as file:  # noqa: PTH123 - no pathlib: start-up time
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{name}.new", name)  # noqa: PTH105 - no pathlib: start-up time


def _created(pid: int) -> float:
    """When a process was started, in clock ticks since boot; with its pid it names it for good."""
    if LINUX:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return float(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])
    return 0.0


def _prctl() -> Callable[[int, int], int] | None:
    if not LINUX:
        return None
    import ctypes

    function: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return function


def main() -> None:
    """Run as a program: ``supervisor.py FOLDER LOCK``, LOCK an inherited, locked descriptor."""
    # The lock must end with this process, not with what the container starts.
    os.set_inheritable(int(sys.argv[2]), False)
    Supervisor(sys.argv[1]).run()


if __name__ == "__main__":
    main()
