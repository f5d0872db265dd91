import pytest
from headway.rendering import DataProgressRenderer, ProgressRenderer, TrainingProgressRenderer
from hypothesis import given
from hypothesis import strategies as st

KEYS = [
    "model_type", "symbols", "timeframes", "current_epoch", "total_epochs", "current_batch",
    "total_batches", "current_segment", "total_segments", "current_item", "current_iteration",
]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("context", "line"),
    [
        (
            {"model_type": "mlp", "symbols": ["AAPL"], "timeframes": ["1H"], "current_epoch": 15,
             "total_epochs": 50, "current_batch": 342, "total_batches": 500},
            "Training MLP model on AAPL [1H] [epoch 15/50] (batch 342/500)",
        ),
        (
            {"model_type": "mlp", "symbols": ["AAPL", "MSFT", "TSLA", "IBM"],
             "timeframes": ["1H", "4H"], "current_epoch": 15, "total_epochs": 50},
            "Training MLP model on AAPL, MSFT (+2 more) [1H, 4H] [epoch 15/50]",
        ),
        (
            {"model_type": "cnn", "symbols": ["TSLA"], "timeframes": ["5m"], "current_epoch": 8,
             "total_epochs": 20, "current_batch": 156, "total_batches": 800},
            "Training CNN model on TSLA [5m] [epoch 8/20] (batch 156/800)",
        ),
        (
            {"timeframes": ["1m", "5m", "1h"], "symbols": ["A", "B", "C"]},
            "Training model on A, B (+1 more) [1m, 5m (+1 more)]",
        ),
        ({}, "Training model"),
        (None, "Training model"),
        ({"current_epoch": float("nan"), "symbols": 7}, "Training model"),
        ({"model_type": "gru", "current_epoch": 3}, "Training GRU model [epoch 3]"),
    ],
)  # fmt: skip
def test_training_is_rendered_exactly(context, line):
    assert TrainingProgressRenderer().render_progress_message(context) == line


def test_data_loading_names_the_item_and_the_segment():
    context = {"current_item": "AAPL", "timeframes": ["1d"], "current_segment": 2,
               "total_segments": 5}  # fmt: skip
    rendered = DataProgressRenderer().render_progress_message(context)
    assert rendered == "Loading AAPL [1d] (segment 2/5)"


def test_any_other_work_is_named_by_its_title():
    renderer = ProgressRenderer("Dummy task")
    context = {"current_iteration": 3, "total_iterations": 100}
    assert renderer.render_progress_message(context) == "Dummy task (iteration 3/100)"


@pytest.mark.parametrize(
    "renderer", [ProgressRenderer(), DataProgressRenderer(), TrainingProgressRenderer()]
)
@given(context=st.none() | ODD | st.dictionaries(st.sampled_from(KEYS), ODD))
def test_no_context_makes_a_renderer_raise(renderer, context):
    assert isinstance(renderer.render_progress_message(context), str)
