"""When a run writes checkpoints, and what it began from."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway_api import environment, limits

from headway.checkpoints import Checkpoint, CheckpointError, CheckpointStore, Write
from headway.identity import PodIdentity
from headway.progress_state import ProgressState

_local_runs = itertools.count(1)
_log = logging.getLogger("headway")
_SETTINGS = (
    environment.CHECKPOINT_EVERY_EPOCHS,
    environment.CHECKPOINT_EVERY_SECONDS,
    environment.RESUME_FROM,
)


@dataclass(frozen=True)
class Cadence:
    """How often checkpoints are written; None where it does not matter."""

    every_epochs: int | None = None
    every_seconds: float | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Cadence:
        """What ``spec.checkpoint`` says: without a word from it, every 60 seconds."""
        epochs = _number(env.get(environment.CHECKPOINT_EVERY_EPOCHS))
        seconds = _number(env.get(environment.CHECKPOINT_EVERY_SECONDS))
        if epochs is None and seconds is None:
            seconds = limits.CHECKPOINT_INTERVAL
        return cls(epochs, seconds)


class Checkpoints:
    """The checkpoints of a run: reads the newest, says when one is due, writes it.

    In a trainer pod they are always on. Elsewhere they are where one of the variables
    ``HEADWAY_CHECKPOINT_EVERY_EPOCHS``, ``HEADWAY_CHECKPOINT_EVERY_SECONDS`` and
    ``HEADWAY_RESUME_FROM`` is set. Of several workers only the first (rank 0) writes.

    Attributes:
        due_at: monotonic time at which the next one is due by its age; infinity where that does
            not matter.
    """

    def __init__(
        self, store: CheckpointStore | None, cadence: Cadence, state: ProgressState, *, writes: bool
    ) -> None:
        self._store = store
        self._cadence = cadence
        self._state = state
        self._writes = writes and store is not None
        self._epochs = 0
        self._resumed: tuple[Checkpoint | None] | None = None
        self.due_at = float("inf")
        self._wait()

    @classmethod
    def of_this_process(
        cls, identity: PodIdentity | None, workspace: Callable[[], Path], state: ProgressState
    ) -> Checkpoints:
        """As the environment says; the workspace is asked for where there are any."""
        env = os.environ
        cadence = Cadence.from_environment(env)
        if identity is None and not any(env.get(name) for name in _SETTINGS):
            return cls(None, cadence, state, writes=False)
        store = CheckpointStore(
            workspace(),
            identity.uid if identity else _local_folder(),
            identity.attempt if identity else 1,
            keep=_number(env.get(environment.CHECKPOINT_KEEP)) or limits.CHECKPOINTS_KEPT,
            resume_from=env.get(environment.RESUME_FROM) or None,
        )
        return cls(store, cadence, state, writes=identity is None or identity.reports)

    def resume(self) -> Checkpoint | None:
        """The checkpoint to begin from; None where there is none. The same however often asked.

        Raises:
            CheckpointError: the checkpoint that ``spec.checkpoint.resumeFrom`` names is not there,
                or is damaged.
        """
        if self._resumed is None:
            found = self._store.newest() if self._store else None
            self._resumed = (found,)
            if found is not None:
                self._epochs = found.epochs or 0
                self._state.note_checkpoint(found.on_wire())
        return self._resumed[0]

    def is_given(self, checkpoint: Checkpoint) -> bool:
        """Whether it is another run's, that ``spec.checkpoint.resumeFrom`` named."""
        return self._store is not None and not self._store.owns(checkpoint)

    def count_from(self, epochs: int) -> None:
        """Count the epochs to the next one from here: a loop over them begins."""
        self._epochs = epochs

    def due(self, epochs: int | None = None) -> bool:
        """Whether one should be written now.

        Args:
            epochs: epochs completed, at an epoch's boundary; left out, the age alone decides.
        """
        if not self._writes:
            return False
        every = self._cadence.every_epochs
        if every is not None and epochs is not None and epochs - self._epochs >= every:
            return True
        return time.monotonic() >= self.due_at

    def save(
        self,
        write: Write,
        *,
        epochs: int | None = None,
        batches: int | None = None,
        step: int | None = None,
        loop: int | None = None,
        loaders: Sequence[int] = (),
    ) -> Checkpoint | None:
        """Write one now; None where none is written here, or the disk would not take it.

        Args:
            write: writes the program's state into the folder that it is given.
            epochs: epochs that are in it.
            batches: batches of the epoch after those.
            step: steps that are in it.
            loop: which loop over epochs they are of, from 1.
            loaders: how many of the batches were done before each loader of the epoch began.

        Raises:
            Exception: what ``write`` raises, unless the disk is to blame: that is a warning, and
                the training goes on.
        """
        if not self._writes or self._store is None:
            return None
        try:
            made = self._store.save(
                write,
                epochs=epochs,
                batches=batches or None,
                step=step,
                loop=loop,
                loaders=loaders,
            )
        except OSError as error:
            _log.warning("headway: no checkpoint was written, the run goes on: %s", error)
            return None
        finally:
            self._wait()  # counted from its end: where writing takes long, the work comes first
        if epochs is not None:
            self._epochs = epochs
        self._state.note_checkpoint(made.on_wire())
        return made

    def _wait(self) -> None:
        if self._cadence.every_seconds is not None:
            self.due_at = time.monotonic() + self._cadence.every_seconds


def _local_folder() -> str:
    """A folder for a run on a laptop that no other one has, also of this process."""
    number = next(_local_runs)
    again = f"-{number}" if number > 1 else ""
    return f"local-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}{again}"


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


__all__ = ["Cadence", "Checkpoint", "CheckpointError", "Checkpoints"]
