"""Runs in a trainer pod: many progress calls for a while, with a few epochs."""

from __future__ import annotations

import time

import headway

SECONDS = 20
EPOCHS = 5
calls = 0
with headway.operation("Bench") as op:
    for _epoch in op.epochs(EPOCHS):
        until = time.monotonic() + SECONDS / EPOCHS
        while time.monotonic() < until:
            calls += 1
            op.progress(calls, None, metrics={"calls": calls})
            time.sleep(0.0005)
    op.result(calls=calls)
