"""``python -m headway_operator``."""

from __future__ import annotations

import subprocess
import sys

import pytest

READS = """
import json
from headway_operator.__main__ import main

assert main(["--kubeconfig", "/nowhere"]) == 2
json.loads("[" * 9_990 + "]" * 9_990)
"""


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="has a limit of its own")
def test_what_an_api_server_takes_can_be_read_however_deep_it_is_nested():
    subprocess.run([sys.executable, "-c", READS], check=True, capture_output=True)
