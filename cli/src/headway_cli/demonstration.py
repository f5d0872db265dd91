"""What ``headway demo`` shows once there is a cluster: four runs, each checked for its outcome."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headway.client_errors import Invalid, NameTaken
from headway.cluster_api import MERGE_PATCH
from headway_api import names
from headway_api.vocabulary import CancelOutcome, OperationType, Phase

from headway_cli import naming, terminal
from headway_cli.connecting import parsed, told
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.view import listing
from headway_cli.view.result import work_done

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation
    from rich.console import Console

CLAIM = "market-data"
EPOCHS = 20
_MARKET = {
    "symbols": ["AAPL", "MSFT"],
    "timeframes": ["1d"],
    "startDate": "2000-03-01",
    "endDate": "2013-03-01",
}
_STOPS_WITHIN = 120.0
"""Seconds to wait for a cancelled run before the demo gives up on it."""

Object = dict[str, Any]


class Demonstration:
    """Shows data loading, training, a cancel and a refusal, one after the other.

    Args:
        client: the cluster, with Headway on it.
        shown: how the person reaches it, for the commands to go on with.
        console: where runs are followed.
    """

    def __init__(self, client: OperationsClient, shown: Where, console: Console) -> None:
        self._client = client
        self._shown = shown
        self._console = console
        self._suffix = naming.generated([], random.SystemRandom()).rpartition("-")[2]
        self._names: list[str] = []

    def run(self) -> None:
        """Show everything.

        Raises:
            Problem: a run did not end as it should have.
        """
        self._load()
        self._train()
        cancelled = self._cancel()
        self._refuse(cancelled)
        self._sum_up()

    def _load(self) -> None:
        terminal.say(
            "", f"2. Real daily prices of AAPL and MSFT, loaded into the volume claim {CLAIM}"
        )
        self._make_claim()
        member = {**_MARKET, "provider": "sample", "mode": "full"}
        ended = self._follow(self._create("load", OperationType.DATA_LOAD, member))
        _expect(ended, Phase.SUCCEEDED)

    def _train(self) -> None:
        terminal.say("", f"3. A neural network trained on them, {EPOCHS} epochs in PyTorch")
        member = _training(epochs=EPOCHS, batch_size=32)
        ended = self._follow(self._create("train", OperationType.TRAINING, member))
        _expect(ended, Phase.SUCCEEDED)
        report = ended.status.result.report if ended.status.result is not None else None
        if report is None or report.epochs_completed != EPOCHS or not report.artifacts:
            raise _broken(ended, f"it does not report {EPOCHS} epochs and a model")

    def _cancel(self) -> str:
        terminal.say("", "4. Another training, cancelled in the middle of an epoch")
        # Small batches make long epochs: there is a middle to stop in.
        name = self._create("stop", OperationType.TRAINING, _training(epochs=500, batch_size=4))
        patched: float | None = None
        with told(self._shown):
            for raw in self._client.watch(name, timeout=600):
                operation = parsed(raw)
                if operation.is_final:
                    break
                if patched is None and _within_an_epoch(operation):
                    message = operation.status.progress and operation.status.progress.message
                    terminal.say(f"   {message}", f"   headway cancel {name}")
                    patched = time.monotonic()
                    self._client.cancel(name, reason="to show that it can be")
                if patched is not None and time.monotonic() - patched > _STOPS_WITHIN:
                    raise _broken(operation, f"it did not stop within {_STOPS_WITHIN:g} s")
            else:
                raise Problem(f"{name} was deleted while the demo watched it.")
        if patched is None:
            raise _broken(operation, "it was over before it could be cancelled")
        took = time.monotonic() - patched
        _expect(operation, Phase.CANCELLED)
        receipt, result = operation.status.cancellation, operation.status.result
        if receipt is None or receipt.outcome is not CancelOutcome.GRACEFUL:
            raise _broken(operation, "its trainer did not stop by itself")
        report = result.report if result is not None else None
        done = work_done(report) if report is not None else ""
        terminal.say(
            f"   Cancelled (Graceful) {took:.2f} s after the patch, its process gone; "
            f"it had done {done or 'nothing it told of'}"
        )
        return name

    def _refuse(self, cancelled: str) -> None:
        terminal.say("", "5. What is wrong is refused where it enters, in the API server's words")
        wrong = self._manifest("typo", OperationType.DUMMY, {"iteration": 5})
        terminal.say("   A run with the field spec.dummy.iteration:")
        self._refused(lambda: self._client.create(wrong))
        terminal.say(f"   The cancel of {cancelled}, taken back:")
        self._refused(
            lambda: self._client.api.request(
                "PATCH",
                f"/apis/{names.API_VERSION}/namespaces/{self._client.namespace}"
                f"/{names.PLURAL}/{cancelled}",
                body={"spec": {"cancel": False}},
                content_type=MERGE_PATCH,
                doing=f"take back the cancel of {cancelled}",
            )
        )

    def _refused(self, attempt: Any) -> None:
        with told(self._shown):
            try:
                attempt()
            except Invalid as error:
                terminal.say(*(f"     refused: {detail}" for detail in error.details))
                return
        raise Problem("The API server accepted what it should have refused.")

    def _sum_up(self) -> None:
        with told(self._shown):
            found = [parsed(self._client.get(name)) for name in self._names]
        wall = datetime.now(UTC)
        rows = [listing.row(operation, wall) for operation in found]
        table = listing.lines(rows, colour=self._console.is_terminal, width=self._console.width)
        flags = f" {self._shown.flags()}" if self._shown.flags() else ""
        trained = self._names[1]
        terminal.say("", "That was:", *(f"  {line}" for line in table))
        terminal.say(
            "",
            f"Left running: the Kubernetes at {self._client.api.server}, with Headway on it.",
            "To end it, with everything in it:  headway cluster down",
            "",
            "Go on with:",
            f"  headway get {trained}{flags}",
            f"  headway logs {trained}{flags}",
            f"  headway run dummy --iterations 20{flags}    (and press Ctrl-C)",
            f"  headway list{flags}",
        )

    def _make_claim(self) -> None:
        space = self._client.namespace
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        with told(self._shown):
            try:
                self._client.api.request(
                    "POST",
                    f"/api/v1/namespaces/{space}/persistentvolumeclaims",
                    body=claim,
                    doing=f"create the claim {CLAIM} in namespace {space}",
                )
            except NameTaken:  # an earlier demo's, with the prices in it
                return

    def _manifest(self, word: str, kind: OperationType, member: Object) -> Object:
        spec: Object = {"type": str(kind), kind.member: member}
        if kind is not OperationType.DUMMY:
            spec["storage"] = {"existingClaim": {"claimName": CLAIM}}
        return {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": f"demo-{word}-{self._suffix}"},
            "spec": spec,
        }

    def _create(self, word: str, kind: OperationType, member: Object) -> str:
        with told(self._shown):
            created = self._client.create(self._manifest(word, kind, member))
        name = str(created["metadata"]["name"])
        self._names.append(name)
        return name

    def _follow(self, name: str) -> TrainingOperation:
        from headway_cli.cluster_feed import ClusterFeed
        from headway_cli.following import follow

        feed = ClusterFeed(self._client, name, self._shown)
        flags = self._shown.flags()
        ending = follow(feed, console=self._console, flags=flags, name=name, hints=False)
        if ending.operation is None or not ending.operation.is_final:
            raise Problem(
                "The demo was left before its end.",
                todo=["headway demo", "headway cluster down"],
                code=ending.code,
            )
        return ending.operation


def _training(*, epochs: int, batch_size: int) -> Object:
    return {
        **_MARKET,
        "dataMode": "local",
        "strategy": {
            "inline": {
                "name": "demo-mlp",
                "indicators": [
                    {"name": "rsi", "parameters": {"length": 14}},
                    {"name": "macd"},
                    {"name": "atr", "parameters": {"length": 14}},
                ],
                "labels": {"threshold": 0.05, "horizon": 20},
                "model": {"type": "mlp", "hiddenSizes": [64, 32], "sequenceLength": 16},
                "training": {
                    "epochs": epochs,
                    "batchSize": batch_size,
                    "learningRate": 0.001,
                    "gradientClip": 1.0,
                    "seed": 7,
                },
            }
        },
    }


def _within_an_epoch(operation: TrainingOperation) -> bool:
    progress = operation.status.progress
    context = progress.context if progress is not None else None
    return (
        operation.phase is Phase.RUNNING
        and context is not None
        and bool(context.current_epoch and context.current_batch)
    )


def _expect(operation: TrainingOperation, phase: Phase) -> None:
    if operation.phase is not phase:
        raise _broken(operation, f"it should have ended {phase.value}")


def _broken(operation: TrainingOperation, why: str) -> Problem:
    name = operation.metadata.name
    return Problem(
        f"The demo failed: {name} is {operation.phase.value}, and {why}.",
        why=operation.status.message or "",
        todo=[f"headway get {name}", f"headway logs {name}", "headway cluster down"],
    )
