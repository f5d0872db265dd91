"""Interrupted training gives the same weights, bit for bit, as training that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from headway.checkpointing import Cadence, Checkpoints
from headway.checkpoints import CheckpointStore
from headway.progress_state import ProgressState
from headway_api.models.strategy import ModelConfig, TrainingConfig
from headway_trainer.errors import TrainingError
from headway_trainer.training.fitting import Fitted, Listener, Stopped, Windows, fit
from headway_trainer.training.networks import network
from headway_trainer.training.repeatable import repeatable
from headway_trainer.training.resuming import Keeper
from headway_trainer.training.trained import weights_digest
from waiting import eventually

CPU = torch.device("cpu")
LENGTH, FEATURES = 5, 3
EPOCHS, BATCHES = 4, 150
RUN = "0a1b"


def windows() -> Windows:
    numbers = np.random.default_rng(5)
    rows = numbers.normal(size=(400 + LENGTH, FEATURES)).astype(np.float32)
    ends = np.arange(LENGTH, 400 + LENGTH)
    labels = (rows[ends, 0] > 0).astype(np.int64)
    return Windows(*(torch.from_numpy(a) for a in (rows, ends, labels)), LENGTH)


def keeper(folder, attempt=1, *, epochs=None, seconds=None, resume_from=None, **fingerprint):
    store = CheckpointStore(folder, RUN, attempt, keep=2, resume_from=resume_from)
    kept = Checkpoints(store, Cadence(epochs, seconds), ProgressState(), writes=True)
    return Keeper(kept, fingerprint or {"data": "1"})


def train(kind="mlp", *, keeper=None, listener=None, **values):
    """A small training; with a keeper, from its newest checkpoint."""
    model = {"type": kind, "hidden_sizes": [6, 4], "sequence_length": LENGTH, "dropout": 0.2}
    given = {"epochs": EPOCHS, "batch_size": 2, "learning_rate": 0.01, "seed": 3, **values}
    config = TrainingConfig.model_validate(given)
    keeper = keeper or Keeper()
    restored = keeper.restored()
    with repeatable(config.seed, CPU):
        net = network(ModelConfig.model_validate(model), FEATURES)
        result = fit(
            net,
            windows(),
            [np.arange(300)],
            np.arange(300, 400),
            config,
            listener or Listener(),
            keeper,
            restored[0] if restored else None,
        )
    return weights_digest(net), result


def stopping_after(batches: int) -> Listener:
    """A listener that asks for a stop once so many batches of this attempt are done."""
    seen: list[int] = []
    return Listener(stopped=lambda: len(seen) >= batches, batch=lambda *_: seen.append(1))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm", "gru"])
@pytest.mark.parametrize("seed", [1, 2])
def test_interrupted_five_times_anywhere_it_gives_the_same_weights(tmp_path, kind, seed):
    wanted, plain = train(kind)
    chance = random.Random(f"{kind} {seed}")
    points = sorted(chance.sample(range(1, EPOCHS * BATCHES - 60), 5))
    print(f"interrupted after batches {points}")
    before = 0
    for attempt, point in enumerate(points, 1):
        listener = stopping_after(point - before)
        _, stopped = train(kind, keeper=keeper(tmp_path, attempt), listener=listener)
        assert isinstance(stopped, Stopped)
        before = stopped.epochs * BATCHES + stopped.batches
    digest, result = train(kind, keeper=keeper(tmp_path, 6))
    assert digest == wanted
    assert result == plain


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "sgd", "scheduler": "step"},
        {"optimizer": "adamw", "scheduler": "cosine", "weight_decay": 0.1},
        {"optimizer": "adam", "scheduler": "plateau", "gradient_clip": 0.5},
        {"epochs": 30, "learning_rate": 0.1, "early_stopping": {"patience": 2}},
    ],
    ids=["sgd, step", "adamw, cosine", "adam, plateau, clipping", "early stopping"],
)
def test_every_part_of_the_state_comes_back(tmp_path, values):
    wanted, plain = train(**values)
    for attempt, point in enumerate((70, 120, 200), 1):
        train(keeper=keeper(tmp_path, attempt), listener=stopping_after(point), **values)
    digest, result = train(keeper=keeper(tmp_path, 4), **values)
    assert digest == wanted
    assert result == plain


def test_a_stop_in_validation_repeats_the_validation_only(tmp_path):
    wanted, plain = train()
    told: list[int] = []

    def stopped() -> bool:
        return len(told) >= BATCHES

    listener = Listener(stopped=stopped, batch=lambda *_: told.append(1))
    kept = keeper(tmp_path)
    # The last look of an epoch comes before its last 50 batches: the next is at the boundary.
    _, result = train(keeper=kept, listener=listener)
    assert result == Stopped(epochs=1, batches=0)
    seen: list[tuple[int, int]] = []
    listener = Listener(batch=lambda epoch, batch, _: seen.append((epoch, batch)))
    digest, result = train(keeper=keeper(tmp_path, 2), listener=listener)
    assert seen[0] == (2, 1)
    assert (digest, result) == (wanted, plain)


def test_kept_at_the_end_of_its_last_epoch_it_is_not_trained_again(tmp_path):
    wanted, plain = train(keeper=keeper(tmp_path, epochs=1))
    seen: list[int] = []
    listener = Listener(batch=lambda *_: seen.append(1))
    digest, result = train(keeper=keeper(tmp_path, 2), listener=listener)
    assert (digest, result, seen) == (wanted, plain, [])


def test_one_that_is_due_by_its_age_is_kept_within_an_epoch(tmp_path):
    kept = keeper(tmp_path, seconds=0.0)
    wanted, _ = train(keeper=kept, listener=stopping_after(120))
    found = kept.checkpoints.resume()
    assert found is None, "it began anew"
    newest = CheckpointStore(tmp_path, RUN, 1, keep=2).newest()
    assert (newest.epochs, newest.batches) == (1, None) or newest.batches in (50, 100)
    assert wanted


def test_with_the_newest_checkpoint_damaged_the_one_before_gives_the_same(tmp_path):
    wanted, plain = train()
    _, stopped = train(keeper=keeper(tmp_path, epochs=1), listener=stopping_after(2 * BATCHES + 60))
    assert isinstance(stopped, Stopped)
    newest = CheckpointStore(tmp_path, RUN, 1, keep=2).newest()
    (newest.folder / "state.pt").write_bytes(b"")
    assert train(keeper=keeper(tmp_path, 2)) == (wanted, plain)


def test_its_own_checkpoint_of_other_data_is_left_alone_and_told(tmp_path, caplog):
    train(keeper=keeper(tmp_path, data="old"), listener=stopping_after(60))
    wanted, plain = train()
    assert train(keeper=keeper(tmp_path, 2, data="new")) == (wanted, plain)
    assert "data differ" in caplog.text


def test_training_that_begins_anew_keeps_its_first_epochs_too(tmp_path):
    train(keeper=keeper(tmp_path, data="old", epochs=1))
    kept = keeper(tmp_path, 2, data="new", epochs=1)
    seen = []
    listener = Listener(epoch=lambda epoch, *_: seen.append((epoch, kept_by(tmp_path, 2))))
    train(keeper=kept, listener=listener)
    assert seen == [(epoch, min(epoch - 1, 2)) for epoch in range(1, EPOCHS + 1)]


def kept_by(folder, attempt):
    return len(list((folder / RUN / f"a{attempt}").glob("0*")))


def test_another_runs_checkpoint_of_other_data_is_refused(tmp_path):
    train(keeper=keeper(tmp_path, data="old"), listener=stopping_after(60))
    store = CheckpointStore(tmp_path, "another", 1, keep=2, resume_from=RUN)
    kept = Checkpoints(store, Cadence(1), ProgressState(), writes=True)
    with pytest.raises(TrainingError, match="data differ"):
        train(keeper=Keeper(kept, {"data": "new"}))


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_going_on_with_training import keeper, train
print("begins", flush=True)
train("gru", keeper=keeper(Path(sys.argv[1]), epochs=1), epochs=200)
"""


@pytest.mark.slow
def test_killed_by_sigkill_it_gives_the_same_weights(tmp_path):
    here = Path(__file__).parent
    folders = (str(here), str(here.parents[1] / "support"))
    command = [sys.executable, "-c", KILLED, str(tmp_path), *folders]
    for _ in range(2):
        before = CheckpointStore(tmp_path, RUN, 1, keep=2).newest()
        with subprocess.Popen(command) as process:
            eventually(
                lambda before=before: CheckpointStore(tmp_path, RUN, 1, keep=2).newest() != before,
                within=120,
                why="it keeps a checkpoint",
            )
            process.send_signal(signal.SIGKILL)
    reached = CheckpointStore(tmp_path, RUN, 1, keep=2).newest().epochs
    more = {"epochs": 200}
    stop = stopping_after(BATCHES * 2)
    _, result = train("gru", keeper=keeper(tmp_path, 2), listener=stop, **more)
    assert result == Stopped(reached + 2, 0)
    wanted, plain = train("gru", listener=stopping_after(BATCHES * (reached + 2)), **more)
    assert plain == result
    kept = keeper(tmp_path, 3).restored()
    mine, _ = train("gru", keeper=keeper(tmp_path, 3), listener=stopping_after(0), **more)
    assert kept is not None
    assert mine == wanted
    assert not isinstance(result, Fitted)
