"""How adapters tell their progress: the signature of ``update_operation_progress``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from headway import CancellationToken


class ProgressCallback(Protocol):
    """Takes one progress update. It never blocks and never raises."""

    def __call__(
        self,
        step: int | None = None,
        message: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Take ``step`` of ``context["total_steps"]``, and where in the work that is."""


def unheard(
    step: int | None = None,
    message: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    """A callback for work that nobody watches."""


def is_stopped(token: CancellationToken | None) -> bool:
    """Whether work with this token should stop; without one, it never should."""
    return token is not None and token.is_cancelled()
