"""Training that goes on where it was interrupted, as if it had not been.

What a checkpoint holds is the whole state of training at a batch's boundary, and a fingerprint of
what is trained on what: a checkpoint of something else is never mixed in.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headway_trainer.errors import TrainingError

if TYPE_CHECKING:
    from headway import Checkpoint
    from headway.checkpointing import Checkpoints

STATE = "state.pt"
FINGERPRINT = "fingerprint.json"

State = dict[str, Any]
_log = logging.getLogger("headway")


@dataclass(frozen=True)
class Keeper:
    """Where a training run keeps its checkpoints; nowhere without ``checkpoints``.

    Attributes:
        checkpoints: those of the run.
        fingerprint: what is trained on what, by name.
    """

    checkpoints: Checkpoints | None = None
    fingerprint: Mapping[str, str] | None = None

    def due(self, epochs: int | None = None) -> bool:
        """Whether a checkpoint should be written now; ``epochs`` are completed at a boundary."""
        return self.checkpoints is not None and self.checkpoints.due(epochs)

    def save(self, state: State) -> None:
        """Write a checkpoint of a state, at the place in the work that the state names."""
        if self.checkpoints is None:
            return

        def write(folder: Path) -> None:
            torch.save(state, folder / STATE)
            (folder / FINGERPRINT).write_text(json.dumps(dict(self.fingerprint or {})))

        self.checkpoints.save(write, epochs=state["epochs"], batches=state["batches"])

    def restored(self) -> tuple[State, Checkpoint] | None:
        """The state to go on from, with its checkpoint; None where training begins anew.

        The run's own checkpoint of something else (its data has changed meanwhile) is left alone
        with a warning.

        Raises:
            TrainingError: the checkpoint of another run, that this one was told to begin from, is
                of something else.
            headway.CheckpointError: there is none where it was told.
        """
        if self.checkpoints is None or (found := self.checkpoints.resume()) is None:
            return None
        changed = _differences(found.folder / FINGERPRINT, self.fingerprint or {})
        if changed:
            why = f"checkpoint {found.path} is of another training: {', '.join(changed)} differ"
            if self.checkpoints.is_given(found):
                raise TrainingError(f"{why}; leave checkpoint.resumeFrom out to begin anew")
            _log.warning("headway: %s; training begins anew", why)
            self.checkpoints.count_from(0)
            return None
        state: State = torch.load(found.folder / STATE, map_location="cpu", weights_only=True)
        return state, found


def _differences(file: Path, wanted: Mapping[str, str]) -> list[str]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return ["all that it says"]
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def digest_of(value: object) -> str:
    """A short fingerprint of JSON data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def random_state(device: torch.device) -> State:
    """The state of PyTorch's generators that training on a device draws from."""
    state: State = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put generators back to a state, as far as it names them."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
