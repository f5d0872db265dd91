"""Runs in a trainer pod: the same PyTorch loop with Headway and without, interleaved.

A pair is a few seconds of training, half of its slices with Headway and half without, in the order
ABBA, so that a machine whose speed drifts slows both halves alike. With Headway every batch is
told, with its loss; without, nothing is. Documents go out in the slices with Headway only, and a
slice lasts until the one on its way has been answered: so that half bears the writes of the whole
time, twice what it would write by itself. Both the wall's clock and the CPU time of the whole
process, the reporter's thread included, are taken. In its first minute a run writes every second,
afterwards every 5 s: the pairs of the first minute are kept apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import headway
import torch

PAIRS = 30
SLICES = 10
STEPS = 24
"""Steps of a slice, about 8 ms each: the step of a small model on a CPU."""
WIDTH, BATCH = 512, 256
FIRST_MINUTE = 61.0


class Gate:
    """Lets a reporter deliver only while it is open; closing waits for what is on its way."""

    def __init__(self, reporter: Any) -> None:
        self._open = threading.Event()
        self._busy = threading.Lock()
        self._deliver: Callable[[float], None] = reporter._deliver
        self.deliveries = 0
        reporter._deliver = self._when_open

    def _when_open(self, now: float) -> None:
        while True:
            self._open.wait()
            with self._busy:
                if self._open.is_set():
                    self._deliver(now)
                    self.deliveries += 1
                    return

    def open_for_good(self) -> None:
        """Let everything through from now on."""
        self._open.set()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open for the length of the block."""
        self._open.set()
        try:
            yield
        finally:
            self._open.clear()
            with self._busy:
                pass


def main() -> None:
    """Time pairs of halves, and report the seconds of each."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH),
        torch.nn.ReLU(), torch.nn.Linear(WIDTH, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    loss_of = torch.nn.CrossEntropyLoss()
    batches = [(torch.randn(BATCH, 64), torch.randint(0, 3, (BATCH,))) for _ in range(16)]

    def step(index: int) -> torch.Tensor:
        x, y = batches[index % len(batches)]
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def plain() -> None:
        for index in range(STEPS):
            loss = step(index)
        del loss

    def tracked() -> None:
        with gate.open():
            for index in op.batches(range(STEPS)):
                loss = step(index)
                op.metrics(loss=loss.detach())

    def timed(work: Callable[[], None], spent: list[float]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        spent[0] += time.perf_counter() - wall
        spent[1] += time.process_time() - cpu

    def pair() -> list[float]:
        with_headway, without = [0.0, 0.0], [0.0, 0.0]
        for number in range(SLICES):
            if number % 4 in (0, 3):
                timed(tracked, with_headway)
                timed(plain, without)
            else:
                timed(plain, without)
                timed(tracked, with_headway)
        return [round(seconds, 4) for seconds in (*with_headway, *without)]

    with headway.operation("Bench") as op:
        gate = Gate(op._opened._reporter)
        began = time.monotonic()
        tracked()
        early = []
        while time.monotonic() - began < FIRST_MINUTE:
            early.append(pair())
        before = gate.deliveries
        steady = [pair() for _ in range(PAIRS)]
        deliveries = gate.deliveries - before
        gate.open_for_good()
        op.result(early=early, pairs=steady, steps=STEPS * SLICES, deliveries=deliveries)


main()
