"""The table of docs/lifecycle.md: what comes out when an event meets a run in a phase."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"
NOWHERE = "-"
"""What a cell says of an event that cannot meet a phase."""


def table() -> dict[tuple[str, str], str]:
    """The cells of the page: by phase and event."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| ")
    ]
    head = next(row for row in rows if row[0] == "event")
    body = [row for row in rows[rows.index(head) + 1 :] if len(row) == len(head)]
    return {
        (phase, row[0]): cell for row in body for phase, cell in zip(head[1:], row[1:], strict=True)
    }


CELLS = table()
