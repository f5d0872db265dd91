"""``python -m headway_trainer``: run the built-in service that the environment names."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> int:
    """Run it; returns the exit code."""
    try:
        from headway_trainer import program

        return program.main()
    except KeyboardInterrupt:  # while it loads, which takes PyTorch seconds
        return INTERRUPTED


if __name__ == "__main__":
    code = main()
    # All is said and written by now. What is left of an ordinary exit is a second or two in which
    # PyTorch takes itself apart, and a cancelled run would not be over.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
