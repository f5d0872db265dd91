"""Where a program stands in its epochs and batches, and what it may leave out after a resume.

A resumed program goes through the same loops again. What its checkpoint has in it already is left
out: loops over epochs that were done, epochs, and batches of the epoch that it was stopped in.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from headway.checkpoints import Checkpoint

_log = logging.getLogger("headway")


@dataclass(frozen=True, slots=True, eq=False)
class Loader:
    """One pass over a data loader.

    Attributes:
        is_part: whether its batches are batches of the epoch under way. One within a batch of
            another loader, or after the epochs, is no part of them.
        counts: whether its batches are counted as done.
        before: batches of the epoch that were done before it.
        first: steps done before it.
        steps: steps planned in all; None where nobody knows.
    """

    is_part: bool
    counts: bool
    before: int
    first: int
    steps: int | None


class Position:
    """Counts loops over epochs, epochs, loaders and batches as a program goes through them.

    Attributes:
        loop: which loop over epochs it is in, from 1; 0 before the first.
        epoch: the epoch under way, from 1; None outside of the epochs.
        epochs: epochs of the loop in all; None where there was no loop.
        epochs_completed: epochs that are done; None where there was no loop.
        batches_completed: batches of the epoch under way that are done; None at a boundary.
        loaders: how many of those were done before each loader of the epoch began.
        left_out: how many batches the loader that comes, or is under way, has yet to leave out.
        is_whole: whether the latest loader came to its end; None where the epoch had none.
    """

    def __init__(self) -> None:
        self.loop = 0
        self.epoch: int | None = None
        self.epochs: int | None = None
        self.epochs_completed: int | None = None
        self.batches_completed: int | None = None
        self.loaders: list[int] = []
        self.left_out = 0
        self.is_whole: bool | None = None
        self._saved: Checkpoint | None = None
        self._length: int | None = None
        self._begun = 0
        self._open: set[Loader] = set()

    def go_on_from(self, saved: Checkpoint | None) -> None:
        """Leave out what this checkpoint has in it."""
        self._saved = saved

    def begin_loop(self, count: int, start: int | None) -> int:
        """Begin another loop over epochs.

        Args:
            count: how many there are in all.
            start: the first one where the program says so.

        Returns:
            The first one, from 0; ``count`` where all of them are left out.
        """
        self.loop += 1
        first = self._first_of(count) if start is None else start
        self.epochs, self.epochs_completed = count, first
        return first

    def _first_of(self, count: int) -> int:
        if self._saved is None:
            return 0
        ended_in = self._saved.loop or 1
        if self.loop < ended_in:
            _log.warning(
                "headway: %d epochs are left out: the checkpoint is of the %d. loop over epochs, "
                "and this is the %d.; a program that leaves loops out by itself gives their start",
                *(count, ended_in, self.loop),
            )
            return count
        if self.loop == ended_in:
            return self._saved.epochs or 0
        self._saved = None
        return 0

    def begin_epoch(self, index: int) -> None:
        """Come to an epoch, from 0: of one that was stopped in, some batches are done."""
        self._begun, self.loaders, self.batches_completed = 0, [], 0
        self._open.clear()  # the program may hold on to a loader that it left
        if self._saved is not None and self._saved.epochs == index:
            self.batches_completed = self._saved.batches or 0
            self.loaders = list(self._saved.loaders)
            self._saved = None
        self.left_out = self.batches_completed - (self.loaders[-1] if self.loaders else 0)

    def enter_epoch(self, index: int) -> None:
        """Begin with the epoch that was come to."""
        self.epoch, self.is_whole = index + 1, None

    def end_epoch(self, done: int) -> None:
        """So many epochs are done."""
        self.epochs_completed, self.batches_completed, self.loaders = done, None, []

    def leave_epochs(self) -> None:
        """The loop is over, or was left."""
        self.epoch = None

    def steps_after(self, epochs: int) -> tuple[int, int]:
        """Steps done and planned after so many epochs: in batches, once their number is known."""
        each = self._length or 1
        return epochs * each, (self.epochs or 0) * each

    def begin_loader(self, total: int | None) -> Loader | None:
        """Begin with a data loader; None where a later one had begun when the checkpoint was made.

        Args:
            total: how many batches it has; None where nobody knows.
        """
        loader = self._loader(total)
        if loader is not None:
            self._open.add(loader)
        return loader

    def _loader(self, total: int | None) -> Loader | None:
        alone = not self._open
        if self.epoch is None:
            counts = alone and self.epochs is None
            if counts:
                self.is_whole = False
            return Loader(is_part=False, counts=counts, before=0, first=0, steps=total)
        before = (self.batches_completed or 0) - self.left_out
        if alone:
            if self._is_done(before):
                return None
            self._learn_length(before + (total or 0))
            self.is_whole = False
        each = self._length or 0
        return Loader(
            is_part=alone,
            counts=alone,
            before=before,
            first=(self.epoch - 1) * each + before,
            steps=self.epochs * each if self.epochs and each else None,
        )

    def _is_done(self, before: int) -> bool:
        self._begun += 1
        if self._begun < len(self.loaders):
            self.is_whole = True
            return True
        if self._begun > len(self.loaders):
            self.loaders.append(before)
        return False

    def leave_loader(self, loader: Loader) -> None:
        """A loader that was begun is over, or was left."""
        self._open.discard(loader)

    def end_loader(self, loader: Loader, done: int) -> None:
        """A loader came to its end after so many batches."""
        if loader.counts:
            self.is_whole = True
        if loader.is_part:
            self._learn_length(loader.before + done)

    def _learn_length(self, batches: int) -> None:
        """An epoch has at least so many batches."""
        self._length = max(self._length or 0, batches) or None
