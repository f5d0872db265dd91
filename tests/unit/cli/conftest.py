"""Fixtures of the command line's tests."""

from shown import run, terminal

__all__ = ["run", "terminal"]
