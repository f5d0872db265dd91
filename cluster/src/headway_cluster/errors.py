"""What can go wrong with a local cluster, told for a person."""

from __future__ import annotations


class ClusterError(Exception):
    """A step failed; the message names it, the reason, and what to do next."""
