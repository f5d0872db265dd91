"""``headway doctor``: whether everything is as it has to be, and what to do where it is not."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headway_cli import terminal
from headway_cli.exits import ExitCode
from headway_cli.options import Where


def doctor(
    where: Where,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check connection, installation and rights."""
    import json
    from dataclasses import asdict

    from headway_cli.checking import Verdict, examine

    colour, width = terminal.has_colours(sys.stdout), terminal.width(sys.stdout)
    findings = []
    for finding in examine(where):
        findings.append(finding)
        if not json_:
            terminal.show(*finding.lines(colour=colour, width=width))
    if json_:
        terminal.show(json.dumps([asdict(finding) for finding in findings], indent=2))
    bad = [finding for finding in findings if finding.verdict is Verdict.BAD]
    if bad:
        raise typer.Exit(ExitCode.FAILED)
    if not json_:
        terminal.show("All is well.")
