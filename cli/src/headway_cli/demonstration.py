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
from headway_cli.cluster_feed import ClusterFeed
from headway_cli.connecting import parsed, told
from headway_cli.following import Event, Feed, Seen, follow
from headway_cli.options import Where
from headway_cli.problems import Problem
from headway_cli.view import listing
from headway_cli.view.result import report_of

if TYPE_CHECKING:
    from headway.client import OperationsClient
    from headway_api.models import TrainingOperation
    from rich.console import Console

CLAIM = "market-data"
EPOCHS = 40
_MANY_EPOCHS = 500
_MARKET = {
    "symbols": ["AAPL", "MSFT"],
    "timeframes": ["1d"],
    "startDate": "2000-03-01",
    "endDate": "2013-03-01",
}
_WATCHED_FOR = 3.0
"""Seconds that a run is seen to train before it is cancelled."""

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
        member = _training(epochs=EPOCHS, batch_size=16)
        ended = self._follow(self._create("train", OperationType.TRAINING, member))
        _expect(ended, Phase.SUCCEEDED)
        report = report_of(ended)
        if report is None or report.epochs_completed != EPOCHS or not report.artifacts:
            raise _broken(ended, f"it does not report {EPOCHS} epochs and a model")

    def _cancel(self) -> str:
        terminal.say("", "4. Another training, cancelled in the middle of an epoch")
        # Small batches make long epochs: there is a middle to stop in.
        name = self._create(
            "stop", OperationType.TRAINING, _training(epochs=_MANY_EPOCHS, batch_size=2)
        )
        feed = _Cancelling(ClusterFeed(self._client, name, self._shown), self._client, name)
        ended = self._follow(name, feed)
        if feed.patched is None or feed.over is None:
            raise _broken(ended, "it was over before it could be cancelled")
        _expect(ended, Phase.CANCELLED)
        receipt, report = ended.status.cancellation, report_of(ended)
        if receipt is None or receipt.outcome is not CancelOutcome.GRACEFUL:
            raise _broken(ended, "its trainer did not stop by itself")
        # The epoch may have ended between the patch and the trainer's next check.
        if report is None or (report.epochs_completed or 0) >= _MANY_EPOCHS:
            raise _broken(ended, "it does not report that it stopped on the way")
        terminal.say(
            f"   {feed.over - feed.patched:.2f} s from the patch of spec.cancel to Cancelled, "
            "its process gone"
        )
        return name

    def _refuse(self, cancelled: str) -> None:
        terminal.say("", "5. What is wrong is refused where it enters, in the API server's words")
        wrong = self._manifest("typo", OperationType.DUMMY, {"iteration": 5})
        terminal.say("   A run with the field spec.dummy.iteration is refused:")
        self._refused(lambda: self._client.create(wrong))
        terminal.say(f"   To take back the cancel of {cancelled} is refused:")
        self._refused(
            lambda: self._client.api.request(
                "PATCH",
                f"/apis/{names.API_VERSION}/namespaces/{self._client.namespace}"
                f"/{names.PLURAL}/{cancelled}",
                body={"spec": {"cancel": False, "cancelReason": None}},
                content_type=MERGE_PATCH,
                doing=f"take back the cancel of {cancelled}",
            )
        )

    def _refused(self, attempt: Any) -> None:
        with told(self._shown):
            try:
                attempt()
            except Invalid as error:
                terminal.say(*(f"     {detail}" for detail in error.details))
                return
        raise Problem("The API server accepted what it should have refused.")

    def _sum_up(self) -> None:
        with told(self._shown):
            found = [parsed(self._client.get(name)) for name in self._names]
        wall = datetime.now(UTC)
        rows = [listing.row(operation, wall) for operation in found]
        table = listing.lines(rows, colour=self._console.is_terminal, width=self._console.width - 3)
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

    def _follow(self, name: str, feed: Feed | None = None) -> TrainingOperation:
        ending = follow(
            feed or ClusterFeed(self._client, name, self._shown),
            console=self._console,
            flags=self._shown.flags(),
            name=name,
            hints=False,
        )
        if ending.operation is None or not ending.operation.is_final:
            raise Problem(
                "The demo was left before its end.",
                todo=["headway demo", "headway cluster down"],
                code=ending.code,
            )
        return ending.operation


class _Cancelling:
    """A feed that cancels its run once somebody had time to see it train.

    Attributes:
        patched: when the cancel was sent, on the monotonic clock.
        over: when the run was seen to be over.
    """

    local = False

    def __init__(self, feed: ClusterFeed, client: OperationsClient, name: str) -> None:
        self._feed = feed
        self._client = client
        self._name = name
        self._training_since: float | None = None
        self.patched: float | None = None
        self.over: float | None = None

    def next(self, timeout: float) -> Event | None:
        """The next event; the cancel is sent in between."""
        event = self._feed.next(timeout)
        if isinstance(event, Seen):
            now = time.monotonic()
            if event.operation.is_final:
                self.over = now
            elif self._training_since is None and _within_an_epoch(event.operation):
                self._training_since = now
        since = self._training_since
        due = since is not None and time.monotonic() - since > _WATCHED_FOR
        if due and self.patched is None and self.over is None:
            self.patched = time.monotonic()
            self._client.cancel(self._name, reason="to show that it can be")
        return event

    def cancel(self, *, now: bool) -> None:
        """Somebody at the keyboard was faster."""
        self._feed.cancel(now=now)


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
