"""What the doctor says of each thing that it looked at."""

from __future__ import annotations

from headway_cli.checking import Finding, Verdict

FOUND = Finding("kubeconfig", Verdict.BAD, "word " * 20 + "\nhttps://" + "x" * 70, "headway doctor")


def test_the_words_of_a_finding_keep_to_their_column_in_a_terminal() -> None:
    first, *rest = FOUND.lines(colour=False, width=80)
    assert first.startswith("BAD   kubeconfig   word ")
    assert all(line.startswith(" " * 19) for line in rest)
    assert all(len(line) <= 80 for line in (first, *rest) if "https" not in line)


def test_in_a_pipe_they_stand_as_they_are() -> None:
    assert len(FOUND.lines(colour=False)) == 3
