"""What can go wrong with a local cluster, told for a person."""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(Exception):
    """A step failed; the message names it and the reason.

    Attributes:
        todo: what to do next, most useful first; empty where running the command again is all.
    """

    def __init__(self, message: str, todo: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.todo = tuple(todo)
