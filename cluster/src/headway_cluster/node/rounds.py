"""Rounds of a thread: it sleeps until something happens, and ends when nothing is left to do."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Collection
from functools import partial

from headway_cluster.node.api import pause_after
from headway_cluster.node.container_story import Story

log = logging.getLogger(__name__)

_LONGEST_SLEEP = 600.0
"""Seconds: poll(2) takes no more than 24 days, and clocks are set now and then."""
_DEAF_SLEEP = 1.0
"""Seconds, where there is no descriptor left to hear a supervisor by."""


class Rounds:
    """Rounds over the containers of one pod. Every method may be called from any thread."""

    def __init__(
        self,
        name: str,
        stories: Collection[Story],
        turn: Callable[[], float | None],
        is_done: Callable[[], bool],
    ) -> None:
        """Take what a round is; none is taken before ``rouse``.

        Args:
            name: of the thread.
            stories: containers whose supervisors wake it.
            turn: one round; returns when to look again even if nothing happens (None: never).
            is_done: whether the thread may end.
        """
        self._name = name
        self._stories = stories
        self._turn = turn
        self._is_done = is_done
        self._lock = threading.Lock()
        self._roused = False
        self._bell: int | None = None
        self._thread: threading.Thread | None = None
        self._over = False

    @property
    def over(self) -> bool:
        """Whether there will be no more rounds."""
        return self._over

    def rouse(self) -> None:
        """Something has happened: take a round."""
        with self._lock:
            if self._over:
                return
            self._roused = True
            if self._thread is None:
                # Where the machine has no room for it, the next one tries again.
                self._thread = self._begin()
            elif self._bell is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._bell, b".")

    def end(self) -> None:
        """There will be no more rounds."""
        with self._lock:
            self._over = True

    def wait(self, seconds: float) -> bool:
        """Wait for the thread to end; False where there is none."""
        thread = self._thread
        if thread is None:
            return False
        thread.join(seconds)
        return True

    def _begin(self) -> threading.Thread:
        ear, bell = os.pipe()
        for end in (ear, bell):
            os.set_blocking(end, False)
        live = partial(self._live, ear, bell)
        thread = threading.Thread(target=live, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            os.close(ear)
            os.close(bell)
            raise
        self._bell = bell
        return thread

    def _live(self, ear: int, bell: int) -> None:
        failures = 0
        try:
            while True:
                with self._lock:
                    self._roused = False
                try:
                    wake_at = self._turn()
                    if wake_at is None and self._leave():
                        return
                    self._sleep(ear, wake_at)
                    failures = 0
                except Exception:
                    # Neither a mistake of ours nor a full disk may leave a pod without anybody who
                    # looks after it.
                    log.exception("pod %s: trying again", self._name)
                    failures += 1
                    _listen(ear, pause_after(failures))
        finally:
            with self._lock:
                if self._bell == bell:  # else the thread that came after has its own
                    self._bell = None
                os.close(ear)
                os.close(bell)

    def _leave(self) -> bool:
        """End the thread, unless there is something to do."""
        if not self._is_done():
            return False
        with self._lock:
            if self._roused and not self._over:
                return False
            self._thread = None
            return True

    def _sleep(self, ear: int, wake_at: float | None) -> None:
        poll = select.poll()
        poll.register(ear, select.POLLIN)
        listening: dict[int, Story] = {}
        longest = _LONGEST_SLEEP
        for story in self._stories:
            run = story.under_way
            if run is None:
                continue
            if not story.silent:
                try:
                    events = run.open_events()
                except OSError:
                    longest = _DEAF_SLEEP
                else:
                    poll.register(events, select.POLLIN)
                    listening[events] = story
            if run.state() != story.state:
                # It has happened since the turn began; from here on it would ring.
                return
        if wake_at is not None:
            longest = min(max(wake_at - time.time(), 0.0), longest)
        for descriptor, _ in poll.poll(longest * 1000):
            if descriptor == ear:
                _drain(ear)
                continue
            story = listening[descriptor]
            if story.run is not None and not story.run.take_events():
                # The supervisor is gone; its files or its lock say so in a moment.
                story.silent = True


def _listen(ear: int, seconds: float) -> None:
    """Wait for the bell, for so many seconds at most."""
    poll = select.poll()
    poll.register(ear, select.POLLIN)
    if poll.poll(seconds * 1000):
        _drain(ear)


def _drain(ear: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(ear, 512):
            pass
