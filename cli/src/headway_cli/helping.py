"""Help as people know it: arguments without type annotations, and no boxes."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand


class Command(TyperCommand):
    """A command whose arguments are shown by their metavar alone: ``NAME``, ``[NAME]``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = _nothing  # type: ignore[method-assign]

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        """The pieces of the usage line."""
        pieces = [self.options_metavar] if self.options_metavar else []
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                name = parameter.metavar or str(parameter.name).upper()
                bare = parameter.required or name.startswith("[")
                pieces.append(name if bare else f"[{name}]")
        return pieces


def _nothing(ctx: object) -> None:
    """No type is shown."""


def new_app(help_text: str, **more: Any) -> typer.Typer:
    """A Typer application with our help, and without Rich's, which costs a third of a second."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **more,
    )
