import math

import numpy as np
import pytest
import torch
from headway_api.models.strategy import ModelConfig, TrainingConfig
from headway_trainer.errors import TrainingError
from headway_trainer.training.fitting import (
    CHECK_BATCHES,
    Fitted,
    Listener,
    Stopped,
    Windows,
    evaluate,
    fit,
    optimizer,
    scheduler,
)
from headway_trainer.training.networks import network
from headway_trainer.training.repeatable import repeatable

CPU = torch.device("cpu")
LENGTH, FEATURES = 5, 3


def windows(count: int = 400) -> Windows:
    """Samples whose label is the sign of the last row's first feature."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(count + LENGTH, FEATURES)).astype(np.float32)
    ends = np.arange(LENGTH, count + LENGTH)
    labels = (rows[ends, 0] > 0).astype(np.int64)
    return Windows(*(torch.from_numpy(a) for a in (rows, ends, labels)), LENGTH)


def settings(**values) -> TrainingConfig:
    given = {"epochs": 4, "batch_size": 32, "learning_rate": 0.01, "seed": 3, **values}
    return TrainingConfig.model_validate(given)


def trained(kind: str = "mlp", *, listener: Listener | None = None, data=None, **values):
    data = data or windows()
    config = ModelConfig.model_validate(
        {"type": kind, "hidden_sizes": [12, 8], "sequence_length": LENGTH, "dropout": 0.1}
    )
    train, validation = np.arange(300), np.arange(300, 400)
    with repeatable(settings(**values).seed, CPU):
        net = network(config, FEATURES)
        result = fit(net, data, [train], validation, settings(**values), listener or Listener())
    return net, result


def flat(net) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm", "gru"])
def test_every_kind_of_network_learns_what_is_easy(kind):
    rate = 0.05 if kind == "cnn" else 0.02
    _, result = trained(kind, epochs=12, learning_rate=rate)
    assert isinstance(result, Fitted)
    best = result.history[result.best_epoch - 1]
    assert best["val_accuracy"] > 0.7
    assert best["val_loss"] < result.history[0]["val_loss"]


@pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm", "gru"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit_whatever_the_threads(kind):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        first, _ = trained(kind, epochs=2)
        torch.set_num_threads(2)
        torch.manual_seed(2)
        second, _ = trained(kind, epochs=2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(flat(first), flat(second))
    other, _ = trained(kind, epochs=2, seed=4)
    assert not torch.equal(flat(first), flat(other))


def test_settings_and_random_numbers_of_the_process_are_put_back():
    before = torch.get_num_threads()
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    trained(epochs=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_best_epochs_weights_are_restored():
    data = windows()
    net, result = trained(epochs=15, learning_rate=0.3, data=data)
    losses = [metrics["val_loss"] for metrics in result.history]
    assert result.best_epoch == int(np.argmin(losses)) + 1 < len(losses)
    positions = np.arange(300, 400)
    logits = evaluate(net, data, positions)
    loss = torch.nn.functional.cross_entropy(logits, data.labels[positions])
    assert float(loss) == pytest.approx(min(losses), rel=1e-6)


def test_training_ends_early_once_validation_stops_improving():
    _, result = trained(epochs=60, learning_rate=0.3, early_stopping={"patience": 3})
    assert result.epochs == result.best_epoch + 3 < 60


def test_improvements_that_are_too_small_do_not_count():
    _, result = trained(epochs=30, early_stopping={"patience": 2, "min_delta": 10.0})
    assert result.epochs == 3
    assert result.best_epoch == 3, "the best weights are restored all the same"


def test_a_stop_before_an_epoch_ends_at_its_boundary():
    stopped: list[int] = []
    listener = Listener(
        stopped=lambda: len(stopped) >= 2, epoch=lambda epoch, *_: stopped.append(epoch)
    )
    _, result = trained(listener=listener)
    assert result == Stopped(epochs=2, batches=0)


def test_a_stop_within_an_epoch_is_seen_at_the_next_fiftieth_batch():
    seen: list[tuple[int, int]] = []
    listener = Listener(
        stopped=lambda: bool(seen) and seen[-1] >= (2, 60),
        batch=lambda epoch, batch, _: seen.append((epoch, batch)),
    )
    _, result = trained(batch_size=2, listener=listener)
    assert result == Stopped(epochs=1, batches=2 * CHECK_BATCHES)
    assert seen[-1] == (2, 100), "no batch after the check"


def test_the_token_is_looked_at_before_each_epoch_and_every_50_batches_only():
    looks: list[int] = []
    batches: list[int] = []

    def stopped() -> bool:
        looks.append(len(batches))
        return False

    trained(
        epochs=2,
        batch_size=2,
        listener=Listener(stopped=stopped, batch=lambda *_: batches.append(1)),
    )
    assert looks == [0, 50, 100, 150, 200, 250]


def test_every_batch_and_every_epoch_is_told():
    batches: list[tuple[int, int, int]] = []
    epochs: list[tuple[int, int]] = []
    listener = Listener(
        batch=lambda *where: batches.append(where),
        epoch=lambda epoch, total, metrics: epochs.append((epoch, total, sorted(metrics))),
    )
    trained(epochs=2, listener=listener)
    assert batches == [(e, b, 10) for e in (1, 2) for b in range(1, 11)]
    names = ["learning_rate", "loss", "val_accuracy", "val_loss"]
    assert epochs == [(1, 10, names), (2, 10, names)]


def test_a_loss_that_is_no_number_ends_training_with_advice():
    with pytest.raises(TrainingError, match=r"lower training.learningRate"):
        trained(optimizer="sgd", learning_rate=10.0, epochs=40, data=_huge())


def _huge() -> Windows:
    data = windows()
    return Windows(data.rows * 1e18, data.ends, data.labels, data.length)


def test_gradients_are_clipped_together():
    net = torch.nn.Linear(FEATURES * LENGTH, 2)
    start = flat(net)
    data = Windows(windows().rows * 1e4, *(getattr(windows(), n) for n in ("ends", "labels")), 5)

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, x):
            return self.inner(x.flatten(1))

    fit(
        Flat(),
        data,
        [np.arange(32)],
        np.arange(300, 310),
        settings(epochs=1, batch_size=32, optimizer="sgd", learning_rate=1.0, gradient_clip=0.5),
        Listener(),
    )
    assert float((flat(net) - start).norm()) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("none", [0.1] * 6),
        ("step", [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        ("cosine", [0.05 * (1 + math.cos(math.pi * n / 6)) for n in range(6)]),
        ("plateau", [0.1] * 5 + [0.05]),
    ],
)
def test_the_learning_rate_follows_its_schedule(kind, rates):
    config = settings(epochs=6, learning_rate=0.1, scheduler=kind)
    steps = optimizer(torch.nn.Linear(1, 1), config)
    plan = scheduler(steps, config)
    seen = []
    for _ in range(6):
        seen.append(steps.param_groups[0]["lr"])
        steps.step()
        if kind == "plateau":
            plan.step(1.0)
        elif plan is not None:
            plan.step()
    assert seen == pytest.approx(rates)


@pytest.mark.parametrize(
    ("kind", "expected"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")]
)
def test_the_optimiser_is_the_one_named(kind, expected):
    config = settings(optimizer=kind, weight_decay=0.1)
    made = optimizer(torch.nn.Linear(1, 1), config)
    assert type(made).__name__ == expected
    assert made.param_groups[0]["weight_decay"] == 0.1


def test_a_convolution_sees_no_later_row():
    config = ModelConfig.model_validate({"type": "cnn", "hidden_sizes": [4, 4]})
    layers = network(config, FEATURES).eval().layers
    inputs = torch.randn(1, FEATURES, 10)
    changed = inputs.clone()
    changed[:, :, 6:] += 5
    assert torch.equal(layers(inputs)[:, :, :6], layers(changed)[:, :, :6])
