"""``images.py`` where it cannot build: it says so, and what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 1, "images need one of docker, podman, buildah"),
        (["--engine=buildah"], 1, "buildah was not found on PATH"),
        (["trainr"], 2, "there is no target 'trainr': choose from operator, trainer-base"),
    ],
)
def test_what_is_missing_is_told_in_a_sentence(tmp_path, words, code, told):
    command = [sys.executable, str(ROOT / "images.py"), *words]
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
