"""The release checklist says ready only when it has seen everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from checklist import Finding, Step, Verdict, check, missing_in, to_a_person

ROOT = Path(__file__).resolve().parents[3]


def step(name: str, verdict: Verdict, told: str = "") -> Step:
    return Step(name, f"promise of {name}", lambda _: Finding(verdict, told))


GOOD, BAD = step("good", Verdict.PASSED), step("bad", Verdict.FAILED, "two\nlines")
ABSENT = step("absent", Verdict.NOT_RUN, "no engine")


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_it_is_ready_when_every_step_has_passed(capsys):
    assert check(ROOT, [GOOD], ["good"]) == 0
    told = lines(capsys.readouterr().out)
    assert told[0].endswith(": ready to be released")
    assert "passed good promise of good" in told


def test_a_failure_does_not_hide_what_comes_after_it(capsys):
    assert check(ROOT, [BAD, GOOD], ["bad", "good"]) == 1
    told = lines(capsys.readouterr().out)
    assert "NOT ready" in told[0]
    assert told[2:6] == ["FAILED bad promise of bad", "two", "lines", "passed good promise of good"]


@pytest.mark.parametrize("chosen", [["good"], ["good", "absent"]])
def test_what_has_not_run_has_not_passed(capsys, chosen):
    assert check(ROOT, [GOOD, ABSENT], chosen) == 1
    told = lines(capsys.readouterr().out)
    assert "NOT ready" in told[0]
    assert "NOT RUN absent promise of absent" in told


def test_what_is_left_to_a_person_is_always_shown(capsys):
    check(ROOT, [BAD], ["bad"])
    assert capsys.readouterr().out.count("[ ]") == len(to_a_person("1.2.3"))


@pytest.mark.parametrize(
    ("changelog", "told"),
    [
        ("# Changelog\n\n## 1.2.3 - 2026-01-02\n\n### Added\n\n- One.\n", ""),
        ("# Changelog\n\n## Unreleased\n\n## 1.2.3\n\n- One.\n\n## 1.2.2\n\n- Older.\n", ""),
        ("# Changelog\n\n## Unreleased\n\n- New.\n", "no entries under `## 1.2.3`"),
        ("# Changelog\n\n## 1.2.3\n\n## 1.2.2\n\n- Older.\n", "no entries under `## 1.2.3`"),
        ("# Changelog\n\n## Unreleased\n\n- New.\n\n## 1.2.3\n\n- One.\n", "under `## Unreleased`"),
        ("", "no entries under `## 1.2.3`"),
    ],
)
def test_the_changelog_tells_of_the_version_and_has_nothing_unreleased(changelog, told):
    found = missing_in(changelog, "1.2.3")
    assert told in found
    assert bool(found) == bool(told)
