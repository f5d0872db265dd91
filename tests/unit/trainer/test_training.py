import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from headway import CancellationToken, TrainingProgressRenderer
from headway.checkpointing import Cadence, Checkpoints
from headway.checkpoints import CheckpointStore
from headway.progress_state import ProgressState
from headway_api import limits
from headway_trainer import TrainingManager
from headway_trainer.data.adapter import DataAdapter
from headway_trainer.data.store import BarStore, Series
from headway_trainer.data.timeframes import Timeframe
from headway_trainer.errors import DataError, InputError, TrainingError
from headway_trainer.training.adapter import TrainingAdapter
from headway_trainer.training.joining import finest_first


@pytest.fixture
def train(workspace, files, make_bars, strategy):
    """Trains on 400 days of AAPL and 300 of MSFT; keyword arguments replace that."""
    files("AAPL_1d.csv", make_bars(400, seed=1))
    files("MSFT_1d.csv", make_bars(300, seed=2, price=30.0))
    files("AAPL_1w.csv", make_bars(60, seed=3, frequency="7D"))
    files("MSFT_1w.csv", make_bars(60, seed=4, frequency="7D"))
    DataAdapter(workspace).load(
        ["AAPL", "MSFT"], ["1d", "1w"], mode="full", provider="files", path="prices"
    )

    def run(**arguments):
        asked = {"strategy": strategy(), "symbols": ["AAPL", "MSFT"], "timeframes": ["1d"]}
        return TrainingAdapter(workspace).train(**{**asked, **arguments})

    return run


def contents(workspace):
    folder = workspace / "models" / "test-strategy"
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_a_run_leaves_a_model_with_all_that_belongs_to_it(train, workspace):
    result = train()
    assert result["status"] == "success"
    assert result["epochs_completed"] == 3
    assert 1 <= result["best_epoch"] <= 3
    folder = workspace / result["model"]
    names = ["manifest.json", "metrics.json", "model.pt", "scaler.json", "strategy.yaml"]
    assert sorted(p.name for p in folder.iterdir()) == names
    assert sorted(a["path"] for a in result["artifacts"]) == [
        f"{result['model']}/{n}" for n in names
    ]
    for artifact in result["artifacts"]:
        content = (workspace / artifact["path"]).read_bytes()
        assert artifact["bytes"] == len(content)
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["history"]) == 3
    assert metrics["test"] == result["test"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seed"] == 3
    assert {"python", "torch", "pandas-ta-classic"} <= manifest["versions"].keys()
    assert manifest["data"]["AAPL [1d]"]["bars"] == 400


def test_scores_stand_beside_their_baselines_for_all_and_for_each_symbol(train):
    result = train()
    names = {"accuracy", "precision", "recall", "f1"}
    assert result["test"].keys() == names
    assert result["baselines"].keys() == {"majority", "last_label", "current_leg"}
    assert all(scores.keys() == names for scores in result["baselines"].values())
    assert sum(own["samples"] for own in result["per_symbol"].values()) == result["samples"]["test"]


def test_a_run_repeats_bit_for_bit_whatever_the_threads(train, workspace):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = train()
        files_then = contents(workspace)
        torch.set_num_threads(2)
        assert train() == first
    finally:
        torch.set_num_threads(before)
    assert contents(workspace) == files_then, "every file, not only the weights"


def test_interrupted_and_gone_on_with_it_leaves_the_same_files(
    train, workspace, strategy, monkeypatch
):
    settings = {"epochs": 12, "batch_size": 4, "scheduler": "plateau"}
    asked = strategy(training={**settings, "early_stopping": {"patience": 3}})
    wanted = train(strategy=asked)
    files_then = contents(workspace)
    shutil.rmtree(workspace / "models")

    def attempt(number, stop_at=None):
        store = CheckpointStore(workspace, "0a1b", number, keep=2)
        token = CancellationToken()

        def tell(step=None, message=None, context=None):
            if (context.get("current_epoch"), context.get("current_batch")) == stop_at:
                token.cancel()

        return train(
            strategy=asked,
            cancellation_token=token,
            progress_callback=tell,
            checkpoints=Checkpoints(store, Cadence(), ProgressState(), writes=True),
        )

    for number, (stop_at, reached) in enumerate(
        [((1, 30), (0, 50)), ((1, 60), (0, 100)), ((3, 60), (2, 100))], 1
    ):
        stopped = attempt(number, stop_at)
        assert (stopped["epochs_completed"], stopped["batches_completed"]) == reached
    done = attempt(4)
    assert done.pop("resumed_from").startswith("0a1b/a3/")
    assert done == wanted
    assert contents(workspace) == files_then, "every file, the history of all epochs in it"


def test_a_loaded_model_predicts_what_the_trained_one_did(train, workspace):
    result = train()
    model = TrainingManager.load(workspace / result["model"])
    store, right, count = BarStore(workspace), 0, 0
    for symbol, own in result["per_symbol"].items():
        bars = store.read(symbol, Timeframe.parse("1d")).bars
        predicted = model.predict({"1d": bars})
        assert predicted["probability_up"].between(0, 1).all()
        judged = predicted.iloc[: len(predicted) - 8]
        tested = judged.iloc[len(judged) - own["samples"] :]
        labels = _labels(bars).loc[tested.index]
        right += int((tested["direction"] == labels).sum())
        count += own["samples"]
    assert right / count == pytest.approx(result["test"]["accuracy"], abs=1e-6)


def _labels(bars):
    from headway_trainer.training.labels import CLASSES, zigzag_labels

    numbers = zigzag_labels(bars["close"].to_numpy(), 0.04, 8)
    return pd.Series(np.array([*CLASSES, "unknown"])[numbers], index=bars.index)


def test_two_loaded_models_predict_alike_and_from_the_past_only(train, workspace):
    folder = workspace / train()["model"]
    bars = BarStore(workspace).read("AAPL", Timeframe.parse("1d")).bars
    first = TrainingManager.load(folder).predict({"1d": bars})
    pd.testing.assert_frame_equal(TrainingManager.load(folder).predict({"1d": bars}), first)
    shorter = TrainingManager.load(folder).predict({"1d": bars.iloc[:200]})
    np.testing.assert_allclose(
        shorter["probability_up"], first["probability_up"].iloc[: len(shorter)], atol=1e-6
    )


def test_a_frame_without_times_is_no_frame_to_predict_from(train, workspace):
    model = TrainingManager.load(workspace / train()["model"])
    bars = BarStore(workspace).read("AAPL", Timeframe.parse("1d")).bars
    pd.testing.assert_frame_equal(
        model.predict({"1d": bars.reset_index()}), model.predict({"1d": bars})
    )
    with pytest.raises(DataError, match="the frame of 1d has no column time"):
        model.predict({"1d": bars.reset_index(drop=True)})


def test_several_timeframes_are_learnt_from_together(train, workspace):
    result = train(timeframes=["1w", "1d"])
    manifest = json.loads((workspace / result["model"] / "manifest.json").read_text())
    assert manifest["timeframes"] == ["1d", "1w"]
    assert len(manifest["features"]) == 6
    model = TrainingManager.load(workspace / result["model"])
    with pytest.raises(InputError, match="needs bars of 1w"):
        model.predict({"1d": BarStore(workspace).read("AAPL", Timeframe.parse("1d")).bars})


def test_a_new_run_replaces_the_model_of_the_same_name(train, workspace, strategy):
    train()
    (workspace / "models" / "test-strategy" / "stray.txt").write_text("old")
    first = contents(workspace)
    train(strategy=strategy(training={"seed": 4}))
    second = contents(workspace)
    assert "stray.txt" not in second
    assert second["model.pt"] != first["model.pt"]
    assert [p.name for p in (workspace / "models").iterdir()] == ["test-strategy"]


def test_in_an_operation_the_model_has_its_name(train, monkeypatch):
    monkeypatch.setenv("HEADWAY_OPERATION_NAME", "train-7")
    assert train()["model"] == "models/train-7"


@pytest.mark.parametrize(
    ("stop_at", "result"),
    [
        ((1, 1), (0, 50)),
        ((2, 10), (1, 50)),
        ((2, 60), (1, 100)),
    ],
)
def test_a_cancel_tells_what_was_finished_and_saves_nothing(
    train, strategy, workspace, stop_at, result
):
    token = CancellationToken()

    def tell(step=None, message=None, context=None):
        if (context.get("current_epoch"), context.get("current_batch")) == stop_at:
            token.cancel()

    stopped = train(
        strategy=strategy(training={"batch_size": 4}),
        cancellation_token=token,
        progress_callback=tell,
    )
    epochs, batches = result
    assert stopped == {
        "status": "cancelled",
        "epochs_completed": epochs,
        "batches_completed": batches,
    }
    assert not (workspace / "models").exists()


def test_a_cancel_at_an_epochs_end_is_seen_before_the_next(train):
    token = CancellationToken()

    def tell(step=None, message=None, context=None):
        if context.get("epoch_end") and context["current_epoch"] == 2:
            token.cancel()

    stopped = train(cancellation_token=token, progress_callback=tell)
    assert stopped == {"status": "cancelled", "epochs_completed": 2, "batches_completed": 0}


def test_cancelled_before_it_begins_it_does_nothing(train):
    token = CancellationToken()
    token.cancel()
    stopped = train(cancellation_token=token)
    assert stopped == {"status": "cancelled", "epochs_completed": 0, "batches_completed": 0}


def test_progress_is_told_for_every_batch_in_a_fresh_context(train):
    told = []

    def tell(step=None, message=None, context=None):
        told.append((step, message, context))

    train(progress_callback=tell)
    assert told[0][1] == "Preparing AAPL (1/2)"
    batches = [(step, m, c) for step, m, c in told if c.get("current_batch")]
    ends = [c for _, _, c in batches if c.get("epoch_end")]
    total = batches[0][2]["total_batches"]
    assert len(batches) == 3 * total + 3 + 1
    assert len({id(c) for _, _, c in batches}) == len(batches)
    assert all(message is None for _, message, _ in batches), "the reporter renders"
    assert batches[-1][0] == batches[-1][2]["total_steps"] == 3 * total
    assert [c["current_epoch"] for c in ends] == [1, 2, 3]
    assert all(set(c["metrics"]) >= {"loss", "val_loss", "val_accuracy"} for c in ends)
    render = TrainingProgressRenderer().render_progress_message
    line = f"Training MLP model on AAPL, MSFT [1d] [epoch 1/3] (batch 1/{total})"
    assert render(batches[0][2]) == line


def test_timeframes_are_shown_as_they_were_given(train):
    told = []

    def tell(step=None, message=None, context=None):
        told.append((message, context))

    train(timeframes=["1W", "1D"], progress_callback=tell)
    assert all(c["timeframes"] == ["1W", "1D"] for _, c in told)
    line = TrainingProgressRenderer().render_progress_message(told[-1][1])
    assert line.startswith("Training MLP model on AAPL, MSFT [1W, 1D] [epoch 3/3]")


def test_timeframes_of_equal_length_keep_the_order_in_which_they_are_given():
    for given in (["60m", "1h", "30m"], ["1h", "60m", "30m"]):
        assert [str(t) for t in finest_first(given)] == ["30m", *given[:2]]


def test_training_that_ends_early_has_done_all_of_its_steps(train, strategy):
    told = []

    def tell(step=None, message=None, context=None):
        told.append((step, context))

    early = {"epochs": 40, "early_stopping": {"patience": 1, "min_delta": 10.0}}
    result = train(strategy=strategy(training=early), progress_callback=tell)
    step, context = told[-1]
    assert result["epochs_completed"] == context["current_epoch"] == 2
    assert step == context["total_steps"] == 2 * context["total_batches"]
    assert context["metrics"]["test_accuracy"] == result["test"]["accuracy"]
    assert "epoch_end" not in context


def test_data_that_is_missing_is_named(train):
    with pytest.raises(DataError, match=r"holds no IBM \[1d\]; load it with mode full"):
        train(symbols=["AAPL", "IBM"])


def test_with_a_data_mode_it_loads_what_is_missing_first(workspace, strategy):
    told = []

    def tell(step=None, message=None, context=None):
        told.append(message)

    result = TrainingAdapter(workspace).train(
        strategy(training={"epochs": 1}),
        ["FB"],
        ["1d"],
        data_mode="full",
        progress_callback=tell,
    )
    assert result["status"] == "success"
    assert told[0] == "Loading FB [1d] (segment 1/1)"


def test_too_few_samples_are_told_with_the_numbers(train, strategy):
    with pytest.raises(TrainingError, match=r"too few samples.*0 for validation"):
        train(start_date="2020-02-01", end_date="2020-03-10")
    with pytest.raises(TrainingError, match="leg of 90"):
        train(strategy=strategy(labels={"threshold": 0.9, "horizon": 8}))


def test_features_that_no_bar_has_are_named(train, workspace, strategy):
    store, day = BarStore(workspace), Timeframe.parse("1d")
    series = store.read("AAPL", day)
    store.write("AAPL", day, replace(series, bars=series.bars.assign(volume=0.0)))
    mixed = [{"name": "rsi"}, {"name": "mfi"}]
    with pytest.raises(TrainingError, match=r"Without a single value are 1d mfi of AAPL: .*volume"):
        train(strategy=strategy(indicators=mixed), symbols=["AAPL"])
    long = [{"name": "rsi"}, {"name": "sma", "parameters": {"length": 500}}]
    with pytest.raises(
        TrainingError, match=r"1d sma\(length=500\) of AAPL; .* of MSFT: too few bars"
    ):
        train(strategy=strategy(indicators=long))


def test_labels_that_are_all_the_same_are_nothing_to_learn(train, workspace, make_bars):
    store, day, rises = BarStore(workspace), Timeframe.parse("1d"), make_bars(400)
    prices = np.outer(np.exp(np.linspace(0, 3, 400)), [1.0, 1.01, 0.99, 1.005])
    rises[["open", "high", "low", "close"]] = prices
    store.write("AAPL", day, Series(rises))
    with pytest.raises(TrainingError, match=r"all \d+ training samples have the label up"):
        train(symbols=["AAPL"])


def test_a_symbol_that_gives_no_samples_is_told(train, workspace, make_bars, caplog):
    store, day = BarStore(workspace), Timeframe.parse("1d")
    flat = make_bars(400).assign(open=9.0, high=9.0, low=9.0, close=9.0)
    store.write("FLAT", day, Series(flat))
    store.write("LATE", day, Series(make_bars(40, start="2021-01-01")))
    told = train(symbols=["AAPL", "FLAT", "LATE"])["per_symbol"]
    assert told["FLAT"] == {"samples": 0, "training_samples": 0}
    assert told["AAPL"]["training_samples"] > 200
    assert told["LATE"]["training_samples"] == 0
    assert told["LATE"]["samples"] > 0
    assert "no training sample comes from FLAT, LATE" in caplog.text


@pytest.mark.parametrize(
    ("indicator", "message"),
    [
        ({"name": "rsii"}, "did you mean rsi"),
        ({"name": "dpo"}, "there is no indicator 'dpo'"),
        ({"name": "rsi", "parameters": {"lenght": 14}}, "no parameter 'lenght'; it has length"),
        ({"name": "rsi", "parameters": {"offset": -5}}, "no parameter 'offset'"),
        (
            {"name": "rsi", "parameters": {"drift": -3}},
            "drift to be a whole number above 0, not -3",
        ),
        (
            {"name": "rsi", "parameters": {"length": 0}},
            "length to be a whole number above 0, not 0",
        ),
        ({"name": "ema", "parameters": {"length": 2.5}}, "whole number above 0, not 2.5"),
        ({"name": "kc", "parameters": {"scalar": float("inf")}}, "a number above 0, not inf"),
    ],
)
def test_an_indicator_that_cannot_be_is_refused(train, strategy, indicator, message):
    with pytest.raises(InputError, match=message):
        train(strategy=strategy(indicators=[indicator]))


def test_a_symbol_with_a_tenth_of_the_days_does_not_drown(train, workspace, make_bars):
    store = BarStore(workspace)
    day = Timeframe.parse("1d")
    series = store.read("MSFT", day)
    store.write("MSFT", day, replace(series, bars=series.bars.iloc[:60]))
    assert train()["status"] == "success"


def test_a_folder_without_a_model_is_told(workspace):
    with pytest.raises(DataError, match=r"no readable model in .*nothing"):
        TrainingManager.load(workspace / "nothing")


def test_a_model_that_is_damaged_is_not_loaded(train, workspace):
    folder = workspace / train()["model"]
    with pytest.raises(InputError, match="device 'nowhere' cannot be used"):
        TrainingManager.load(folder, device="nowhere")
    whole = {path: path.read_bytes() for path in folder.iterdir() if path.name != "metrics.json"}
    for path, content in whole.items():
        for damaged in (b"", b"[]", content[: len(content) // 2]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=f"no readable model in {folder}"):
                TrainingManager.load(folder)
        path.write_bytes(content)
    weights = torch.load(folder / "model.pt", weights_only=True)
    next(iter(weights.values())).view(-1)[0] += 1e-3
    torch.save(weights, folder / "model.pt")
    with pytest.raises(DataError, match="are not those that were trained"):
        TrainingManager.load(folder)


@pytest.mark.timeout(120)
def test_on_real_prices_it_beats_the_majority(workspace, strategy):
    result = TrainingAdapter(workspace).train(
        strategy(
            labels={"threshold": 0.05, "horizon": 20}, training={"epochs": 4, "batch_size": 64}
        ),
        ["AAPL", "MSFT"],
        ["1d"],
        data_mode="full",
    )
    assert result["samples"]["test"] > 600
    assert result["test"]["accuracy"] > result["baselines"]["majority"]["accuracy"] + 0.05
    assert result["test"]["f1"] > result["baselines"]["last_label"]["f1"]
    summary = {k: v for k, v in result.items() if k not in ("status", "artifacts")}
    assert len(json.dumps(summary)) < limits.SUMMARY_BYTES
