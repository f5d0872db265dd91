"""Examples below the help of a command, as they would be typed."""

from __future__ import annotations

_EXAMPLES = {
    "run": (
        "headway run dummy --iterations 20",
        "headway run custom -- python train.py --epochs 3",
        "headway run -f examples/training.yaml",
    ),
    "submit": (
        "headway submit -f examples/training.yaml",
        "headway submit dummy --dry-run | kubectl apply -f -",
    ),
    "dummy": ("headway run dummy --iterations 20 --interval 0.5",),
    "data": (
        "headway run data -s AAPL,MSFT -t 1d --provider sample --mode full \\\n"
        "      --claim market-data",
    ),
    "train": (
        "headway run train examples/strategies/mlp.yaml -s AAPL,MSFT -t 1d \\\n"
        "      --claim market-data",
        "headway run train strategy.yaml -s AAPL -t 1d --data-mode full --local",
    ),
    "custom": (
        "headway run custom -- python train.py --epochs 3",
        "headway run custom --entrypoint package.module:function --parameter n=3",
        "headway run custom --local -- python train.py",
    ),
    "list": ("headway list --phase Running", "headway list -A -l team=a -o wide"),
    "get": ("headway get", "headway get train-mlp -o yaml"),
    "watch": ("headway watch", "headway watch train-mlp -n team-a"),
    "logs": ("headway logs -f", "headway logs train-mlp --tail 20"),
    "wait": (
        "headway wait train-mlp --timeout 3600 && echo succeeded",
        "headway wait train-mlp --for Running",
    ),
    "suspend": ("headway suspend train-mlp", "headway suspend -l team=a --no-wait"),
    "resume": ("headway resume train-mlp",),
    "cancel": (
        'headway cancel train-mlp --wait --reason "loss is NaN"',
        "headway cancel -l team=a --now",
    ),
    "retry": ("headway retry train-mlp --from-checkpoint --name train-mlp-2",),
    "delete": ("headway delete train-mlp", "headway delete -l team=a --yes"),
    "install": (
        "headway install --context staging",
        "headway install --print | kubectl apply --server-side -f -",
    ),
    "up": ("headway cluster up", "headway cluster up --provider kind --workers 2"),
    "join": ("headway host join --from team-a", "headway run dummy --placement Host"),
}


def of(command: str) -> str | None:
    """The examples of a command, for below its help; None where its usage says it all."""
    examples = _EXAMPLES.get(command)
    if examples is None:
        return None
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
