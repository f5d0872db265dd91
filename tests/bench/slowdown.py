"""Runs in a trainer pod: the same PyTorch loop with Headway and without, interleaved.

Every segment trains the same number of steps on the same data, within one operation. In the
segments with Headway every batch is told, and the reporter writes to the API server at its usual
pace; in those without, nothing is told and nothing is written. Both the wall's clock and the CPU
time of the whole process, the reporter's thread included, are taken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import headway
import torch

PAIRS = 30
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 1400


def main() -> None:
    """Time pairs of segments, and report the seconds of each."""
    torch.set_num_threads(1)
    torch.manual_seed(7)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(),
        torch.nn.Linear(256, 3),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    loss_of = torch.nn.CrossEntropyLoss()
    batches = [(torch.randn(128, 64), torch.randint(0, 3, (128,))) for _ in range(16)]

    def step(index: int) -> torch.Tensor:
        x, y = batches[index % len(batches)]
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def plain() -> None:
        for index in range(STEPS):
            step(index)

    def tracked(op: headway.Operation) -> None:
        for index in op.batches(range(STEPS)):
            loss = step(index)
            op.metrics(loss=loss.detach())

    def seconds(work: Callable[[], None]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return round(time.perf_counter() - wall, 5), round(time.process_time() - cpu, 5)

    with headway.operation("Bench") as op:
        op.progress(0)
        seconds(plain)
        pairs = []
        for number in range(PAIRS):
            if number % 2:
                with_headway, without = seconds(lambda: tracked(op)), seconds(plain)
            else:
                without, with_headway = seconds(plain), seconds(lambda: tracked(op))
            pairs.append([*with_headway, *without])
        op.result(pairs=pairs)


main()
