"""Where documents go: one port, and what can come of a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from headway.document import Document


class Outcome(Enum):
    """What became of one document."""

    DELIVERED = auto()
    RETRY = auto()
    """Nobody answered, or the server is busy: the latest document goes out again later."""
    INVALID = auto()
    """The server will not take this document; a plainer one may pass."""
    OVER = auto()
    """Fenced, over, or the operation is gone: nothing more is wanted from this process."""


@dataclass(frozen=True)
class Delivery:
    """What became of one document, and what the server asks of the pace.

    Attributes:
        wait: least seconds until the next try, where one is due.
        held: sequence that the server holds, where the document's did not go on from it.
    """

    outcome: Outcome
    wait: float = 0.0
    held: int | None = None


class Sink(Protocol):
    """Takes documents. Called from the reporter's thread only; never raises."""

    def deliver(self, document: Document) -> Delivery:
        """Hand over one document."""
        ...

    def close(self) -> None:
        """Let go of what the sink holds."""
        ...
