"""Reading the log files that a supervisor writes (its format is that of container runtimes).

A line of a file is ``TIME STREAM TAG TEXT``; the tag P means that the text goes on in the next line
of the same stream, F that it ends here. Rotated files are ``NAME.1``, ``NAME.2`` and so on, the
higher the older.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CHUNK = 64 * 1024
_OLDEST = 50
"""Rotated files that are looked for at most."""


@dataclass(frozen=True)
class Entry:
    """A piece of output.

    Attributes:
        time: as it is written: UTC, nanoseconds, so that text order is time order.
        stream: ``stdout`` or ``stderr``.
        text: without line end.
        ends: whether a line ends with it.
    """

    time: str
    stream: str
    text: bytes
    ends: bool


@dataclass(frozen=True)
class Selection:
    """Which part of a log is wanted; the names are those of the API's PodLogOptions.

    Attributes:
        tail: so many last lines.
        since: entries from this time on, as ``Entry.time``.
        timestamps: whether each line begins with its time.
        limit: bytes at most.
        stream: ``stdout`` or ``stderr`` alone.
    """

    tail: int | None = None
    since: str = ""
    timestamps: bool = False
    limit: int | None = None
    stream: str = ""

    def wants(self, entry: Entry) -> bool:
        """Whether an entry belongs to the selection, the tail left aside."""
        return entry.time >= self.since and self.stream in ("", entry.stream)


def stamp(moment: datetime) -> str:
    """A time as it stands in the files."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def seconds_ago(seconds: float) -> str:
    """The time so many seconds ago, as it stands in the files."""
    return stamp(datetime.now(UTC) - timedelta(seconds=seconds))


def parse(line: bytes) -> Entry | None:
    """One line of a file; None when it is none of this format."""
    parts = line.split(b" ", 3)
    if len(parts) < 4 or parts[2] not in (b"F", b"P"):
        return None
    return Entry(parts[0].decode(errors="replace"), parts[1].decode(), parts[3], parts[2] == b"F")


class LogReader:
    """Reads a log from its beginning; called again, it gives what has come since."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._file: int | None = None
        self._rest = b""
        self._opened = False

    def entries(self) -> Iterator[Entry]:
        """What is there and was not given yet, across rotated files."""
        if self._file is None:
            self._file = self._open_oldest()
        while self._file is not None:
            while chunk := os.read(self._file, _CHUNK):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    if entry := parse(line):
                        yield entry
            newer = self._newer()
            if newer is None:
                return
            # Whatever was written to the old file between its last read and its renaming.
            while chunk := os.read(self._file, _CHUNK):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    if entry := parse(line):
                        yield entry
            os.close(self._file)
            self._file, self._rest = newer, b""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _name(self, number: int) -> Path:
        return self._log if number == 0 else self._log.with_name(f"{self._log.name}.{number}")

    def _open_oldest(self) -> int | None:
        return self._open_first(range(_OLDEST, -1, -1))

    def _newer(self) -> int | None:
        """The file that was begun after the one that is read; None while it is the newest."""
        if self._file is None:
            return None
        mine = os.fstat(self._file)
        for number in range(_OLDEST + 1):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(mine, self._name(number).stat()):
                    return self._open_first(range(number - 1, -1, -1))
        # Rotated away while it was read: what is left begins with the oldest there is.
        return self._open_oldest()

    def _open_first(self, numbers: Iterable[int]) -> int | None:
        """The first of these files that exists: in the middle of a rotation one is missing."""
        for number in numbers:
            with contextlib.suppress(FileNotFoundError):
                return os.open(self._name(number), os.O_RDONLY)
        return None


def last_lines(entries: Iterable[Entry], count: int) -> list[Entry]:
    """The entries of the last ``count`` lines; a line without end counts."""
    lines: deque[list[Entry]] = deque(maxlen=max(count, 0))
    open_line: dict[str, list[Entry]] = {}
    for entry in entries:
        line = open_line.get(entry.stream)
        if line is None:
            line = []
            lines.append(line)
            open_line[entry.stream] = line
        line.append(entry)
        if entry.ends:
            del open_line[entry.stream]
    return [entry for line in lines for entry in line]


class Rendering:
    """Turns entries into what a person reads."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._left = selection.limit
        self._continues: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether the limit has been reached."""
        return self._left is not None and self._left <= 0

    def __call__(self, entry: Entry) -> bytes:
        """The bytes of one entry."""
        text = entry.text + (b"\n" if entry.ends else b"")
        if self._selection.timestamps and entry.stream not in self._continues:
            text = entry.time.encode() + b" " + text
        if entry.ends:
            self._continues.discard(entry.stream)
        else:
            self._continues.add(entry.stream)
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text


def tail(log: Path, lines: int, limit: int) -> str:
    """The last lines of a log, its last ``limit`` bytes at most."""
    reader = LogReader(log)
    try:
        entries = last_lines(reader.entries(), lines)
    finally:
        reader.close()
    rendering = Rendering(Selection())
    text = b"".join(map(rendering, entries))
    return text[-limit:].decode(errors="replace") if limit > 0 else ""
