"""Runs in a trainer pod: waits for the token, and reports when it flipped."""

from __future__ import annotations

import time

import headway

with headway.operation("Bench") as op:
    op.progress(0, 1)
    flipped = None
    while flipped is None and not op.token.wait(60):
        pass
    op.result(flipped=time.time())
    op.check()
