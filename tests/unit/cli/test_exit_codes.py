"""Exit codes: one for every outcome, printed where people look."""

from __future__ import annotations

from pathlib import Path

import pytest
from headway_api.vocabulary import Phase
from headway_cli.exits import ExitCode, outcome, table


def test_every_final_phase_has_an_exit_code_of_its_own() -> None:
    codes = [outcome(phase) for phase in Phase if phase.is_final]
    assert codes == [ExitCode.SUCCESS, ExitCode.FAILED, ExitCode.CANCELLED]


def test_a_run_that_goes_on_has_no_outcome() -> None:
    with pytest.raises(KeyError):
        outcome(Phase.RUNNING)


def test_the_table_explains_every_code() -> None:
    lines = table().splitlines()
    assert len(lines) == len(ExitCode)
    for code, line in zip(ExitCode, lines, strict=True):
        number, meaning = line.split(maxsplit=1)
        assert int(number) == code
        assert meaning == code.meaning


def test_the_documentation_has_the_same_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    for code in ExitCode:
        meaning = code.meaning.replace("--timeout", "`--timeout`")
        assert f"| {code.value} | {meaning} |" in page
