"""Readers that go, disks that are full, and Ctrl-C before there is anything to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
INTERRUPTED_WHILE = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from headway.__main__ import main
sys.argv = ["headway", "--help"]
sys.exit(main())
"""


def piped(command: str, tmp_path: Path) -> tuple[list[int], str]:
    """The exit codes of a pipeline, and what was said on standard error."""
    done = subprocess.run(
        ["bash", "-c", f'{command}; echo "${{PIPESTATUS[@]}}" >&2'],
        env={
            **os.environ,
            "HEADWAY_HOME": str(tmp_path / "home"),
            "HEADWAY_WORKSPACE": str(tmp_path),
            "PROGRAM": f"{sys.executable} -m headway_cli",
        },
        text=True,
        capture_output=True,
        timeout=120,
    )
    *said, codes = done.stderr.splitlines()
    return [int(code) for code in codes.split()], "\n".join(said)


@pytest.mark.parametrize("command", ["--help", "install --print", "run dummy --dry-run"])
def test_a_reader_that_has_seen_enough_is_no_failure(command: str, tmp_path: Path) -> None:
    codes, said = piped(f"$PROGRAM {command} | true", tmp_path)
    assert codes == [0, 0]
    assert said == ""


def test_a_run_whose_reader_is_gone_is_left_and_has_no_outcome(tmp_path: Path) -> None:
    codes, said = piped(
        "$PROGRAM run dummy --local --iterations 1000 --interval 0.05 | head -1", tmp_path
    )
    assert codes == [130, 0]
    assert said == ""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    codes, said = piped(f"$PROGRAM install --print > {FULL}", tmp_path)
    assert codes == [1]
    assert said == "Error: The output could not be written: No space left on device."


@pytest.mark.parametrize("module", ["headway_cli.__main__", "headway_cli.main", "typer"])
def test_ctrl_c_while_the_program_loads_shows_no_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE.format(module=module)],
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
