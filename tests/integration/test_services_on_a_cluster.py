"""The same calls of the same services, in a cluster and right here."""

from __future__ import annotations

import pytest
import yaml
from clusters import Cluster
from headway.client import Invalid
from headway.cluster_backend import OperationFailedError
from headway_trainer import DataManager, DummyService, TrainingManager
from kubectl import Kubectl

MARKET = {
    "symbols": ["AAPL", "MSFT"],
    "timeframes": ["1d"],
    "start_date": "2008-01-01",
    "end_date": "2013-03-01",
}
WITHIN = 240
"""Seconds for a training run: on a busy machine PyTorch alone takes a minute to import."""
STRATEGY = {
    "name": "quick",
    "indicators": [{"name": "rsi", "parameters": {"length": 14}}, {"name": "macd"}],
    "labels": {"threshold": 0.05, "horizon": 20},
    "model": {"type": "gru", "hidden_sizes": [16], "sequence_length": 8},
    "training": {"epochs": 3, "batch_size": 64, "seed": 11},
}


@pytest.fixture
def cluster_settings(cluster: Cluster, kubectl: Kubectl, monkeypatch):
    """What a client sets to send its work to the test's namespace."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "market-data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Mi"}},
        },
    }
    kubectl.apply(claim)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("HEADWAY_NAMESPACE", kubectl.namespace)
    monkeypatch.setenv("HEADWAY_CLAIM", "market-data")


@pytest.mark.timeout(600)
def test_the_same_training_gives_the_same_weights_in_a_cluster_and_here(
    cluster_settings, kubectl, tmp_path, monkeypatch
):
    there = _load_and_train("cluster")
    monkeypatch.setenv("HEADWAY_WORKSPACE", str(tmp_path))
    here = _load_and_train("local")
    assert there["status"] == here["status"] == "success"
    assert there["epochs_completed"] == here["epochs_completed"] == 3
    assert there["weights_sha256"] == here["weights_sha256"]

    trained = next(o for o in kubectl.items("trainop") if o["spec"]["type"] == "Training")
    assert [p["step"] for p in trained["status"]["history"]] == [1, 2, 3]
    context = trained["status"]["progress"]["context"]
    assert context["model_type"] == "gru"
    assert context["symbols"] == ["AAPL", "MSFT"]
    assert context["current_epoch"] == context["total_epochs"] == 3


def _load_and_train(backend: str) -> dict:
    loaded = DataManager(backend=backend).load_data(**MARKET, mode="full", provider="sample")
    assert loaded["status"] == "success"
    return TrainingManager(backend=backend).train_multi_symbol_strategy(strategy=STRATEGY, **MARKET)


async def test_starting_in_a_cluster_answers_at_once(cluster_settings, kubectl):
    started = await DummyService(backend="cluster").start_dummy_task(3, 0.05)
    assert started["status"] == "started"
    kubectl.wait_for_phase(started["operation_id"], "Succeeded")


def test_work_that_fails_in_a_cluster_is_raised_with_its_reason(cluster_settings):
    with pytest.raises(OperationFailedError, match="NOSUCH"):
        DataManager(backend="cluster").load_data(symbols=["NOSUCH"], timeframes=["1d"])


@pytest.mark.timeout(600)
def test_a_strategy_from_a_config_map_is_read_and_a_missing_key_is_told(kubectl, cluster_settings):
    DataManager(backend="cluster").load_data(**MARKET, mode="full", provider="sample")
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "strategies"},
            "data": {"quick.yaml": yaml.safe_dump(STRATEGY)},
        }
    )
    for name, key in (("good", "quick.yaml"), ("bad", "slow.yaml")):
        kubectl.apply(_training(name, key))
    good = kubectl.wait_for_phase("good", "Succeeded", within=WITHIN)["status"]
    assert good["report"]["epochsCompleted"] == 3
    failed = kubectl.wait_for_phase("bad", "Failed", within=90)["status"]
    assert failed["result"]["reason"] == "ConfigNotFound"
    assert "slow.yaml" in failed["result"]["message"]


def _training(name: str, key: str) -> dict:
    return {
        "apiVersion": "headway.dev/v1alpha1",
        "kind": "TrainingOperation",
        "metadata": {"name": name},
        "spec": {
            "type": "Training",
            "training": {
                "symbols": MARKET["symbols"],
                "timeframes": MARKET["timeframes"],
                "startDate": MARKET["start_date"],
                "endDate": MARKET["end_date"],
                "strategy": {"configMapKeyRef": {"name": "strategies", "key": key}},
            },
            "storage": {"existingClaim": {"claimName": "market-data"}},
        },
    }


def test_the_cluster_refuses_what_the_schema_refuses(cluster_settings, cluster, kubectl):
    from headway.client import OperationsClient

    client = OperationsClient.connect(cluster.kubeconfig, namespace=kubectl.namespace)
    manifest = _training("wrong", "a.yaml")
    manifest["spec"]["training"]["symbls"] = ["AAPL"]
    with pytest.raises(Invalid, match="symbls"):
        client.create(manifest)
