"""A stretch of code that gives the same numbers each time it runs with the same seed.

On a CPU bit for bit: with the same library versions and the same kind of processor.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_ONE_AT_A_TIME = threading.Lock()
"""PyTorch's generator and its settings belong to the process; two stretches would mix them."""


@contextmanager
def repeatable(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch, let it use only deterministic algorithms, and one thread.

    One thread, because the number of threads changes the order of sums and so their last bits.
    What was set before is put back after, the generators' states too.

    Args:
        seed: of PyTorch's generators.
        device: where the work runs; away from the CPU an operation that has no deterministic
            form warns instead of failing.
    """
    on_cpu = device.type == "cpu"
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=_cuda_devices(device)):
        threads = torch.get_num_threads()
        before = torch.are_deterministic_algorithms_enabled()
        only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
        tuned = torch.backends.cudnn.benchmark
        try:
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True, warn_only=not on_cpu)
            torch.backends.cudnn.benchmark = False
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(before, warn_only=only_warned)
            torch.backends.cudnn.benchmark = tuned


def _cuda_devices(device: torch.device) -> list[int]:
    return [torch.cuda.current_device()] if device.type == "cuda" else []
