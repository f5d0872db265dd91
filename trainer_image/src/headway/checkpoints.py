"""Checkpoints: whole or not there, verified when they are read, the newest valid one wins.

A checkpoint is a folder ``<workspace>/<uid>/a<attempt>/<number>`` with whatever the program wrote
into it and a manifest of sizes and checksums. It is made under another name, brought to the disk,
and renamed: a crash at any instant leaves the one before it whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway import wire

MANIFEST = "manifest.json"
_FORMAT = 1
_CHUNK = 1 << 20
_ATTEMPT = re.compile(r"a([1-9]\d*)")
_NUMBER = re.compile(r"\d{6,}")
_UNFINISHED = ".unfinished-"
_FULL = 16 << 20
"""Bytes left on a disk below which an error while writing is taken for a full disk."""

_log = logging.getLogger("headway")

Write = Callable[[Path], object]
"""Writes the state of a program into the folder that it is given."""


class CheckpointError(Exception):
    """A checkpoint that was asked for by name is not there, or is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        folder: where it lies.
        path: the same, relative to the workspace, as the status names it.
        attempt: the attempt that wrote it.
        number: counts the checkpoints of an attempt.
        epochs: epochs that it has in it; None where the work counts none.
        batches: batches of the epoch after those; None at an epoch's boundary.
        loop: which loop over epochs of the program these are of, from 1; None counts as the first.
        loaders: how many of the batches were done before each loader of that epoch began.
        step: the latest step that was reported before it.
        time: when it was written, in seconds since the epoch.
        bytes: its size.
    """

    folder: Path
    path: str
    attempt: int
    number: int
    epochs: int | None
    batches: int | None
    step: int | None
    time: float
    bytes: int
    loop: int | None = None
    loaders: tuple[int, ...] = ()

    def on_wire(self) -> dict[str, Any]:
        """As it stands in ``status.report.checkpoint``."""
        told: dict[str, Any] = {
            "path": self.path,
            "time": wire.timestamp(self.time),
            "epochsCompleted": self.epochs,
            "batchesCompleted": self.batches or None,
            "step": self.step,
            "bytes": self.bytes,
        }
        return {key: value for key, value in told.items() if value is not None}


class CheckpointStore:
    """The checkpoints of one operation, as one of its attempts sees them.

    Args:
        workspace: the workspace's folder.
        uid: the operation's uid.
        attempt: the attempt that writes.
        keep: how many of the newest are kept, over all attempts.
        resume_from: checkpoint, or folder of checkpoints, to begin from where the operation has
            none of its own; relative to the workspace.

    Attributes:
        workspace: the same.
    """

    def __init__(
        self,
        workspace: Path,
        uid: str,
        attempt: int,
        *,
        keep: int,
        resume_from: str | None = None,
    ) -> None:
        self.workspace = workspace
        self._root = workspace / uid
        self._attempt = attempt
        self._folder = self._root / f"a{attempt}"
        self._keep = max(1, keep)
        self._resume_from = resume_from

    def newest(self) -> Checkpoint | None:
        """The newest valid checkpoint of this or any earlier attempt, else what is resumed from.

        One that is damaged is passed over with a warning.

        Raises:
            CheckpointError: there is no valid checkpoint where ``resume_from`` says.
        """
        for folder in _newest_first(self._root):
            try:
                return self._verified(folder)
            except CheckpointError as error:
                _log.warning("headway: checkpoint %s is passed over: %s", folder, error)
        return self._given() if self._resume_from else None

    def owns(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is this operation's own."""
        return checkpoint.folder.is_relative_to(self._root)

    def save(
        self,
        write: Write,
        *,
        epochs: int | None = None,
        batches: int | None = None,
        step: int | None = None,
        loop: int | None = None,
        loaders: Sequence[int] = (),
    ) -> Checkpoint:
        """Write a checkpoint, whole or not at all, and remove what is too old.

        Args:
            write: writes the state into the folder that it is given.
            epochs: epochs that are in it.
            batches: batches of the epoch after those.
            step: steps that are in it.
            loop: which loop over epochs they are of.
            loaders: how many of the batches were done before each loader of the epoch began.

        Raises:
            OSError: it could not be written, also where ``write`` raised something else on a disk
                that is full.
            Exception: what ``write`` raises.
        """
        self._make_folder()
        self._sweep()
        number = 1 + max((int(f.name) for f in _numbered(self._folder)), default=0)
        unfinished = self._folder / f"{_UNFINISHED}{number:06d}"
        unfinished.mkdir()
        try:
            write(unfinished)
            position = {"epochs": epochs, "batches": batches, "step": step, "loop": loop}
            _seal(unfinished, {**position, "loaders": list(loaders), "time": time.time()})
            folder = self._folder / f"{number:06d}"
            unfinished.rename(folder)
            _sync_folder(self._folder)
        except BaseException as error:
            full = not isinstance(error, OSError) and _is_full(self.workspace)
            shutil.rmtree(unfinished, ignore_errors=True)
            if full and isinstance(error, Exception):
                # Libraries have errors of their own for it; there is room again only now.
                raise OSError(errno.ENOSPC, f"the disk is full: {error}") from error
            raise
        self._prune()
        return _checkpoint(folder, self.workspace, _manifest(folder))

    def _make_folder(self) -> None:
        if self._folder.is_dir():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for parent in (self._root, self.workspace):  # a name is safe when its folder is
            _sync_folder(parent)

    def _sweep(self) -> None:
        """Remove what writers that died have left; one of a later attempt is alive."""
        for folder in self._root.glob(f"a*/{_UNFINISHED}*"):
            if (found := _named(folder.parent)) and int(found[1]) <= self._attempt:
                shutil.rmtree(folder, ignore_errors=True)

    def _prune(self) -> None:
        for folder in list(_newest_first(self._root))[self._keep :]:
            doomed = folder.with_name(f"{_UNFINISHED}{folder.name}")
            with contextlib.suppress(OSError):  # the next time will do
                folder.rename(doomed)
                shutil.rmtree(doomed)

    def _given(self) -> Checkpoint:
        asked = self._resume_from or ""
        start = (self.workspace / asked).resolve()
        if not start.is_relative_to(self.workspace.resolve()):
            raise CheckpointError(f"{asked} is not in the workspace")
        if not start.is_dir():
            raise CheckpointError(f"there is no checkpoint {asked} in the workspace")
        if (start / MANIFEST).exists():
            return self._verified(start)
        for folder in _newest_first(start):
            with contextlib.suppress(CheckpointError):
                return self._verified(folder)
        raise CheckpointError(f"there is no valid checkpoint in {asked}")

    def _verified(self, folder: Path) -> Checkpoint:
        manifest = _manifest(folder)
        try:
            for name, told in manifest["files"].items():
                file = folder / name
                if not file.is_file() or file.stat().st_size != told["bytes"]:
                    raise CheckpointError(f"{name} is missing or not whole")
                if _digest(file) != told["sha256"]:
                    raise CheckpointError(f"{name} is not what was written")
            return _checkpoint(folder, self.workspace, manifest)
        except OSError as error:  # the disk is damaged, or it is somebody else's
            raise CheckpointError(f"it cannot be read: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("its manifest cannot be read") from error


def _is_full(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < _FULL
    return False


def _newest_first(root: Path) -> Iterator[Path]:
    """Checkpoint folders under a folder of attempts, or of one attempt, the newest first."""
    attempts = sorted(
        ((int(found[1]), folder) for folder in _folders(root) if (found := _named(folder))),
        reverse=True,
    )
    for _, attempt in attempts:
        yield from _numbered(attempt)
    yield from _numbered(root)


def _named(folder: Path) -> re.Match[str] | None:
    return _ATTEMPT.fullmatch(folder.name)


def _numbered(folder: Path) -> list[Path]:
    return sorted(
        (f for f in _folders(folder) if _NUMBER.fullmatch(f.name)),
        key=lambda f: int(f.name),
        reverse=True,
    )


def _folders(folder: Path) -> list[Path]:
    try:
        return [f for f in folder.iterdir() if f.is_dir()]
    except OSError:
        return []


def _seal(folder: Path, position: Mapping[str, Any]) -> None:
    """Bring a folder's files to the disk, and write down what they are.

    Raises:
        ValueError: the program wrote a file where the manifest goes.
    """
    if (folder / MANIFEST).exists():
        raise ValueError(f"{MANIFEST} in a checkpoint is Headway's own: save yours by another name")
    files = {}
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        with file.open("rb") as content:
            os.fsync(content.fileno())
        name = file.relative_to(folder).as_posix()
        files[name] = {"bytes": file.stat().st_size, "sha256": _digest(file)}
    manifest = {"headway": _FORMAT, **position, "files": files}
    with (folder / MANIFEST).open("w", encoding="utf-8") as out:
        json.dump(manifest, out)
        out.flush()
        os.fsync(out.fileno())
    for inner in [folder, *(f for f in folder.rglob("*") if f.is_dir())]:
        _sync_folder(inner)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if found["headway"] != _FORMAT or not isinstance(found["files"], dict):
            raise CheckpointError("it was written by another version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("its manifest cannot be read") from error
    return dict(found)


def _checkpoint(folder: Path, workspace: Path, manifest: Mapping[str, Any]) -> Checkpoint:
    attempt = _named(folder.parent)
    whole, here = folder.resolve(), workspace.resolve()
    return Checkpoint(
        folder=folder,
        path=(whole.relative_to(here) if whole.is_relative_to(here) else folder).as_posix(),
        attempt=int(attempt[1]) if attempt else 0,
        number=int(folder.name) if folder.name.isdigit() else 0,
        epochs=manifest.get("epochs"),
        batches=manifest.get("batches"),
        step=manifest.get("step"),
        loop=manifest.get("loop"),
        loaders=tuple(manifest.get("loaders") or ()),
        time=float(manifest.get("time") or 0.0),
        bytes=sum(int(told["bytes"]) for told in manifest["files"].values()),
    )


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
